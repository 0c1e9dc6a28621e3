//! Statistics as text of OpenMetrics 1.0, for Prometheus and compatible programs.
//!
//! Every sample has the container's id as a label, so the texts of several containers differ in all
//! of their samples. Units are the base units of the standard: seconds, bytes, ratios. What a
//! cgroup does not have is left out. A limit that does not exist is `+Inf`.

use std::fmt::{Display, Write};

use super::values::is_default;
use super::{
    BlkioEntry, CpuStats, Cpuset, Hugetlb, MemoryEntry, MemoryStats, PidsStats, Pressure, Stall,
    Stats,
};

/// The types of metrics that are used here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MetricType {
    Counter,
    Gauge,
    Info,
    StateSet,
}

/// The lines before the samples. If there is a unit, the name ends with it, too.
struct Family {
    name: &'static str,
    kind: MetricType,
    unit: &'static str,
    help: &'static str,
}

/// Labels besides the id, and the value.
type Sample<'a> = (Vec<(&'static str, &'a str)>, Number);

/// A value as text.
struct Number(String);

/// Converts the value of a file to the unit of the metric.
type Convert = fn(u64) -> Number;

struct MetricsText<'a> {
    id: &'a str,
    text: String,
}

impl Stats {
    /// The text for the container `id`, with `# EOF`. An answer to a scrape contains nothing else.
    #[must_use]
    pub fn openmetrics(&self, id: &str) -> String {
        let mut text = MetricsText { id, text: String::new() };
        cpu(&self.cpu, &mut text);
        cpuset(&self.cpuset, &mut text);
        memory(&self.memory, &mut text);
        pids(&self.pids, &mut text);
        block_io(self, &mut text);
        huge_pages(self, &mut text);
        pressure(self, &mut text);
        text.text.push_str("# EOF\n");
        text.text
    }
}

impl MetricsText<'_> {
    /// Writes a family, unless it has no samples. Nothing is escaped: names and labels are ours or
    /// the kernel's, and the id has been checked.
    fn family<'a>(&mut self, family: &Family, samples: impl IntoIterator<Item = Sample<'a>>) {
        let Family { name, kind, unit, help } = family;
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let (kind, suffix) = match kind {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Gauge => ("gauge", ""),
            MetricType::Info => ("info", "_info"),
            MetricType::StateSet => ("stateset", ""),
        };
        self.text.push_str(&format!("# TYPE {name} {kind}\n"));
        if !unit.is_empty() {
            self.text.push_str(&format!("# UNIT {name} {unit}\n"));
        }
        self.text.push_str(&format!("# HELP {name} {help}\n"));
        for (labels, Number(value)) in samples {
            self.text.push_str(&format!("{name}{suffix}{{container_id=\"{}\"", self.id));
            for (label, of) in labels {
                // Writing to a String cannot fail.
                let _ = write!(self.text, ",{label}=\"{of}\"");
            }
            self.text.push_str(&format!("}} {value}\n"));
        }
    }
}

const fn family(
    name: &'static str,
    kind: MetricType,
    unit: &'static str,
    help: &'static str,
) -> Family {
    Family { name, kind, unit, help }
}

fn number(value: impl Display) -> Number {
    Number(value.to_string())
}

/// Seconds, with all digits.
fn seconds(nanoseconds: u64) -> Number {
    let (whole, part) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    number(format_args!("{whole}.{part:09}"))
}

/// Without a limit, v2 has the largest number, and v1 the largest multiple of a page.
fn limit(value: u64) -> Number {
    if value >= 1 << 62 { number("+Inf") } else { number(value) }
}

fn one<'a>(value: Number) -> Vec<Sample<'a>> {
    vec![(Vec::new(), value)]
}

fn cpu(cpu: &CpuStats, text: &mut MetricsText<'_>) {
    use MetricType::Counter;
    let usage = &cpu.usage;
    let family_of = |name, help| family(name, Counter, "seconds", help);
    text.family(&family_of("orlop_cpu_usage_seconds", "CPU time."), one(seconds(usage.total)));
    let modes = [("user", usage.user), ("system", usage.kernel)];
    let modes = modes.map(|(mode, time)| (vec![("mode", mode)], seconds(time)));
    text.family(&family_of("orlop_cpu_mode_seconds", "CPU time by mode."), modes);
    let names: Vec<String> =
        (0..usage.percpu.len().max(usage.percpu_user.len())).map(|cpu| cpu.to_string()).collect();
    let core = |mode: Option<&'static str>, times: &[u64]| -> Vec<Sample<'_>> {
        let labels =
            |name| std::iter::once(("cpu", name)).chain(mode.map(|mode| ("mode", mode))).collect();
        names
            .iter()
            .zip(times)
            .map(|(name, time)| (labels(name.as_str()), seconds(*time)))
            .collect()
    };
    text.family(
        &family_of("orlop_cpu_core_seconds", "CPU time by CPU."),
        core(None, &usage.percpu),
    );
    let mut modes = core(Some("user"), &usage.percpu_user);
    modes.extend(core(Some("system"), &usage.percpu_kernel));
    text.family(&family_of("orlop_cpu_core_mode_seconds", "CPU time by CPU and mode."), modes);
    let Some(throttling) = &cpu.throttling else { return };
    let help = "Periods of the CPU quota that have passed.";
    text.family(&family("orlop_cpu_periods", Counter, "", help), one(number(throttling.periods)));
    let help = "Periods in which the CPU quota was used up.";
    text.family(
        &family("orlop_cpu_throttled_periods", Counter, "", help),
        one(number(throttling.throttled_periods)),
    );
    let help = "Time spent waiting for the next period of the CPU quota.";
    text.family(
        &family_of("orlop_cpu_throttled_seconds", help),
        one(seconds(throttling.throttled_time)),
    );
}

fn cpuset(cpuset: &Cpuset, text: &mut MetricsText<'_>) {
    if is_default(cpuset) {
        return;
    }
    let list = |numbers: &[u16]| numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let (cpus, mems) = (list(&cpuset.cpus), list(&cpuset.mems));
    let labels = vec![("cpus", cpus.as_str()), ("mems", mems.as_str())];
    let help = "The CPUs and memory nodes that may be used.";
    text.family(&family("orlop_cpuset", MetricType::Info, "", help), [(labels, number(1))]);
    let name = "orlop_cpuset_flag";
    let flags = [
        ("cpu_exclusive", cpuset.cpu_exclusive),
        ("mem_exclusive", cpuset.mem_exclusive),
        ("mem_hardwall", cpuset.mem_hardwall),
        ("memory_migrate", cpuset.memory_migrate),
        ("memory_spread_page", cpuset.memory_spread_page),
        ("memory_spread_slab", cpuset.memory_spread_slab),
        ("sched_load_balance", cpuset.sched_load_balance),
    ];
    let flags = flags.map(|(flag, value)| (vec![(name, flag)], number(value)));
    text.family(
        &family(name, MetricType::StateSet, "", "What the cpuset is set to (cpuset(7))."),
        flags,
    );
    let help = "How often memory had to be reclaimed, as the kernel averages it.";
    text.family(
        &family("orlop_cpuset_memory_pressure", MetricType::Gauge, "", help),
        one(number(cpuset.memory_pressure)),
    );
    let help = "Range of CPUs that are searched for one to run on.";
    let level = one(number(cpuset.sched_relax_domain_level));
    text.family(
        &family("orlop_cpuset_sched_relax_domain_level", MetricType::Gauge, "", help),
        level,
    );
}

fn memory(memory: &MemoryStats, text: &mut MetricsText<'_>) {
    use MetricType::{Counter, Gauge};
    let entries = [
        ("memory", &memory.usage),
        ("memory_and_swap", &memory.swap),
        ("kernel", &memory.kernel),
        ("kernel_tcp", &memory.kernel_tcp),
    ];
    let entries: Vec<_> = entries.into_iter().filter(|(_, entry)| !is_default(*entry)).collect();
    let each = |value: fn(&MemoryEntry) -> Option<Number>| {
        let sample =
            |(of, entry): &(&'static str, &MemoryEntry)| Some((vec![("of", *of)], value(entry)?));
        entries.iter().filter_map(sample).collect::<Vec<Sample<'_>>>()
    };
    let bytes = |name, help| family(name, Gauge, "bytes", help);
    text.family(
        &bytes("orlop_memory_usage_bytes", "Memory in use."),
        each(|entry| Some(number(entry.usage))),
    );
    text.family(
        &bytes("orlop_memory_limit_bytes", "Limits on memory."),
        each(|entry| Some(limit(entry.limit))),
    );
    let highest = each(|entry| (entry.max > 0).then(|| number(entry.max)));
    text.family(
        &bytes("orlop_memory_max_usage_bytes", "Most memory that was ever in use."),
        highest,
    );
    // cgroup v2 counts these hits among its events, and not for each kind of memory.
    if !memory.events.contains_key("max") {
        let help = "How often a limit on memory was reached.";
        let hits = each(|entry| Some(number(entry.failcnt)));
        text.family(&family("orlop_memory_limit_hits", Counter, "", help), hits);
    }
    if !memory.raw.is_empty() {
        text.family(
            &bytes("orlop_memory_cache_bytes", "Memory with the content of files."),
            one(number(memory.cache)),
        );
    }
    let stat = |counted: bool, label: &'static str| {
        let wanted = memory.raw.iter().filter(move |(key, _)| is_count(key) == counted);
        wanted.map(move |(key, value)| {
            (vec![(label, key.as_str())], if counted { number(value) } else { limit(*value) })
        })
    };
    text.family(
        &bytes("orlop_memory_stat_bytes", "Memory by what it is used for (memory.stat)."),
        stat(false, "of"),
    );
    let help = "What was done with pages (memory.stat).";
    text.family(&family("orlop_memory_stat_events", Counter, "", help), stat(true, "event"));
    let events =
        memory.events.iter().map(|(event, count)| (vec![("event", event.as_str())], number(count)));
    let help = "How often a limit on memory had consequences (memory.events).";
    text.family(&family("orlop_memory_events", Counter, "", help), events);
}

/// Whether the value of this key of `memory.stat` is a count and not bytes. v1 has each key a
/// second time, as `total_…`.
fn is_count(key: &str) -> bool {
    let key = key.strip_prefix("total_").unwrap_or(key);
    let counts = ["pg", "workingset_", "thp_", "numa_", "zswp", "swpin", "swpout"];
    counts.iter().any(|prefix| key.starts_with(prefix))
}

fn pids(pids: &PidsStats, text: &mut MetricsText<'_>) {
    text.family(
        &family("orlop_pids", MetricType::Gauge, "", "Processes and threads."),
        one(number(pids.current)),
    );
    let limit = if pids.limit == 0 { number("+Inf") } else { number(pids.limit) };
    text.family(
        &family("orlop_pids_limit", MetricType::Gauge, "", "Limit on processes and threads."),
        one(limit),
    );
}

fn block_io(stats: &Stats, text: &mut MetricsText<'_>) {
    for (family, entries, convert) in block_io_families(stats) {
        let devices: Vec<String> =
            entries.iter().map(|entry| format!("{}:{}", entry.major, entry.minor)).collect();
        let samples = entries.iter().zip(&devices).map(|(entry, device)| {
            let mut labels = vec![("device", device.as_str())];
            if !entry.op.is_empty() {
                labels.push(("op", &entry.op));
            }
            (labels, convert(entry.value))
        });
        text.family(&family, samples);
    }
}

fn block_io_families(stats: &Stats) -> [(Family, &[BlkioEntry], Convert); 8] {
    use MetricType::{Counter, Gauge};
    let plain: Convert = |value| number(value);
    let milliseconds: Convert = |value| seconds(value.saturating_mul(1_000_000));
    let bytes = |name, help| family(name, Counter, "bytes", help);
    let time = |name, help| family(name, Counter, "seconds", help);
    let count = |name, help| family(name, Counter, "", help);
    let io = &stats.blkio;
    [
        (
            bytes("orlop_io_service_bytes", "Bytes moved to and from block devices."),
            &io.io_service_bytes_recursive,
            plain,
        ),
        (
            count("orlop_io_operations", "Operations of block devices."),
            &io.io_serviced_recursive,
            plain,
        ),
        (
            family("orlop_io_queued", Gauge, "", "Operations that wait for block devices."),
            &io.io_queue_recursive,
            plain,
        ),
        (
            time("orlop_io_service_seconds", "Time that operations took in block devices."),
            &io.io_service_time_recursive,
            seconds,
        ),
        (
            time("orlop_io_wait_seconds", "Time that operations waited for block devices."),
            &io.io_wait_time_recursive,
            seconds,
        ),
        (
            count("orlop_io_merged", "Operations that became part of others."),
            &io.io_merged_recursive,
            plain,
        ),
        (time("orlop_io_seconds", "Time of block devices."), &io.io_time_recursive, milliseconds),
        (
            count("orlop_io_sectors", "Sectors moved to and from block devices."),
            &io.sectors_recursive,
            plain,
        ),
    ]
}

fn huge_pages<'a>(stats: &'a Stats, text: &mut MetricsText<'_>) {
    use MetricType::{Counter, Gauge};
    let each = |value: fn(&Hugetlb) -> Option<u64>| {
        let sample = |(size, entry): (&'a String, _)| {
            Some((vec![("page_size", size.as_str())], number(value(entry)?)))
        };
        stats.hugetlb.iter().filter_map(sample).collect::<Vec<Sample<'a>>>()
    };
    let help = "Memory in huge pages.";
    text.family(
        &family("orlop_hugetlb_usage_bytes", Gauge, "bytes", help),
        each(|entry| Some(entry.usage)),
    );
    let help = "Most memory that was ever in huge pages.";
    let highest = each(|entry| Some(entry.max).filter(|max| *max > 0));
    text.family(&family("orlop_hugetlb_max_usage_bytes", Gauge, "bytes", help), highest);
    let help = "How often the limit on huge pages was reached.";
    text.family(
        &family("orlop_hugetlb_limit_hits", Counter, "", help),
        each(|entry| Some(entry.failcnt)),
    );
}

fn pressure(stats: &Stats, text: &mut MetricsText<'_>) {
    let resources =
        [("cpu", &stats.cpu.psi), ("memory", &stats.memory.psi), ("io", &stats.blkio.psi)];
    let known = resources.iter().filter_map(|(name, pressure)| Some((*name, pressure.as_ref()?)));
    let stalls: Vec<(&str, &str, Stall)> = known
        .flat_map(|(resource, Pressure { some, full })| {
            [(resource, "some", *some), (resource, "full", *full)]
        })
        .collect();
    let labels = |resource, stalled| vec![("resource", resource), ("stalled", stalled)];
    let total = |(resource, stalled, stall): &(&'static str, &'static str, Stall)| {
        (labels(*resource, *stalled), seconds(stall.total.saturating_mul(1000)))
    };
    let help = "Time in which some or all processes waited for a resource.";
    let name = "orlop_pressure_stalled_seconds";
    text.family(&family(name, MetricType::Counter, "seconds", help), stalls.iter().map(total));
    let averages = stalls.iter().flat_map(|(resource, stalled, stall)| {
        [("10s", stall.avg10), ("60s", stall.avg60), ("300s", stall.avg300)].map(
            |(window, percent)| {
                let mut labels = labels(*resource, *stalled);
                labels.push(("window", window));
                (labels, number(percent / 100.0))
            },
        )
    });
    let help = "Share of the last seconds in which some or all processes waited for a resource.";
    text.family(&family("orlop_pressure_ratio", MetricType::Gauge, "ratio", help), averages);
}

#[cfg(test)]
mod tests {
    use super::{Number, is_count, limit, seconds};

    #[test]
    fn seconds_are_exact() {
        for (nanoseconds, text) in
            [(0, "0.000000000"), (1, "0.000000001"), (12_345_678_901, "12.345678901")]
        {
            assert_eq!(seconds(nanoseconds).0, text);
        }
        assert_eq!(seconds(u64::MAX).0, "18446744073.709551615");
    }

    #[test]
    fn no_limit_is_infinite() {
        let Number(largest_of_v1) = limit(9_223_372_036_854_771_712);
        assert_eq!(
            (largest_of_v1.as_str(), limit(u64::MAX).0.as_str(), limit(4096).0.as_str()),
            ("+Inf", "+Inf", "4096")
        );
    }

    #[test]
    fn counts_are_told_from_bytes() {
        for key in [
            "pgfault",
            "total_pgpgin",
            "workingset_refault_anon",
            "thp_fault_alloc",
            "zswpout",
            "swpin_zero",
        ] {
            assert!(is_count(key), "{key}");
        }
        for key in [
            "anon",
            "pagetables",
            "total_rss",
            "zswapped",
            "anon_thp",
            "shmem_thp",
            "swapcached",
            "swap",
        ] {
            assert!(!is_count(key), "{key}");
        }
    }
}
