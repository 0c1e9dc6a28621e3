//! The settings of the container's cgroup, in the order of writing, and the devices it may use.
//! config.json: linux.resources.memory.{limit, reservation, swap, kernel}
//! config.json: linux.resources.memory.{kernelTCP, swappiness, disableOOMKiller}
//! config.json: linux.resources.memory.{useHierarchy, checkBeforeUpdate}
//! config.json: linux.resources.cpu.{shares, quota, burst, period, realtimeRuntime}
//! config.json: linux.resources.cpu.{realtimePeriod, cpus, mems, idle}
//! config.json: linux.resources.{pids.limit, network.classID, network.priorities, unified}
//! config.json: linux.resources.hugepageLimits[].{pageSize, limit}
//! config.json: linux.resources.rdma.*.{hcaHandles, hcaObjects}
//! config.json: linux.resources.blockIO.{weight, leafWeight, weightDevice}
//! config.json: linux.resources.blockIO.throttleReadBpsDevice[].rate
//! config.json: linux.resources.blockIO.throttleWriteBpsDevice[].rate
//! config.json: linux.resources.blockIO.throttleReadIOPSDevice[].rate
//! config.json: linux.resources.blockIO.throttleWriteIOPSDevice[].rate
//!
//! A value of 0 means "not given", as in runc, since all callers rely on that. Only `pids.limit`,
//! `cpu.burst` and `cpu.idle` have a real 0. A value that a hierarchy cannot express is a problem.
//! It is only a warning if runc accepts it and the container is not less limited by it.

mod devices;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::borrow::Cow;

use crate::config;
use crate::error::Cause;
use crate::host::cgroups::CgroupLayout;

use super::Problems;

pub use devices::{Access, DeviceKind, DevicePolicy, DeviceRule, Verdict};

/// Everything to set in a cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourcePlan {
    /// The files to write, in this order. Those of one controller are next to each other.
    pub writes: Vec<Write>,
    /// The devices that may be used; `None` leaves the rules as they are (`update`).
    pub devices: Option<DevicePolicy>,
    /// The limits that must be above the present usage, if the config requests this check.
    pub memory_check: Option<MemoryCheck>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its controller, which on v1 determines the hierarchy.
    pub controller: Cow<'static, str>,
    /// The name of the file; it has no slash.
    pub file: Cow<'static, str>,
    /// The value to write.
    pub value: String,
    /// JSON pointer of the value in config.json.
    pub key: Cow<'static, str>,
    /// The file and value to write instead if the kernel does not have `file`.
    pub or: Option<(&'static str, String)>,
    /// Whether a missing file is no error, because the value is the one that applies without it.
    pub optional: bool,
    /// The kernel may refuse the value (`EINVAL`) until the following settings of the controller
    /// are made.
    pub retried: bool,
    /// Whether it is made before a process is in the cgroup.
    pub early: bool,
}

/// `memory.checkBeforeUpdate`: limits in bytes. They are refused if the usage has reached them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryCheck {
    /// `memory.limit`, if it is a limit.
    pub limit: Option<u64>,
    /// `memory.swap`, if it is a limit.
    pub swap: Option<u64>,
}

impl Write {
    fn new(
        controller: impl Into<Cow<'static, str>>,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        key: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            controller: controller.into(),
            file: file.into(),
            value: value.to_string(),
            key: key.into(),
            or: None,
            optional: false,
            retried: false,
            early: false,
        }
    }

    fn or(mut self, file: &'static str, value: impl ToString) -> Self {
        self.or = Some((file, value.to_string()));
        self
    }

    fn optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    fn retried(mut self) -> Self {
        self.retried = true;
        self
    }

    fn early(mut self) -> Self {
        self.early = true;
        self
    }
}

/// Decides the settings. Without any limit in `resources` these are only the device rules.
#[must_use]
pub fn decide(
    resources: &config::Resources<'_>,
    layout: &CgroupLayout,
    problems: &mut Problems,
) -> ResourcePlan {
    let limits = decide_limits(resources, layout, problems);
    let devices = devices::decide(&resources.devices, layout, problems);
    ResourcePlan { devices: Some(devices), ..limits }
}

/// Decides the settings of `update`: the limits. It ignores rules for devices, since `update` does
/// not change them.
#[must_use]
pub fn decide_limits(
    resources: &config::Resources<'_>,
    layout: &CgroupLayout,
    problems: &mut Problems,
) -> ResourcePlan {
    let mut draft = ResourcesDraft { layout, writes: Vec::new(), problems };
    if layout.is_unified() {
        v2::decide(resources, &mut draft);
    } else {
        v1::decide(resources, &mut draft);
    }
    let mut writes = draft.writes;
    drop_weight_of_idle(&mut writes, problems);
    let memory_check = resources.memory.as_ref().and_then(memory_check);
    ResourcePlan { writes, devices: None, memory_check }
}

/// The settings so far, and the problems.
struct ResourcesDraft<'a> {
    layout: &'a CgroupLayout,
    writes: Vec<Write>,
    problems: &'a mut Problems,
}

impl ResourcesDraft<'_> {
    /// Adds a setting, if the machine has its controller.
    fn push(&mut self, write: Write) {
        if self.layout.has(&write.controller) {
            self.writes.push(write);
        } else if !write.optional {
            self.problems.add_for(
                Cause::NoController,
                &write.key,
                format_args!("cgroup controller {:?} is not available", write.controller),
            );
        }
    }

    fn problem(&mut self, key: &str, text: impl std::fmt::Display) {
        self.problems.add(key, text);
    }
}

/// `linux.resources.memory` without the zeros, after the checks that both versions need.
#[derive(Clone, Copy)]
struct MemoryLimits {
    limit: Option<i64>,
    reservation: Option<i64>,
    swap: Option<i64>,
    swappiness: Option<u64>,
}

const LIMIT: &str = "/linux/resources/memory/limit";
const RESERVATION: &str = "/linux/resources/memory/reservation";
const SWAP: &str = "/linux/resources/memory/swap";
const SWAPPINESS: &str = "/linux/resources/memory/swappiness";
const DISABLE_OOM_KILLER: &str = "/linux/resources/memory/disableOOMKiller";

fn memory_limits(memory: &config::Memory, problems: &mut Problems) -> MemoryLimits {
    for (value, name) in [(memory.kernel, "kernel"), (memory.kernel_tcp, "kernelTCP")] {
        if value.is_some_and(|value| value != 0) {
            problems.warn(
                format_args!("/linux/resources/memory/{name}"),
                "kernel memory limits are obsolete and ignored",
            );
        }
    }
    let mut bytes = |value: Option<i64>, key| {
        let value = value.filter(|&value| value != 0)?;
        if value < -1 {
            problems
                .add(key, format_args!("{value} is neither a number of bytes nor -1 for no limit"));
            return None;
        }
        Some(value)
    };
    let limit = bytes(memory.limit, LIMIT);
    let reservation = bytes(memory.reservation, RESERVATION);
    let swap = bytes(memory.swap, SWAP);
    if let (Some(limit @ 1..), Some(swap @ 1..)) = (limit, swap)
        && swap < limit
    {
        problems.add(
            SWAP,
            format_args!("memory+swap limit should be >= memory limit, but {swap} < {limit}"),
        );
    }
    // Docker writes -1 for "not given". It is parsed as a large unsigned number.
    let swappiness = memory.swappiness.filter(|&value| value != u64::MAX);
    if let Some(value @ 101..) = swappiness {
        problems.add(
            SWAPPINESS,
            format_args!("invalid memory swappiness value: {value} (valid range is 0-100)"),
        );
    }
    MemoryLimits { limit, reservation, swap, swappiness }
}

fn memory_check(memory: &config::Memory) -> Option<MemoryCheck> {
    let limit = |value: Option<i64>| {
        value.and_then(|value| u64::try_from(value).ok()).filter(|&value| value > 0)
    };
    let check = MemoryCheck { limit: limit(memory.limit), swap: limit(memory.swap) };
    (memory.check_before_update == Some(true) && (check.limit.is_some() || check.swap.is_some()))
        .then_some(check)
}

/// `max` for -1.
fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

const SHARES: &str = "/linux/resources/cpu/shares";
const QUOTA: &str = "/linux/resources/cpu/quota";
const PERIOD: &str = "/linux/resources/cpu/period";
const BURST: &str = "/linux/resources/cpu/burst";
const IDLE: &str = "/linux/resources/cpu/idle";
const RT_RUNTIME: &str = "/linux/resources/cpu/realtimeRuntime";
const RT_PERIOD: &str = "/linux/resources/cpu/realtimePeriod";
const CPUS: &str = "/linux/resources/cpu/cpus";
const MEMS: &str = "/linux/resources/cpu/mems";

/// Reports values of `linux.resources.cpu` that the kernel refuses on both versions.
fn check_cpu(cpu: &config::Cpu<'_>, problems: &mut Problems) {
    if let (Some(burst), Some(quota @ 1..)) = (cpu.burst, cpu.quota)
        && burst > quota.unsigned_abs()
    {
        problems.add(
            BURST,
            format_args!("the burst must not be above the quota, but {burst} > {quota}"),
        );
    }
    if let Some(idle) = cpu.idle.filter(|idle| !(0..=1).contains(idle)) {
        problems.add(IDLE, format_args!("{idle} is neither 0 nor 1"));
    }
}

/// An idle cgroup has no weight, and the kernel refuses one for it. The last value of `cpu.idle`
/// decides.
fn drop_weight_of_idle(writes: &mut Vec<Write>, problems: &mut Problems) {
    let is_idle = writes
        .iter()
        .rfind(|write| write.file == "cpu.idle")
        .is_some_and(|write| write.value.trim() == "1");
    if !is_idle {
        return;
    }
    writes.retain(|write| {
        let has_weight = is_cpu_weight(&write.file);
        if has_weight {
            problems.warn(
                &write.key,
                "cpu.idle is 1, and an idle cgroup has no weight; the value is ignored",
            );
        }
        !has_weight
    });
}

/// Whether the file sets the share of CPU time of a cgroup.
#[must_use]
pub fn is_cpu_weight(file: &str) -> bool {
    matches!(file, "cpu.weight" | "cpu.weight.nice" | "cpu.shares")
}

/// Converts `pids.limit: 0` for the version of the specification that the config has: before 1.3.0
/// it meant no limit, since 1.3.0 it is a limit.
pub fn fit_to_version(resources: &mut config::Resources<'_>, version: &str) {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    let is_older =
        matches!((numbers.next().flatten(), numbers.next().flatten()), (Some(1), Some(0..=2)));
    if let Some(limit @ Some(0)) = resources.pids.as_mut().map(|pids| &mut pids.limit)
        && is_older
    {
        *limit = Some(-1);
    }
}

/// `pids.max` for both versions.
fn pids(pids: &config::Pids, draft: &mut ResourcesDraft<'_>) {
    let Some(limit) = pids.limit else { return };
    let value = match limit {
        // As in runc: systemd does not accept 0, and 1 has the same effect when one process is in
        // the cgroup. With a real 0, init could not be created in the cgroup.
        0 => "1".to_owned(),
        limit => or_max(limit),
    };
    let write = Write::new("pids", "pids.max", value, "/linux/resources/pids/limit");
    draft.push(write.optional(limit < 0));
}

fn cpuset(cpu: &config::Cpu<'_>, draft: &mut ResourcesDraft<'_>) {
    for (value, file, key) in [(&cpu.cpus, "cpuset.cpus", CPUS), (&cpu.mems, "cpuset.mems", MEMS)] {
        if !value.is_empty() {
            draft.push(Write::new("cpuset", file, &**value, key));
        }
    }
}

/// Both files of each page size, `hugetlb.SIZE.LIMIT` and `hugetlb.SIZE.rsvd.LIMIT`. The second one
/// limits reservations, if the kernel has it. With only the first one, a process gets SIGBUS at a
/// page fault, where mmap(2) could have failed.
fn hugepages(limits: &[config::HugepageLimit<'_>], suffix: &str, draft: &mut ResourcesDraft<'_>) {
    for (index, limit) in limits.iter().enumerate() {
        let size = &*limit.page_size;
        if !is_page_size(size) {
            let key = format!("/linux/resources/hugepageLimits/{index}/pageSize");
            draft.problem(
                &key,
                format_args!("{size:?} is not a page size such as 64KB, 2MB or 1GB"),
            );
            continue;
        }
        let key = format!("/linux/resources/hugepageLimits/{index}/limit");
        draft.push(Write::new(
            "hugetlb",
            format!("hugetlb.{size}.{suffix}"),
            limit.limit,
            key.clone(),
        ));
        draft.push(
            Write::new("hugetlb", format!("hugetlb.{size}.rsvd.{suffix}"), limit.limit, key)
                .optional(true),
        );
    }
}

/// The size becomes part of a file name, so only a number and its unit are accepted
/// (GHSA-5g49-rx9x-qfc6).
fn is_page_size(size: &str) -> bool {
    let number = size.trim_end_matches(|last: char| !last.is_ascii_digit());
    let unit = &size[number.len()..];
    let digits = !number.is_empty()
        && !number.starts_with('0')
        && number.bytes().all(|byte| byte.is_ascii_digit());
    digits && matches!(unit, "KB" | "MB" | "GB")
}

fn rdma(limits: &config::Map<'_, config::Rdma>, draft: &mut ResourcesDraft<'_>) {
    for (device, limit) in limits.iter() {
        let key = format!("/linux/resources/rdma/{}", escape(device));
        if device.is_empty() || device.contains(|c: char| c.is_whitespace() || c == '\0') {
            draft.problem(&key, format_args!("{:?} is not the name of an RDMA device", &**device));
            continue;
        }
        let mut value = device.to_string();
        for (name, count) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)]
        {
            if let Some(count) = count {
                value.push_str(&format!(" {name}={count}"));
            }
        }
        if value.len() == device.len() {
            draft.problem(&key, "at least one of hcaHandles and hcaObjects is needed");
            continue;
        }
        draft.push(Write::new("rdma", "rdma.max", value, key));
    }
}

/// `major:minor` of a block device.
fn device_number(
    major: i64,
    minor: i64,
    key: &str,
    draft: &mut ResourcesDraft<'_>,
) -> Option<String> {
    if u32::try_from(major).is_err() || u32::try_from(minor).is_err() {
        draft.problem(key, format_args!("{major}:{minor} is not a device number"));
        return None;
    }
    Some(format!("{major}:{minor}"))
}

/// A weight of block devices, or nothing if it is absent, 0, or outside of the specification's
/// range.
fn io_weight(weight: Option<u16>, key: &str, draft: &mut ResourcesDraft<'_>) -> Option<u16> {
    let weight = weight.filter(|&weight| weight != 0)?;
    if !(10..=1000).contains(&weight) {
        draft.problem(key, format_args!("{weight} is not a weight from 10 to 1000"));
        return None;
    }
    Some(weight)
}

/// `leafWeight` belonged to the CFQ scheduler, which no kernel since 5.0 has. To ignore it would
/// lose a limit silently.
fn no_leaf_weight(block_io: &config::BlockIo, draft: &mut ResourcesDraft<'_>) {
    const TEXT: &str = "no kernel since 5.0 has leaf weights";
    if block_io.leaf_weight.is_some_and(|weight| weight != 0) {
        draft.problem("/linux/resources/blockIO/leafWeight", TEXT);
    }
    for (index, device) in block_io.weight_device.iter().enumerate() {
        let key = format!("/linux/resources/blockIO/weightDevice/{index}");
        if device.leaf_weight.is_some_and(|weight| weight != 0) {
            draft.problem(&format!("{key}/leafWeight"), TEXT);
        } else if device.weight.is_none() && device.leaf_weight.is_none() {
            draft.problem(&key, "at least one of weight and leafWeight is needed");
        }
    }
}

/// The four throttles: the key of each, and its devices.
fn throttles(block_io: &config::BlockIo) -> [(&'static str, &[config::ThrottleDevice]); 4] {
    [
        ("throttleReadBpsDevice", &block_io.throttle_read_bps_device),
        ("throttleWriteBpsDevice", &block_io.throttle_write_bps_device),
        ("throttleReadIOPSDevice", &block_io.throttle_read_iops_device),
        ("throttleWriteIOPSDevice", &block_io.throttle_write_iops_device),
    ]
}

/// The name, escaped for a JSON pointer (RFC 6901).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
