//! The properties for settings.

use super::{Property, PropertyValue, of_devices, of_limits};
use crate::config::Resources;
use crate::host::cgroups::CgroupLayout;
use crate::plan::Problems;
use crate::plan::resources::{self, ResourcePlan};

fn v2() -> CgroupLayout {
    let controllers = ["cpuset", "cpu", "io", "memory", "pids"].map(str::to_owned).to_vec();
    CgroupLayout::Unified { mount: "/sys/fs/cgroup".into(), own: "/".into(), controllers }
}

fn plan(text: &str) -> ResourcePlan {
    let wanted: Resources<'_> = serde_json::from_str(text).expect(text);
    let mut problems = Problems::default();
    let plan = resources::decide(&wanted, &v2(), &mut problems);
    assert!(problems.found().is_empty(), "{text}: {:?}", problems.found());
    plan
}

fn shown(properties: &[Property]) -> Vec<String> {
    let number = |value: &PropertyValue| match value {
        PropertyValue::Uint64(u64::MAX) => "infinity".to_owned(),
        PropertyValue::Uint64(number) => number.to_string(),
        PropertyValue::Text(text) => text.clone(),
        PropertyValue::Array(_, values) => format!("{values:?}"),
        other => format!("{other:?}"),
    };
    properties
        .iter()
        .map(|property| format!("{}={}", property.name, number(&property.value)))
        .collect()
}

#[test]
fn every_limit_that_systemd_knows_becomes_a_property() {
    for (text, expected) in [
        (
            r#"{"memory":{"limit":1000,"reservation":500,"swap":3000}}"#,
            "MemorySwapMax=2000 MemoryMax=1000 MemoryLow=500",
        ),
        (r#"{"memory":{"limit":-1}}"#, "MemorySwapMax=infinity MemoryMax=infinity"),
        (r#"{"pids":{"limit":7}}"#, "TasksMax=7"),
        (r#"{"pids":{"limit":0}}"#, "TasksMax=1"),
        (r#"{"pids":{"limit":-1}}"#, "TasksMax=infinity"),
        (r#"{"cpu":{"shares":1024}}"#, "CPUWeight=100"),
        (r#"{"cpu":{"shares":2048,"idle":1}}"#, "CPUWeight=0"),
        (r#"{"cpu":{"quota":50000}}"#, "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=500000"),
        (
            r#"{"cpu":{"quota":-1,"period":50000}}"#,
            "CPUQuotaPeriodUSec=50000 CPUQuotaPerSecUSec=infinity",
        ),
        (
            r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#,
            "AllowedCPUs=[Byte(7), Byte(2)] AllowedMemoryNodes=[Byte(1)]",
        ),
        (r#"{"blockIO":{"weight":1000}}"#, "IOWeight=10000"),
        (
            r#"{"unified":{"memory.high":"9","memory.min":"max","memory.max":"10","pids.max":"0"}}"#,
            "MemoryHigh=9 MemoryMin=infinity MemoryMax=10 TasksMax=1",
        ),
        (r#"{"pids":{"limit":7},"unified":{"pids.max":"8"}}"#, "TasksMax=8"),
        (
            r#"{"unified":{"cpu.max":"max 5000"}}"#,
            "CPUQuotaPeriodUSec=5000 CPUQuotaPerSecUSec=infinity",
        ),
        (r#"{"unified":{"cpu.max.burst":"5","memory.oom.group":"1"}}"#, ""),
    ] {
        assert_eq!(shown(&of_limits(&mut plan(text), true)).join(" "), expected, "{text}");
    }
}

/// 10 ms of CPU time in a second is the smallest step of systemd. The file gets the same value.
#[test]
fn a_quota_is_rounded_up_to_a_percent() {
    for (quota, period, file, per_second) in [
        (50_001, 100_000, "51000 100000", 510_000),
        (333, 1000, "340 1000", 340_000),
        (5000, 10_000, "5000 10000", 500_000),
    ] {
        let mut plan = plan(&format!(r#"{{"cpu":{{"quota":{quota},"period":{period}}}}}"#));
        let properties = of_limits(&mut plan, true);
        assert_eq!(plan.writes[0].value, file);
        assert_eq!(properties[1].value, PropertyValue::Uint64(per_second));
    }
}

#[test]
fn device_rules_that_are_a_list_are_systemds_too() {
    const ALL: &str = r#"{"allow":false,"access":"rwm"}"#;
    let devices = |rules: &str| {
        shown(&of_devices(
            &plan(&format!(r#"{{"devices":[{rules}]}}"#)).devices.expect("rules"),
            true,
        ))
    };
    let list =
        devices(&format!(r#"{ALL},{{"allow":true,"type":"b","major":8,"minor":1,"access":"r"}}"#));
    assert_eq!(list[..2], ["DeviceAllow=[]", "DevicePolicy=strict"]);
    for entry in ["/dev/block/8:1", "/dev/char/1:3", "char-136", "char-*", "block-*"] {
        assert!(list[2].contains(&format!("\"{entry}\"")), "{entry}: {}", list[2]);
    }
    for rules in [
        r#"{"allow":true,"access":"rwm"}"#,
        r#"{"allow":true,"access":"rwm"},{"allow":false,"type":"b","access":"rw"}"#,
        r#"{"allow":true,"type":"c","minor":5,"access":"r"}"#,
    ] {
        assert_eq!(devices(rules), ["DeviceAllow=[]", "DevicePolicy=auto"], "{rules}");
    }
}
