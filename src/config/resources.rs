//! The `linux.resources` object, which `update` reads, too.

use serde::Deserialize;

use super::{Map, Text, maybe_object, nullable};

/// `linux.resources`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources<'a> {
    /// Device rules, in order.
    #[serde(borrow, deserialize_with = "nullable")]
    pub devices: Vec<DeviceCgroup<'a>>,
    /// Memory.
    #[serde(default, deserialize_with = "maybe_object")]
    pub memory: Option<Memory>,
    /// CPU.
    #[serde(default, deserialize_with = "maybe_object")]
    pub cpu: Option<Cpu<'a>>,
    /// Number of tasks.
    #[serde(default, deserialize_with = "maybe_object")]
    pub pids: Option<Pids>,
    /// Block devices.
    #[serde(rename = "blockIO", default, deserialize_with = "maybe_object")]
    pub block_io: Option<BlockIo>,
    /// Huge pages.
    #[serde(deserialize_with = "nullable")]
    pub hugepage_limits: Vec<HugepageLimit<'a>>,
    /// Network classes (cgroup v1).
    #[serde(default, deserialize_with = "maybe_object")]
    pub network: Option<Network<'a>>,
    /// RDMA, by device.
    #[serde(deserialize_with = "nullable")]
    pub rdma: Map<'a, Rdma>,
    /// cgroup v2 files, by name.
    #[serde(deserialize_with = "nullable")]
    pub unified: Map<'a, Text<'a>>,
}

/// One of `linux.resources.devices`.
#[derive(Debug, Deserialize)]
pub struct DeviceCgroup<'a> {
    /// Whether the rule allows or denies.
    pub allow: bool,
    /// `a`, `c` or `b`. If empty, all types.
    #[serde(borrow, default, rename = "type", deserialize_with = "nullable")]
    pub kind: Text<'a>,
    /// Major number. If absent, any.
    pub major: Option<i64>,
    /// Minor number. If absent, any.
    pub minor: Option<i64>,
    /// Any of `r`, `w` and `m`.
    #[serde(default, deserialize_with = "nullable")]
    pub access: Text<'a>,
}

/// `linux.resources.memory`: sizes in bytes; -1 means unlimited.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// Hard limit.
    pub limit: Option<i64>,
    /// Soft limit.
    pub reservation: Option<i64>,
    /// Memory and swap together.
    pub swap: Option<i64>,
    /// Obsolete; ignored with a warning.
    pub kernel: Option<i64>,
    /// Obsolete; ignored with a warning.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    /// 0 to 100.
    pub swappiness: Option<u64>,
    /// cgroup v1: processes wait for memory and are not killed.
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    /// cgroup v1. Ignored, as in other runtimes.
    pub use_hierarchy: Option<bool>,
    /// Whether to refuse a limit below the present usage.
    pub check_before_update: Option<bool>,
}

/// `linux.resources.cpu`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu<'a> {
    /// Relative weight, 2 to 262144.
    pub shares: Option<u64>,
    /// CPU time in each period, in microseconds. -1 means unlimited.
    pub quota: Option<i64>,
    /// CPU time by which the quota may be exceeded, in microseconds.
    pub burst: Option<u64>,
    /// Length of a period, in microseconds.
    pub period: Option<u64>,
    /// Realtime CPU time in each period, in microseconds.
    pub realtime_runtime: Option<i64>,
    /// Length of a realtime period, in microseconds.
    pub realtime_period: Option<u64>,
    /// List of CPUs.
    #[serde(borrow, deserialize_with = "nullable")]
    pub cpus: Text<'a>,
    /// List of memory nodes.
    #[serde(deserialize_with = "nullable")]
    pub mems: Text<'a>,
    /// 1 if the processes run only when no other process needs the CPU.
    pub idle: Option<i64>,
}

/// `linux.resources.pids`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Pids {
    /// Number of tasks. 0 is a limit; -1 means unlimited.
    pub limit: Option<i64>,
}

/// `linux.resources.blockIO`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// cgroup v1: weight of the cgroup's own processes against its child cgroups.
    pub leaf_weight: Option<u16>,
    /// Weights by device.
    #[serde(deserialize_with = "nullable")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes read in a second, by device.
    #[serde(deserialize_with = "nullable")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes written in a second, by device.
    #[serde(deserialize_with = "nullable")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Read operations in a second, by device.
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "nullable")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Write operations in a second, by device.
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "nullable")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// One of `blockIO.weightDevice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// As `blockIO.weight`.
    pub weight: Option<u16>,
    /// As `blockIO.leafWeight`.
    pub leaf_weight: Option<u16>,
}

/// One of `blockIO.throttle…Device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ThrottleDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Bytes or operations in a second.
    pub rate: u64,
}

/// One of `linux.resources.hugepageLimits`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HugepageLimit<'a> {
    /// `2MB`, `1GB`, …
    #[serde(borrow)]
    pub page_size: Text<'a>,
    /// Bytes.
    pub limit: u64,
}

/// `linux.resources.network`.
#[derive(Debug, Default, Deserialize)]
pub struct Network<'a> {
    /// Class id of outgoing packets.
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    /// Priorities by interface.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub priorities: Vec<InterfacePriority<'a>>,
}

/// One of `network.priorities`.
#[derive(Debug, Deserialize)]
pub struct InterfacePriority<'a> {
    /// Interface in the runtime's network namespace.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// Its priority.
    pub priority: u32,
}

/// One of `linux.resources.rdma`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rdma {
    /// Number of handles that may be open.
    pub hca_handles: Option<u32>,
    /// Number of objects that may exist.
    pub hca_objects: Option<u32>,
}
