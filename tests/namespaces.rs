//! `linux.namespaces`; the user namespace has a file of its own

use std::process::{Child, Command};
use std::time::Duration;

use crate::support::{Bundle, eventually, host_namespace, json, link};

/// Type in the configuration, name in /proc/PID/ns, flag of unshare(1).
const KINDS: &[(&str, &str, &str)] = &[
    ("pid", "pid", "--pid"),
    ("network", "net", "--net"),
    ("ipc", "ipc", "--ipc"),
    ("uts", "uts", "--uts"),
    ("mount", "mnt", "--mount"),
    ("cgroup", "cgroup", "--cgroup"),
    ("time", "time", "--time"),
    ("user", "user", "--user"),
];

/// A sleeping process in a namespace of its own.
#[derive(Debug)]
pub struct Helper {
    child: Child,
}

impl Helper {
    #[track_caller]
    pub fn unshared(kind: &str) -> Self {
        let (_, name, flag) = KINDS.iter().find(|(have, ..)| *have == kind).unwrap();
        let mut command = Command::new("unshare");
        command.arg(flag);
        if kind == "pid" {
            command.args(["--fork", "--kill-child"]);
        }
        let child = command
            .args(["--propagation=unchanged"][..usize::from(kind == "mount")].iter())
            .args(["sleep", "300"]);
        let helper = Helper { child: child.spawn().unwrap() };
        let own = || {
            std::fs::read_link(helper.path(kind))
                .is_ok_and(|link| link.to_string_lossy() != host_namespace(name))
        };
        assert!(eventually(Duration::from_secs(10), own), "unshare {flag}");
        helper
    }

    /// Of the namespace: that of the process itself, or for its children where those are different.
    pub fn path(&self, kind: &str) -> String {
        let (_, name, _) = KINDS.iter().find(|(have, ..)| *have == kind).unwrap();
        let for_children = if matches!(kind, "pid" | "time") { "_for_children" } else { "" };
        format!("/proc/{}/ns/{name}{for_children}", self.child.id())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn namespace_of(bundle: &mut Bundle, name: &str) -> String {
    bundle.run(["readlink", &format!("/proc/self/ns/{name}")]).ok().line().to_owned()
}

#[track_caller]
fn is_new(kind: &str) {
    let (_, name, _) = KINDS.iter().find(|(have, ..)| *have == kind).unwrap();
    assert_ne!(namespace_of(&mut Bundle::busybox(), name), host_namespace(name));
}

#[track_caller]
fn is_inherited(kind: &str) {
    let (_, name, _) = KINDS.iter().find(|(have, ..)| *have == kind).unwrap();
    let mut bundle = Bundle::busybox().without_namespace(kind);
    if kind == "uts" {
        bundle = bundle.remove("/hostname");
    }
    if kind == "network" {
        // A new sysfs belongs to whoever owns the network namespace.
        let sysfs = bundle.config["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .position(|mount| mount["type"] == "sysfs");
        bundle = bundle.remove(&format!("/mounts/{}", sysfs.unwrap()));
    }
    assert_eq!(namespace_of(&mut bundle, name), host_namespace(name));
}

#[track_caller]
fn is_joined(kind: &str) {
    let (_, name, _) = KINDS.iter().find(|(have, ..)| *have == kind).unwrap();
    let helper = Helper::unshared(kind);
    let path = helper.path(kind);
    let mut bundle = Bundle::busybox().without_namespace(kind);
    bundle = bundle.push("/linux/namespaces", json!({ "type": kind, "path": path }));
    assert_eq!(namespace_of(&mut bundle, name), link(&path));
    drop(helper);
    bundle.assert_nothing_left();
}

#[test]
fn a_pid_namespace_is_created() {
    is_new("pid");
    assert_eq!(Bundle::busybox().sh("echo $$").ok().line(), "1");
}

#[test]
fn a_network_namespace_is_created() {
    is_new("network");
}

#[test]
fn an_ipc_namespace_is_created() {
    is_new("ipc");
}

#[test]
fn a_uts_namespace_is_created() {
    is_new("uts");
}

#[test]
fn a_mount_namespace_is_created() {
    is_new("mount");
}

#[test]
fn a_cgroup_namespace_is_created() {
    is_new("cgroup");
}

#[test]
fn the_container_is_the_root_of_its_cgroup_namespace() {
    let out = Bundle::busybox().run(["cat", "/proc/self/cgroup"]).ok();
    assert!(out.lines().iter().all(|line| line.ends_with(":/")), "{out:?}");
}

#[test]
fn a_time_namespace_is_created() {
    differs!();
    let mut bundle = Bundle::busybox().push("/linux/namespaces", json!({ "type": "time" }));
    assert_ne!(namespace_of(&mut bundle, "time"), host_namespace("time"));
}

#[test]
fn time_offsets_shift_the_clocks() {
    differs!();
    let offsets = json!({ "monotonic": { "secs": 1_000_000 }, "boottime": { "secs": 2_000_000, "nanosecs": 5 } });
    let mut bundle = Bundle::busybox()
        .push("/linux/namespaces", json!({ "type": "time" }))
        .set("/linux/timeOffsets", offsets);
    let out = bundle.sh("cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime").ok();
    let words: Vec<_> = out.stdout.split_whitespace().collect();
    assert_eq!(words[..6], ["monotonic", "1000000", "0", "boottime", "2000000", "5"]);
    assert!(words[6].parse::<u64>().unwrap() >= 2_000_000, "{out:?}");
}

#[test]
fn time_offsets_without_a_time_namespace_are_refused() {
    differs!();
    let bundle = Bundle::busybox().set("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } }));
    bundle.refused().says("time namespace").names("timeOffsets");
}

#[test]
fn loopback_is_up_in_a_new_network_namespace() {
    let out = Bundle::busybox().run(["ifconfig", "lo"]).ok();
    assert!(
        out.stdout.contains("UP LOOPBACK RUNNING") && out.stdout.contains("127.0.0.1"),
        "{out:?}"
    );
}

#[test]
fn a_missing_pid_namespace_is_inherited() {
    is_inherited("pid");
}

#[test]
fn a_missing_network_namespace_is_inherited() {
    is_inherited("network");
}

#[test]
fn a_missing_ipc_namespace_is_inherited() {
    is_inherited("ipc");
}

#[test]
fn a_missing_uts_namespace_is_inherited() {
    is_inherited("uts");
}

#[test]
fn a_missing_cgroup_namespace_is_inherited() {
    is_inherited("cgroup");
}

#[test]
fn the_time_and_user_namespaces_are_inherited_by_default() {
    let mut bundle = Bundle::busybox();
    for name in ["time", "user"] {
        assert_eq!(namespace_of(&mut bundle, name), host_namespace(name));
    }
}

#[test]
fn a_pid_namespace_is_joined() {
    is_joined("pid");
}

#[test]
fn a_network_namespace_is_joined() {
    is_joined("network");
}

#[test]
fn an_ipc_namespace_is_joined() {
    is_joined("ipc");
}

#[test]
fn a_uts_namespace_is_joined() {
    is_joined("uts");
}

/// They would be made on the host, and stay there.
#[test]
fn mounts_without_a_mount_namespace_are_refused() {
    differs!();
    let bundle = Bundle::busybox().without_namespace("mount");
    bundle.refused().names("mounts").says("mount namespace");
    bundle.assert_nothing_left();
}

#[test]
fn a_mount_namespace_is_joined() {
    is_joined("mount");
}

#[test]
fn a_cgroup_namespace_is_joined() {
    is_joined("cgroup");
}

#[test]
fn a_time_namespace_is_joined() {
    differs!();
    is_joined("time");
}

#[test]
fn the_namespaces_of_another_container_are_joined() {
    let other = Bundle::busybox().args(["sleep", "60"]).run_detached();
    let mut bundle = Bundle::busybox().remove("/hostname");
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
        let path = format!("/proc/{}/ns/{name}", other.pid());
        bundle = bundle
            .without_namespace(kind)
            .push("/linux/namespaces", json!({ "type": kind, "path": path }));
    }
    let out = bundle
        .sh("for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; ls -d /proc/1")
        .ok();
    let of_other =
        ["net", "ipc", "uts", "pid"].map(|name| link(format!("/proc/{}/ns/{name}", other.pid())));
    assert_eq!(out.lines()[..4], of_other);
    assert_eq!(other.status(), "running");
}

#[test]
fn a_path_of_the_wrong_type_is_refused() {
    let helper = Helper::unshared("uts");
    let entry = json!({ "type": "ipc", "path": helper.path("uts") });
    let bundle = Bundle::busybox().without_namespace("ipc").push("/linux/namespaces", entry);
    bundle.refused().names("namespaces").names(&helper.path("uts"));
}

/// Whatever kind is asked for, another is not taken for it.
#[test]
fn a_path_of_another_type_is_refused_for_every_kind() {
    differs!();
    for (kind, ..) in KINDS {
        let path = format!("/proc/self/ns/{}", if *kind == "uts" { "ipc" } else { "uts" });
        let mut bundle = Bundle::busybox().without_namespace(kind);
        if *kind == "uts" {
            bundle = bundle.remove("/hostname");
        }
        let bundle = bundle.push("/linux/namespaces", json!({ "type": kind, "path": path }));
        bundle.refused().because("invalid argument").says(&path).names("linux.namespaces");
    }
}

#[test]
fn time_offsets_that_cannot_be_are_refused() {
    differs!();
    let new = || Bundle::busybox().push("/linux/namespaces", json!({ "type": "time" }));
    for (offsets, text) in [
        (json!({ "realtime": { "secs": 1 } }), "unknown clock"),
        (json!({ "monotonic": { "nanosecs": 1_000_000_000 } }), "invalid argument"),
        (json!({ "boottime": { "secs": i64::MAX } }), "numerical result out of range"),
    ] {
        new().set("/linux/timeOffsets", offsets).refused().because(text).names("linux.timeOffsets");
    }
    let path = "/proc/self/ns/time";
    let joined =
        Bundle::busybox().push("/linux/namespaces", json!({ "type": "time", "path": path }));
    joined
        .set("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } }))
        .refused()
        .says("new time namespace");
}

#[test]
fn a_path_that_is_no_namespace_is_refused() {
    let bundle = Bundle::busybox().without_namespace("ipc");
    let file = bundle.scratch("letter").to_str().unwrap().to_owned();
    std::fs::write(&file, "dear").unwrap();
    bundle
        .push("/linux/namespaces", json!({ "type": "ipc", "path": file }))
        .refused()
        .names("letter");
}

#[test]
fn a_path_that_does_not_exist_is_refused() {
    let entry = json!({ "type": "ipc", "path": "/nowhere/ipc" });
    let bundle = Bundle::busybox().without_namespace("ipc").push("/linux/namespaces", entry);
    bundle.refused().because("no such file or directory").says("/nowhere/ipc");
}

#[test]
fn a_relative_path_is_refused() {
    let entry = json!({ "type": "ipc", "path": "proc/self/ns/ipc" });
    Bundle::busybox()
        .without_namespace("ipc")
        .push("/linux/namespaces", entry)
        .refused()
        .names("namespaces");
}

#[test]
fn a_duplicate_namespace_is_refused() {
    for (kind, ..) in KINDS.iter().filter(|(kind, ..)| !matches!(*kind, "time" | "user")) {
        let bundle = Bundle::busybox().push("/linux/namespaces", json!({ "type": kind }));
        bundle.refused().says("duplicated ns").names("namespaces");
    }
}

#[test]
fn an_unknown_namespace_is_refused() {
    let bundle = Bundle::busybox().push("/linux/namespaces", json!({ "type": "galley" }));
    bundle.refused().says("galley").names("namespaces");
}

#[test]
fn all_processes_of_the_pid_namespace_end_with_the_first() {
    let mut bundle = Bundle::busybox();
    bundle.sh("setsid sleep 60 > /dev/null 2>&1 & exit 0").ok();
    bundle.assert_nothing_left();
}
