//! What the statistics of a cgroup are: the keys are those of runc's types/events.go.
//!
//! A controller that is not there leaves its part empty; zeros are left out of the JSON where runc
//! does so.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// All of it, but for what no cgroup knows.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Time on CPUs.
    pub cpu: CpuStats,
    /// Where it may run.
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
    /// What it has used.
    pub usage: CpuUsage,
    /// `None` without the controller.
    #[serde(skip_serializing_if = "is_nothing")]
    pub throttling: Option<Throttling>,
    /// How long it had to wait for a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Nanoseconds.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// All of it.
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

/// How the quota has held it back.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which it ran.
    #[serde(skip_serializing_if = "is_default")]
    pub periods: u64,
    /// Those in which its quota was used up.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_periods: u64,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_time: u64,
}

/// Where it may run, and how memory is placed. All but the lists is of cgroup v1.
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
    /// Of the kernel (cgroup v1).
    #[serde(skip_serializing_if = "is_default")]
    pub kernel: MemoryEntry,
    /// Of TCP buffers (cgroup v1).
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_default")]
    pub kernel_tcp: MemoryEntry,
    /// The whole of `memory.stat`.
    #[serde(skip_serializing_if = "is_default")]
    pub raw: BTreeMap<String, u64>,
    /// What `memory.events` has counted; on v1, `memory.oom_control`. runc does not have this. What
    /// has not happened is left out of the JSON, since callers look for `oom` in the lines of
    /// `events` to learn that it has.
    #[serde(skip_serializing_if = "nothing_happened", serialize_with = "what_happened")]
    pub events: BTreeMap<String, u64>,
    /// How long it had to wait for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub struct MemoryEntry {
    /// What it may use; `u64::MAX` without a limit.
    pub limit: u64,
    /// What it uses.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    /// The most it has used.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct PidsStats {
    /// How many there are.
    #[serde(skip_serializing_if = "is_default")]
    pub current: u64,
    /// 0 is none.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u64,
}

/// Block devices: cgroup v1 has all of it, v2 the first two.
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
    /// Milliseconds of the device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// How long it had to wait for I/O.
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
    /// What is counted: `Read`, `Write`; of some counts nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The count.
    #[serde(skip_serializing_if = "is_default")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Hugetlb {
    /// What it uses.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    /// The most it has used.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Pressure {
    /// Of some processes.
    #[serde(skip_serializing_if = "is_default")]
    pub some: Stall,
    /// Of all processes at once.
    #[serde(skip_serializing_if = "is_default")]
    pub full: Stall,
}

/// Percent, and microseconds.
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
