//! An ordinary user's containers: no cgroup where he may make none, and units of his own systemd

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::{Bundle, cgroups, eventually, runtime, systemd};

fn bundle() -> Bundle {
    Bundle::busybox().by_user(systemd::USER)
}

/// A bundle whose cgroup the user's systemd makes.
fn by_systemd() -> Bundle {
    let directory = format!("/run/user/{}", systemd::USER);
    systemd::in_slice("user.slice").by_user(systemd::USER).env("XDG_RUNTIME_DIR", &directory)
}

#[test]
fn without_limits_no_cgroup_is_needed() {
    let mut bundle = bundle();
    assert_eq!(bundle.run(["id", "-u"]).ok().stdout, "0\n");
    bundle.assert_nothing_left();
    let c = Bundle::busybox().by_user(systemd::USER).args(["sleep", "600"]).create();
    c.start();
    // It is where the runtime was.
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap(), own);
    assert_eq!(c.status(), "running");
    c.exec(&[], &["true"]).ok();
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

/// Then nothing tells which processes are the container's, and `kill` cannot reach them all.
#[test]
fn no_cgroup_and_no_pid_namespace_is_a_warning() {
    differs!();
    let warning = "no cgroup and no private pid namespace";
    let out = bundle().run(["true"]).ok();
    assert!(!out.stderr.contains(warning), "{out:?}");
    let proc =
        json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]});
    let bundle = bundle().without_namespace("pid").set("/mounts/0", proc);
    let out = { bundle }.run(["true"]).ok();
    assert!(out.stderr.contains(warning), "{out:?}");
}

#[test]
fn a_limit_without_the_right_to_a_cgroup_is_refused() {
    needs!(cgroups::has("pids"), "pids controller");
    let out = bundle().set("/linux/resources/pids/limit", 5).refused();
    if cgroups::is_pure_v2() {
        out.says(
            "rootless needs no limits + no cgrouppath when no permission is granted for cgroups",
        );
    }
}

#[test]
fn a_path_without_the_right_to_it_is_refused() {
    let bundle = bundle();
    let path = format!("/{}", bundle.name());
    bundle.set("/linux/cgroupsPath", path).refused().says("permission denied");
}

/// A directory in every hierarchy of cgroup v1, which belongs to the user; removed with this value.
struct Delegated(Vec<PathBuf>);

impl Delegated {
    fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let of_v1 = fields.filter(|fields| fields[2] == "cgroup");
        let made = Self(of_v1.map(|fields| Path::new(fields[1]).join(name)).collect());
        for dir in &made.0 {
            fs::create_dir(dir).unwrap();
            let owner = format!("{0}:{0}", systemd::USER);
            assert!(
                Command::new("chown").args(["-R", &owner]).arg(dir).status().unwrap().success()
            );
        }
        made
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for dir in &self.0 {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Where cgroup v2 is beside cgroup v1 it limits nothing, and the right to make cgroups there is
/// not needed.
#[test]
fn the_hierarchies_of_cgroup_v1_are_enough() {
    needs!(cgroups::has_both() && cgroups::has_v1("pids"), "cgroup v2 beside cgroup v1");
    let bundle = bundle();
    let (parent, leaf) = (format!("{}-p", bundle.id()), format!("{}-c", bundle.id()));
    let delegated = Delegated::new(&parent);
    let path = format!("/{parent}/{leaf}");
    let bundle = bundle.set("/linux/cgroupsPath", path).set("/linux/resources/pids/limit", 42);
    let c = bundle.args(["sleep", "600"]).create();
    c.start();
    let dir = cgroups::v1_root("pids").unwrap().join(&parent).join(&leaf);
    assert_eq!(cgroups::value(&dir, "pids.max"), "42");
    c.exec(&[], &["true"]).ok();
    c.delete_by_force();
    drop(delegated);
    c.bundle.assert_nothing_left();
}

#[test]
fn the_users_systemd_makes_the_cgroup() {
    differs!();
    needs!(
        systemd::runs_for_user() && cgroups::is_pure_v2(),
        "systemd for user 1000, on cgroup v2"
    );
    let mut c = by_systemd()
        .set("/linux/resources/pids/limit", 66)
        .set("/linux/resources/memory/limit", 64 << 20)
        .args(["sleep", "600"])
        .create();
    c.start();
    c.bundle.forget_global();
    let unit = systemd::unit(&c.bundle);
    let cgroup = cgroups::v2(&unit);
    let own = format!("user@{}.service/user.slice/{unit}", systemd::USER);
    assert!(cgroup.ends_with(&own), "{cgroup:?}");
    assert_eq!(cgroups::value(&cgroup, "pids.max"), "66");
    assert_eq!(cgroups::value(&cgroup, "memory.max"), (64 << 20).to_string());
    assert_eq!(systemd::user_property(&unit, "TasksMax"), "66");
    let exec = c.exec(&[], &["sh", "-c", "sleep 0.1; cat /proc/self/cgroup"]).ok();
    assert!(exec.stdout.ends_with(":/\n"), "{exec:?}");
    c.bundle.call(&["update", "--pids-limit", "55", c.id()]).ok();
    assert_eq!(cgroups::value(&cgroup, "pids.max"), "55");
    assert_eq!(systemd::user_property(&unit, "TasksMax"), "55");
    c.verb("pause").silent();
    assert_eq!(c.status(), "paused");
    c.verb("resume").silent();
    c.delete_by_force();
    let gone = || systemd::user_property(&unit, "LoadState") == "not-found";
    assert!(eventually(runtime::time_limit(), gone));
    c.bundle.assert_nothing_left();
}

/// systemd gives its users cpu, memory and pids; the error says what is missing, and what to do
/// about it.
#[test]
fn a_controller_that_is_not_delegated_is_named() {
    differs!();
    needs!(
        systemd::runs_for_user() && cgroups::is_pure_v2(),
        "systemd for user 1000, on cgroup v2"
    );
    let controllers =
        format!("user.slice/user-{0}.slice/user@{0}.service/cgroup.controllers", systemd::USER);
    let controllers = fs::read_to_string(cgroups::v2_root().unwrap().join(controllers)).unwrap();
    needs!(!controllers.contains("cpuset"), "controller that is kept from users");
    let out = by_systemd().set("/linux/resources/cpu/cpus", "0").refused();
    out.says("linux.resources.cpu.cpus")
        .says("\"cpuset\" is not available")
        .says("Delegate=cpu cpuset io memory pids");
}

#[test]
fn without_the_users_bus_the_error_says_what_to_do() {
    needs!(systemd::runs(), "systemd");
    let bundle = systemd::in_slice("user.slice").by_user(systemd::USER);
    let bundle = bundle.after("unset XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS");
    bundle.refused().says("DBUS_SESSION_BUS_ADDRESS").says("dbus-user-session");
}

/// Where all hierarchies are read-only.
#[test]
fn the_flag_says_whether_to_do_without() {
    let read_only = "for at in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/self/mounts); do mount -o remount,bind,ro $at; done";
    let bundle = |value| Bundle::busybox().after(read_only).global(["--rootless", value]);
    bundle("true").run(["true"]).ok();
    bundle("false").refused();
}
