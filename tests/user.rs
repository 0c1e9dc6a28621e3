//! `process.user`

use crate::support::{Bundle, json};

fn groups(bundle: &mut Bundle) -> String {
    let out = bundle.run(["grep", "-E", "^(Uid|Gid|Groups):", "/proc/self/status"]).ok();
    out.line().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_user_is_root_by_default() {
    assert_eq!(groups(&mut Bundle::busybox()), "Uid: 0 0 0 0 Gid: 0 0 0 0 Groups:");
}

#[test]
fn uid_and_gid_are_set_in_all_four_places() {
    let user = json!({ "uid": 1000, "gid": 1001 });
    let text = groups(&mut Bundle::busybox().set("/process/user", user));
    assert_eq!(text, "Uid: 1000 1000 1000 1000 Gid: 1001 1001 1001 1001 Groups:");
}

#[test]
fn additional_gids_are_the_only_supplementary_groups() {
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7, 5, 4242] });
    assert!(
        groups(&mut Bundle::busybox().set("/process/user", user)).ends_with("Groups: 5 7 4242")
    );
}

#[test]
fn large_ids_are_accepted() {
    let user = json!({ "uid": 2_147_483_646, "gid": 2_147_483_645 });
    let text = groups(&mut Bundle::busybox().set("/process/user", user));
    assert!(text.starts_with("Uid: 2147483646 ") && text.contains("Gid: 2147483645 "), "{text}");
}

#[test]
fn negative_and_fractional_ids_are_refused() {
    for uid in [json!(-1), json!(0.5), json!("0"), json!(4_294_967_296_u64)] {
        Bundle::busybox().set("/process/user/uid", uid).refused().names("uid");
    }
}

#[test]
fn umask_is_set() {
    for (umask, text) in [(0, "0000"), (0o22, "0022"), (0o177, "0177")] {
        let out = Bundle::busybox().set("/process/user/umask", umask).sh("umask").ok();
        assert_eq!(out.line(), text);
    }
}

#[test]
fn umask_shows_in_new_files() {
    let mut bundle = Bundle::busybox().set("/process/user/umask", 0o27);
    let out = bundle.sh("touch /f; mkdir /d; stat -c %a /f /d").ok();
    assert_eq!(out.lines(), ["640", "750"]);
}

#[test]
fn umask_is_the_usual_one_when_it_is_not_set() {
    let out = Bundle::busybox().after("umask 0022").sh("umask").ok();
    assert_eq!(out.line(), "0022");
}

#[test]
fn stdio_belongs_to_the_user() {
    let user = json!({ "uid": 1000, "gid": 1000 });
    let out = Bundle::busybox()
        .set("/process/user", user)
        .sh("echo a > /dev/stdout; echo b > /dev/stderr");
    assert_eq!((out.status, out.stdout.as_str(), out.stderr.as_str()), (0, "a\n", "b\n"));
}

#[test]
fn an_ordinary_user_has_no_power_over_the_root_filesystem() {
    let user = json!({ "uid": 1000, "gid": 1000 });
    let out = Bundle::busybox().set("/process/user", user).run(["touch", "/etc/passwd"]);
    assert!(out.stderr.contains("Permission denied"), "{out:?}");
}
