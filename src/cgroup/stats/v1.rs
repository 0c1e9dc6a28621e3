//! Statistics of cgroup v1.

use std::collections::BTreeMap;

use super::super::v1::V1Cgroup;
use super::{
    Blkio, BlkioEntry, CpuStats, CpuUsage, Cpuset, Dir, Hugetlb, MemoryEntry, MemoryStats,
    PidsStats, Pressure, Stats, Throttling, huge_page_sizes, number, pairs, pressure, text,
};
use crate::sys::Call;

/// The kernel counts user and system time in hundredths of a second (`USER_HZ`).
const NANOSECONDS_IN_A_TICK: u64 = 10_000_000;

pub(super) fn read(cgroup: &V1Cgroup) -> Result<Stats, Call> {
    let dir = |controller: &str| cgroup.dir(controller);
    let mut stats = Stats::default();
    if let Some(dir) = dir("cpuacct") {
        stats.cpu.usage = cpu_usage(dir)?;
    }
    if let Some(dir) = dir("cpu") {
        stats.cpu.throttling = Some(throttling(dir)?);
    }
    if let Some(dir) = dir("cpuset") {
        stats.cpuset = cpuset(dir)?;
    }
    if let Some(dir) = dir("memory") {
        stats.memory = memory(dir)?;
    }
    if let Some(dir) = dir("pids") {
        let limit = number(dir, "pids.max")?.filter(|limit| *limit != u64::MAX);
        stats.pids = PidsStats {
            current: number(dir, "pids.current")?.unwrap_or_default(),
            limit: limit.unwrap_or_default(),
        };
    }
    if let Some(dir) = dir("blkio") {
        stats.blkio = blkio(dir)?;
    }
    if let Some(dir) = dir("hugetlb") {
        stats.hugetlb = hugetlb(dir)?;
    }
    // Only cgroup v2 has pressure files, if it is mounted, too.
    let pressure = |file: &str| -> Result<Option<Pressure>, Call> {
        cgroup.unified().map_or(Ok(None), |dir| pressure(dir, file))
    };
    stats.cpu = CpuStats { psi: pressure("cpu.pressure")?, ..stats.cpu };
    stats.memory.psi = pressure("memory.pressure")?;
    stats.blkio.psi = pressure("io.pressure")?;
    Ok(stats)
}

fn cpu_usage(dir: &Dir) -> Result<CpuUsage, Call> {
    let stat = pairs(dir, "cpuacct.stat")?;
    let mode = |name: &str| {
        stat.get(name).copied().unwrap_or_default().saturating_mul(NANOSECONDS_IN_A_TICK)
    };
    let percpu = text(dir, "cpuacct.usage_percpu")?.unwrap_or_default();
    // cpu user system
    let modes = text(dir, "cpuacct.usage_all")?.unwrap_or_default();
    let column = |index: usize| {
        let cells = modes
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().nth(index)?.parse().ok());
        cells.collect::<Vec<u64>>()
    };
    Ok(CpuUsage {
        total: number(dir, "cpuacct.usage")?.unwrap_or_default(),
        percpu: percpu.split_whitespace().filter_map(|time| time.parse().ok()).collect(),
        percpu_kernel: column(2),
        percpu_user: column(1),
        kernel: mode("system"),
        user: mode("user"),
    })
}

fn throttling(dir: &Dir) -> Result<Throttling, Call> {
    let stat = pairs(dir, "cpu.stat")?;
    let count = |key: &str| stat.get(key).copied().unwrap_or_default();
    Ok(Throttling {
        periods: count("nr_periods"),
        throttled_periods: count("nr_throttled"),
        throttled_time: count("throttled_time"),
    })
}

fn cpuset(dir: &Dir) -> Result<Cpuset, Call> {
    let list = |file: &str| Ok(expand(&text(dir, file)?.unwrap_or_default()));
    let flag = |file: &str| Ok(number(dir, file)?.unwrap_or_default());
    let level = text(dir, "cpuset.sched_relax_domain_level")?;
    Ok(Cpuset {
        cpus: list("cpuset.cpus")?,
        cpu_exclusive: flag("cpuset.cpu_exclusive")?,
        mems: list("cpuset.mems")?,
        mem_hardwall: flag("cpuset.mem_hardwall")?,
        mem_exclusive: flag("cpuset.mem_exclusive")?,
        memory_migrate: flag("cpuset.memory_migrate")?,
        memory_spread_page: flag("cpuset.memory_spread_page")?,
        memory_spread_slab: flag("cpuset.memory_spread_slab")?,
        memory_pressure: flag("cpuset.memory_pressure")?,
        sched_load_balance: flag("cpuset.sched_load_balance")?,
        sched_relax_domain_level: level
            .and_then(|level| level.trim().parse().ok())
            .unwrap_or_default(),
    })
}

/// `0-2,5` is 0, 1, 2 and 5.
pub(super) fn expand(list: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

fn memory(dir: &Dir) -> Result<MemoryStats, Call> {
    let raw = pairs(dir, "memory.stat")?;
    let mut events = pairs(dir, "memory.oom_control")?;
    events.retain(|event, _| event == "oom_kill");
    Ok(MemoryStats {
        cache: raw.get("cache").copied().unwrap_or_default(),
        usage: entry(dir, "memory")?,
        swap: entry(dir, "memory.memsw")?,
        kernel: entry(dir, "memory.kmem")?,
        kernel_tcp: entry(dir, "memory.kmem.tcp")?,
        raw,
        events,
        psi: None,
    })
}

fn entry(dir: &Dir, name: &str) -> Result<MemoryEntry, Call> {
    let value = |what: &str| Ok(number(dir, &format!("{name}.{what}"))?.unwrap_or_default());
    Ok(MemoryEntry {
        limit: value("limit_in_bytes")?,
        usage: value("usage_in_bytes")?,
        max: value("max_usage_in_bytes")?,
        failcnt: value("failcnt")?,
    })
}

/// The files with the counts depend on the scheduler of the devices: those of BFQ, or those of
/// throttling, which always count.
fn blkio(dir: &Dir) -> Result<Blkio, Call> {
    let table = |file: &str| Ok(entries(&text(dir, file)?.unwrap_or_default()));
    let bfq = |what: &str| table(&format!("blkio.bfq.{what}_recursive"));
    let mut blkio = Blkio {
        io_service_bytes_recursive: bfq("io_service_bytes")?,
        io_serviced_recursive: bfq("io_serviced")?,
        io_queue_recursive: bfq("io_queued")?,
        io_service_time_recursive: bfq("io_service_time")?,
        io_wait_time_recursive: bfq("io_wait_time")?,
        io_merged_recursive: bfq("io_merged")?,
        io_time_recursive: bfq("time")?,
        sectors_recursive: bfq("sectors")?,
        psi: None,
    };
    if blkio.io_serviced_recursive.is_empty() {
        blkio.io_serviced_recursive = table("blkio.throttle.io_serviced_recursive")?;
        blkio.io_service_bytes_recursive = table("blkio.throttle.io_service_bytes_recursive")?;
    }
    Ok(blkio)
}

/// `8:0 Read 4096`, or without an operation. The line `Total 4096` at the end is not a device.
pub(super) fn entries(table: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let (op, value) = match (words.next()?, words.next()) {
            (op, Some(value)) => (op, value),
            (value, None) => ("", value),
        };
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    };
    table.lines().filter_map(entry).collect()
}

/// Reservations are preferred, as with the limits.
fn hugetlb(dir: &Dir) -> Result<BTreeMap<String, Hugetlb>, Call> {
    let mut all = BTreeMap::new();
    for size in huge_page_sizes() {
        for prefix in [format!("hugetlb.{size}.rsvd"), format!("hugetlb.{size}")] {
            let Some(usage) = number(dir, &format!("{prefix}.usage_in_bytes"))? else { continue };
            let max = number(dir, &format!("{prefix}.max_usage_in_bytes"))?.unwrap_or_default();
            let failcnt = number(dir, &format!("{prefix}.failcnt"))?.unwrap_or_default();
            all.insert(size, Hugetlb { usage, max, failcnt });
            break;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::{BlkioEntry, entries, expand};

    #[test]
    fn lists_are_expanded() {
        for (list, expected) in [("0-2,5\n", &[0, 1, 2, 5][..]), ("\n", &[]), ("7", &[7])] {
            assert_eq!(expand(list), expected, "{list:?}");
        }
    }

    #[test]
    fn tables_of_block_devices_are_read() {
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 1, op: op.to_owned(), value };
        assert_eq!(
            entries("8:1 Read 7\n8:1 Write 0\nTotal 7\n"),
            [entry("Read", 7), entry("Write", 0)]
        );
        assert_eq!(entries("8:1 9\n"), [entry("", 9)]);
    }
}
