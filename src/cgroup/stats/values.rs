//! The types for the statistics of a cgroup. The keys are those of runc's types/events.go.
//!
//! The part of a missing controller is empty. Zeros are left out of the JSON where runc leaves them
//! out.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// All statistics of a cgroup.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Time on CPUs.
    pub cpu: CpuStats,
    /// CPUs and memory nodes.
    pub cpuset: Cpuset,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages, by size: `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

/// Time on CPUs.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct CpuStats {
    /// The used time.
    pub usage: CpuUsage,
    /// `None` without the controller.
    #[serde(skip_serializing_if = "is_nothing")]
    pub throttling: Option<Throttling>,
    /// How long processes waited for a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// CPU time, in nanoseconds.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// The total.
    #[serde(skip_serializing_if = "is_default")]
    pub total: u64,
    /// By CPU (cgroup v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// By CPU, in the kernel (cgroup v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// By CPU, outside the kernel (cgroup v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// Outside the kernel.
    pub user: u64,
}

/// Throttling by the quota.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which it ran.
    #[serde(skip_serializing_if = "is_default")]
    pub periods: u64,
    /// Periods in which the quota was used up.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_periods: u64,
    /// The time of throttling, in nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_time: u64,
}

/// CPUs, memory nodes, and the placement of memory. cgroup v2 has only the two lists.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Cpuset {
    /// CPUs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// `cpuset.cpu_exclusive`.
    pub cpu_exclusive: u64,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// `cpuset.mem_hardwall`.
    pub mem_hardwall: u64,
    /// `cpuset.mem_exclusive`.
    pub mem_exclusive: u64,
    /// `cpuset.memory_migrate`.
    pub memory_migrate: u64,
    /// `cpuset.memory_spread_page`.
    pub memory_spread_page: u64,
    /// `cpuset.memory_spread_slab`.
    pub memory_spread_slab: u64,
    /// `cpuset.memory_pressure`.
    pub memory_pressure: u64,
    /// `cpuset.sched_load_balance`.
    pub sched_load_balance: u64,
    /// `cpuset.sched_relax_domain_level`.
    pub sched_relax_domain_level: i64,
}

/// Memory.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct MemoryStats {
    /// Bytes of the page cache.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: u64,
    /// Memory.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: MemoryEntry,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "is_default")]
    pub swap: MemoryEntry,
    /// Kernel memory (cgroup v1).
    #[serde(skip_serializing_if = "is_default")]
    pub kernel: MemoryEntry,
    /// TCP buffers (cgroup v1).
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_default")]
    pub kernel_tcp: MemoryEntry,
    /// All of `memory.stat`.
    #[serde(skip_serializing_if = "is_default")]
    pub raw: BTreeMap<String, u64>,
    /// The counts of `memory.events`, or of `memory.oom_control` on v1. runc does not have this.
    /// Zeros are left out of the JSON, since callers search the lines of `events` for `oom` to
    /// learn of an OOM kill.
    #[serde(skip_serializing_if = "nothing_happened", serialize_with = "what_happened")]
    pub events: BTreeMap<String, u64>,
    /// How long processes waited for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Memory, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub struct MemoryEntry {
    /// The limit, or `u64::MAX` if there is none.
    pub limit: u64,
    /// The current usage.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    /// The highest usage so far.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct PidsStats {
    /// Their number.
    #[serde(skip_serializing_if = "is_default")]
    pub current: u64,
    /// The limit, or 0 if there is none.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u64,
}

/// Block devices. cgroup v1 has all of these counts, v2 the first two.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Operations in the queue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_queue_recursive: Vec<BlkioEntry>,
    /// Nanoseconds of service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    /// Nanoseconds of waiting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    /// Operations that were merged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    /// Time of the device, in milliseconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// How long processes waited for I/O.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// A count of one device.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct BlkioEntry {
    /// The device's major number.
    #[serde(skip_serializing_if = "is_default")]
    pub major: u64,
    /// Its minor number.
    #[serde(skip_serializing_if = "is_default")]
    pub minor: u64,
    /// The operation that is counted: `Read`, `Write`. Empty for some counts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The count.
    #[serde(skip_serializing_if = "is_default")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Hugetlb {
    /// The current usage.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    /// The highest usage so far.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Pressure {
    /// At least one process was stalled.
    #[serde(skip_serializing_if = "is_default")]
    pub some: Stall,
    /// All processes were stalled at once.
    #[serde(skip_serializing_if = "is_default")]
    pub full: Stall,
}

/// Stall times: averages in percent, and the total in microseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub struct Stall {
    /// In the last 10 seconds.
    pub avg10: f64,
    /// In the last minute.
    pub avg60: f64,
    /// In the last 5 minutes.
    pub avg300: f64,
    /// Since the beginning, in microseconds.
    pub total: u64,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn nothing_happened(events: &BTreeMap<String, u64>) -> bool {
    events.values().all(|count| *count == 0)
}

fn what_happened<S: Serializer>(
    events: &BTreeMap<String, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(events.iter().filter(|(_, count)| **count != 0))
}

fn is_nothing<T: Default + PartialEq>(value: &Option<T>) -> bool {
    value.as_ref().is_none_or(is_default)
}
