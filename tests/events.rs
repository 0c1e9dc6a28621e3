//! `events`

use std::fs;
use std::time::{Duration, Instant};

use crate::support::runtime::Running;
use crate::support::{Bundle, Container, Value, cgroups, eventually, is_waiting, json, runtime};

/// A container of two processes that has done some work.
fn busy(bundle: Bundle) -> Container {
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 60 & echo ready; wait";
    let c = bundle.script(script).create();
    c.start();
    c.wait_for("ready\n");
    c
}

/// The data of `events --stats`.
#[track_caller]
fn stats(c: &Container) -> Value {
    let out = c.bundle.call(&["events", "--stats", c.id()]).ok();
    assert_eq!(out.stdout.matches('\n').count(), 1, "one line: {out:?}");
    let event: Value = serde_json::from_str(&out.stdout).unwrap();
    let mut keys: Vec<&String> = event.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["data", "id", "type"]);
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(c.id())));
    event["data"].clone()
}

fn has_memory() -> bool {
    cgroups::has_v1("memory") || cgroups::has_v2("memory")
}

/// Callers look for the word in the lines of `events` to learn that it has happened.
#[test]
fn nothing_is_said_of_oom_before_it_happens() {
    let c = busy(Bundle::busybox());
    let out = c.bundle.call(&["events", "--stats", c.id()]).ok();
    assert!(!out.stdout.contains("oom"), "{out:?}");
}

fn events(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn stats_have_the_parts_that_tools_know() {
    let c = busy(Bundle::busybox());
    let stats = stats(&c);
    let mut keys: Vec<&String> = stats.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"],
        "{stats}"
    );
    assert_eq!((&stats["intel_rdt"], &stats["network_interfaces"]), (&json!({}), &Value::Null));
}

#[test]
fn cpu_time_is_counted() {
    needs!(cgroups::has_v1("cpuacct") || cgroups::is_pure_v2(), "cpu accounting");
    let c = busy(Bundle::busybox());
    let usage = &stats(&c)["cpu"]["usage"];
    let total = usage["total"].as_u64().unwrap();
    assert!((1_000_000..60_000_000_000).contains(&total), "{usage}");
    assert!(usage["kernel"].is_u64() && usage["user"].is_u64(), "{usage}");
    if cgroups::has_v1("cpuacct") {
        let percpu: Vec<u64> =
            usage["percpu"].as_array().unwrap().iter().map(|time| time.as_u64().unwrap()).collect();
        assert_eq!(percpu.iter().sum::<u64>(), total, "{usage}");
        for mode in ["percpu_kernel", "percpu_user"] {
            assert_eq!(usage[mode].as_array().unwrap().len(), percpu.len(), "{usage}");
        }
        let dir = cgroups::v1("cpuacct", c.id());
        let now: u64 = cgroups::value(&dir, "cpuacct.usage").parse().unwrap();
        assert!(now >= total && now - total < 1_000_000_000, "{now} {usage}");
    }
}

#[test]
fn throttling_is_counted() {
    needs!(cgroups::has_v1("cpu"), "cpu controller of cgroup v1");
    let bundle =
        Bundle::busybox().set("/linux/resources/cpu", json!({ "quota": 5000, "period": 50000 }));
    let c = busy(bundle);
    let throttling = &stats(&c)["cpu"]["throttling"];
    for key in ["periods", "throttledPeriods", "throttledTime"] {
        assert!(throttling[key].as_u64().unwrap_or_default() > 0, "{key}: {throttling}");
    }
}

#[test]
fn memory_and_its_limit() {
    needs!(cgroups::has_v1("memory"), "memory controller of cgroup v1");
    let c = busy(Bundle::busybox().set("/linux/resources/memory/limit", 64 << 20));
    let memory = &stats(&c)["memory"];
    assert_eq!(memory["usage"]["limit"], 64 << 20);
    let usage = memory["usage"]["usage"].as_u64().unwrap();
    assert!(usage > 0 && memory["usage"]["max"].as_u64().unwrap() >= usage, "{memory}");
    assert_eq!(memory["usage"]["failcnt"], 0);
    for part in ["swap", "kernel", "kernelTCP"] {
        assert!(memory[part]["limit"].is_u64(), "{part}: {memory}");
    }
    assert!(
        memory["raw"]["total_rss"].is_u64() && memory["raw"]["pgfault"].as_u64().unwrap() > 0,
        "{memory}"
    );
    assert_eq!(memory["raw"]["hierarchical_memory_limit"], 64 << 20);
}

#[test]
fn pids_and_their_limit() {
    needs!(cgroups::has_v1("pids"), "pids controller of cgroup v1");
    let c = busy(Bundle::busybox().set("/linux/resources/pids/limit", 33));
    assert_eq!(stats(&c)["pids"], json!({ "current": 2, "limit": 33 }));
    let c = busy(Bundle::busybox());
    assert_eq!(stats(&c)["pids"], json!({ "current": 2 }), "no limit is left out");
}

#[test]
fn the_cpuset_is_shown() {
    needs!(cgroups::has_v1("cpuset"), "cpuset controller of cgroup v1");
    let c = busy(Bundle::busybox().set("/linux/resources/cpu/cpus", "0"));
    let cpuset = &stats(&c)["cpuset"];
    assert_eq!(cpuset["cpus"], json!([0]));
    assert_eq!(cpuset["mems"], json!([0]));
    for key in [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
    ] {
        assert!(cpuset[key].is_u64(), "{key}: {cpuset}");
    }
    assert!(cpuset["sched_relax_domain_level"].is_i64(), "{cpuset}");
}

#[test]
fn stats_on_v2() {
    needs!(cgroups::v2_root().is_some(), "cgroup v2");
    let c = busy(Bundle::busybox().on_cgroup_v2());
    let stats = stats(&c);
    assert!(stats["cpu"]["usage"]["total"].as_u64().unwrap() >= 1_000_000, "{stats}");
    assert_eq!(stats["pids"]["current"], 2, "{stats}");
    if cgroups::has_v2("hugetlb") {
        assert_eq!(stats["hugetlb"]["2MB"]["failcnt"], 0, "{stats}");
    }
}

#[test]
fn pressure_is_shown_where_the_kernel_has_it() {
    differs!();
    needs!(cgroups::v2_root().is_some(), "cgroup v2");
    let c = busy(Bundle::busybox().on_cgroup_v2());
    needs!(
        fs::metadata(cgroups::v2(c.id()).join("cpu.pressure")).is_ok(),
        "pressure stall information"
    );
    let stats = stats(&c);
    for part in ["cpu", "memory", "blkio"] {
        assert!(stats[part]["psi"].is_object(), "{part}: {stats}");
    }
}

#[test]
fn the_stream_shows_statistics_at_intervals() {
    needs!(has_memory(), "memory controller, without which runc watches nothing");
    let c = busy(Bundle::busybox());
    let began = Instant::now();
    let stream = c.bundle.start(&["events", "--interval", "200ms", c.id()]);
    let lines = || runtime::read(&stream.files.stdout).lines().count();
    assert!(eventually(runtime::time_limit(), || lines() >= 3), "{}", lines());
    assert!(began.elapsed() >= Duration::from_millis(600));
    for event in events(&runtime::read(&stream.files.stdout)) {
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(c.id())));
        assert!(event["data"]["pids"].is_object(), "{event}");
    }
}

#[test]
fn the_interval_is_5_seconds_if_nothing_is_said() {
    needs!(has_memory(), "memory controller, without which runc watches nothing");
    let c = busy(Bundle::busybox());
    let stream = c.bundle.start(&["events", c.id()]);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(runtime::read(&stream.files.stdout), "");
    stream.wait_for("\n");
}

/// Begins to watch a container, and waits until nothing but an event is waited for.
#[track_caller]
fn watch(c: &Container) -> Running {
    let stream = c.bundle.start(&["events", "--interval", "1h", c.id()]);
    // What it waits for is open: an end (orlop), a kill with cgroup v1, a kill with v2.
    let watches = || {
        let links =
            fs::read_dir(format!("/proc/{}/fd", stream.pid())).into_iter().flatten().flatten();
        let mut links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| {
            let link = link.to_string_lossy();
            ["[pidfd]", "memory.oom_control", "inotify"].iter().any(|end| link.ends_with(end))
        })
    };
    assert!(eventually(runtime::time_limit(), watches), "it does not watch");
    assert!(eventually(runtime::time_limit(), || is_waiting(stream.pid())), "it does not wait");
    stream
}

#[test]
fn a_kill_by_the_oom_killer_is_an_event() {
    needs!(cgroups::has_v1("memory"), "memory controller of cgroup v1");
    let bundle = Bundle::busybox().set("/linux/resources/memory/limit", 16 << 20);
    let c = bundle
        .script("while [ ! -e /go ]; do sleep 0.05; done; tail /dev/zero; echo survived; sleep 60")
        .create();
    c.start();
    let stream = watch(&c);
    fs::write(c.bundle.rootfs("go"), "").unwrap();
    c.wait_for("survived");
    stream.wait_for("\n");
    let text = runtime::read(&stream.files.stdout);
    assert_eq!(text.lines().next(), Some(&*format!("{{\"type\":\"oom\",\"id\":\"{}\"}}", c.id())));
}

#[test]
fn all_ends_with_the_container() {
    differs!();
    let c = busy(Bundle::busybox());
    let stream = watch(&c);
    c.kill("KILL");
    stream.wait().silent();
}

#[test]
fn the_stream_ends_when_the_container_is_deleted() {
    needs!(has_memory(), "memory controller, without which runc watches nothing");
    let c = busy(Bundle::busybox());
    let stream = watch(&c);
    c.delete_by_force();
    stream.wait().silent();
}

#[test]
fn the_stream_needs_no_memory_controller() {
    differs!();
    let c = busy(Bundle::busybox().on_cgroup_v2());
    let stream = c.bundle.start(&["events", "--interval", "100ms", c.id()]);
    stream.wait_for("\n");
    c.kill("KILL");
    assert!(!events(&stream.wait().ok().stdout).is_empty());
}

#[test]
fn created_and_paused_containers_have_statistics() {
    let c = Bundle::busybox().create();
    stats(&c);
    c.verb("pause").silent();
    stats(&c);
}

#[test]
fn an_interval_of_nothing_is_refused() {
    let c = busy(Bundle::busybox());
    for interval in ["0", "0s", "-1s"] {
        let out = c.bundle.call(&["events", "--interval", interval, c.id()]);
        out.refused().says("duration interval must be greater than 0");
    }
}

#[test]
fn an_interval_without_a_unit_is_refused() {
    let c = busy(Bundle::busybox());
    for interval in ["5", "s", "1.5.1s", "five"] {
        let out = c.bundle.call(&["events", "--interval", interval, c.id()]);
        assert!(out.status == 1 && out.stderr.contains(interval), "{out:?}");
    }
}

#[test]
fn a_stopped_container_is_refused() {
    let c = Bundle::busybox().create();
    c.finish();
    for flags in [&["events", c.id()][..], &["events", "--stats", c.id()]] {
        c.bundle
            .call(flags)
            .refused()
            .says(&format!("container with id {} is not running", c.id()));
    }
}

#[test]
fn an_absent_container_is_refused() {
    Bundle::busybox().verb("events").refused().says("container does not exist");
}
