//! Statistics of cgroup v2, in the units and under the names of v1.

use std::collections::BTreeMap;

use super::{
    Blkio, BlkioEntry, CpuStats, CpuUsage, Dir, Hugetlb, MemoryEntry, MemoryStats, PidsStats,
    Stats, Throttling, huge_page_sizes, number, pairs, pressure, text,
};
use crate::sys::Call;

pub(super) fn read(dir: &Dir) -> Result<Stats, Call> {
    Ok(Stats {
        cpu: cpu(dir)?,
        memory: memory(dir)?,
        pids: pids(dir)?,
        blkio: Blkio {
            psi: pressure(dir, "io.pressure")?,
            ..io(&text(dir, "io.stat")?.unwrap_or_default())
        },
        hugetlb: hugetlb(dir)?,
        ..Stats::default()
    })
}

fn cpu(dir: &Dir) -> Result<CpuStats, Call> {
    let stat = pairs(dir, "cpu.stat")?;
    let count = |key: &str| stat.get(key).copied().unwrap_or_default();
    let nanoseconds = |key: &str| count(key).saturating_mul(1000);
    Ok(CpuStats {
        usage: CpuUsage {
            total: nanoseconds("usage_usec"),
            kernel: nanoseconds("system_usec"),
            user: nanoseconds("user_usec"),
            ..CpuUsage::default()
        },
        // The file exists without the controller, these lines do not.
        throttling: stat.contains_key("nr_periods").then(|| Throttling {
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_time: nanoseconds("throttled_usec"),
        }),
        psi: pressure(dir, "cpu.pressure")?,
    })
}

fn memory(dir: &Dir) -> Result<MemoryStats, Call> {
    let raw = pairs(dir, "memory.stat")?;
    let usage = entry(dir, "memory")?.unwrap_or_default();
    // On v1, this is the sum of both. The peak of the sum is not the sum of the two peaks.
    let swap = entry(dir, "memory.swap")?.map_or_else(MemoryEntry::default, |swap| MemoryEntry {
        limit: swap.limit.saturating_add(usage.limit),
        usage: swap.usage.saturating_add(usage.usage),
        max: 0,
        failcnt: swap.failcnt,
    });
    let cache = raw.get("file").copied().unwrap_or_default();
    let (events, psi) = (pairs(dir, "memory.events")?, pressure(dir, "memory.pressure")?);
    Ok(MemoryStats { cache, usage, swap, raw, events, psi, ..MemoryStats::default() })
}

fn entry(dir: &Dir, name: &str) -> Result<Option<MemoryEntry>, Call> {
    let Some(usage) = number(dir, &format!("{name}.current"))? else { return Ok(None) };
    let limit = number(dir, &format!("{name}.max"))?.unwrap_or_default();
    // Since Linux 5.19, and 6.5 for swap.
    let max = number(dir, &format!("{name}.peak"))?.unwrap_or_default();
    Ok(Some(MemoryEntry { limit, usage, max, failcnt: 0 }))
}

fn pids(dir: &Dir) -> Result<PidsStats, Call> {
    let current = match number(dir, "pids.current")? {
        Some(current) => current,
        // Without the controller, the processes can still be counted.
        None => text(dir, "cgroup.procs")?.unwrap_or_default().lines().count() as u64,
    };
    let limit = number(dir, "pids.max")?.filter(|limit| *limit != u64::MAX);
    Ok(PidsStats { current, limit: limit.unwrap_or_default() })
}

/// `8:0 rbytes=90112 wbytes=0 rios=5 wios=0 dbytes=0 dios=0`.
pub(super) fn io(stat: &str) -> Blkio {
    let mut blkio = Blkio::default();
    for line in stat.lines() {
        let mut words = line.split_whitespace();
        let device = words.next().and_then(|device| device.split_once(':'));
        let Some((Ok(major), Ok(minor))) =
            device.map(|(major, minor)| (major.parse(), minor.parse()))
        else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
            }
        }
    }
    blkio
}

/// Reservations are preferred, as with the limits.
fn hugetlb(dir: &Dir) -> Result<BTreeMap<String, Hugetlb>, Call> {
    let mut all = BTreeMap::new();
    for size in huge_page_sizes() {
        let reserved = number(dir, &format!("hugetlb.{size}.rsvd.current"))?;
        let Some(usage) = reserved
            .map_or_else(|| number(dir, &format!("hugetlb.{size}.current")), |n| Ok(Some(n)))?
        else {
            continue;
        };
        let failcnt =
            pairs(dir, &format!("hugetlb.{size}.events"))?.get("max").copied().unwrap_or_default();
        all.insert(size, Hugetlb { usage, max: 0, failcnt });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::{Blkio, BlkioEntry, io};

    #[test]
    fn io_stat_becomes_the_tables_of_v1() {
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 16, op: op.to_owned(), value };
        let expected = Blkio {
            io_service_bytes_recursive: vec![entry("Read", 90112), entry("Write", 3)],
            io_serviced_recursive: vec![entry("Read", 5), entry("Write", 1)],
            ..Blkio::default()
        };
        let text =
            "8:16 rbytes=90112 wbytes=3 rios=5 wios=1 dbytes=0 dios=0\n7:0 \nnonsense rbytes=1\n";
        assert_eq!(io(text), expected);
    }
}
