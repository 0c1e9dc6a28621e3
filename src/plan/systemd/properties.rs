//! The limits as properties of a unit (systemd.resource-control(5)), as in runc. They are made from
//! the files to write, so that limits of `linux.resources.unified` and of flags of `update` are
//! among them. A file without a property is only written; systemd then does not change it.

use std::borrow::Cow;

use crate::plan::resources::{DeviceKind, DevicePolicy, ResourcePlan, Verdict, Write};

use super::value::PropertyValue;

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name on D-Bus.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: PropertyValue,
    /// The first version of systemd that has it. For older ones it is left out.
    pub since: u32,
}

impl Property {
    pub(super) fn new(name: impl Into<Cow<'static, str>>, value: PropertyValue) -> Self {
        Self { name: name.into(), value, since: 0 }
    }

    fn since(mut self, version: u32) -> Self {
        self.since = version;
        self
    }
}

/// One percent of a second, in microseconds. systemd rounds CPU quotas to whole percents.
const PERCENT: u64 = 10_000;

const SECOND: u64 = 1_000_000;

/// The period of the CPU quota in microseconds if none is given: the kernel's default.
const DEFAULT_PERIOD: u64 = 100_000;

/// The properties for the limits of `plan`. A CPU quota is rounded up to a value that systemd can
/// express, in the file too. Otherwise a cgroup below could not have the same quota.
#[must_use]
pub fn of_limits(plan: &mut ResourcePlan, unified: bool) -> Vec<Property> {
    let mut properties = of_files(&plan.writes, unified);
    if let Some(quota) = quota(&mut plan.writes, unified) {
        properties.extend(quota);
    }
    properties
}

/// The properties of a new unit: [`of_limits`], the device rules, and what cannot be changed later.
#[must_use]
pub fn of_new_unit(plan: &mut ResourcePlan, unified: bool) -> Vec<Property> {
    let mut properties =
        plan.devices.as_ref().map(|policy| of_devices(policy, unified)).unwrap_or_default();
    properties.extend(of_limits(plan, unified));
    properties.extend(oom_policy(plan));
    properties
}

/// The property for a file of a new cgroup that cannot be changed later.
fn oom_policy(plan: &ResourcePlan) -> Option<Property> {
    let group = plan.writes.iter().rfind(|write| write.file == "memory.oom.group")?;
    let policy = match group.value.trim() {
        "0" => "continue",
        "1" => "kill",
        _ => return None,
    };
    Some(Property::new("OOMPolicy", PropertyValue::text(policy)).since(253))
}

/// The properties of all files that have one. If two have the same property, the later one is used.
fn of_files(writes: &[Write], unified: bool) -> Vec<Property> {
    let idle = writes.iter().rfind(|write| unified && write.file == "cpu.idle");
    let idle = idle.is_some_and(|write| write.value.trim() == "1");
    let mut properties: Vec<Property> = Vec::new();
    for write in writes {
        let property = if unified { of_v2(write, idle) } else { of_v1(write) };
        let Some(property) = property else { continue };
        properties.retain(|known| known.name != property.name);
        properties.push(property);
    }
    properties
}

fn of_v2(write: &Write, idle: bool) -> Option<Property> {
    let value = write.value.trim();
    let number =
        |name: &'static str| Some(Property::new(name, PropertyValue::Uint64(number(value)?)));
    match &*write.file {
        "cpu.idle" if idle => Some(Property::new("CPUWeight", PropertyValue::Uint64(0)).since(252)),
        // The weight of an idle cgroup is 0.
        "cpu.weight" if !idle => number("CPUWeight"),
        "memory.min" => number("MemoryMin"),
        "memory.low" => number("MemoryLow"),
        "memory.high" => number("MemoryHigh"),
        "memory.max" => number("MemoryMax"),
        "memory.swap.max" => number("MemorySwapMax"),
        "memory.zswap.max" => Some(number("MemoryZSwapMax")?.since(253)),
        "io.bfq.weight" => match &write.or {
            Some((_, weight)) => {
                Some(Property::new("IOWeight", PropertyValue::Uint64(weight.parse().ok()?)))
            }
            None => None,
        },
        file => of_both(file, value),
    }
}

fn of_v1(write: &Write) -> Option<Property> {
    let value = write.value.trim();
    let number =
        |name: &'static str| Some(Property::new(name, PropertyValue::Uint64(number(value)?)));
    match &*write.file {
        "cpu.shares" => number("CPUShares"),
        "memory.limit_in_bytes" => number("MemoryLimit"),
        "blkio.weight" => number("BlockIOWeight"),
        file => of_both(file, value),
    }
}

fn of_both(file: &str, value: &str) -> Option<Property> {
    match file {
        // systemd does not accept 0. 1 has the same effect when one process is in the cgroup.
        "pids.max" => Some(Property::new("TasksMax", PropertyValue::Uint64(number(value)?.max(1)))),
        "cpuset.cpus" => Some(Property::new("AllowedCPUs", bits(value)?)),
        "cpuset.mems" => Some(Property::new("AllowedMemoryNodes", bits(value)?)),
        _ => None,
    }
}

/// A number; the largest one for "no limit".
fn number(text: &str) -> Option<u64> {
    match text {
        "max" | "-1" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

/// `0-2,5` as a set of bits, lowest byte first.
fn bits(list: &str) -> Option<PropertyValue> {
    /// No machine has a larger number.
    const LAST: usize = 65_535;
    let mut bits: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last > LAST || first > last {
            return None;
        }
        bits.resize(bits.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|bit| bits[bit / 8] |= 1 << (bit % 8));
    }
    Some(PropertyValue::bytes(&bits))
}

/// The properties of the CPU quota.
fn quota(writes: &mut [Write], unified: bool) -> Option<[Property; 2]> {
    let (found, period) = if unified {
        let max = writes.iter_mut().rfind(|write| write.file == "cpu.max")?;
        let mut words = max.value.split_ascii_whitespace();
        let quota = number(words.next()?)?;
        let period = words.next().map_or(Some(DEFAULT_PERIOD), |word| word.parse().ok())?;
        if quota != u64::MAX {
            max.value = format!("{} {period}", rounded(quota, period)?);
        }
        (quota, period)
    } else {
        let last = |name| move |write: &&mut Write| write.file == name;
        let period =
            writes.iter_mut().rfind(last("cpu.cfs_period_us")).map(|write| write.value.parse());
        let quota = writes.iter_mut().rfind(last("cpu.cfs_quota_us"));
        let period = match (period, &quota) {
            (Some(period), _) => period.ok()?,
            (None, Some(_)) => DEFAULT_PERIOD,
            (None, None) => return None,
        };
        let found = quota.as_ref().map_or(Some(u64::MAX), |write| number(&write.value))?;
        if let Some(write) = quota.filter(|_| found != u64::MAX) {
            write.value = rounded(found, period)?.to_string();
        }
        (found, period)
    };
    let per_second = if found == u64::MAX { found } else { per_second(found, period)? };
    Some([
        Property::new("CPUQuotaPeriodUSec", PropertyValue::Uint64(period)),
        Property::new("CPUQuotaPerSecUSec", PropertyValue::Uint64(per_second)),
    ])
}

/// Microseconds of CPU time in a second, rounded up to whole percents.
fn per_second(quota: u64, period: u64) -> Option<u64> {
    let exact = quota.checked_mul(SECOND)?.checked_div(period)?;
    exact.div_ceil(PERCENT).checked_mul(PERCENT)
}

fn rounded(quota: u64, period: u64) -> Option<u64> {
    let exact = quota.checked_mul(SECOND)?.checked_div(period)?;
    if exact % PERCENT == 0 {
        return Some(quota);
    }
    Some(per_second(quota, period)?.checked_mul(period)? / SECOND)
}

/// The properties of the device rules. systemd has only lists of allowed devices. On cgroup v2,
/// rules that cannot be such a list are enforced only by our own program, which is attached in
/// addition to that of systemd. On v1, systemd would overwrite ours. So there the devices that it
/// cannot express are denied.
fn of_devices(policy: &DevicePolicy, unified: bool) -> Vec<Property> {
    let list =
        |entries| Property::new("DeviceAllow", PropertyValue::Array("(ss)".to_owned(), entries));
    let mode = |mode: &str| Property::new("DevicePolicy", PropertyValue::text(mode));
    let unlimited = policy.default == Verdict::Allow && policy.rules.is_empty();
    let is_list = policy.default == Verdict::Deny
        && policy.rules.iter().all(|rule| rule.verdict == Verdict::Allow);
    let entries = |name: &str, access: String| {
        PropertyValue::Struct(vec![PropertyValue::text(name), PropertyValue::Text(access)])
    };
    let mut allowed = Vec::new();
    let mut complete = is_list;
    for rule in policy.rules.iter().filter(|_| is_list) {
        let kind = match rule.kind {
            DeviceKind::Char => "char",
            DeviceKind::Block => "block",
        };
        let name = match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => format!("{kind}-{major}"),
            (None, None) => format!("{kind}-*"),
            (None, Some(_)) => {
                complete = false;
                continue;
            }
        };
        allowed.push(entries(&name, rule.access.letters()));
    }
    if unlimited || (unified && !complete) {
        return vec![list(Vec::new()), mode("auto")];
    }
    // The empty list removes earlier entries of the unit.
    vec![list(Vec::new()), mode("strict"), list(allowed)]
}

#[cfg(test)]
mod tests;
