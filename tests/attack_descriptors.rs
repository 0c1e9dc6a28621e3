//! A descriptor of a host directory that is open somewhere in the runtime, by accident or because
//! the caller left it, is no way out.
//!
//! Each test says how it was seen to fail.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::attack::rounds;
use crate::support::{Bundle, Output, json, link};

/// Whether the working directory is one that its path leads to.
const LOOK: &str = "p=$(pwd -P) && [ $(stat -c %d:%i .) = $(stat -c %d:%i $p) ] && echo inside; ls ../../../../../../../..";

/// The program ran inside, or not at all.
#[track_caller]
fn stays_inside(how: &str, out: &Output) {
    let inside = out.lines().first() == Some(&"inside") && !out.lines().contains(&"usr");
    assert!(inside || out.stdout.is_empty() && out.status != 0, "{how}: {out:?}");
}

/// The caller has left directories of the host open, too.
fn with_open_directories() -> Bundle {
    Bundle::busybox().after("exec 3</ 4</etc 6</sys/fs/cgroup 9</")
}

/// Working directories that a descriptor would be a way out by.
fn ways(n: usize) -> [String; 4] {
    [
        format!("/proc/self/fd/{n}"),
        format!("/proc/self/fd/{n}/.."),
        format!("/proc/thread-self/fd/{n}/../../.."),
        format!("/ways/{n}"),
    ]
}

/// CVE-2024-21626. Seen to fail with `verify_directory` left out of `init/handover.rs` and the
/// look-up of the directory out of `seal`, in `init/rootfs/mod.rs`.
#[test]
fn the_working_directory_is_inside() {
    for flags in [&[][..], &["--no-pivot"]] {
        let mut bundle = with_open_directories().flags(flags.iter().copied());
        fs::create_dir(bundle.rootfs("ways")).unwrap();
        for n in 3..rounds(12, 60) {
            symlink(format!("/proc/self/fd/{n}/../.."), bundle.rootfs(&format!("ways/{n}")))
                .unwrap();
            for way in ways(n) {
                bundle = bundle.set("/process/cwd", way.clone());
                stays_inside(&format!("{flags:?} {way}"), &bundle.sh(LOOK));
            }
        }
        bundle.assert_nothing_left();
    }
}

/// CVE-2024-21626. Seen to fail with `verify_directory` left out and while the process was born on
/// the host, see `attack_exec`.
#[test]
fn the_working_directory_of_exec_is_inside() {
    let bundle = with_open_directories();
    fs::create_dir(bundle.rootfs("ways")).unwrap();
    for n in 0..60 {
        symlink(format!("/proc/self/fd/{n}/../.."), bundle.rootfs(&format!("ways/{n}"))).unwrap();
    }
    let c = bundle.args(["sleep", "600"]).run_detached();
    for n in 3..rounds(12, 60) {
        for way in ways(n) {
            stays_inside(&way, &c.exec(&["--cwd", &way], &["sh", "-c", LOOK]));
        }
    }
}

/// Nor is one the way to a place for what the runtime makes before the container has a root of its
/// own. Seen to fail with `RESOLVE_NO_MAGICLINKS` and `RESOLVE_IN_ROOT` left out of `sys/root.rs`.
#[test]
fn nothing_is_made_by_way_of_a_descriptor() {
    let before = with_open_directories();
    let outside = before.scratch_dir("outside");
    let before = before.after(&format!("exec 5<{0} 7<{0} 8<{0}", outside.display()));
    fs::create_dir(before.rootfs("ways")).unwrap();
    let mut bundle = before;
    let config = bundle.config.clone();
    for n in 3..rounds(12, 40) {
        symlink(format!("/proc/self/fd/{n}"), bundle.rootfs(&format!("ways/{n}"))).unwrap();
        for way in [format!("/ways/{n}"), format!("/proc/self/fd/{n}")] {
            let tmpfs =
                json!({ "destination": format!("{way}/tmpfs"), "type": "tmpfs", "source": "x" });
            let device =
                json!({ "path": format!("{way}/device"), "type": "c", "major": 1, "minor": 3 });
            let cwd = format!("{way}/cwd");
            for (pointer, value) in
                [("/mounts/6", tmpfs), ("/linux/devices/0", device), ("/process/cwd", json!(cwd))]
            {
                bundle.config = config.clone();
                let list =
                    pointer.rsplit_once('/').filter(|(_, last)| last.parse::<usize>().is_ok());
                bundle = match list {
                    Some((list, _)) => bundle.push(list, value),
                    None => bundle.set(pointer, value),
                };
                let out = bundle.run(["true"]);
                assert!(
                    fs::read_dir(&outside).unwrap().next().is_none(),
                    "{pointer}, {way}: {out:?}"
                );
            }
        }
    }
    bundle.assert_nothing_left();
}

/// While init waits for `start`, a sibling in its pid namespace has all the time to look at it
/// (CVE-2016-9962). Seen to fail with `close_all_but` left out of `init/mod.rs`.
#[test]
fn init_waits_with_nothing_of_the_host_open() {
    let bundle = with_open_directories();
    let dir = bundle.dir().display().to_string();
    let c = bundle.create();
    let fds = format!("/proc/{}/fd", c.pid());
    for entry in fs::read_dir(&fds).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let target = link(format!("{fds}/{name}"));
        let is_stdio =
            name.parse::<u32>().unwrap() < 3 && (target == "/dev/null" || target.starts_with(&dir));
        assert!(
            is_stdio
                || ["socket:", "anon_inode:", "pipe:"].iter().any(|kind| target.starts_with(kind))
                || target.ends_with("exec.fifo"),
            "{name} is {target}"
        );
    }
}

/// CVE-2016-9962. The kernel shows by the owner of a process's files whether it is dumpable: in a
/// user namespace, whose root would be the owner if it were. Seen to fail with
/// `set_dumpable(false)` left out of `init/mod.rs`.
#[test]
fn init_cannot_be_looked_into_while_it_waits() {
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bundle = Bundle::busybox().push("/linux/namespaces", json!({ "type": "user" }));
    let c = bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids).create();
    let owner = std::os::unix::fs::MetadataExt::uid(
        &fs::metadata(format!("/proc/{}/environ", c.pid())).unwrap(),
    );
    assert_eq!(owner, 0, "not the container's root");
}
