//! `--systemd-cgroup`: the container's cgroup is a unit of systemd's

use std::fs;

use crate::faults::at_once;
use crate::support::{Bundle, cgroups, config, eventually, json, runtime, systemd};

#[test]
fn without_systemd_it_is_refused() {
    if systemd::runs() {
        eprintln!("skipped: this machine has systemd");
        return;
    }
    let bundle = systemd::bundle();
    bundle.refused().says("systemd not running on this host, cannot use systemd cgroups manager");
}

#[test]
fn a_path_that_names_no_unit_is_refused() {
    needs!(systemd::runs(), "systemd");
    let bundle = systemd::bundle().set("/linux/cgroupsPath", "/a/b");
    let text = "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead";
    bundle.refused().says(text);
    systemd::in_slice("a--b.slice").refused().says("invalid slice name: a--b.slice");
}

#[test]
fn the_cgroup_is_a_scope_in_the_slice() {
    needs!(systemd::runs(), "systemd");
    for (slice, path) in [
        ("system.slice", "/system.slice/"),
        ("orl-op.slice", "/orl.slice/orl-op.slice/"),
        ("-.slice", "/"),
    ] {
        let c = systemd::in_slice(slice).args(["sleep", "600"]).create();
        c.start();
        let unit = systemd::unit(&c.bundle);
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
        assert!(cgroup.lines().any(|line| line.ends_with(&format!(":{path}{unit}"))), "{cgroup}");
        for (name, value) in [
            ("ActiveState", "active"),
            ("Slice", slice),
            ("Delegate", "yes"),
            ("DefaultDependencies", "no"),
            ("MemoryAccounting", "yes"),
            ("TasksAccounting", "yes"),
        ] {
            assert_eq!(systemd::property(&unit, name), value, "{name}");
        }
        assert!(systemd::property(&unit, "Description").contains("container x"));
        c.kill("KILL");
        c.wait_status("stopped");
        c.delete();
        systemd::assert_gone(&unit);
        c.bundle.assert_nothing_left();
    }
}

#[test]
fn without_a_path_the_scope_has_the_containers_id() {
    needs!(systemd::runs(), "systemd");
    let c = Bundle::busybox().global(["--systemd-cgroup"]).create();
    let unit = format!("runc-{}.scope", c.id());
    assert_eq!(systemd::property(&unit, "ControlGroup"), format!("/system.slice/{unit}"));
    c.delete_by_force();
    systemd::assert_gone(&unit);
}

/// containerd's shim deletes, Podman execs and pauses without the flag.
#[test]
fn verbs_after_create_need_no_flag() {
    needs!(systemd::runs(), "systemd");
    let mut c = systemd::bundle().args(["sleep", "600"]).create();
    c.bundle.forget_global();
    c.start();
    let unit = systemd::unit(&c.bundle);
    let cgroup = c.exec(&[], &["cat", "/proc/self/cgroup"]).ok();
    assert!(cgroup.stdout.contains(":/\n"), "the root of its cgroup namespace: {cgroup:?}");
    c.verb("pause").silent();
    assert_eq!(c.status(), "paused");
    c.verb("resume").silent();
    assert_eq!(c.status(), "running");
    c.bundle.call(&["update", "--pids-limit", "77", c.id()]).ok();
    assert_eq!(systemd::property(&unit, "TasksMax"), "77");
    let ps = c.verb("ps").ok();
    assert!(ps.stdout.contains("sleep 600"), "{ps:?}");
    c.delete_by_force();
    systemd::assert_gone(&unit);
    c.bundle.assert_nothing_left();
}

#[test]
fn annotations_are_properties_of_the_unit() {
    needs!(systemd::runs(), "systemd");
    let c = systemd::bundle()
        .set("/annotations/org.systemd.property.TimeoutStopSec", "int32 91")
        .set("/annotations/org.systemd.property.CollectMode", "'inactive-or-failed'")
        .set("/annotations/org.systemd.property.After", "['tmp.mount', 'dbus.service']")
        .create();
    let unit = systemd::unit(&c.bundle);
    assert_eq!(systemd::property(&unit, "TimeoutStopUSec"), "1min 31s");
    assert_eq!(systemd::property(&unit, "CollectMode"), "inactive-or-failed");
    assert!(systemd::property(&unit, "After").contains("dbus.service"));
}

#[test]
fn annotations_that_are_no_properties_are_refused() {
    needs!(systemd::runs(), "systemd");
    for (name, value) in [
        ("TimeoutStopSec", "'soon'"),
        ("TimeoutStopSec", "nonsense"),
        ("X1", "1"),
        // systemd itself says no to these.
        ("NoSuchThing", "1"),
        ("TimeoutStopUSec", "'text'"),
    ] {
        let bundle =
            systemd::bundle().set(&format!("/annotations/org.systemd.property.{name}"), value);
        let unit = systemd::unit(&bundle);
        bundle.refused();
        systemd::assert_gone(&unit);
    }
}

#[test]
fn a_create_that_fails_leaves_no_unit() {
    needs!(systemd::runs(), "systemd");
    let bundle = systemd::bundle().args(["/no/such/program"]);
    let unit = systemd::unit(&bundle);
    bundle.refused();
    systemd::assert_gone(&unit);
}

/// The second container must not end with the first one's unit, nor the other way round.
#[test]
fn a_unit_that_is_there_is_not_taken_over() {
    needs!(systemd::runs(), "systemd");
    let c = systemd::bundle().args(["sleep", "600"]).create();
    c.start();
    let path = format!("system.slice:{}:x", c.bundle.name());
    let other = Bundle::busybox().global(["--systemd-cgroup"]).set("/linux/cgroupsPath", path);
    other.refused();
    assert_eq!(c.status(), "running");
    assert_eq!(systemd::property(&systemd::unit(&c.bundle), "ActiveState"), "active");
}

/// What the unit's cgroup is in the way of is said in the words of the other driver.
#[test]
fn a_cgroup_that_is_in_use_or_frozen_is_refused() {
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    let c = systemd::bundle().args(["sleep", "600"]).create();
    let path = format!("system.slice:{}:x", c.bundle.name());
    let other = Bundle::busybox().global(["--systemd-cgroup"]).set("/linux/cgroupsPath", path);
    other.refused().says("container's cgroup is not empty: 1 process(es) found");
    c.delete_by_force();

    let bundle = systemd::bundle();
    let dir = std::path::Path::new("/sys/fs/cgroup/system.slice").join(systemd::unit(&bundle));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("cgroup.freeze"), "1").unwrap();
    let out = at_once(|| bundle.try_create());
    fs::remove_dir(&dir).unwrap();
    out.refused().says("container's cgroup unexpectedly frozen");
    systemd::assert_gone(&systemd::unit(&bundle));
}

#[test]
fn no_unit_is_made_in_a_frozen_slice() {
    differs!();
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    let neighbour = systemd::in_slice("orlopfrozen.slice").args(["sleep", "600"]).run_detached();
    let slice = std::path::Path::new("/sys/fs/cgroup/orlopfrozen.slice");
    fs::write(slice.join("cgroup.freeze"), "1").unwrap();
    let bundle = systemd::in_slice("orlopfrozen.slice");
    let out = at_once(|| bundle.try_create());
    fs::write(slice.join("cgroup.freeze"), "0").unwrap();
    out.refused().says("frozen").says("/sys/fs/cgroup/orlopfrozen.slice");
    systemd::assert_gone(&systemd::unit(&bundle));
    neighbour.delete_by_force();
}

/// systemd keeps failed units for people to look at; `delete` takes this one away too.
#[test]
fn the_unit_of_a_container_out_of_memory_is_gone_with_it() {
    needs!(systemd::runs() && cgroups::has("memory"), "systemd and a memory controller");
    let c = systemd::bundle()
        .set("/linux/resources/memory/limit", 16 << 20)
        .script("tail /dev/zero; sleep 1")
        .create();
    c.start();
    c.wait_status("stopped");
    let unit = systemd::unit(&c.bundle);
    c.delete();
    systemd::assert_gone(&unit);
    // The name can be used again.
    let again = Bundle::busybox().global(["--systemd-cgroup"]);
    let again = again.set("/linux/cgroupsPath", format!("system.slice:{}:x", c.bundle.name()));
    again.create().delete_by_force();
}

/// The runtime dies in the middle: init ends with it, and systemd ends the scope.
#[test]
fn a_killed_run_leaves_no_unit() {
    needs!(systemd::runs(), "systemd");
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "sleep 600"] });
    let bundle = systemd::bundle().push("/hooks/createRuntime", hook);
    let unit = systemd::unit(&bundle);
    let running = bundle.run_in_background();
    assert!(
        eventually(runtime::time_limit(), || systemd::property(&unit, "ActiveState") == "active")
    );
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.wait();
    bundle.call(&["delete", "--force", bundle.id()]).ok();
    systemd::assert_gone(&unit);
}

/// What runs in a user namespace of its own and can write to its cgroup filesystem owns its cgroup,
/// and nothing that holds its limits.
#[test]
fn the_user_of_a_writable_cgroup_filesystem_owns_the_cgroup() {
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    owns_its_cgroup(systemd::bundle(), &|bundle| systemd::cgroup(bundle));
}

pub fn owns_its_cgroup(bundle: Bundle, cgroup: &dyn Fn(&Bundle) -> std::path::PathBuf) {
    use std::os::unix::fs::MetadataExt;
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let mount = |options: &[&str]| {
        let options: Vec<&str> =
            ["nosuid", "noexec", "nodev"].iter().chain(options).copied().collect();
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options })
    };
    let with = |mut bundle: Bundle, options: &[&str]| {
        config::push(&mut bundle.config, "/linux/namespaces", json!({ "type": "user" }));
        config::set(&mut bundle.config, "/linux/uidMappings", ids.clone());
        config::set(&mut bundle.config, "/linux/gidMappings", ids.clone());
        config::push(&mut bundle.config, "/mounts", mount(options));
        bundle
            .set("/linux/resources/pids/limit", 50)
            .set("/process/user", json!({ "uid": 5, "gid": 5 }))
    };
    let c =
        with(bundle, &["rw"]).script("mkdir /sys/fs/cgroup/sub && echo made; sleep 600").create();
    c.start();
    c.wait_for("made");
    let at = cgroup(&c.bundle);
    let owner = |file: &str| fs::metadata(at.join(file)).unwrap().uid();
    assert_eq!(
        (owner(""), owner("cgroup.procs"), owner("cgroup.subtree_control")),
        (100_005, 100_005, 100_005)
    );
    assert_eq!((owner("pids.max"), owner("cgroup.freeze"), owner("memory.max")), (0, 0, 0));
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}
