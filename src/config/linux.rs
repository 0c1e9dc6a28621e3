//! The `linux` object.

use serde::Deserialize;

use super::{Map, Resources, Seccomp, Text, maybe_object, nullable, object};

/// `linux`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux<'a> {
    /// User ids of the container's user namespace.
    #[serde(deserialize_with = "nullable")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of the container's user namespace.
    #[serde(deserialize_with = "nullable")]
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters of the container's namespaces.
    #[serde(borrow, deserialize_with = "nullable")]
    pub sysctl: Map<'a, Text<'a>>,
    /// Limits of resources.
    #[serde(deserialize_with = "object")]
    pub resources: Resources<'a>,
    /// Path of the container's cgroup.
    #[serde(deserialize_with = "nullable")]
    pub cgroups_path: Text<'a>,
    /// Namespaces to create or to join. For a kind that is not listed, the runtime's namespace is
    /// used.
    #[serde(deserialize_with = "nullable")]
    pub namespaces: Vec<Namespace<'a>>,
    /// Device nodes besides the default ones.
    #[serde(deserialize_with = "nullable")]
    pub devices: Vec<Device<'a>>,
    /// Network devices of the host to move into the container, by name.
    #[serde(deserialize_with = "nullable")]
    pub net_devices: Map<'a, NetDevice<'a>>,
    /// The system call filter.
    #[serde(default, deserialize_with = "maybe_object")]
    pub seccomp: Option<Seccomp<'a>>,
    /// Propagation of the container's root mount.
    #[serde(deserialize_with = "nullable")]
    pub rootfs_propagation: Text<'a>,
    /// Paths that the container cannot read.
    #[serde(deserialize_with = "nullable")]
    pub masked_paths: Vec<Text<'a>>,
    /// Paths that the container cannot write to.
    #[serde(deserialize_with = "nullable")]
    pub readonly_paths: Vec<Text<'a>>,
    /// SELinux context of the container's mounts.
    #[serde(deserialize_with = "nullable")]
    pub mount_label: Text<'a>,
    /// Cache and memory bandwidth allocation.
    #[serde(default, deserialize_with = "maybe_object")]
    pub intel_rdt: Option<IntelRdt<'a>>,
    /// NUMA memory policy.
    #[serde(default, deserialize_with = "maybe_object")]
    pub memory_policy: Option<MemoryPolicy<'a>>,
    /// Execution domain (personality(2)).
    #[serde(default, deserialize_with = "maybe_object")]
    pub personality: Option<Personality<'a>>,
    /// Clock offsets of the time namespace, by clock.
    #[serde(deserialize_with = "nullable")]
    pub time_offsets: Map<'a, TimeOffset>,
}

/// A range of ids in a user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct IdMapping {
    /// First id in the container.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id on the host.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// Number of ids.
    pub size: u32,
}

/// One of `linux.namespaces`.
#[derive(Debug, Deserialize)]
pub struct Namespace<'a> {
    /// Kind of namespace, such as `pid`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// File of the namespace to join. If it is empty, a new namespace is created.
    #[serde(default, deserialize_with = "nullable")]
    pub path: Text<'a>,
}

/// One of `linux.devices`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device<'a> {
    /// Path in the container.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// `c`, `u`, `b` or `p`.
    #[serde(rename = "type")]
    pub kind: Text<'a>,
    /// Major number.
    #[serde(default, deserialize_with = "nullable")]
    pub major: i64,
    /// Minor number.
    #[serde(default, deserialize_with = "nullable")]
    pub minor: i64,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Owner in the container.
    pub uid: Option<u32>,
    /// Group in the container.
    pub gid: Option<u32>,
}

/// One of `linux.netDevices`.
#[derive(Debug, Deserialize)]
pub struct NetDevice<'a> {
    /// Name in the container. If it is empty, the name stays the same.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub name: Text<'a>,
}

/// `linux.intelRdt`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntelRdt<'a> {
    /// Class of service.
    #[serde(borrow, default, rename = "closID", deserialize_with = "nullable")]
    pub clos_id: Text<'a>,
    /// Lines of the schemata file.
    #[serde(default, deserialize_with = "nullable")]
    pub schemata: Vec<Text<'a>>,
    /// L3 cache line of the schemata file.
    #[serde(default, deserialize_with = "nullable")]
    pub l3_cache_schema: Text<'a>,
    /// Memory bandwidth line of the schemata file.
    #[serde(default, deserialize_with = "nullable")]
    pub mem_bw_schema: Text<'a>,
    /// Whether the container gets a monitoring group.
    #[serde(default, deserialize_with = "nullable")]
    pub enable_monitoring: bool,
}

/// `linux.memoryPolicy`.
#[derive(Debug, Deserialize)]
pub struct MemoryPolicy<'a> {
    /// `MPOL_…`.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub mode: Text<'a>,
    /// NUMA nodes, as a list of ranges.
    #[serde(default, deserialize_with = "nullable")]
    pub nodes: Text<'a>,
    /// `MPOL_F_…`.
    #[serde(default, deserialize_with = "nullable")]
    pub flags: Vec<Text<'a>>,
}

/// `linux.personality`.
#[derive(Debug, Deserialize)]
pub struct Personality<'a> {
    /// `LINUX` or `LINUX32`.
    #[serde(borrow)]
    pub domain: Text<'a>,
    /// The specification defines no flags.
    #[serde(default, deserialize_with = "nullable")]
    pub flags: Vec<Text<'a>>,
}

/// One of `linux.timeOffsets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct TimeOffset {
    /// Seconds.
    #[serde(default, deserialize_with = "nullable")]
    pub secs: i64,
    /// Nanoseconds.
    #[serde(default, deserialize_with = "nullable")]
    pub nanosecs: u32,
}
