//! `--systemd-cgroup`: limits, in the cgroup and in the unit, also after `systemctl daemon-reload`

use crate::support::{Value, cgroups, config, json, systemd};

/// Resources, what the file holds, and what the unit says; `file` or `property` may be empty where
/// there is none.
struct Case {
    resources: Value,
    file: &'static str,
    value: &'static str,
    property: &'static str,
    shown: &'static str,
}

fn case(
    resources: Value,
    (file, value): (&'static str, &'static str),
    (property, shown): (&'static str, &'static str),
) -> Case {
    Case { resources, file, value, property, shown }
}

/// Every field of `linux.resources`, as cgroup v2 has it.
fn cases() -> Vec<Case> {
    let none = ("", "");
    vec![
        case(
            json!({"memory":{"limit":67_108_864}}),
            ("memory.max", "67108864"),
            ("MemoryMax", "67108864"),
        ),
        case(
            json!({"memory":{"reservation":33_554_432}}),
            ("memory.low", "33554432"),
            ("MemoryLow", "33554432"),
        ),
        case(
            json!({"memory":{"limit":67_108_864,"swap":100_663_296}}),
            ("memory.swap.max", "33554432"),
            ("MemorySwapMax", "33554432"),
        ),
        case(
            json!({"cpu":{"quota":50_000,"period":200_000}}),
            ("cpu.max", "50000 200000"),
            ("CPUQuotaPerSecUSec", "250ms"),
        ),
        case(
            json!({"cpu":{"quota":5000,"period":20_000}}),
            ("cpu.max", "5000 20000"),
            ("CPUQuotaPeriodUSec", "20ms"),
        ),
        case(
            json!({"cpu":{"quota":33_333}}),
            ("cpu.max", "34000 100000"),
            ("CPUQuotaPerSecUSec", "340ms"),
        ),
        case(json!({"cpu":{"quota":50_000,"burst":1000}}), ("cpu.max.burst", "1000"), none),
        case(json!({"cpu":{"cpus":"0"}}), ("cpuset.cpus", "0"), ("AllowedCPUs", "0")),
        case(json!({"cpu":{"mems":"0"}}), ("cpuset.mems", "0"), ("AllowedMemoryNodes", "0")),
        case(json!({"pids":{"limit":77}}), ("pids.max", "77"), ("TasksMax", "77")),
        case(json!({"pids":{"limit":-1}}), ("pids.max", "max"), ("TasksMax", "infinity")),
        case(
            json!({"hugepageLimits":[{"pageSize":"2MB","limit":4_194_304}]}),
            ("hugetlb.2MB.max", "4194304"),
            none,
        ),
        case(
            json!({"unified":{"memory.high":"50331648"}}),
            ("memory.high", "50331648"),
            ("MemoryHigh", "50331648"),
        ),
        case(
            json!({"unified":{"memory.min":"4096"}}),
            ("memory.min", "4096"),
            ("MemoryMin", "4096"),
        ),
        case(json!({"unified":{"pids.max":"78"}}), ("pids.max", "78"), ("TasksMax", "78")),
        case(json!({"unified":{"cpu.weight":"55"}}), ("cpu.weight", "55"), ("CPUWeight", "55")),
    ]
}

/// What only Orlop tells systemd, or runc 1.1 does not know; it has another conversion of shares,
/// too.
fn more_cases() -> Vec<Case> {
    vec![
        case(json!({"cpu":{"shares":2048}}), ("cpu.weight", "174"), ("CPUWeight", "174")),
        case(json!({"cpu":{"idle":1}}), ("cpu.idle", "1"), ("CPUWeight", "idle")),
        case(
            json!({"unified":{"memory.oom.group":"1"}}),
            ("memory.oom.group", "1"),
            ("OOMPolicy", "kill"),
        ),
        case(
            json!({"blockIO":{"weight":500}}),
            ("io.weight", "default 4950"),
            ("IOWeight", "4950"),
        ),
    ]
}

#[track_caller]
fn hold(cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for Case { resources, file, value, property, shown } in cases {
        if !cgroups::has_v2(file.split('.').next().unwrap()) {
            eprintln!("skipped {resources}: no controller for {file}");
            continue;
        }
        let c = systemd::bundle().set("/linux/resources", resources.clone()).create();
        let unit = systemd::unit(&c.bundle);
        for time in ["at first", "after daemon-reload"] {
            let found = cgroups::value(&systemd::cgroup(&c.bundle), file);
            if found != value {
                wrong.push(format!("{resources}: {file} is {found:?} {time}"));
            }
            let found = systemd::property(&unit, property);
            if !property.is_empty() && found != shown {
                wrong.push(format!("{resources}: {property} is {found:?} {time}"));
            }
            systemd::reload();
        }
        c.delete_by_force();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_limit_lasts() {
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    hold(cases());
}

#[test]
fn limits_that_runc_does_not_tell_systemd_last_too() {
    differs!();
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    hold(more_cases());
}

#[test]
fn an_update_lasts() {
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    let c = systemd::bundle()
        .set("/linux/resources/memory/limit", 64 << 20)
        .args(["sleep", "600"])
        .create();
    c.start();
    let update = |flags: &[&str]| c.bundle.call(&[&["update"], flags, &[c.id()]].concat());
    update(&["--memory", "48m", "--memory-swap", "-1", "--pids-limit", "44"]).ok();
    update(&["--cpu-quota", "20000", "--cpu-period", "50000", "--cpuset-cpus", "0"]).ok();
    let (unit, cgroup) = (systemd::unit(&c.bundle), systemd::cgroup(&c.bundle));
    for _ in 0..2 {
        for (file, value) in [
            ("memory.max", "50331648"),
            ("memory.swap.max", "max"),
            ("pids.max", "44"),
            ("cpu.max", "20000 50000"),
            ("cpuset.cpus", "0"),
        ] {
            assert_eq!(cgroups::value(&cgroup, file), value, "{file}");
        }
        for (property, value) in [
            ("MemoryMax", "50331648"),
            ("MemorySwapMax", "infinity"),
            ("TasksMax", "44"),
            ("CPUQuotaPerSecUSec", "400ms"),
            ("AllowedCPUs", "0"),
        ] {
            assert_eq!(systemd::property(&unit, property), value, "{property}");
        }
        systemd::reload();
    }
}

/// systemd would write the limit without a look, and the OOM killer would find it broken.
#[test]
fn the_usage_is_checked_before_systemd_hears_of_the_limit() {
    differs!();
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    let c = systemd::bundle()
        .script("dd if=/dev/zero of=/dev/eight bs=1M count=8; echo ready; sleep 600")
        .create();
    c.start();
    c.wait_for("ready");
    let file = c.bundle.scratch("resources.json");
    std::fs::write(&file, r#"{"memory":{"limit":1048576,"checkBeforeUpdate":true}}"#).unwrap();
    c.bundle.call(&["update", "--resources", file.to_str().unwrap(), c.id()]).refused();
    assert_eq!(cgroups::value(&systemd::cgroup(&c.bundle), "memory.max"), "max");
    assert_eq!(systemd::property(&systemd::unit(&c.bundle), "MemoryMax"), "infinity");
    assert_eq!(c.status(), "running");
}

/// All or nothing, in the unit as well.
#[test]
fn an_update_that_fails_changes_nothing() {
    differs!();
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    let c =
        systemd::bundle().set("/linux/resources/pids/limit", 40).args(["sleep", "600"]).create();
    c.start();
    let (unit, cgroup) = (systemd::unit(&c.bundle), systemd::cgroup(&c.bundle));
    // No machine has a CPU 4000.
    c.bundle.call(&["update", "--pids-limit", "41", "--cpuset-cpus", "4000", c.id()]).refused();
    for _ in 0..2 {
        assert_eq!(
            (
                cgroups::value(&cgroup, "pids.max").as_str(),
                systemd::property(&unit, "TasksMax").as_str()
            ),
            ("40", "40")
        );
        systemd::reload();
    }
}

#[test]
fn a_container_that_ceases_to_be_idle_stays_so() {
    differs!();
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    let c = systemd::bundle().set("/linux/resources/cpu/idle", 1).create();
    c.bundle.call(&["update", "--cpu-idle", "0", c.id()]).ok();
    systemd::reload();
    assert_eq!(cgroups::value(&systemd::cgroup(&c.bundle), "cpu.idle"), "0");
    assert_eq!(systemd::property(&systemd::unit(&c.bundle), "CPUWeight"), "100");
}

/// systemd has one word for both; the other driver does the same.
#[test]
fn a_weight_of_an_idle_container_is_ignored() {
    differs!();
    needs!(systemd::runs() && cgroups::is_pure_v2(), "systemd on cgroup v2");
    for resources in [
        json!({ "cpu": { "shares": 500, "idle": 1 } }),
        json!({ "unified": { "cpu.idle": "1", "cpu.weight": "50" } }),
        json!({ "cpu": { "shares": 500 }, "unified": { "cpu.idle": "1" } }),
    ] {
        let bundle = systemd::bundle().set("/linux/resources", resources);
        let (dir, unit) = (systemd::cgroup, systemd::unit(&bundle));
        bundle.try_create().ok().says("ignored");
        bundle.call(&["update", "--cpu-share", "600", bundle.id()]).ok().says("ignored");
        systemd::reload();
        assert_eq!(cgroups::value(&dir(&bundle), "cpu.idle"), "1");
        assert_eq!(systemd::property(&unit, "CPUWeight"), "idle");
        bundle.call(&["update", "--cpu-share", "2048", "--cpu-idle", "0", bundle.id()]).silent();
        assert_eq!(cgroups::value(&dir(&bundle), "cpu.weight"), "174");
        bundle.call(&["delete", "--force", bundle.id()]).silent();
    }
}

/// Our own program stands beside systemd's, whatever systemd does with that.
#[test]
fn device_rules_last() {
    needs!(systemd::runs(), "systemd");
    let deny = json!({ "allow": false, "access": "rwm" });
    let full = json!({ "allow": false, "type": "c", "major": 1, "minor": 7, "access": "rwm" });
    let kmsg = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" });
    // A list of what is allowed; and one that systemd has no words for.
    for (rules, readable) in [
        (json!([deny.clone(), kmsg]), ["null", "kmsg"]),
        (json!([{ "allow": true, "access": "rwm" }, full]), ["null", "zero"]),
    ] {
        let capabilities = config::capabilities(&["CAP_MKNOD", "CAP_SYSLOG"]);
        let c = systemd::bundle()
            .set("/linux/resources/devices", rules.clone())
            .set("/process/capabilities", capabilities)
            .args(["sleep", "600"])
            .create();
        c.start();
        c.exec_sh(
            "mknod /tmp/kmsg c 1 11; mknod /tmp/mem c 1 1; mknod /tmp/loop b 7 0; ln -s /dev/null /dev/zero /tmp",
        )
        .ok();
        for _ in 0..2 {
            for name in readable {
                c.exec_sh(&format!(": < /tmp/{name}")).ok();
            }
            if rules[0] == deny {
                let out = c.exec_sh(": < /tmp/loop");
                assert!(out.stderr.contains("not permitted"), "{out:?}");
            }
            systemd::reload();
        }
    }
}
