//! `update`
//!
//! Values are read back from outside. What the v2 view of a hybrid machine lacks is tested on v1
//! here, and on v2 where that is all there is.

use crate::support::{Bundle, Container, Output, Value, cgroups, json};

fn memory(c: &Container) -> String {
    cgroups::value_of(c, "memory", "memory.limit_in_bytes", "memory.max")
}

fn pids(c: &Container) -> String {
    cgroups::value_of(c, "pids", "pids.max", "pids.max")
}

#[track_caller]
fn update(c: &Container, flags: &[&str]) -> Output {
    c.bundle.call(&[&["update"], flags, &[c.id()]].concat())
}

/// Gives the resources as a file.
#[track_caller]
fn update_from(c: &Container, resources: &str) -> Output {
    let file = c.bundle.scratch("resources.json");
    std::fs::write(&file, resources).unwrap();
    update(c, &["--resources", file.to_str().unwrap()])
}

fn sleeping(bundle: Bundle) -> Container {
    let c = bundle.args(["sleep", "60"]).create();
    c.start();
    c
}

/// With limits of 64 MiB and 20 processes, as far as there are controllers for them.
fn limited() -> Container {
    let mut bundle = Bundle::busybox();
    if cgroups::has("memory") {
        bundle = bundle.set("/linux/resources/memory/limit", 64 << 20);
    }
    if cgroups::has("pids") {
        bundle = bundle.set("/linux/resources/pids/limit", 20);
    }
    sleeping(bundle)
}

#[test]
fn memory_takes_bytes_and_units() {
    needs!(cgroups::has("memory"), "memory controller");
    let c = limited();
    for (text, bytes) in [
        ("33554432", "33554432"),
        ("40m", "41943040"),
        ("48MiB", "50331648"),
        ("0.0625g", "67108864"),
    ] {
        update(&c, &["--memory", text]).silent();
        assert_eq!(memory(&c), bytes, "{text}");
    }
    update(&c, &["--memory=-1"]).silent();
    let unlimited = memory(&c);
    assert!(unlimited == "max" || unlimited.parse::<u64>().unwrap() > 1 << 60, "{unlimited}");
}

#[test]
fn memory_reservation_and_swap() {
    needs!(cgroups::has("memory"), "memory controller");
    let c = limited();
    update(&c, &["--memory", "32m", "--memory-reservation", "16m", "--memory-swap", "96m"])
        .silent();
    assert_eq!(memory(&c), "33554432");
    assert_eq!(
        cgroups::value_of(&c, "memory", "memory.soft_limit_in_bytes", "memory.low"),
        "16777216"
    );
    if cgroups::has_v1("memory") {
        assert_eq!(
            cgroups::value(&cgroups::v1("memory", c.id()), "memory.memsw.limit_in_bytes"),
            "100663296"
        );
    }
}

#[test]
fn cpu_shares_quota_period_burst_and_idle() {
    needs!(cgroups::has_v1("cpu"), "cpu controller of cgroup v1");
    let c = limited();
    let dir = cgroups::v1("cpu", c.id());
    update(&c, &["--cpu-share", "500", "--cpu-quota", "20000", "--cpu-period", "50000"]).silent();
    assert_eq!(cgroups::value(&dir, "cpu.shares"), "500");
    assert_eq!(cgroups::value(&dir, "cpu.cfs_quota_us"), "20000");
    assert_eq!(cgroups::value(&dir, "cpu.cfs_period_us"), "50000");
    update(&c, &["--cpu-quota", "30000"]).silent();
    assert_eq!(cgroups::value(&dir, "cpu.cfs_period_us"), "50000", "what is not given stays");
    update(&c, &["--cpu-quota", "-1"]).silent();
    assert_eq!(cgroups::value(&dir, "cpu.cfs_quota_us"), "-1");
}

#[test]
fn cpu_burst_and_idle() {
    differs!();
    needs!(cgroups::has_v1("cpu"), "cpu controller of cgroup v1");
    let c = limited();
    let dir = cgroups::v1("cpu", c.id());
    update(&c, &["--cpu-quota", "20000", "--cpu-burst", "10000"]).silent();
    assert_eq!(cgroups::value(&dir, "cpu.cfs_burst_us"), "10000");
    update(&c, &["--cpu-idle", "1"]).silent();
    assert_eq!(cgroups::value(&dir, "cpu.idle"), "1");
    update(&c, &["--cpu-idle", "0"]).silent();
    assert_eq!(cgroups::value(&dir, "cpu.idle"), "0");
}

#[test]
fn realtime_period() {
    needs!(cgroups::has_v1("cpu"), "cpu controller of cgroup v1");
    let c = limited();
    let dir = cgroups::v1("cpu", c.id());
    needs!(std::fs::metadata(dir.join("cpu.rt_period_us")).is_ok(), "realtime group scheduling");
    update(&c, &["--cpu-rt-period", "900000"]).silent();
    assert_eq!(cgroups::value(&dir, "cpu.rt_period_us"), "900000");
    // A runtime takes one of the cgroup above, which may have none: that it is refused shows that
    // it was written.
    match update(&c, &["--cpu-rt-runtime", "800001"]).status {
        0 => assert_eq!(cgroups::value(&dir, "cpu.rt_runtime_us"), "800001"),
        status => assert_eq!((status, &*cgroups::value(&dir, "cpu.rt_runtime_us")), (1, "0")),
    }
}

#[test]
fn cpuset() {
    needs!(cgroups::has("cpuset"), "cpuset controller");
    let c = limited();
    update(&c, &["--cpuset-cpus", "0", "--cpuset-mems", "0"]).silent();
    assert_eq!(cgroups::value_of(&c, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(cgroups::value_of(&c, "cpuset", "cpuset.mems", "cpuset.mems"), "0");
    update(&c, &["--cpuset-cpus", "4096"]).refused();
    assert_eq!(cgroups::value_of(&c, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
}

#[test]
fn pids_limit() {
    needs!(cgroups::has("pids"), "pids controller");
    let c = limited();
    update(&c, &["--pids-limit", "10"]).silent();
    assert_eq!(pids(&c), "10");
    update(&c, &["--pids-limit", "-1"]).silent();
    assert_eq!(pids(&c), "max");
}

#[test]
fn blkio_weight_is_written() {
    differs!();
    let c = limited();
    let out = update(&c, &["--blkio-weight", "300"]);
    let dirs = cgroups::named(c.id());
    let files = ["blkio.weight", "blkio.bfq.weight", "io.bfq.weight", "io.weight"];
    let found = files
        .iter()
        .find_map(|file| dirs.iter().find_map(|dir| std::fs::read_to_string(dir.join(file)).ok()));
    match found {
        Some(weight) => {
            assert!(out.ok().stderr.is_empty() && weight.contains("300") || weight.contains("2930"))
        }
        // No scheduler with weights here: it says what it would have written.
        None => drop(out.refused().names("blockIO.weight")),
    }
}

#[test]
fn resources_come_from_a_file() {
    needs!(cgroups::has("memory") && cgroups::has("pids"), "memory and pids controller");
    let c = limited();
    update_from(&c, r#"{"memory":{"limit":33554432},"pids":{"limit":7}}"#).silent();
    assert_eq!((memory(&c).as_str(), pids(&c).as_str()), ("33554432", "7"));
}

#[test]
fn resources_come_from_standard_input() {
    needs!(cgroups::has("memory") && cgroups::has("pids"), "memory and pids controller");
    let c = limited();
    let resources = json!({ "memory": { "limit": 33554432 }, "pids": { "limit": 8 } }).to_string();
    let mut c = c;
    c.bundle = c.bundle.input(&resources);
    for flags in [&["--resources=-"][..], &["--resources", "-"], &["-r", "-"]] {
        update(&c, flags).silent();
        assert_eq!((memory(&c).as_str(), pids(&c).as_str()), ("33554432", "8"));
        update(&c, &["--pids-limit", "9"]).silent();
    }
}

#[test]
fn unified_settings_on_v2() {
    let c = sleeping(Bundle::busybox().on_cgroup_v2());
    needs!(cgroups::has_v2("hugetlb"), "hugetlb controller on cgroup v2");
    update_from(&c, r#"{"unified":{"hugetlb.2MB.max":"4194304"}}"#).silent();
    assert_eq!(cgroups::value(&cgroups::v2(c.id()), "hugetlb.2MB.max"), "4194304");
}

#[test]
fn all_or_nothing_on_v2() {
    differs!();
    let c = sleeping(Bundle::busybox().on_cgroup_v2());
    needs!(cgroups::has_v2("hugetlb"), "hugetlb controller on cgroup v2");
    let out = update_from(
        &c,
        r#"{"unified":{"hugetlb.2MB.max":"4194304","hugetlb.2MB.rsvd.max":"nonsense"}}"#,
    );
    out.refused().names("hugetlb.2MB.rsvd.max");
    assert_eq!(cgroups::value(&cgroups::v2(c.id()), "hugetlb.2MB.max"), "max");
}

#[test]
fn all_or_nothing() {
    differs!();
    needs!(
        cgroups::has_v1("memory") && cgroups::has_v1("cpu"),
        "memory and cpu controller of cgroup v1"
    );
    let c = limited();
    update(&c, &["--memory", "32m", "--pids-limit", "7", "--cpu-period", "5"]).refused();
    assert_eq!((memory(&c).as_str(), pids(&c).as_str()), ("67108864", "20"));
    assert_eq!(cgroups::value(&cgroups::v1("cpu", c.id()), "cpu.cfs_period_us"), "100000");
}

#[test]
fn without_limits_before_there_are_none_after_a_failure() {
    differs!();
    needs!(
        cgroups::has_v1("memory") && cgroups::has_v1("cpu"),
        "memory and cpu controller of cgroup v1"
    );
    let c = sleeping(Bundle::busybox());
    let before = memory(&c);
    update(&c, &["--memory", "32m", "--memory-swap", "64m", "--cpu-period", "5"])
        .refused()
        .names("cpu.period");
    assert_eq!(memory(&c), before);
    assert_eq!(
        cgroups::value(&cgroups::v1("memory", c.id()), "memory.memsw.limit_in_bytes"),
        before
    );
}

#[test]
fn device_rules_stay() {
    needs!(cgroups::has_v1("devices"), "devices controller of cgroup v1");
    let deny = json!([{ "allow": false, "access": "rwm" }]);
    let c = sleeping(
        Bundle::busybox()
            .set("/linux/resources", json!({ "devices": deny, "pids": { "limit": 20 } })),
    );
    let list = || cgroups::value(&cgroups::v1("devices", c.id()), "devices.list");
    let before = list();
    assert!(!before.contains("a *:* rwm"), "{before}");
    update_from(&c, r#"{"devices":[{"allow":true,"access":"rwm"}],"pids":{"limit":9}}"#).ok();
    assert_eq!(list(), before);
}

/// Neither what they say nor whether that makes sense is of any matter.
#[test]
fn device_rules_are_not_looked_at() {
    needs!(cgroups::has("pids"), "pids controller");
    let c = limited();
    update_from(&c, r#"{"devices":[{"allow":false}],"pids":{"limit":9}}"#).silent();
    assert_eq!(pids(&c), "9");
}

#[test]
fn a_created_and_a_paused_container_can_be_updated() {
    needs!(cgroups::has("pids"), "pids controller");
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    update(&c, &["--pids-limit", "11"]).silent();
    assert_eq!(pids(&c), "11");
    c.start();
    c.verb("pause").silent();
    update(&c, &["--pids-limit", "12"]).silent();
    assert_eq!((pids(&c).as_str(), c.status().as_str()), ("12", "paused"));
}

#[test]
fn state_stays_the_same() {
    needs!(cgroups::has("pids"), "pids controller");
    let c = limited();
    let before = c.state();
    update(&c, &["--pids-limit", "10"]).silent();
    assert_eq!(c.state(), before);
}

#[test]
fn a_stopped_container_is_refused() {
    let c = Bundle::busybox().create();
    c.finish();
    update(&c, &["--pids-limit", "10"]).refused().says("container not running");
}

#[test]
fn an_absent_container_is_refused() {
    Bundle::busybox()
        .call(&["update", "--pids-limit", "10", "nosuch"])
        .refused()
        .says("container does not exist");
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let c = limited();
    for flags in [
        &["--memory", "abc"][..],
        &["--memory", "1x"],
        &["--memory", "-5m"],
        &["--cpu-share", "-1"],
        &["--cpu-share", "x"],
        &["--cpu-quota", "1s"],
        &["--cpu-period", "1.5"],
        &["--pids-limit", "many"],
        &["--resources", "/no/such/file"],
        &["--l3-cache-schema", "L3:0=f"],
        &["--mem-bw-schema", "MB:0=20"],
    ] {
        let out = update(&c, flags);
        assert_eq!(out.status, 1, "{flags:?}: {out:?}");
        assert!(!out.stderr.is_empty());
    }
    for text in [
        "",
        "nonsense",
        "[]",
        r#"{"memory":5}"#,
        r#"{"memory":{"limit":"1g"}}"#,
        r#"{"pids":{"limit":7}"#,
    ] {
        update_from(&c, text).refused();
    }
    if cgroups::has("memory") && cgroups::has("pids") {
        assert_eq!((memory(&c).as_str(), pids(&c).as_str()), ("67108864", "20"));
    }
}

#[test]
fn the_mistake_in_a_file_is_located() {
    differs!();
    let c = limited();
    update_from(&c, r#"{"memory":{"limit":"1g"}}"#)
        .refused()
        .says("memory.limit: invalid type: string \"1g\"");
    update_from(&c, r#"{"cpu":{"shares":1}} x"#).refused().says("trailing characters");
}

#[test]
fn flags_besides_a_file_are_refused() {
    differs!();
    let c = limited();
    let file = c.bundle.scratch("resources.json");
    std::fs::write(&file, "{}").unwrap();
    update(&c, &["--resources", file.to_str().unwrap(), "--pids-limit", "9"])
        .refused()
        .says("--pids-limit");
}

#[test]
fn kernel_memory_is_ignored_with_a_warning() {
    needs!(cgroups::has("pids"), "pids controller");
    let c = limited();
    let out =
        update(&c, &["--kernel-memory", "64m", "--kernel-memory-tcp", "64m", "--pids-limit", "9"])
            .ok();
    assert!(out.stderr.to_lowercase().contains("kernel"), "{out:?}");
    let limit: Value = pids(&c).parse().unwrap();
    assert_eq!(limit, 9);
}

/// A limit that is not set should not go unnoticed. runc takes a key in any case, and says nothing
/// of one that it does not know.
#[test]
fn keys_that_are_ignored_are_told() {
    differs!();
    needs!(cgroups::has("pids"), "pids controller");
    let c = limited();
    let out = update_from(&c, r#"{"pids":{"limit":7,"moon":1},"Pids":{"limit":8}}"#).ok();
    assert_eq!(pids(&c), "7");
    assert_eq!(out.stderr.lines().count(), 2, "{out:?}");
    out.says("pids.moon: ignored, there is no such key")
        .says("Pids: ignored, since the case of a key counts");
}

#[test]
fn a_pids_limit_of_0_leaves_one_process() {
    differs!();
    needs!(cgroups::has("pids"), "pids controller");
    let c = limited();
    update(&c, &["--pids-limit", "0"]).silent();
    assert_eq!(pids(&c), "1");
}

/// As in a config.json of the version that the container's has: before 1.3.0, 0 is no limit.
#[test]
fn a_pids_limit_of_0_in_a_file_is_read_by_the_containers_version() {
    differs!();
    needs!(cgroups::has("pids"), "pids controller");
    for (version, limit) in [("1.0.2-dev", "max"), ("1.2.1", "max"), ("1.3.0", "1")] {
        let bundle = Bundle::busybox().set("/ociVersion", version);
        let c = sleeping(bundle.set("/linux/resources/pids/limit", 50));
        let file = c.bundle.scratch("resources.json");
        std::fs::write(&file, r#"{"pids":{"limit":0}}"#).unwrap();
        update(&c, &["--resources", file.to_str().unwrap()]).silent();
        assert_eq!(pids(&c), limit, "{version}");
    }
}

/// The v2 view of a hybrid machine has no controller for any of these.
#[test]
fn a_limit_without_its_controller_is_refused_on_v2() {
    needs!(
        cgroups::v2_root().is_some() && !cgroups::has_v2("cpu"),
        "cgroup v2 without a cpu controller"
    );
    let c = sleeping(Bundle::busybox().on_cgroup_v2());
    for flags in [
        &["--cpu-period", "50000"][..],
        &["--cpu-quota", "-1", "--cpu-period", "50000"],
        &["--cpu-quota", "50000"],
        &["--cpu-share", "500"],
    ] {
        update(&c, flags).refused().names("linux.resources.cpu.");
    }
    Bundle::busybox()
        .on_cgroup_v2()
        .set("/linux/resources/cpu/period", 50_000)
        .refused()
        .names("cpu.period");
}

/// What is idle has no weight: idle wins, wherever either comes from.
#[test]
fn a_weight_of_an_idle_container_is_ignored_with_a_warning() {
    differs!();
    needs!(cgroups::has("cpu"), "cpu controller");
    let idle = |c: &Container| cgroups::value_of(c, "cpu", "cpu.idle", "cpu.idle");
    let weight = |c: &Container| cgroups::value_of(c, "cpu", "cpu.shares", "cpu.weight");
    let c = limited();
    let out = update_from(&c, r#"{"cpu":{"shares":500,"idle":1}}"#).ok();
    assert!(
        out.stderr.contains("linux.resources.cpu.shares") && out.stderr.contains("ignored"),
        "{out:?}"
    );
    assert_eq!(idle(&c), "1");
    let out = update(&c, &["--cpu-share", "600"]).ok();
    assert!(
        out.stderr.contains("linux.resources.cpu.shares") && out.stderr.contains("ignored"),
        "{out:?}"
    );
    assert_eq!(idle(&c), "1");
    update(&c, &["--cpu-idle", "0", "--cpu-share", "2048"]).silent();
    assert_eq!((&*idle(&c), weight(&c) == "2048" || weight(&c) == "174"), ("0", true));
}
