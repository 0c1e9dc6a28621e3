//! `mounts add` and `mounts remove`

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::attack::rounds;
use crate::support::runtime::Output;
use crate::support::{Bundle, Container, Value, config, json};

const IDS: u32 = 100_000;

fn in_user_namespace(bundle: Bundle) -> Bundle {
    let ids = json!([{ "containerID": 0, "hostID": IDS, "size": 65536 }]);
    let chown = std::process::Command::new("chown")
        .args(["-R", "-h", "100000:100000"])
        .arg(bundle.rootfs(""))
        .status();
    assert!(chown.unwrap().success());
    let bundle = bundle.push("/linux/namespaces", json!({ "type": "user" }));
    bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids)
}

fn mounts(c: &Container, action: &str, list: &Value) -> Output {
    let file = c.bundle.scratch("list.json");
    fs::write(&file, list.to_string()).unwrap();
    c.bundle.call(&["mounts", action, c.id(), file.to_str().unwrap()])
}

/// A directory with a letter in it, which is in one that only the host's root may enter.
fn cargo(bundle: &Bundle) -> std::path::PathBuf {
    let vault = bundle.scratch_dir("vault");
    fs::set_permissions(&vault, PermissionsExt::from_mode(0o700)).unwrap();
    let source = vault.join("cargo");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("letter"), "dear\n").unwrap();
    source
}

fn mountinfo(c: &Container) -> String {
    c.exec(&[], &["cat", "/proc/self/mountinfo"]).ok().stdout
}

#[test]
fn mounts_are_made_and_taken_away() {
    differs!();
    for bundle in [Bundle::busybox(), in_user_namespace(Bundle::busybox())] {
        let source = cargo(&bundle);
        fs::write(bundle.rootfs("covered"), "").unwrap();
        let c = bundle.args(["sleep", "60"]).run_detached();
        let before = mountinfo(&c);
        let list = json!([
            { "destination": "/new/place", "type": "bind", "source": source, "options": ["rbind", "ro", "nosuid"] },
            { "destination": "/new/file", "source": source.join("letter"), "options": ["bind"] },
            { "destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "noexec"] },
            { "destination": "/t/below", "type": "tmpfs", "source": "tmpfs" },
        ]);
        mounts(&c, "add", &list).silent();
        let script = "cat /new/file; touch /new/place/x 2>&1 | grep -o 'Read-only'; touch /t/x /t/below/x && echo written";
        assert_eq!(c.exec_sh(script).ok().lines(), ["dear", "Read-only", "written"]);
        let info = mountinfo(&c);
        assert!(
            info.lines().any(|line| line.contains(" /t rw,") && line.contains("noexec")),
            "{info}"
        );
        assert!(info.lines().any(|line| line.contains(" /new/place ro,nosuid")), "{info}");
        mounts(&c, "remove", &list).silent();
        assert_eq!(mountinfo(&c), before);
        assert_eq!(c.exec_sh("ls /new/place /t").ok().stdout, "/new/place:\n\n/t:\n");
        c.delete_by_force();
    }
}

/// A created container has its mounts before its program runs; a paused one is not woken.
#[test]
fn a_created_and_a_paused_container_are_given_mounts() {
    differs!();
    let bundle = Bundle::busybox();
    let letter = cargo(&bundle).join("letter");
    let list = json!([{ "destination": "/letter", "source": letter, "options": ["bind"] }]);
    let c = bundle.args(["cat", "/letter"]).create();
    mounts(&c, "add", &list).silent();
    assert_eq!(c.finish(), "dear\n");
    mounts(&c, "add", &list).refused().because("stopped container");
    c.delete();
    let c = Bundle::busybox().args(["sleep", "60"]).run_detached();
    c.verb("pause").silent();
    mounts(&c, "add", &list).silent();
    assert_eq!(c.status(), "paused");
    c.verb("resume").silent();
    assert_eq!(c.exec(&[], &["cat", "/letter"]).ok().stdout, "dear\n");
}

/// By the ids of the container, or by others.
#[test]
fn ids_can_be_mapped() {
    differs!();
    let bundle = in_user_namespace(Bundle::busybox());
    let source = cargo(&bundle);
    let c = bundle.args(["sleep", "60"]).run_detached();
    let list = json!([
        { "destination": "/a", "source": source, "options": ["bind", "idmap"] },
        { "destination": "/b", "source": source, "options": ["bind", "idmap=uids=@0-7-1;gids=@0-8-1"] },
        { "destination": "/c", "type": "tmpfs", "options": ["idmap"] },
    ]);
    mounts(&c, "add", &list).silent();
    let out = c.exec(&[], &["stat", "-c", "%u:%g", "/a", "/b", "/c"]).ok();
    assert_eq!(out.lines(), ["0:0", "7:8", "0:0"]);
}

#[test]
fn all_are_made_or_none() {
    differs!();
    let bundle = Bundle::busybox();
    let source = cargo(&bundle);
    fs::write(bundle.rootfs("file"), "").unwrap();
    let c = bundle.args(["sleep", "60"]).run_detached();
    let before = mountinfo(&c);
    let good = [
        json!({ "destination": "/one", "source": source, "options": ["bind"] }),
        json!({ "destination": "/two", "source": source.join("letter"), "options": ["bind"] }),
    ];
    for (bad, text) in [
        (
            json!({ "destination": "/x", "source": "/nowhere", "options": ["bind"] }),
            "mounts[2].source",
        ),
        (json!({ "destination": "/file/x", "source": source, "options": ["bind"] }), "mounts[2]"),
        (
            json!({ "destination": "/proc/sys", "source": source, "options": ["bind"] }),
            "inside /proc",
        ),
        (json!({ "destination": "/x", "type": "nofs" }), "mounts[2]"),
        (json!({ "destination": "/x", "type": "proc" }), "mounts[2]: a proc shows"),
        (json!({ "destination": "/x", "type": "tmpfs", "options": ["remount"] }), "mounts[2]"),
    ] {
        mounts(&c, "add", &json!([good[0], good[1], bad])).refused().says(text);
        assert_eq!(mountinfo(&c), before, "{bad}");
    }
    mounts(&c, "remove", &json!([{ "destination": "/nothing" }]))
        .refused()
        .says("mounts[0].destination");
    mounts(&c, "remove", &json!([{ "destination": "/etc" }])).refused().says("no mount point");
    mounts(&c, "remove", &json!([{ "destination": "/" }])).refused().says("mounts[0].destination");
    mounts(&c, "change", &json!([])).refused().says("known: add, remove");
    mounts(&c, "add", &json!({})).refused().says("mounts: invalid type");
}

/// What hides something of the host is a mount, too: a link must not lead there.
#[test]
fn a_link_of_the_container_does_not_choose_what_is_taken_away() {
    differs!();
    let bundle = Bundle::busybox().set("/linux/maskedPaths", json!(["/proc/timer_list"]));
    symlink("/proc/timer_list", bundle.rootfs("link")).unwrap();
    let c = bundle.args(["sleep", "60"]).run_detached();
    let before = mountinfo(&c);
    mounts(&c, "remove", &json!([{ "destination": "/link" }]))
        .refused()
        .says("mounts[0].destination");
    assert_eq!(mountinfo(&c), before);
}

/// A hostile container swaps a directory on the way for a link that leads out of its root, as fast
/// as it can: neither are mount points made there, nor does the host get a mount.
#[test]
fn a_container_that_renames_what_is_on_the_way_cannot_lead_a_mount_out() {
    differs!();
    let bundle = Bundle::busybox();
    let source = cargo(&bundle);
    let outside = bundle.scratch_dir("outside");
    fs::create_dir(bundle.rootfs("d")).unwrap();
    fs::create_dir(bundle.rootfs("d/real")).unwrap();
    symlink(format!("{}{}", "../".repeat(12), outside.display()), bundle.rootfs("d/link")).unwrap();
    let script =
        "cd /d; echo ready; while :; do mv real way; mv way real; mv link way; mv way link; done";
    let c = bundle.script(script).run_detached();
    c.wait_for("ready\n");
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let list = json!([
        { "destination": "/d/way/made/here", "source": source, "options": ["bind"] },
        { "destination": "/d/way/tmpfs", "type": "tmpfs" },
    ]);
    // It may fail, as the directory comes and goes.
    let added = (0..rounds(40, 1000)).filter(|_| mounts(&c, "add", &list).status == 0).count();
    assert_ne!(added, 0, "no mount was added");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made outside");
    let ours = |text: &str| text.lines().filter(|line| line.contains("/made/here")).count();
    let now = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(ours(&now), 0, "a mount of the container is the host's ({host} before)");
}

/// The process that makes them is not seen by the container's processes, though they may trace
/// whatever they see.
#[test]
fn a_container_sees_nothing_of_the_process_that_mounts() {
    differs!();
    let capabilities = config::capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    let script = "cd /proc; echo ready; while :; do for p in [0-9]*; do [ $p = 1 ] || \
                  { read -r name <$p/comm && case $name in *mounts*) echo seen;; esac; } 2>/dev/null; done; done";
    let bundle = Bundle::busybox().set("/process/capabilities", capabilities);
    let source = cargo(&bundle);
    let c = bundle.script(script).run_detached();
    c.wait_for("ready\n");
    let list = json!([{ "destination": "/x", "source": source, "options": ["bind"] }]);
    for _ in 0..rounds(20, 500) {
        mounts(&c, "add", &list).silent();
        mounts(&c, "remove", &list).silent();
    }
    assert_eq!(c.stdout(), "ready\n", "seen from inside");
}
