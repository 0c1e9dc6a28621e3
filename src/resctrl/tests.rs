//! Tests without resctrl, since none of our machines has it. A directory with the files of a group
//! replaces it. For groups that are created, a named hierarchy of cgroup v1 replaces it: its new
//! directories have a `tasks` file, accept processes and are removed with rmdir(2), as in resctrl.

#![allow(clippy::disallowed_methods, reason = "the ban on writing files is for the runtime")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use super::{Groups, Schemata, remove};
use crate::plan::intel_rdt::{GroupOwner, IntelRdtPlan};

fn plan(group: &Path, owner: GroupOwner, schemata: &[&str]) -> IntelRdtPlan {
    let schemata = schemata.iter().map(ToString::to_string).collect();
    IntelRdtPlan { group: group.to_owned(), owner, schemata, monitoring: None }
}

/// An existing group with these schemata.
fn group(root: &Path, name: &str, schemata: &str) -> PathBuf {
    let group = root.join(name);
    fs::create_dir(&group).expect("mkdir");
    fs::write(group.join("schemata"), schemata).expect("schemata");
    fs::write(group.join("tasks"), "").expect("tasks");
    group
}

fn read(path: &Path, name: &str) -> String {
    fs::read_to_string(path.join(name)).expect(name)
}

#[test]
fn a_group_that_is_there_is_never_removed() {
    let root = tempfile::tempdir().expect("tempdir");
    let there = group(root.path(), "there", "    L3:0=ff\n");
    for owner in [GroupOwner::Container, GroupOwner::Shared, GroupOwner::Other] {
        let groups = Groups::make(&plan(&there, owner, &[])).expect("groups");
        groups.add(4242).expect("add");
        assert!(groups.containers_own().is_empty(), "{owner:?}");
        drop(groups);
        assert_eq!(read(&there, "tasks"), "4242", "{owner:?}");
        fs::write(there.join("tasks"), "").expect("tasks");
    }
}

#[test]
fn schemata_are_written_in_one_piece() {
    let root = tempfile::tempdir().expect("tempdir");
    let own = group(root.path(), "own", "");
    Groups::make(&plan(&own, GroupOwner::Container, &["L3:0=f", "MB:0=20", "L2:0=3"]))
        .expect("groups");
    assert_eq!(read(&own, "schemata"), "L3:0=f\nMB:0=20\nL2:0=3\n");
}

#[test]
fn a_shared_group_must_have_the_schemata_already() {
    let root = tempfile::tempdir().expect("tempdir");
    let before = "    L3:0=00ff;1=0f\n    MB:0= 30;1=100\n";
    let shared = group(root.path(), "shared", before);
    fs::create_dir_all(root.path().join("info/MB")).expect("info");
    fs::write(root.path().join("info/MB/bandwidth_gran"), "10\n").expect("bandwidth_gran");
    for (wanted, unlike) in [
        (&["L3:0=ff"][..], None),
        (&["L3:1=F;0=0ff"], None),
        (&["MB:0=25;1=100", "L3:0=ff"], None),
        (&["L3:0=fe"], Some("L3:0=fe")),
        (&["MB:0=31"], Some("MB:0=31")),
        (&["L3:2=ff"], Some("L3:2=ff")),
        (&["L3:0=ff", "L2:0=f"], Some("L2:0=f")),
        (&["L3:0=rum"], Some("L3:0=rum")),
    ] {
        match (Groups::make(&plan(&shared, GroupOwner::Shared, wanted)), unlike) {
            (Ok(_), None) => {}
            (Err(error), Some(line)) => {
                let text = format!("{error:#}");
                assert!(text.contains(&format!("have another value than {line}")), "{text}");
                assert!(text.starts_with("linux.intelRdt: "), "{text}");
            }
            (result, _) => panic!("{wanted:?}: {result:?}"),
        }
        assert_eq!(read(&shared, "schemata"), before, "{wanted:?}");
    }
}

#[test]
fn somebody_elses_group_must_be_there() {
    let root = tempfile::tempdir().expect("tempdir");
    let error = Groups::make(&plan(&root.path().join("none"), GroupOwner::Other, &[]))
        .expect_err("no group");
    assert!(
        format!("{error:#}").contains("clos dir not accessible (must be pre-created"),
        "{error:#}"
    );
    assert!(fs::read_dir(root.path()).expect("root").next().is_none());
}

/// A new directory has no files here, so writing the schemata fails, and what was created is
/// removed.
#[test]
fn a_failure_leaves_nothing_and_says_what_the_kernel_says() {
    let root = tempfile::tempdir().expect("tempdir");
    fs::create_dir(root.path().join("info")).expect("info");
    fs::write(root.path().join("info/last_cmd_status"), "mask is not contiguous\n")
        .expect("last_cmd_status");
    let error = Groups::make(&plan(&root.path().join("new"), GroupOwner::Container, &["L3:0=5"]))
        .expect_err("no file");
    let text = format!("{error:#}");
    assert!(
        text.starts_with("linux.intelRdt: last_cmd_status: mask is not contiguous: open("),
        "{text}"
    );
    assert!(!root.path().join("new").is_dir());
}

#[test]
fn a_monitoring_group_that_is_there_is_not_the_containers() {
    let root = tempfile::tempdir().expect("tempdir");
    let there = group(root.path(), "there", "");
    fs::create_dir_all(there.join("mon_groups/box")).expect("mon_groups");
    let plan = IntelRdtPlan {
        monitoring: Some(there.join("mon_groups/box")),
        ..plan(&there, GroupOwner::Other, &[])
    };
    let error = Groups::make(&plan).expect_err("there already");
    assert!(format!("{error:#}").contains("file exists"), "{error:#}");
    assert!(there.join("mon_groups/box").is_dir());
}

/// Runs `test` in a mount namespace, with a hierarchy in the place of resctrl.
fn with_hierarchy(test: impl FnOnce(&Path) + Send) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("tempdir");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("unshare");
            let none: Option<&Path> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
                .expect("make-rprivate");
            let name = format!("name=orlop-{}", std::process::id());
            let options = format!("none,{name}");
            let root = directory.path();
            let mount = || {
                mount(Some("none"), root, Some("cgroup"), MsFlags::empty(), Some(options.as_str()))
            };
            if mount().is_err() {
                return;
            }
            test(root);
            // A hierarchy ends with its last mount, but only after all of its cgroups are removed.
            for _ in 0..5 {
                umount(root).expect("umount");
                let is_there =
                    || fs::read_to_string("/proc/self/cgroup").expect("cgroup").contains(&name);
                for _ in 0..50 {
                    if !is_there() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                mount().expect("mount again");
            }
            panic!("{name} does not go");
        });
    });
}

#[test]
fn groups_are_made_joined_and_removed() {
    with_hierarchy(|root| {
        // In resctrl each group has a directory for monitoring groups; here only this one has.
        fs::create_dir(root.join("mon_groups")).expect("mon_groups");
        let monitored = IntelRdtPlan {
            monitoring: Some(root.join("mon_groups/box")),
            ..plan(root, GroupOwner::Other, &[])
        };
        let own = plan(&root.join("box"), GroupOwner::Container, &[]);
        let shared = plan(&root.join("shared"), GroupOwner::Shared, &[]);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = child.id().cast_signed();
        let is_in = |group: &Path| read(group, "tasks").lines().any(|line| line == pid.to_string());

        for plan in [&own, &shared, &monitored] {
            let inner = plan.monitoring.as_ref().unwrap_or(&plan.group);
            let mut groups = Groups::make(plan).expect("make");
            // A group with a name in the config is kept for other containers.
            let stays = plan.owner == GroupOwner::Shared;
            assert_eq!(groups.containers_own(), if stays { vec![] } else { vec![inner.clone()] });
            groups.add(pid).expect("add");
            assert!(is_in(inner), "{}", read(inner, "tasks"));
            let made = groups.containers_own();
            groups.keep();
            drop(groups);
            let again = Groups::open(&plan.group, plan.monitoring.as_deref()).expect("there");
            again.add(pid).expect("as exec does");
            // cgroups cannot be removed while they have processes, unlike groups of resctrl.
            fs::write(root.join("tasks"), pid.to_string()).expect("out");
            remove(&made).expect("as delete does");
            remove(&made).expect("gone is good");
            assert_eq!(inner.is_dir(), stays);
            remove(std::slice::from_ref(inner)).expect("for the next");
            drop(Groups::make(plan).expect("make"));
            assert!(!inner.is_dir(), "not kept");
        }
        assert!(Groups::open(&own.group, None).is_none(), "gone");
        fs::remove_dir(root.join("mon_groups")).expect("mon_groups");
        child.kill().and_then(|()| child.wait()).expect("kill");
    });
}

#[test]
fn schemata_are_read_as_the_kernel_writes_them() {
    let found = Schemata::parse("    MB:0=100;1=100\n    L3:0=fffff;1=fffff\nL3CODE:0=f\n\n");
    assert_eq!(found.0.len(), 5);
    assert_eq!(Schemata::parse("MB:0=100\nL3:1=fffff").first_unlike(&found, 10), None);
    assert_eq!(Schemata::parse("MB:0=0x64").first_unlike(&found, 10).as_deref(), Some("MB:0=0x64"));
    assert_eq!(Schemata::parse("L3:1=0xfffff").first_unlike(&found, 10), None);
}

/// The files of a machine with two L3 caches, as Documentation/filesystems/resctrl.rst has them.
fn machine(root: &Path) {
    for (name, content) in [
        ("schemata", "    MB:0=100;1=100\n    L3:0=fffff;1=fffff\n"),
        ("info/L3/cbm_mask", "fffff\n"),
        ("info/L3/min_cbm_bits", "1\n"),
        ("info/L3/num_closids", "16\n"),
        ("info/MB/bandwidth_gran", "10\n"),
        ("info/MB/delay_linear", "1\n"),
        ("info/MB/min_bandwidth", "10\n"),
        ("info/MB/num_closids", "8\n"),
        ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
        ("box/schemata", "  SMBA:0=2048\n    MB:0=20;1=100\n    L3:0=ff;1=fffff\n"),
        ("box/mon_data/mon_L3_01/llc_occupancy", "300\n"),
        ("box/mon_data/mon_L3_01/mbm_total_bytes", "Unavailable\n"),
        ("box/mon_data/mon_L3_01/mbm_local_bytes", "8\n"),
        ("box/mon_data/mon_L3_00/llc_occupancy", "100\n"),
        ("box/mon_data/mon_L3_00/mbm_total_bytes", "5\n"),
        ("box/mon_data/mon_L3_00/mbm_local_bytes", "3\n"),
        ("box/mon_groups/box/mon_data/mon_L3_00/llc_occupancy", "7\n"),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("below root")).expect("mkdir");
        fs::write(path, content).expect(name);
    }
}

fn stats(group: &Path, monitoring: Option<&Path>) -> serde_json::Value {
    let groups = Groups::open(group, monitoring).expect("there");
    serde_json::to_value(groups.stats().expect("stats")).expect("JSON")
}

#[test]
fn statistics_have_the_keys_of_runc() {
    let root = tempfile::tempdir().expect("tempdir");
    machine(root.path());
    let own = root.path().join("box");
    let expected = serde_json::json!({
        "l3_cache_info": { "cbm_mask": "fffff", "min_cbm_bits": 1, "num_closids": 16 },
        "l3_cache_schema_root": "L3:0=fffff;1=fffff",
        "l3_cache_schema": "L3:0=ff;1=fffff",
        "mem_bw_info": { "bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8 },
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0=20;1=100",
        "schemata": ["SMBA:0=2048", "MB:0=20;1=100", "L3:0=ff;1=fffff"],
        "mbm_stats": [{ "mbm_total_bytes": 5, "mbm_local_bytes": 3 }, { "mbm_local_bytes": 8 }],
        "cmt_stats": [{ "llc_occupancy": 100 }, { "llc_occupancy": 300 }],
    });
    assert_eq!(stats(&own, None), expected);
    let monitored = stats(&own, Some(&own.join("mon_groups/box")));
    assert_eq!(monitored["cmt_stats"], serde_json::json!([{ "llc_occupancy": 7 }]));
    // The default group.
    let root = stats(root.path(), None);
    assert_eq!(
        (&root["l3_cache_schema"], &root["l3_cache_info"]["num_closids"]),
        (&"L3:0=fffff;1=fffff".into(), &16.into())
    );
}

#[test]
fn statistics_leave_out_what_the_machine_does_not_have() {
    let root = tempfile::tempdir().expect("tempdir");
    machine(root.path());
    for name in ["info/L3", "info/MB", "info/L3_MON"] {
        fs::remove_dir_all(root.path().join(name)).expect(name);
    }
    let schemata = ["SMBA:0=2048", "MB:0=20;1=100", "L3:0=ff;1=fffff"];
    assert_eq!(stats(&root.path().join("box"), None), serde_json::json!({ "schemata": schemata }));
}
