//! Cgroups below the container's, by crun's annotations `run.oci.delegate-cgroup` and
//! `run.oci.systemd.subgroup`

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::support::{Bundle, Container, cgroups, json, systemd};

const DELEGATE: &str = "/annotations/run.oci.delegate-cgroup";
const SUBGROUP: &str = "/annotations/run.oci.systemd.subgroup";

/// The path in cgroup v2 of a process as the host sees it.
fn place(pid: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("cgroup v2");
    cgroups::v2_root().expect("cgroup v2 is mounted").join(path)
}

fn with_cgroupfs(bundle: Bundle) -> Bundle {
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] });
    bundle.push("/mounts", mount)
}

fn in_user_namespace(bundle: Bundle) -> Bundle {
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bundle = bundle.push("/linux/namespaces", json!({ "type": "user" }));
    bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids)
}

/// Every verb finds the processes: those of `own`, the container's cgroup, are in `sub` below it.
fn is_found_by_every_verb(c: &Container, own: &Path, sub: &str) {
    let inner = own.join(sub);
    assert_eq!(place(&c.pid().to_string()), inner);
    let seen = c.exec(&[], &["cat", "/proc/self/cgroup"]).ok();
    assert!(seen.lines().contains(&format!("0::/{sub}").as_str()), "exec is elsewhere: {seen:?}");
    c.exec(&["-d", "--pid-file", "pid"], &["sleep", "599"]).silent();
    let pid = c.bundle.read("pid");
    assert_eq!(place(&pid), inner);
    let ps = c.verb("ps").ok().stdout;
    assert!(ps.contains("sleep 600") && ps.contains("sleep 599"), "{ps}");
    c.verb("pause").silent();
    assert_eq!(c.status(), "paused");
    assert_eq!(cgroups::value(own, "cgroup.freeze"), "1");
    assert!(cgroups::value(&inner, "cgroup.events").contains("frozen 1"));
    c.verb("resume").silent();
    assert_eq!(c.status(), "running");
    if cgroups::has_v2("pids") {
        c.bundle.call(&["update", "--pids-limit", "33", c.id()]).silent();
        assert_eq!(cgroups::value(own, "pids.max"), "33");
        assert_eq!(cgroups::value(&inner, "pids.max"), "max");
        let events = c.bundle.call(&["events", "--stats", c.id()]).ok().stdout;
        assert!(events.contains(r#""pids":{"current":2"#), "{events}");
    }
    c.bundle.call(&["kill", "--all", c.id(), "KILL"]).silent();
    c.wait_status("stopped");
    c.delete();
    assert!(!own.exists(), "{}", own.display());
}

#[test]
fn the_processes_are_in_the_delegated_cgroup_and_the_limits_above() {
    differs!();
    needs!(cgroups::is_pure_v2(), "cgroup v2 alone");
    for path in ["work", "/a/./b/"] {
        let bundle = with_cgroupfs(Bundle::busybox()).set(DELEGATE, path).args(["sleep", "600"]);
        let bundle = if cgroups::has_v2("pids") {
            bundle.set("/linux/resources/pids/limit", 44)
        } else {
            bundle
        };
        let c = bundle.run_detached();
        let own = cgroups::v2(c.id());
        if cgroups::has_v2("pids") {
            assert_eq!(cgroups::value(&own, "pids.max"), "44");
        }
        is_found_by_every_verb(&c, &own, if path == "work" { "work" } else { "a/b" });
        c.bundle.assert_nothing_left();
    }
}

/// Its root manages what was delegated, and not the cgroup that has the limits.
#[test]
fn the_delegated_cgroup_belongs_to_the_containers_root() {
    differs!();
    needs!(cgroups::is_pure_v2(), "cgroup v2 alone");
    let script = "cd /sys/fs/cgroup; mkdir work/mine && echo 0 >work/mine/cgroup.procs && grep ^0 /proc/self/cgroup
                  mkdir no 2>/dev/null || echo refused; cd /; exec sleep 600";
    let c = in_user_namespace(with_cgroupfs(Bundle::busybox()))
        .set(DELEGATE, "work")
        .script(script)
        .run_detached();
    let own = cgroups::v2(c.id());
    c.wait_for("refused\n");
    assert_eq!(c.stdout(), "0::/work/mine\nrefused\n");
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        assert_eq!(
            (owner(&own.join(file)), owner(&own.join("work").join(file))),
            (0, 100_000),
            "{file}"
        );
    }
    c.exec(&[], &["true"]).silent();
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

/// A container that hands controllers on has no processes in the delegated cgroup itself: `exec`
/// joins its init.
#[test]
fn exec_goes_to_init_where_the_delegated_cgroup_has_controllers() {
    differs!();
    let controller = ["memory", "hugetlb", "misc"]
        .into_iter()
        .find(|name| cgroups::is_pure_v2() && cgroups::has_v2(name));
    needs!(controller.is_some(), "controller for whole processes on cgroup v2 alone");
    let script = format!(
        "cd /sys/fs/cgroup/work; mkdir in; echo 0 >in/cgroup.procs
         echo +{} >cgroup.subtree_control && echo ready; cd /; exec sleep 600",
        controller.unwrap()
    );
    let c = with_cgroupfs(Bundle::busybox()).set(DELEGATE, "work").script(&script).run_detached();
    c.wait_for("ready\n");
    let seen = c.exec(&[], &["cat", "/proc/self/cgroup"]).ok();
    assert!(seen.lines().contains(&"0::/work/in"), "{seen:?}");
}

#[test]
fn what_cannot_be_delegated_is_refused() {
    differs!();
    let bundle = || Bundle::busybox();
    if !cgroups::is_pure_v2() {
        bundle()
            .set(DELEGATE, "work")
            .refused()
            .names("annotations.run.oci.delegate-cgroup")
            .says("needs cgroup v2");
    }
    for path in ["..", "a/../b", "/", ".", "a\nb"] {
        let text = "is not the path of a cgroup below the container's";
        bundle().set(DELEGATE, path).refused().says("run.oci.delegate-cgroup").says(text);
    }
    let disabled = bundle().global(["--cgroup-manager", "disabled"]).set(DELEGATE, "work");
    disabled.refused().says("run.oci.delegate-cgroup").says("needs a cgroup");
}

/// Empty, it is as if it were not there, as with crun; and without systemd there is no unit to be
/// below of.
#[test]
fn an_empty_path_and_a_subgroup_of_no_unit_have_no_effect() {
    differs!();
    let mut bundle = Bundle::busybox().set(DELEGATE, "").set(SUBGROUP, "sub");
    let c = bundle.run(["cat", "/proc/self/cgroup"]).ok();
    assert!(!c.stdout.contains("sub"), "{c:?}");
    bundle.assert_nothing_left();
}

#[test]
fn a_container_that_manages_its_cgroup_is_not_checkpointed() {
    differs!();
    needs!(cgroups::is_pure_v2(), "cgroup v2 alone");
    let c = Bundle::busybox().set(DELEGATE, "work").args(["sleep", "600"]).run_detached();
    c.verb("checkpoint").refused().says("run.oci.delegate-cgroup").says("cannot be checkpointed");
    assert_eq!(c.status(), "running");
}

/// The container's cgroup is below the unit's, which has the limits as well.
#[test]
fn below_a_unit_there_can_be_the_containers_cgroup() {
    differs!();
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd with cgroup v2");
    for delegated in ["", "work"] {
        let bundle =
            with_cgroupfs(systemd::bundle()).set(SUBGROUP, "container").set(DELEGATE, delegated);
        let mut c =
            bundle.set("/linux/resources/pids/limit", 44).args(["sleep", "600"]).run_detached();
        c.bundle.forget_global();
        let unit = systemd::unit(&c.bundle);
        let own = systemd::cgroup(&c.bundle).join("container");
        assert_eq!(systemd::property(&unit, "TasksMax"), "44");
        assert_eq!(cgroups::value(&own, "pids.max"), "44");
        assert_eq!(place(&c.pid().to_string()), own.join(delegated));
        if delegated.is_empty() {
            let seen = c.exec(&[], &["cat", "/proc/self/cgroup"]).ok();
            assert!(seen.lines().contains(&"0::/"), "{seen:?}");
            c.bundle.call(&["update", "--pids-limit", "33", c.id()]).silent();
            assert_eq!(
                (systemd::property(&unit, "TasksMax"), cgroups::value(&own, "pids.max")),
                ("33".into(), "33".into())
            );
            c.delete_by_force();
        } else {
            is_found_by_every_verb(&c, &own, delegated);
        }
        systemd::assert_gone(&unit);
        c.bundle.assert_nothing_left();
    }
}

/// A unit that is there with processes of its own is not taken over, whatever the cgroup below is
/// called.
#[test]
fn a_unit_in_use_is_refused_also_for_a_cgroup_below_it() {
    differs!();
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd with cgroup v2");
    let first = systemd::bundle().args(["sleep", "600"]).run_detached();
    let path = first.bundle.config["linux"]["cgroupsPath"].clone();
    let second = Bundle::busybox()
        .global(["--systemd-cgroup"])
        .set("/linux/cgroupsPath", path)
        .set(SUBGROUP, "sub");
    second.try_create().refused().says("container's cgroup is not empty");
    assert_eq!(first.status(), "running");
}
