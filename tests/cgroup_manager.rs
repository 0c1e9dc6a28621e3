//! `--cgroup-manager`, crun's flag

use std::fs;

use crate::support::{Bundle, cgroups, json, systemd};

/// The cgroups of a process as the host sees them.
fn cgroups_of(pid: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
}

#[test]
fn disabled_leaves_the_container_in_its_callers_cgroup() {
    differs!();
    for v2 in [false, true] {
        if v2 && cgroups::v2_root().is_none() {
            continue;
        }
        let bundle =
            Bundle::busybox().global(["--cgroup-manager", "disabled"]).args(["sleep", "60"]);
        let mut c = if v2 { bundle.on_cgroup_v2() } else { bundle }.create();
        assert_eq!(cgroups_of(&c.pid().to_string()), cgroups_of("self"));
        assert!(cgroups::beginning_with(c.bundle.name()).is_empty());
        // The verbs that come later are called without the flag.
        c.bundle.forget_global();
        c.start();
        assert_eq!(
            c.exec(&[], &["cat", "/proc/self/cgroup"]).ok().stdout.lines().count(),
            cgroups_of("self").lines().count()
        );
        c.verb("pause").refused();
        c.bundle
            .call(&["update", "--pids-limit", "9", c.id()])
            .refused()
            .names("pids.limit")
            .says("not available");
        c.kill("KILL");
        c.wait_status("stopped");
        c.delete();
        c.bundle.assert_nothing_left();
    }
}

#[test]
fn disabled_shows_the_cgroup_filesystem() {
    differs!();
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] });
    let mut bundle = Bundle::busybox()
        .global(["--cgroup-manager", "disabled"])
        .on_cgroup_v2()
        .push("/mounts", mount);
    assert!(bundle.run(["ls", "/sys/fs/cgroup"]).ok().stdout.contains("cgroup.procs"));
    bundle.assert_nothing_left();
}

#[test]
fn disabled_refuses_limits_and_warns_of_a_path() {
    differs!();
    needs!(cgroups::has("memory") && cgroups::has("pids"), "controllers that could limit");
    let disabled = || Bundle::busybox().global(["--cgroup-manager", "disabled"]);
    let text = "without a cgroup (--cgroup-manager disabled)";
    disabled()
        .set("/linux/resources/memory/limit", 64 << 20)
        .refused()
        .names("linux.resources.memory.limit")
        .says(text);
    let mut bundle =
        disabled().set("/linux/cgroupsPath", "/nowhere").set("/linux/resources/pids/limit", -1);
    let out = bundle.run(["echo", "well"]).ok();
    assert!(
        out.stdout == "well\n"
            && out.stderr.contains("linux.cgroupsPath")
            && out.stderr.contains(text),
        "{out:?}"
    );
}

#[test]
fn the_other_managers_are_those_of_systemd_cgroup() {
    differs!();
    let bundle = Bundle::busybox().global(["--systemd-cgroup", "--cgroup-manager", "cgroupfs"]);
    let path = format!("/{}-m", bundle.id());
    let c = bundle.set("/linux/cgroupsPath", path.as_str()).create();
    assert!(cgroups_of(&c.pid().to_string()).contains(&path));
    let bundle =
        Bundle::busybox().global(["--cgroup-manager=systemd"]).set("/linux/cgroupsPath", "/a/b");
    let out = bundle.refused();
    let text =
        if systemd::runs() { "slice:prefix:name" } else { "systemd not running on this host" };
    out.says(text);
    let unknown = Bundle::busybox().global(["--cgroup-manager", "moon"]);
    unknown.try_create().refused().says("known: cgroupfs, systemd, disabled");
}
