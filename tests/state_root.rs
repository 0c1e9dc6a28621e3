//! A state root (`--root`) in which another user can write: nothing of it is obeyed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::support::{Bundle, Container, json};

const OTHER: u32 = 1000;

/// Runs in the container `poststop` leaves a file when it has run.
fn with_hook() -> (Container, std::path::PathBuf) {
    let bundle = Bundle::busybox();
    let ran = bundle.scratch("hook-ran");
    let hook = json!({ "path": "/bin/touch", "args": ["touch", ran.to_str().unwrap()] });
    (bundle.push("/hooks/poststop", hook).args(["sleep", "60"]).run_detached(), ran)
}

/// Every verb that looks at a state root.
#[track_caller]
fn all_refuse(c: &Container, root: &str, word: &str) {
    c.bundle.write_config();
    let path = c.bundle.path();
    let (id, bundle) = (c.id(), path.to_str().unwrap());
    for verb in [
        &["state", id][..],
        &["list"],
        &["ps", id],
        &["kill", id, "KILL"],
        &["pause", id],
        &["resume", id],
        &["start", id],
        &["update", "--pids-limit", "9", id],
        &["events", "--stats", id],
        &["checkpoint", id],
        &["delete", id],
        &["delete", "--force", id],
        &["create", "--bundle", bundle, "new"],
        &["run", "--bundle", bundle, "new"],
    ] {
        let args: Vec<&str> = ["--root", root].iter().chain(verb).copied().collect();
        let out = crate::support::runtime::command(&crate::support::runtime::program(), None, args)
            .output()
            .unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && said.contains(word), "{verb:?}: {said}");
        assert!(out.stdout.is_empty() && said.contains("cannot be trusted"), "{verb:?}: {said}");
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_state_root_of_another_user_is_refused() {
    differs!();
    let (c, ran) = with_hook();
    let root = c.bundle.state_root();
    let text = root.to_str().unwrap();
    chown(&root, Some(OTHER), None).unwrap();
    all_refuse(&c, text, "belongs to user 1000");
    // The way there is another one, through a link that is ours.
    let link = c.bundle.scratch("link");
    std::os::unix::fs::symlink(&root, &link).unwrap();
    all_refuse(&c, link.to_str().unwrap(), "belongs to user 1000");
    chown(&root, Some(0), None).unwrap();
    // A link of another user, below a sticky directory too.
    let sticky = c.bundle.scratch_dir("sticky");
    mode(&sticky, 0o1777);
    let link = sticky.join("link");
    std::os::unix::fs::symlink(&root, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(OTHER), None).unwrap();
    all_refuse(&c, link.to_str().unwrap(), "belongs to user 1000");
    let theirs = sticky.join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(OTHER), None).unwrap();
    all_refuse(&c, theirs.join("root").to_str().unwrap(), "belongs to user 1000");
    assert!(!ran.exists(), "no hook has run");
    assert_eq!(c.status(), "running");
    c.delete_by_force();
    assert!(ran.exists());
}

#[test]
fn a_state_root_that_others_may_write_to_is_refused() {
    differs!();
    let (c, ran) = with_hook();
    let root = c.bundle.state_root();
    let text = root.to_str().unwrap();
    for (wrong, word) in
        [(0o777, "by every user"), (0o1777, "by every user"), (0o770, "by members of group 0")]
    {
        mode(&root, wrong);
        all_refuse(&c, text, word);
        // By a path that ends above a directory in it.
        all_refuse(&c, &format!("{text}/{}/..", c.id()), word);
        mode(&root, 0o700);
    }
    let above = root.parent().unwrap();
    mode(above, 0o777);
    all_refuse(&c, text, "by every user");
    mode(above, 0o1777);
    assert_eq!(c.status(), "running", "a sticky directory above is no objection");
    mode(above, 0o700);
    assert!(!ran.exists(), "no hook has run");
}

#[test]
fn what_others_may_write_below_it_is_refused() {
    differs!();
    let (c, ran) = with_hook();
    let directory = c.bundle.state_root().join(c.id());
    let refused = |verb: &str| c.verb(verb).refused().says("cannot be trusted");
    mode(&directory, 0o777);
    refused("state").says("by every user");
    refused("delete");
    mode(&directory, 0o700);
    for file in ["state.json", "config.json"] {
        chown(directory.join(file), Some(OTHER), None).unwrap();
        c.exec(&[], &["true"])
            .exec_refused()
            .says("cannot be trusted")
            .says("belongs to user 1000");
        chown(directory.join(file), Some(0), None).unwrap();
    }
    assert!(!ran.exists(), "no hook has run");
    assert_eq!(c.status(), "running");
}
