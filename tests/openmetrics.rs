//! `events --format openmetrics`: read by the rules of the OpenMetrics 1.0 specification, and held
//! against the files of the kernel.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::openmetrics::{Family, parse};
use crate::support::{Bundle, Container, cgroups, eventually, json, runtime};

#[track_caller]
fn scrape(c: &Container) -> BTreeMap<String, Family> {
    let out = c.bundle.call(&["events", "--format", "openmetrics", c.id()]).ok();
    assert_eq!(out.stderr, "");
    parse(&out.stdout, c.id())
}

/// The value of the only sample of a family with these labels.
#[track_caller]
fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family = families.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", families.keys()));
    let has = |found: &BTreeMap<String, String>| {
        labels.iter().all(|(label, value)| found.get(*label).is_some_and(|found| found == value))
    };
    let found: Vec<f64> =
        family.samples.iter().filter(|(found, _)| has(found)).map(|(_, value)| *value).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {family:?}");
    found[0]
}

/// A file of lines `key value`.
fn pairs(text: &str) -> BTreeMap<String, f64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(key, value)| (key.to_owned(), value.parse().unwrap())).collect()
}

/// A container that has worked, and now stands still, so that its numbers do.
fn still(bundle: Bundle) -> Container {
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 600 & echo ready; wait";
    let c = bundle.script(script).create();
    c.start();
    c.wait_for("ready\n");
    c.verb("pause").silent();
    c
}

/// The kernel adds some numbers up late: that two looks agree may take a while.
#[track_caller]
fn agree(what: &str, mut differences: impl FnMut() -> Vec<String>) {
    let mut last = Vec::new();
    let agreed = eventually(runtime::time_limit(), || {
        last = differences();
        last.is_empty()
    });
    assert!(agreed, "{what}: {last:#?}");
}

fn differ(name: &str, shown: f64, file: f64) -> Option<String> {
    // Both come from decimals; microseconds are the least that any of them has.
    ((shown - file).abs() > 1e-7).then(|| format!("{name}: {shown} is shown, the file has {file}"))
}

#[test]
fn the_text_is_what_the_specification_says() {
    differs!();
    for bundle in [Bundle::busybox(), Bundle::busybox().on_cgroup_v2()] {
        let c = still(bundle);
        let families = scrape(&c);
        assert_eq!(value(&families, "orlop_pids", &[]), 2.0);
        assert!(value(&families, "orlop_cpu_usage_seconds", &[]) > 0.0);
        let units: BTreeSet<_> =
            families.values().filter_map(|family| family.unit.as_deref()).collect();
        assert!(units.is_subset(&["bytes", "ratio", "seconds"].into()), "base units: {units:?}");
    }
}

#[test]
fn it_is_shown_once_and_the_stream_stays_json() {
    differs!();
    let c = still(Bundle::busybox());
    let out = c.bundle.call(&["events", "--format", "openmetrics", "--stats", c.id()]).ok();
    assert_eq!(out.stdout.matches("# EOF").count(), 1, "{out:?}");
    let json = c.bundle.call(&["events", "--stats", "--format", "json", c.id()]).ok().stdout;
    assert!(json.starts_with("{\"type\":\"stats\""), "{json}");
}

#[test]
fn an_unknown_format_is_refused() {
    differs!();
    let c = Bundle::busybox().create();
    for format in ["prometheus", "OPENMETRICS", ""] {
        let out = c.bundle.call(&["events", "--format", format, c.id()]);
        out.refused().says("invalid format option (known: json, openmetrics)");
    }
}

#[test]
fn a_stopped_container_has_no_metrics() {
    differs!();
    let c = Bundle::busybox().create();
    c.finish();
    c.bundle.call(&["events", "--format", "openmetrics", c.id()]).refused().says("is not running");
}

#[test]
fn cpu_time_is_the_kernels() {
    differs!();
    needs!(cgroups::has_v1("cpuacct") || cgroups::is_pure_v2(), "cpu accounting");
    let c = still(Bundle::busybox());
    agree("cpu", || {
        let shown = scrape(&c);
        let total = value(&shown, "orlop_cpu_usage_seconds", &[]);
        let mode = |mode| value(&shown, "orlop_cpu_mode_seconds", &[("mode", mode)]);
        let mut found = Vec::new();
        if cgroups::is_pure_v2() {
            let stat = pairs(&cgroups::value(&cgroups::v2(c.id()), "cpu.stat"));
            found.extend(differ("usage", total, stat["usage_usec"] / 1e6));
            found.extend(differ("user", mode("user"), stat["user_usec"] / 1e6));
            found.extend(differ("system", mode("system"), stat["system_usec"] / 1e6));
            return found;
        }
        let dir = cgroups::v1("cpuacct", c.id());
        let stat = pairs(&cgroups::value(&dir, "cpuacct.stat"));
        found.extend(differ(
            "usage",
            total,
            cgroups::value(&dir, "cpuacct.usage").parse::<f64>().unwrap() / 1e9,
        ));
        found.extend(differ("user", mode("user"), stat["user"] / 100.0));
        found.extend(differ("system", mode("system"), stat["system"] / 100.0));
        for (cpu, time) in
            cgroups::value(&dir, "cpuacct.usage_percpu").split_whitespace().enumerate()
        {
            let core = value(&shown, "orlop_cpu_core_seconds", &[("cpu", &cpu.to_string())]);
            found.extend(differ("core", core, time.parse::<f64>().unwrap() / 1e9));
        }
        for line in cgroups::value(&dir, "cpuacct.usage_all").lines().skip(1) {
            let words: Vec<&str> = line.split(' ').collect();
            for (mode, time) in [("user", words[1]), ("system", words[2])] {
                let core = value(
                    &shown,
                    "orlop_cpu_core_mode_seconds",
                    &[("cpu", words[0]), ("mode", mode)],
                );
                found.extend(differ("core and mode", core, time.parse::<f64>().unwrap() / 1e9));
            }
        }
        found
    });
}

#[test]
fn throttling_is_the_kernels() {
    differs!();
    needs!(cgroups::has("cpu"), "cpu controller");
    let c = still(
        Bundle::busybox().set("/linux/resources/cpu", json!({ "quota": 5000, "period": 50000 })),
    );
    agree("throttling", || {
        let shown = scrape(&c);
        let stat = pairs(&cgroups::value_of(&c, "cpu", "cpu.stat", "cpu.stat"));
        let time = stat
            .get("throttled_time")
            .map_or_else(|| stat["throttled_usec"] / 1e6, |time| time / 1e9);
        assert!(stat["nr_throttled"] > 0.0 && time > 0.0, "{stat:?}");
        let mut found = Vec::new();
        found.extend(differ(
            "periods",
            value(&shown, "orlop_cpu_periods", &[]),
            stat["nr_periods"],
        ));
        found.extend(differ(
            "throttled",
            value(&shown, "orlop_cpu_throttled_periods", &[]),
            stat["nr_throttled"],
        ));
        found.extend(differ("time", value(&shown, "orlop_cpu_throttled_seconds", &[]), time));
        found
    });
}

#[test]
fn memory_is_the_kernels() {
    differs!();
    needs!(cgroups::has("memory"), "memory controller");
    let c = still(Bundle::busybox().set("/linux/resources/memory/limit", 64 << 20));
    let file = |v1, v2| cgroups::value_of(&c, "memory", v1, v2).parse::<f64>().unwrap();
    agree("memory", || {
        let shown = scrape(&c);
        let of = |name| value(&shown, name, &[("of", "memory")]);
        let mut found = Vec::new();
        found.extend(differ("limit", of("orlop_memory_limit_bytes"), f64::from(64 << 20)));
        let usage = file("memory.usage_in_bytes", "memory.current");
        found.extend(differ("usage", of("orlop_memory_usage_bytes"), usage));
        let most = file("memory.max_usage_in_bytes", "memory.peak");
        found.extend(differ("most", of("orlop_memory_max_usage_bytes"), most));
        for (key, bytes_or_count) in
            pairs(&cgroups::value_of(&c, "memory", "memory.stat", "memory.stat"))
        {
            let stat = |name: &str, label: &str| {
                let samples =
                    shown.get(name).map(|family| family.samples.as_slice()).unwrap_or_default();
                samples.iter().find(|(labels, _)| labels[label] == key).map(|(_, value)| *value)
            };
            let bytes = stat("orlop_memory_stat_bytes", "of");
            let count = stat("orlop_memory_stat_events", "event");
            assert!(bytes.is_some() != count.is_some(), "{key}: once, as one or the other");
            let value = bytes.or(count).unwrap();
            if value.is_infinite() {
                assert!(key.starts_with("hierarchical_mem") && bytes_or_count > 9e18, "{key}");
            } else {
                found.extend(differ(&key, value, bytes_or_count));
            }
        }
        found
    });
    let shown = scrape(&c);
    for (event, label) in [("pgfault", "event"), ("pgmajfault", "event")] {
        assert!(value(&shown, "orlop_memory_stat_events", &[(label, event)]) >= 0.0);
    }
}

#[test]
fn without_a_limit_it_is_infinite() {
    differs!();
    needs!(cgroups::has("memory") && cgroups::has("pids"), "memory and pids controller");
    let c = still(Bundle::busybox());
    let shown = scrape(&c);
    assert_eq!(value(&shown, "orlop_memory_limit_bytes", &[("of", "memory")]), f64::INFINITY);
    assert_eq!(value(&shown, "orlop_pids_limit", &[]), f64::INFINITY);
    let c = still(Bundle::busybox().set("/linux/resources/pids/limit", 33));
    assert_eq!(value(&scrape(&c), "orlop_pids_limit", &[]), 33.0);
}

#[test]
fn kills_by_the_oom_killer_are_counted() {
    differs!();
    needs!(cgroups::has("memory"), "memory controller");
    let bundle = Bundle::busybox().set("/linux/resources/memory/limit", 16 << 20);
    let c = bundle.script("tail /dev/zero; echo survived; sleep 600").create();
    c.start();
    c.wait_for("survived");
    let shown = scrape(&c);
    let kills = value(&shown, "orlop_memory_events", &[("event", "oom_kill")]);
    let file = cgroups::value_of(&c, "memory", "memory.oom_control", "memory.events");
    assert_eq!(kills, pairs(&file)["oom_kill"]);
    assert!(kills >= 1.0, "{file}");
    if cgroups::has_v1("memory") {
        let failures: f64 =
            cgroups::value(&cgroups::v1("memory", c.id()), "memory.failcnt").parse().unwrap();
        assert!(failures > 0.0);
        assert_eq!(value(&shown, "orlop_memory_limit_hits", &[("of", "memory")]), failures);
    } else {
        for (event, count) in pairs(&file) {
            assert_eq!(
                value(&shown, "orlop_memory_events", &[("event", &event)]),
                count,
                "{event}"
            );
        }
    }
}

#[test]
fn pressure_is_the_kernels() {
    differs!();
    needs!(cgroups::v2_root().is_some(), "cgroup v2");
    let c = still(Bundle::busybox().on_cgroup_v2());
    let dir = cgroups::v2(c.id());
    needs!(std::fs::read_to_string(dir.join("cpu.pressure")).is_ok(), "pressure stall information");
    agree("pressure", || {
        let shown = scrape(&c);
        let mut found = Vec::new();
        for resource in ["cpu", "memory", "io"] {
            for line in cgroups::value(&dir, &format!("{resource}.pressure")).lines() {
                let (stalled, rest) = line.split_once(' ').unwrap();
                for (key, file) in rest.split(' ').filter_map(|word| word.split_once('=')) {
                    let file: f64 = file.parse().unwrap();
                    let labels = [("resource", resource), ("stalled", stalled)];
                    let (shown, file) = match key.strip_prefix("avg") {
                        None => {
                            (value(&shown, "orlop_pressure_stalled_seconds", &labels), file / 1e6)
                        }
                        Some(window) => {
                            let window = format!("{window}s");
                            let labels = [labels[0], labels[1], ("window", window.as_str())];
                            (value(&shown, "orlop_pressure_ratio", &labels), file / 100.0)
                        }
                    };
                    found.extend(differ(&format!("{resource} {stalled} {key}"), shown, file));
                }
            }
        }
        found
    });
}

#[test]
fn the_cpuset_is_the_kernels() {
    differs!();
    needs!(cgroups::has_v1("cpuset"), "cpuset controller of cgroup v1");
    let c = still(Bundle::busybox().set("/linux/resources/cpu/cpus", "0"));
    let shown = scrape(&c);
    assert_eq!(value(&shown, "orlop_cpuset", &[("cpus", "0"), ("mems", "0")]), 1.0);
    let dir = cgroups::v1("cpuset", c.id());
    let flags = &shown["orlop_cpuset_flag"].samples;
    assert_eq!(flags.len(), 7);
    for (labels, shown) in flags {
        let flag = &labels["orlop_cpuset_flag"];
        assert_eq!(
            *shown,
            cgroups::value(&dir, &format!("cpuset.{flag}")).parse::<f64>().unwrap(),
            "{flag}"
        );
    }
    let level = value(&shown, "orlop_cpuset_sched_relax_domain_level", &[]);
    assert_eq!(
        level,
        cgroups::value(&dir, "cpuset.sched_relax_domain_level").parse::<f64>().unwrap()
    );
}

#[test]
fn huge_pages_are_the_kernels() {
    differs!();
    needs!(cgroups::has_v2("hugetlb"), "hugetlb controller of cgroup v2");
    let c = still(Bundle::busybox().on_cgroup_v2());
    let shown = scrape(&c);
    let dir = cgroups::v2(c.id());
    for (labels, usage) in &shown["orlop_hugetlb_usage_bytes"].samples {
        let size = &labels["page_size"];
        let file: f64 =
            cgroups::value(&dir, &format!("hugetlb.{size}.rsvd.current")).parse().unwrap();
        assert_eq!(*usage, file, "{size}");
        let events = pairs(&cgroups::value(&dir, &format!("hugetlb.{size}.events")));
        assert_eq!(
            value(&shown, "orlop_hugetlb_limit_hits", &[("page_size", size)]),
            events["max"],
            "{size}"
        );
    }
}

#[test]
fn block_io_is_the_kernels() {
    differs!();
    needs!(
        cgroups::has_v1("blkio") || (cgroups::is_pure_v2() && cgroups::has_v2("io")),
        "block I/O controller"
    );
    // What sync(2) writes was written by the container.
    let c = Bundle::busybox()
        .set("/root/readonly", false)
        .script("dd if=/dev/zero of=/file bs=64k count=64 conv=fsync; echo written; sleep 600")
        .create();
    c.start();
    c.wait_for("written");
    c.verb("pause").silent();
    agree("block I/O", || {
        let shown = scrape(&c);
        let mut found = Vec::new();
        for (family, device, op, value) in block_io_of_the_kernel(c.id()) {
            let samples = shown.get(family).map_or(&[][..], |family| &family.samples);
            let is_it = |labels: &BTreeMap<String, String>| {
                labels["device"] == device && labels["op"] == op
            };
            match samples.iter().find(|(labels, _)| is_it(labels)) {
                Some((_, shown)) => found.extend(differ(&format!("{device} {op}"), *shown, value)),
                None => found.push(format!("{device} {op} is not shown")),
            }
        }
        found
    });
}

/// The metric, the device, the operation and the value.
fn block_io_of_the_kernel(id: &str) -> Vec<(&'static str, String, String, f64)> {
    const BYTES: &str = "orlop_io_service_bytes";
    const OPERATIONS: &str = "orlop_io_operations";
    let mut found = Vec::new();
    let mut add = |family, device: &str, op: &str, value: &str| {
        found.push((family, device.to_owned(), op.to_owned(), value.parse().unwrap()));
    };
    if cgroups::has_v1("blkio") {
        let dir = cgroups::v1("blkio", id);
        // Under BFQ its own files count, elsewhere those of throttling.
        let of_bfq = std::fs::read_to_string(dir.join("blkio.bfq.io_serviced_recursive"))
            .unwrap_or_default();
        let policy = if of_bfq.contains(':') { "bfq" } else { "throttle" };
        for (file, family) in [("io_service_bytes", BYTES), ("io_serviced", OPERATIONS)] {
            for line in cgroups::value(&dir, &format!("blkio.{policy}.{file}_recursive")).lines() {
                let words: Vec<&str> = line.split(' ').collect();
                if let [device, op, value] = words[..] {
                    add(family, device, op, value);
                }
            }
        }
        return found;
    }
    for line in cgroups::value(&cgroups::v2(id), "io.stat").lines() {
        let mut words = line.split(' ');
        let device = words.next().unwrap();
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "rbytes" => add(BYTES, device, "Read", value),
                "wbytes" => add(BYTES, device, "Write", value),
                "rios" => add(OPERATIONS, device, "Read", value),
                "wios" => add(OPERATIONS, device, "Write", value),
                _ => {}
            }
        }
    }
    found
}
