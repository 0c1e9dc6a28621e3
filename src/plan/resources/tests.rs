//! The settings of configs, on both versions.

use super::{MemoryCheck, ResourcePlan, decide, decide_limits};
use crate::config::Resources;
use crate::host::cgroups::{CgroupLayout, Hierarchy};
use crate::plan::Problems;

fn names(list: &str) -> Vec<String> {
    list.split_ascii_whitespace().map(str::to_owned).collect()
}

fn v2(controllers: &str) -> CgroupLayout {
    CgroupLayout::Unified {
        mount: "/sys/fs/cgroup".into(),
        own: "/".into(),
        controllers: names(controllers),
    }
}

fn v1(controllers: &str) -> CgroupLayout {
    let one = |name| Hierarchy { controllers: vec![name], ..Hierarchy::default() };
    CgroupLayout::Legacy {
        hierarchies: names(controllers).into_iter().map(one).collect(),
        unified: None,
    }
}

fn all_v2() -> CgroupLayout {
    v2("cpuset cpu io memory hugetlb pids rdma misc")
}

fn all_v1() -> CgroupLayout {
    v1("cpuset devices memory cpu cpuacct pids blkio hugetlb net_cls net_prio rdma freezer")
}

fn plan(config: &str, layout: &CgroupLayout) -> (ResourcePlan, Problems) {
    let resources: Resources<'_> = serde_json::from_str(config).expect("JSON");
    let mut problems = Problems::default();
    let plan = decide(&resources, layout, &mut problems);
    (plan, problems)
}

/// `file=value`. A `?` means that the file may be missing, a `~` that the value may be refused at
/// first. After a `|` are the file and value that are written instead.
fn writes(config: &str, layout: &CgroupLayout) -> Vec<String> {
    let (plan, problems) = plan(config, layout);
    assert!(problems.found().is_empty(), "{config}: {problems:?}");
    let text = |write: &super::Write| {
        let optional = if write.optional { "?" } else { "" };
        let retried = if write.retried { "~" } else { "" };
        let or =
            write.or.as_ref().map(|(file, value)| format!("|{file}={value}")).unwrap_or_default();
        format!("{}={}{or}{optional}{retried}", write.file, write.value)
    };
    plan.writes.iter().map(text).collect()
}

#[track_caller]
fn check(config: &str, on_v1: &[&str], on_v2: &[&str]) {
    assert_eq!(writes(config, &all_v1()), on_v1, "v1: {config}");
    assert_eq!(writes(config, &all_v2()), on_v2, "v2: {config}");
}

/// The keys of the problems.
fn keys(config: &str, layout: &CgroupLayout) -> Vec<String> {
    plan(config, layout).1.found().iter().map(|problem| problem.key.clone()).collect()
}

#[test]
fn nothing_given_is_nothing_written() {
    for config in ["{}", r#"{"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}, "network": {}}"#] {
        check(config, &[], &[]);
        assert!(keys(config, &v2("")).is_empty());
        assert!(keys(config, &v1("devices")).is_empty());
    }
    let zeros = r#"{"memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "disableOOMKiller": false},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimePeriod": 0, "realtimeRuntime": 0, "cpus": "", "mems": ""},
        "blockIO": {"weight": 0, "leafWeight": 0}, "network": {"classID": 0}}"#;
    check(zeros, &[], &[]);
}

#[test]
fn memory() {
    check(
        r#"{"memory": {"limit": 4096, "reservation": 2048}}"#,
        &["memory.limit_in_bytes=4096~", "memory.soft_limit_in_bytes=2048"],
        &["memory.max=4096", "memory.low=2048"],
    );
    check(
        r#"{"memory": {"limit": 4096, "swap": 8192}}"#,
        &["memory.limit_in_bytes=4096~", "memory.memsw.limit_in_bytes=8192"],
        &["memory.swap.max=4096", "memory.max=4096"],
    );
    check(
        r#"{"memory": {"limit": 4096, "swap": 4096}}"#,
        &["memory.limit_in_bytes=4096~", "memory.memsw.limit_in_bytes=4096"],
        &["memory.swap.max=0?", "memory.max=4096"],
    );
    check(
        r#"{"memory": {"limit": 4096, "swap": -1}}"#,
        &["memory.limit_in_bytes=4096~", "memory.memsw.limit_in_bytes=-1?"],
        &["memory.swap.max=max?", "memory.max=4096"],
    );
    check(
        r#"{"memory": {"limit": -1, "reservation": -1}}"#,
        &[
            "memory.limit_in_bytes=-1?~",
            "memory.memsw.limit_in_bytes=-1?",
            "memory.soft_limit_in_bytes=-1?",
        ],
        &["memory.swap.max=max?", "memory.max=max?", "memory.low=max?"],
    );
    check(
        r#"{"memory": {"limit": -1, "swap": 8192}}"#,
        &["memory.limit_in_bytes=-1?~", "memory.memsw.limit_in_bytes=8192"],
        &["memory.swap.max=8192", "memory.max=max?"],
    );
    check(
        r#"{"memory": {"swappiness": 60, "disableOOMKiller": true}}"#,
        &["memory.oom_control=1", "memory.swappiness=60"],
        &[],
    );
    let (_, problems) =
        plan(r#"{"memory": {"swappiness": 60, "disableOOMKiller": true, "kernel": 1}}"#, &all_v2());
    assert_eq!(problems.warnings().len(), 3);
}

#[test]
fn memory_that_makes_no_sense() {
    for layout in [all_v1(), all_v2()] {
        for (config, key) in [
            (r#"{"memory": {"limit": 8192, "swap": 4096}}"#, "swap"),
            (r#"{"memory": {"limit": -2}}"#, "limit"),
            (r#"{"memory": {"reservation": -4096}}"#, "reservation"),
            (r#"{"memory": {"swappiness": 101}}"#, "swappiness"),
        ] {
            assert_eq!(
                keys(config, &layout),
                [format!("/linux/resources/memory/{key}")],
                "{config}"
            );
        }
    }
    assert_eq!(keys(r#"{"memory": {"swap": 4096}}"#, &all_v2()), ["/linux/resources/memory/swap"]);
}

#[test]
fn usage_is_checked_only_when_asked() {
    let check = |config| plan(config, &all_v2()).0.memory_check;
    assert_eq!(check(r#"{"memory": {"limit": 4096}}"#), None);
    assert_eq!(check(r#"{"memory": {"limit": -1, "checkBeforeUpdate": true}}"#), None);
    let expected = MemoryCheck { limit: Some(4096), swap: None };
    assert_eq!(
        check(r#"{"memory": {"limit": 4096, "swap": -1, "checkBeforeUpdate": true}}"#),
        Some(expected)
    );
}

#[test]
fn cpu() {
    check(
        r#"{"cpu": {"shares": 1024, "quota": 50000, "period": 100000, "burst": 20000}}"#,
        &[
            "cpu.shares=1024~",
            "cpu.cfs_period_us=100000~",
            "cpu.cfs_burst_us=20000~",
            "cpu.cfs_quota_us=50000",
        ],
        &["cpu.weight=100~", "cpu.max.burst=20000~", "cpu.max=50000 100000"],
    );
    check(
        r#"{"cpu": {"quota": -1, "burst": 0}}"#,
        &["cpu.cfs_burst_us=0?~", "cpu.cfs_quota_us=-1?"],
        &["cpu.max.burst=0?~", "cpu.max=max 100000?"],
    );
    check(r#"{"cpu": {"period": 5000}}"#, &["cpu.cfs_period_us=5000~"], &["cpu.max=max 5000"]);
    check(r#"{"cpu": {"shares": 2, "idle": 1}}"#, &["cpu.idle=1"], &["cpu.idle=1"]);
    check(
        r#"{"cpu": {"shares": 2, "idle": 0}}"#,
        &["cpu.shares=2~", "cpu.idle=0?"],
        &["cpu.idle=0?", "cpu.weight=1~"],
    );
    check(
        r#"{"cpu": {"cpus": "0-1,3", "mems": "0"}}"#,
        &["cpuset.cpus=0-1,3", "cpuset.mems=0"],
        &["cpuset.cpus=0-1,3", "cpuset.mems=0"],
    );
    let realtime = r#"{"cpu": {"realtimeRuntime": 950000, "realtimePeriod": 1000000}}"#;
    assert_eq!(
        writes(realtime, &all_v1()),
        ["cpu.rt_period_us=1000000~", "cpu.rt_runtime_us=950000"]
    );
    assert_eq!(keys(realtime, &all_v2()).len(), 2);
    for (config, key) in [
        (r#"{"cpu": {"shares": 1}}"#, "shares"),
        (r#"{"cpu": {"shares": 262145}}"#, "shares"),
        (r#"{"cpu": {"burst": 2000, "quota": 1000}}"#, "burst"),
        (r#"{"cpu": {"idle": 2}}"#, "idle"),
    ] {
        assert_eq!(keys(config, &all_v1()), [format!("/linux/resources/cpu/{key}")], "{config}");
    }
}

#[test]
fn pids() {
    for (limit, value) in [("1", "1"), ("2048", "2048"), ("0", "1"), ("-1", "max?"), ("-7", "max?")]
    {
        let config = format!(r#"{{"pids": {{"limit": {limit}}}}}"#);
        let expected = format!("pids.max={value}");
        check(&config, &[&expected], &[&expected]);
    }
}

#[test]
fn block_devices() {
    check(
        r#"{"blockIO": {"weight": 100, "weightDevice": [{"major": 8, "minor": 16, "weight": 500}]}}"#,
        &[
            "blkio.weight=100|blkio.bfq.weight=100",
            "blkio.weight_device=8:16 500|blkio.bfq.weight_device=8:16 500",
        ],
        &["io.bfq.weight=100|io.weight=910", "io.bfq.weight=8:16 500|io.weight=8:16 4950"],
    );
    check(
        r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 0}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 9, "minor": 1, "rate": 2}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}]}}"#,
        &[
            "blkio.throttle.read_bps_device=8:0 600",
            "blkio.throttle.write_bps_device=8:0 0",
            "blkio.throttle.read_iops_device=8:0 1",
            "blkio.throttle.read_iops_device=9:1 2",
            "blkio.throttle.write_iops_device=8:0 3",
        ],
        &[
            "io.max=8:0 rbps=600",
            "io.max=8:0 wbps=max",
            "io.max=8:0 riops=1",
            "io.max=9:1 riops=2",
            "io.max=8:0 wiops=3",
        ],
    );
    for layout in [all_v1(), all_v2()] {
        for (config, key) in [
            (r#"{"blockIO": {"weight": 9}}"#, "weight"),
            (r#"{"blockIO": {"leafWeight": 100}}"#, "leafWeight"),
            (r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}"#, "weightDevice/0"),
            (
                r#"{"blockIO": {"weightDevice": [{"major": -8, "minor": 0, "weight": 10}]}}"#,
                "weightDevice/0",
            ),
            (
                r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": -1, "rate": 1}]}}"#,
                "throttleReadBpsDevice/0",
            ),
        ] {
            assert_eq!(
                keys(config, &layout),
                [format!("/linux/resources/blockIO/{key}")],
                "{config}"
            );
        }
    }
}

#[test]
fn huge_pages_cannot_name_other_files() {
    check(
        r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 9223372036854775808}]}"#,
        &[
            "hugetlb.2MB.limit_in_bytes=9223372036854775808",
            "hugetlb.2MB.rsvd.limit_in_bytes=9223372036854775808?",
        ],
        &["hugetlb.2MB.max=9223372036854775808", "hugetlb.2MB.rsvd.max=9223372036854775808?"],
    );
    for size in
        ["../../x", "", "MB", "2M", "2mb", "02MB", "2MB/..", "2.MB", "-2MB", "2MBKB", "2 MB", "٢MB"]
    {
        let config = format!(r#"{{"hugepageLimits": [{{"pageSize": "{size}", "limit": 1}}]}}"#);
        assert_eq!(
            keys(&config, &all_v2()),
            ["/linux/resources/hugepageLimits/0/pageSize"],
            "{size:?}"
        );
    }
}

#[test]
fn networks_are_for_v1() {
    let config =
        r#"{"network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]}}"#;
    assert_eq!(
        writes(config, &all_v1()),
        ["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 500"]
    );
    let expected = ["/linux/resources/network/classID", "/linux/resources/network/priorities"];
    assert_eq!(keys(config, &all_v2()), expected);
    let config = r#"{"network": {"priorities": [{"name": "eth0 1\nlo", "priority": 500}]}}"#;
    assert_eq!(keys(config, &all_v1()), ["/linux/resources/network/priorities/0"]);
}

#[test]
fn rdma_devices() {
    let config =
        r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 0}, "b": {"hcaObjects": 1}}}"#;
    let expected = ["rdma.max=mlx5_1 hca_handle=3 hca_object=0", "rdma.max=b hca_object=1"];
    check(config, &expected, &expected);
    assert_eq!(keys(r#"{"rdma": {"a/b": {}}}"#, &all_v2()), ["/linux/resources/rdma/a~1b"]);
    assert_eq!(
        keys(r#"{"rdma": {"a b": {"hcaObjects": 1}}}"#, &all_v2()),
        ["/linux/resources/rdma/a b"]
    );
}

#[test]
fn unified_files_stay_in_the_cgroup() {
    let config = r#"{"unified": {"memory.high": "1000", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cpuset.cpus": "",
        "cgroup.max.depth": "3"}}"#;
    let expected = [
        "memory.high=1000",
        "io.max=8:0 rbps=1",
        "io.max=8:16 rbps=2",
        "cpuset.cpus=\n",
        "cgroup.max.depth=3",
    ];
    assert_eq!(writes(config, &all_v2()), expected);
    assert_eq!(keys(config, &all_v1()), ["/linux/resources/unified"]);
    for name in [
        "../memory.max",
        "/memory.max",
        "memory.max/x",
        "memory",
        "",
        ".",
        "..",
        ".x",
        "memory.\\u0000",
    ] {
        let config = format!(r#"{{"unified": {{"{name}": "1"}}}}"#);
        assert_eq!(keys(&config, &all_v2()).len(), 1, "{name:?}");
    }
    let (_, problems) = plan(r#"{"unified": {"foo.max": "1"}}"#, &all_v2());
    let text = "unified resource \"foo.max\" can't be set: controller \"foo\" not available";
    assert_eq!(problems.found()[0].text, text);
    assert_eq!(problems.found()[0].key, "/linux/resources/unified/foo.max");
}

#[test]
fn a_limit_without_its_controller_is_a_problem() {
    for layout in [v1("devices"), v2("")] {
        for (config, key, controller) in [
            (r#"{"memory": {"limit": 4096}}"#, "memory/limit", "memory"),
            (r#"{"cpu": {"shares": 1024}}"#, "cpu/shares", "cpu"),
            (r#"{"cpu": {"cpus": "0"}}"#, "cpu/cpus", "cpuset"),
            (r#"{"pids": {"limit": 4}}"#, "pids/limit", "pids"),
            (
                r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}"#,
                "hugepageLimits/0/limit",
                "hugetlb",
            ),
        ] {
            let (plan, problems) = plan(config, &layout);
            assert_eq!(problems.found().len(), 1, "{config}");
            assert_eq!(problems.found()[0].key, format!("/linux/resources/{key}"));
            assert_eq!(
                problems.found()[0].text,
                format!("cgroup controller {controller:?} is not available")
            );
            assert!(plan.writes.is_empty());
        }
        // An absent limit needs no controller.
        let unlimited =
            r#"{"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}}"#;
        assert!(keys(unlimited, &layout).is_empty());
    }
}

#[test]
fn the_writes_of_a_controller_stand_together() {
    let config = r#"{"memory": {"limit": 4096, "swap": 8192}, "cpu": {"shares": 2, "cpus": "0", "quota": 1, "burst": 1},
        "pids": {"limit": 1}, "blockIO": {"weight": 10}}"#;
    for layout in [all_v1(), all_v2()] {
        let mut order: Vec<_> =
            plan(config, &layout).0.writes.into_iter().map(|write| write.controller).collect();
        order.dedup();
        let length = order.len();
        order.sort();
        order.dedup();
        assert_eq!(order.len(), length);
    }
}

#[test]
fn an_update_does_not_look_at_devices() {
    for layout in [v1("memory"), all_v1(), all_v2()] {
        for config in [
            r#"{"memory":{"limit":9}}"#,
            r#"{"memory":{"limit":9},"devices":[{"allow":false,"type":"x"}]}"#,
        ] {
            let resources: Resources<'_> = serde_json::from_str(config).expect("JSON");
            let mut problems = Problems::default();
            let plan = decide_limits(&resources, &layout, &mut problems);
            assert!(problems.found().is_empty(), "{config}: {problems:?}");
            assert!(plan.devices.is_none() && !plan.writes.is_empty(), "{config}: {plan:?}");
        }
    }
}
