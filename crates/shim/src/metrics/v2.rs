//! The message for cgroup v2. The library has the values in units and under names of v1, which are
//! converted back.
//! process: daemon
#![allow(
    missing_docs,
    reason = "the fields are those of containerd's protocol files, which explain them"
)]

use std::collections::BTreeMap;

use orlop::cgroup::stats::{self, Stats};
use prost::Message;

use super::Pids;

#[derive(Clone, PartialEq, Message)]
pub struct Metrics {
    #[prost(message, optional, tag = "1")]
    pub pids: Option<Pids>,
    #[prost(message, optional, tag = "2")]
    pub cpu: Option<Cpu>,
    #[prost(message, optional, tag = "4")]
    pub memory: Option<Memory>,
    #[prost(message, optional, tag = "6")]
    pub io: Option<Io>,
    #[prost(message, repeated, tag = "7")]
    pub hugetlb: Vec<Hugetlb>,
    #[prost(message, optional, tag = "8")]
    pub memory_events: Option<MemoryEvents>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Stall {
    #[prost(double, tag = "1")]
    pub avg10: f64,
    #[prost(double, tag = "2")]
    pub avg60: f64,
    #[prost(double, tag = "3")]
    pub avg300: f64,
    #[prost(uint64, tag = "4")]
    pub total: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Pressure {
    #[prost(message, optional, tag = "1")]
    pub some: Option<Stall>,
    #[prost(message, optional, tag = "2")]
    pub full: Option<Stall>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Cpu {
    #[prost(uint64, tag = "1")]
    pub usage_usec: u64,
    #[prost(uint64, tag = "2")]
    pub user_usec: u64,
    #[prost(uint64, tag = "3")]
    pub system_usec: u64,
    #[prost(uint64, tag = "4")]
    pub nr_periods: u64,
    #[prost(uint64, tag = "5")]
    pub nr_throttled: u64,
    #[prost(uint64, tag = "6")]
    pub throttled_usec: u64,
    #[prost(message, optional, tag = "7")]
    pub psi: Option<Pressure>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Memory {
    #[prost(uint64, tag = "1")]
    pub anon: u64,
    #[prost(uint64, tag = "2")]
    pub file: u64,
    #[prost(uint64, tag = "3")]
    pub kernel_stack: u64,
    #[prost(uint64, tag = "4")]
    pub slab: u64,
    #[prost(uint64, tag = "5")]
    pub sock: u64,
    #[prost(uint64, tag = "6")]
    pub shmem: u64,
    #[prost(uint64, tag = "7")]
    pub file_mapped: u64,
    #[prost(uint64, tag = "8")]
    pub file_dirty: u64,
    #[prost(uint64, tag = "9")]
    pub file_writeback: u64,
    #[prost(uint64, tag = "10")]
    pub anon_thp: u64,
    #[prost(uint64, tag = "11")]
    pub inactive_anon: u64,
    #[prost(uint64, tag = "12")]
    pub active_anon: u64,
    #[prost(uint64, tag = "13")]
    pub inactive_file: u64,
    #[prost(uint64, tag = "14")]
    pub active_file: u64,
    #[prost(uint64, tag = "15")]
    pub unevictable: u64,
    #[prost(uint64, tag = "16")]
    pub slab_reclaimable: u64,
    #[prost(uint64, tag = "17")]
    pub slab_unreclaimable: u64,
    #[prost(uint64, tag = "18")]
    pub pgfault: u64,
    #[prost(uint64, tag = "19")]
    pub pgmajfault: u64,
    #[prost(uint64, tag = "20")]
    pub workingset_refault: u64,
    #[prost(uint64, tag = "21")]
    pub workingset_activate: u64,
    #[prost(uint64, tag = "22")]
    pub workingset_nodereclaim: u64,
    #[prost(uint64, tag = "23")]
    pub pgrefill: u64,
    #[prost(uint64, tag = "24")]
    pub pgscan: u64,
    #[prost(uint64, tag = "25")]
    pub pgsteal: u64,
    #[prost(uint64, tag = "26")]
    pub pgactivate: u64,
    #[prost(uint64, tag = "27")]
    pub pgdeactivate: u64,
    #[prost(uint64, tag = "28")]
    pub pglazyfree: u64,
    #[prost(uint64, tag = "29")]
    pub pglazyfreed: u64,
    #[prost(uint64, tag = "30")]
    pub thp_fault_alloc: u64,
    #[prost(uint64, tag = "31")]
    pub thp_collapse_alloc: u64,
    #[prost(uint64, tag = "32")]
    pub usage: u64,
    #[prost(uint64, tag = "33")]
    pub usage_limit: u64,
    #[prost(uint64, tag = "34")]
    pub swap_usage: u64,
    #[prost(uint64, tag = "35")]
    pub swap_limit: u64,
    #[prost(uint64, tag = "36")]
    pub max_usage: u64,
    #[prost(message, optional, tag = "38")]
    pub psi: Option<Pressure>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct MemoryEvents {
    #[prost(uint64, tag = "1")]
    pub low: u64,
    #[prost(uint64, tag = "2")]
    pub high: u64,
    #[prost(uint64, tag = "3")]
    pub max: u64,
    #[prost(uint64, tag = "4")]
    pub oom: u64,
    #[prost(uint64, tag = "5")]
    pub oom_kill: u64,
    #[prost(uint64, tag = "6")]
    pub oom_group_kill: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Io {
    #[prost(message, repeated, tag = "1")]
    pub usage: Vec<IoEntry>,
    #[prost(message, optional, tag = "2")]
    pub psi: Option<Pressure>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct IoEntry {
    #[prost(uint64, tag = "1")]
    pub major: u64,
    #[prost(uint64, tag = "2")]
    pub minor: u64,
    #[prost(uint64, tag = "3")]
    pub rbytes: u64,
    #[prost(uint64, tag = "4")]
    pub wbytes: u64,
    #[prost(uint64, tag = "5")]
    pub rios: u64,
    #[prost(uint64, tag = "6")]
    pub wios: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct Hugetlb {
    #[prost(uint64, tag = "1")]
    pub current: u64,
    #[prost(uint64, tag = "2")]
    pub max: u64,
    #[prost(string, tag = "3")]
    pub pagesize: String,
    #[prost(uint64, tag = "4")]
    pub failcnt: u64,
}

pub(super) fn from(stats: &Stats) -> Metrics {
    let throttling = stats.cpu.throttling.as_ref();
    let events = |key: &str| stats.memory.events.get(key).copied().unwrap_or_default();
    Metrics {
        pids: Some(Pids::of(&stats.pids)),
        cpu: Some(Cpu {
            usage_usec: stats.cpu.usage.total / 1000,
            user_usec: stats.cpu.usage.user / 1000,
            system_usec: stats.cpu.usage.kernel / 1000,
            nr_periods: throttling.map_or(0, |throttling| throttling.periods),
            nr_throttled: throttling.map_or(0, |throttling| throttling.throttled_periods),
            throttled_usec: throttling.map_or(0, |throttling| throttling.throttled_time / 1000),
            psi: stats.cpu.psi.as_ref().map(pressure),
        }),
        memory: Some(memory(&stats.memory)),
        io: Some(Io { usage: io(&stats.blkio), psi: stats.blkio.psi.as_ref().map(pressure) }),
        hugetlb: stats.hugetlb.iter().map(huge_pages).collect(),
        memory_events: Some(MemoryEvents {
            low: events("low"),
            high: events("high"),
            max: events("max"),
            oom: events("oom"),
            oom_kill: events("oom_kill"),
            oom_group_kill: events("oom_group_kill"),
        }),
    }
}

fn pressure(pressure: &stats::Pressure) -> Pressure {
    let stall = |stall: stats::Stall| {
        let stats::Stall { avg10, avg60, avg300, total } = stall;
        Some(Stall { avg10, avg60, avg300, total })
    };
    Pressure { some: stall(pressure.some), full: stall(pressure.full) }
}

fn memory(stats: &stats::MemoryStats) -> Memory {
    let raw = |key: &str| stats.raw.get(key).copied().unwrap_or_default();
    // The library counts memory and swap together, as v1.
    let swap_limit = match stats.swap.limit {
        u64::MAX => u64::MAX,
        together => together.saturating_sub(stats.usage.limit),
    };
    Memory {
        anon: raw("anon"),
        file: raw("file"),
        kernel_stack: raw("kernel_stack"),
        slab: raw("slab"),
        sock: raw("sock"),
        shmem: raw("shmem"),
        file_mapped: raw("file_mapped"),
        file_dirty: raw("file_dirty"),
        file_writeback: raw("file_writeback"),
        anon_thp: raw("anon_thp"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        slab_reclaimable: raw("slab_reclaimable"),
        slab_unreclaimable: raw("slab_unreclaimable"),
        pgfault: raw("pgfault"),
        pgmajfault: raw("pgmajfault"),
        workingset_refault: raw("workingset_refault")
            + raw("workingset_refault_anon")
            + raw("workingset_refault_file"),
        workingset_activate: raw("workingset_activate")
            + raw("workingset_activate_anon")
            + raw("workingset_activate_file"),
        workingset_nodereclaim: raw("workingset_nodereclaim"),
        pgrefill: raw("pgrefill"),
        pgscan: raw("pgscan"),
        pgsteal: raw("pgsteal"),
        pgactivate: raw("pgactivate"),
        pgdeactivate: raw("pgdeactivate"),
        pglazyfree: raw("pglazyfree"),
        pglazyfreed: raw("pglazyfreed"),
        thp_fault_alloc: raw("thp_fault_alloc"),
        thp_collapse_alloc: raw("thp_collapse_alloc"),
        usage: stats.usage.usage,
        usage_limit: stats.usage.limit,
        swap_usage: stats.swap.usage.saturating_sub(stats.usage.usage),
        swap_limit,
        max_usage: stats.usage.max,
        psi: stats.psi.as_ref().map(pressure),
    }
}

fn huge_pages((size, stats): (&String, &stats::Hugetlb)) -> Hugetlb {
    Hugetlb { current: stats.usage, max: stats.max, pagesize: size.clone(), failcnt: stats.failcnt }
}

/// One entry for each device.
fn io(stats: &stats::Blkio) -> Vec<IoEntry> {
    let mut devices: BTreeMap<(u64, u64), IoEntry> = BTreeMap::new();
    let bytes = stats.io_service_bytes_recursive.iter().map(|one| (one, true));
    let operations = stats.io_serviced_recursive.iter().map(|one| (one, false));
    for (one, is_bytes) in bytes.chain(operations) {
        let (major, minor) = (one.major, one.minor);
        let new = IoEntry { major, minor, ..IoEntry::default() };
        let entry = devices.entry((major, minor)).or_insert(new);
        match (is_bytes, &*one.op) {
            (true, "Read") => entry.rbytes = one.value,
            (true, "Write") => entry.wbytes = one.value,
            (false, "Read") => entry.rios = one.value,
            (false, "Write") => entry.wios = one.value,
            _ => {}
        }
    }
    devices.into_values().collect()
}
