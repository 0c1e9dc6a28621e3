//! A descriptor of a host directory that is open somewhere in the runtime, by accident or because
//! the caller left it, is no way out.
//!
//! Each test says how it was seen to fail.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

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

/// The device and the inode of the standard streams. Those of the host's /dev/null are different.
const STREAMS: &str = "for n in 0 1 2; do stat -L -c %d:%i /proc/self/fd/$n >&3; done";

/// A bundle whose standard streams are the host's /dev/null, with a file as descriptor 3.
fn with_null_streams(bundle: &Bundle) -> String {
    format!("exec </dev/null >/dev/null 2>&1 3>>{}", bundle.dir().join("seen").display())
}

#[track_caller]
fn are_not_the_hosts(seen: &Path) {
    let hosts = fs::metadata("/dev/null").unwrap();
    let hosts = format!("{}:{}", hosts.dev(), hosts.ino());
    let seen = fs::read_to_string(seen).unwrap();
    assert_eq!(seen.lines().count(), 3, "{seen}");
    assert!(!seen.lines().any(|line| line == hosts), "{seen}");
}

/// Root of the container could change the mode and the owner of the host's /dev/null. Seen to fail
/// with `null::replace` left out of `init/handover.rs`.
#[test]
fn the_null_device_of_the_host_is_no_standard_stream() {
    let bundle = Bundle::busybox().flags(["--preserve-fds", "1"]);
    let streams = with_null_streams(&bundle);
    let mut bundle = bundle.after(&streams);
    bundle.sh(STREAMS);
    are_not_the_hosts(&bundle.dir().join("seen"));
}

/// As above.
#[test]
fn the_null_device_of_the_host_is_no_standard_stream_of_exec() {
    let bundle = Bundle::busybox();
    let streams = with_null_streams(&bundle);
    let bundle = bundle.args(["sleep", "600"]).after(&streams);
    let seen = bundle.dir().join("seen");
    let c = bundle.run_detached();
    c.exec(&["--preserve-fds", "1"], &["sh", "-c", STREAMS]);
    are_not_the_hosts(&seen);
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
    let owner = MetadataExt::uid(&fs::metadata(format!("/proc/{}/environ", c.pid())).unwrap());
    assert_eq!(owner, 0, "not the container's root");
}
