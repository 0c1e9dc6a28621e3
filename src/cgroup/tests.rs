//! Tests on the real kernel, as root: on the hierarchies of the machine, and on a private mount of
//! cgroup v2.

#![allow(clippy::disallowed_methods, reason = "the ban on starting programs is for the runtime")]

mod threads;
mod update;

use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::{Cgroup, CgroupMembership};
use crate::error::{Failure, Report, Result};
use crate::host::cgroups::CgroupLayout;
use crate::kernel::{CgroupPaths, HierarchyName};
use crate::plan::Problems;
use crate::plan::cgroup::{self, CgroupPlan, LegacyDir};
use crate::plan::resources::{self, ResourcePlan};

/// Runs `test` on cgroup v2 only, in a mount namespace of its own.
fn on_v2(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("unshare");
            let none: Option<&Path> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
                .expect("make-rprivate");
            mount(Some("none"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), none)
                .expect("mount cgroup2");
            test();
        });
    });
}

/// Runs `test` if the machine has cgroup v1.
fn on_v1(test: impl FnOnce()) {
    if nix::unistd::geteuid().is_root() && layout().has("devices") && !layout().is_unified() {
        test();
    }
}

fn layout() -> CgroupLayout {
    CgroupLayout::probe().expect("probe")
}

/// The plan of a cgroup with a unique name.
fn place(name: &str) -> CgroupPlan {
    let path = format!("/orlop-test-{}-{name}", std::process::id());
    let mut problems = Problems::default();
    let plan = cgroup::decide(&path, "unused", &layout(), &mut problems);
    problems.into_result().expect("path");
    plan
}

fn create(name: &str) -> Cgroup {
    Cgroup::create(&place(name), &ResourcePlan::default()).expect("create")
}

fn limits(config: &str) -> Result<ResourcePlan> {
    let resources = serde_json::from_str(config)?;
    let mut problems = Problems::default();
    let plan = resources::decide(&resources, &layout(), &mut problems);
    problems.into_result()?;
    Ok(plan)
}

fn directory(cgroup: &Cgroup, controller: &str) -> PathBuf {
    let mut paths = cgroup.paths().iter();
    let found = paths.find(|(name, _)| String::from((*name).clone()) == controller);
    found.unwrap_or_else(|| panic!("no {controller}")).1.to_owned()
}

fn content(cgroup: &Cgroup, controller: &str, file: &str) -> String {
    fs::read_to_string(directory(cgroup, controller).join(file)).expect(file).trim().to_owned()
}

fn present(path: &Path) -> bool {
    fs::metadata(path).is_ok()
}

/// A shell that waits for a line before it runs `script`, so that it can be added to the cgroup
/// first.
struct Shell(Child);

impl Shell {
    fn new(script: &str) -> Self {
        let script = format!("read line; {script}");
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command.spawn().expect("sh"))
    }

    fn pid(&self) -> i32 {
        self.0.id().try_into().expect("pid")
    }

    fn go(&mut self) {
        self.0.stdin.as_mut().expect("stdin").write_all(b"go\n").expect("write");
    }

    fn output(mut self) -> String {
        self.go();
        let mut text = String::new();
        self.0.stdout.as_mut().expect("stdout").read_to_string(&mut text).expect("read");
        text
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The device accesses that succeed in the cgroup.
fn devices(cgroup: &Cgroup) -> String {
    let script = "(exec 3</dev/null) && echo null; (exec 3<>/dev/zero) && echo zero; (exec 3</dev/kmsg) && echo kmsg; \
        (exec 3>/dev/kmsg) && echo kmsg-w; exit 0";
    let shell = Shell::new(script);
    cgroup.add(shell.pid(), CgroupMembership::Outside).expect("add");
    shell.output().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn life(name: &str) {
    let mut cgroup = create(name);
    for (_, path) in cgroup.paths().iter() {
        assert!(present(path), "{path:?}");
    }
    cgroup.set(&limits("{}").expect("plan")).expect("set");
    assert!(cgroup.procs().expect("procs").is_empty());
    let mut shell = Shell::new("while :; do sleep 0.01; done");
    cgroup.add(shell.pid(), CgroupMembership::Outside).expect("add");
    shell.go();
    assert!(cgroup.procs().expect("procs").contains(&shell.pid()));
    let error = Cgroup::create(&place(name), &ResourcePlan::default()).expect_err("not empty");
    assert!(
        matches!(error.downcast_ref(), Some(Failure::WrongStatus(reason)) if reason.text.contains("not empty")),
        "{error:#}"
    );

    assert!(!cgroup.frozen().expect("frozen"));
    cgroup.freeze().expect("freeze");
    assert!(cgroup.frozen().expect("frozen"));
    let reopened = Cgroup::open(cgroup.paths());
    assert!(reopened.frozen().expect("frozen"));
    reopened.thaw().expect("thaw");
    assert!(!cgroup.frozen().expect("frozen"));
    drop(reopened);

    cgroup.freeze().expect("freeze");
    cgroup.kill().expect("kill");
    let started = Instant::now();
    shell.0.wait().expect("wait");
    cgroup.destroy().expect("destroy");
    assert!(started.elapsed() < Duration::from_secs(1));
    cgroup.destroy().expect("destroy again");
    cgroup.kill().expect("kill what is gone");
    assert!(cgroup.procs().expect("procs").is_empty());
    assert!(!cgroup.frozen().expect("frozen"));
    assert!(!cgroup.oom_killed());
    for (_, path) in cgroup.paths().iter() {
        assert!(!present(path), "{path:?}");
    }
    cgroup.keep();
}

#[test]
fn a_life_on_v1() {
    on_v1(|| life("life1"));
}

#[test]
fn a_life_on_v2() {
    on_v2(|| life("life2"));
}

fn undo(name: &str) {
    let cgroup = create(&format!("{name}/a/b"));
    let paths = cgroup.paths().clone();
    let sub = directory(&cgroup, "").join("sub");
    fs::create_dir(&sub).expect("mkdir");
    drop(Cgroup::open(&paths));
    assert!(present(&sub));
    drop(cgroup);
    for (_, path) in paths.iter() {
        assert!(!present(path), "{path:?}");
        assert!(!present(path.parent().and_then(Path::parent).expect("parent")), "{path:?}");
    }

    // Existing settings are kept.
    let mut kept = create(name);
    kept.keep();
    drop(Cgroup::create(&place(name), &ResourcePlan::default()).expect("take over"));
    assert!(present(&directory(&kept, "")));
    kept.freeze().expect("freeze");
    let error = Cgroup::create(&place(name), &ResourcePlan::default()).expect_err("frozen");
    let frozen = error.to_string();
    assert!(
        frozen.starts_with("container's cgroup unexpectedly frozen: /") && frozen.contains(name),
        "{frozen}"
    );
    drop(kept);
    Cgroup::open(&paths_of(name)).destroy().expect("destroy");
}

fn paths_of(name: &str) -> CgroupPaths {
    match place(name) {
        CgroupPlan::Unified { dir, .. } => CgroupPaths::v2(dir.full()),
        CgroupPlan::Legacy { dirs, unified } => {
            let v1 =
                |dir: &LegacyDir| (HierarchyName::V1(dir.controllers[0].clone()), dir.dir.full());
            let v2 = unified.iter().map(|dir| (HierarchyName::V2, dir.full()));
            dirs.iter().map(v1).chain(v2).collect()
        }
    }
}

#[test]
fn what_was_made_is_undone_on_v1() {
    on_v1(|| undo("undo1"));
}

#[test]
fn what_was_made_is_undone_on_v2() {
    on_v2(|| undo("undo2"));
}

#[test]
fn limits_are_in_the_files_of_v1() {
    on_v1(|| {
        let cgroup = create("limits");
        let config = r#"{"memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432, "swappiness": 10},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 1000, "cpus": "0"}, "pids": {"limit": 20},
            "devices": [{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}"#;
        cgroup.set(&limits(config).expect("plan")).expect("set");
        for (controller, file, value) in [
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("memory", "memory.memsw.limit_in_bytes", "134217728"),
            ("memory", "memory.soft_limit_in_bytes", "33554432"),
            ("memory", "memory.swappiness", "10"),
            ("cpu", "cpu.shares", "512"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
            ("cpu", "cpu.cfs_period_us", "100000"),
            ("cpu", "cpu.cfs_burst_us", "1000"),
            ("cpuset", "cpuset.cpus", "0"),
            ("cpuset", "cpuset.mems", "0"),
            ("pids", "pids.max", "20"),
        ] {
            assert_eq!(content(&cgroup, controller, file), value, "{file}");
        }
        let list = content(&cgroup, "devices", "devices.list");
        assert!(list.lines().any(|line| line == "c 1:11 r"), "{list}");
        assert_eq!(list.lines().count(), 12, "{list}");
        assert_eq!(devices(&cgroup), "null zero kmsg");

        // Higher and lower values at the same time, and no limit.
        for (limit, swap) in
            [(268_435_456, 536_870_912), (16_777_216, 16_777_216), (33_554_432, 67_108_864)]
        {
            let config = format!(r#"{{"memory": {{"limit": {limit}, "swap": {swap}}}}}"#);
            cgroup.set(&limits(&config).expect("plan")).expect("set");
            assert_eq!(content(&cgroup, "memory", "memory.limit_in_bytes"), limit.to_string());
            assert_eq!(content(&cgroup, "memory", "memory.memsw.limit_in_bytes"), swap.to_string());
        }
        let config = r#"{"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1, "period": 5000}}"#;
        cgroup.set(&limits(config).expect("plan")).expect("set");
        assert_eq!(content(&cgroup, "pids", "pids.max"), "max");
        assert!(content(&cgroup, "memory", "memory.limit_in_bytes").len() > 15);
        assert_eq!(content(&cgroup, "cpu", "cpu.cfs_quota_us"), "-1");
    });
}

#[test]
fn a_refused_limit_says_which_and_where() {
    on_v1(|| {
        let cgroup = create("refused");
        let error =
            cgroup.set(&limits(r#"{"cpu": {"quota": 1}}"#).expect("plan")).expect_err("too small");
        let file = directory(&cgroup, "cpu").join("cpu.cfs_quota_us");
        let expected =
            format!("linux.resources.cpu.quota: write({file:?}, \"1\"): invalid argument");
        assert_eq!(format!("{error:#}"), expected);
        let report = Report::of(&error);
        assert_eq!((report.key.as_str(), report.errno), ("/linux/resources/cpu/quota", 22));
        let error = limits(r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}"#)
            .expect_err("no hugetlb");
        let expected = "linux.resources.hugepageLimits[0].limit: cgroup controller \"hugetlb\" is not available";
        assert_eq!(format!("{error:#}"), expected);
    });
}

#[test]
fn an_oom_kill_is_seen_on_v1() {
    on_v1(|| {
        let cgroup = create("oom");
        let config = r#"{"memory": {"limit": 4194304, "swap": 4194304}}"#;
        cgroup.set(&limits(config).expect("plan")).expect("set");
        assert!(!cgroup.oom_killed());
        let mut shell = Shell::new("exec tail /dev/zero");
        cgroup.add(shell.pid(), CgroupMembership::Outside).expect("add");
        shell.go();
        assert!(!shell.0.wait().expect("wait").success());
        assert!(cgroup.oom_killed());
    });
}

#[test]
fn devices_are_judged_on_v2() {
    const KMSG: &str =
        r#"{"devices": [{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}"#;
    const ALL: &str = r#"{"devices": [{"allow": true, "access": "rwm"}]}"#;
    const HOLE: &str = r#"{"devices": [{"allow": true, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "access": "w"},
        {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"}]}"#;
    on_v2(|| {
        for first in ["{}", KMSG, ALL, HOLE] {
            let cgroup = create("devices");
            let expect = |config: &str| match config {
                KMSG => "null zero kmsg",
                ALL => "null zero kmsg kmsg-w",
                HOLE => "null kmsg kmsg-w",
                _ => "null zero",
            };
            cgroup.set(&limits(first).expect("plan")).expect("set");
            assert_eq!(devices(&cgroup), expect(first), "{first}");
            cgroup.set(&limits(first).expect("plan")).expect("set again");
            // Replaced and removed by a process that has not attached it.
            let reopened = Cgroup::open(cgroup.paths());
            for second in [ALL, KMSG, "{}", HOLE, ALL] {
                reopened.set(&limits(second).expect("plan")).expect("set");
                assert_eq!(devices(&cgroup), expect(second), "{first} then {second}");
            }
        }
    });
}

#[test]
fn the_verifier_takes_many_rules() {
    on_v2(|| {
        let rule = |index: u32| {
            let (allow, access) =
                [(true, "r"), (false, "w"), (true, "rwm"), (false, "m")][index as usize % 4];
            format!(
                r#"{{"allow": {allow}, "type": "b", "major": {}, "minor": {index}, "access": "{access}"}}"#,
                index % 7
            )
        };
        let rules: Vec<_> = (0..1000).map(rule).collect();
        let cgroup = create("many");
        let config = format!(r#"{{"devices": [{}]}}"#, rules.join(","));
        cgroup.set(&limits(&config).expect("plan")).expect("set");
    });
}

#[test]
fn limits_on_v2_need_their_controllers() {
    on_v2(|| {
        let cgroup = create("limits");
        let config = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}], "unified": {"cgroup.max.depth": "3"}}"#;
        if layout().has("hugetlb") {
            cgroup.set(&limits(config).expect("plan")).expect("set");
            assert_eq!(content(&cgroup, "", "hugetlb.2MB.max"), "2097152");
            assert_eq!(content(&cgroup, "", "hugetlb.2MB.rsvd.max"), "2097152");
            assert_eq!(content(&cgroup, "", "cgroup.max.depth"), "3");
        }
        if !layout().has("memory") {
            let error = limits(r#"{"memory": {"limit": 4096}}"#).expect_err("no memory controller");
            assert_eq!(
                format!("{error:#}"),
                "linux.resources.memory.limit: cgroup controller \"memory\" is not available"
            );
        }
        // Available on the machine, but not enabled here.
        let plan = limits(r#"{"unified": {"memory.pressure": "0"}}"#).expect("plan");
        let mut plan = ResourcePlan { devices: None, ..plan };
        plan.writes[0].file = "memory.max".into();
        let error = cgroup.set(&plan).expect_err("no memory.max");
        let file = directory(&cgroup, "").join("memory.max");
        let expected = format!(
            "linux.resources.unified.memory.pressure: cgroup controller \"memory\" is not available: open({file:?}): no \
             such file or directory"
        );
        assert_eq!(format!("{error:#}"), expected);
        assert!(matches!(error.downcast_ref(), Some(Failure::Unsupported(_))));
    });
}
