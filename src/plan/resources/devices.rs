//! The devices that the container may use.
//! config.json: linux.resources.devices[].{allow, type, major, minor, access}
//!
//! By default nothing is allowed. The rules of the config apply in their order. For each of
//! reading, writing and mknod(2) the last rule that matches decides. After them come the rules for
//! the devices that every container has.
//!
//! cgroup v2 gets these rules unchanged, as a program. cgroup v1 has only a default and exceptions
//! from it, so there the rules are folded. An exception from a wider exception is a problem then,
//! since the kernel would ignore it silently.

#[cfg(test)]
mod tests;

use crate::config;
use crate::error::Cause;
use crate::host::cgroups::CgroupLayout;
use crate::plan::Problems;

const KEY: &str = "/linux/resources/devices";

/// The result of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is permitted.
    Allow,
    /// It fails with `EPERM`.
    Deny,
}

/// The verdict for every access: that of the last rule that matches, otherwise the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePolicy {
    /// The verdict if no rule matches.
    pub default: Verdict,
    /// The rules, in the order of the config. For cgroup v1 all have the opposite verdict of
    /// `default`, and their order has no effect.
    pub rules: Vec<DeviceRule>,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Its verdict.
    pub verdict: Verdict,
    /// The kind of device.
    pub kind: DeviceKind,
    /// The major number; `None` for any.
    pub major: Option<u32>,
    /// The minor number; `None` for any.
    pub minor: Option<u32>,
    /// The accesses.
    pub access: Access,
}

/// Character or block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character device.
    Char,
    /// Block device.
    Block,
}

/// A set of accesses, as bits of `BPF_DEVCG_ACC_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// mknod(2).
    pub const MKNOD: Self = Self(1);
    /// Reading.
    pub const READ: Self = Self(2);
    /// Writing.
    pub const WRITE: Self = Self(4);
    /// All of them.
    pub const ALL: Self = Self(7);

    const NONE: Self = Self(0);

    /// From the letters `r`, `w` and `m`.
    fn parse(letters: &str) -> Option<Self> {
        letters.chars().try_fold(Self::NONE, |set, letter| match letter {
            'r' => Some(set.with(Self::READ)),
            'w' => Some(set.with(Self::WRITE)),
            'm' => Some(set.with(Self::MKNOD)),
            _ => None,
        })
    }

    /// The bits of `BPF_DEVCG_ACC_*`.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether it includes all of `other`.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The letters, in the order in which the kernel prints them.
    #[must_use]
    pub fn letters(self) -> String {
        [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::MKNOD, 'm')]
            .into_iter()
            .filter_map(|(one, letter)| self.contains(one).then_some(letter))
            .collect()
    }
}

impl DeviceRule {
    const fn allow(
        kind: DeviceKind,
        major: Option<u32>,
        minor: Option<u32>,
        access: Access,
    ) -> Self {
        Self { verdict: Verdict::Allow, kind, major, minor, access }
    }

    /// Whether both apply to the same devices.
    fn same_devices(&self, other: &Self) -> bool {
        self.kind == other.kind && self.major == other.major && self.minor == other.minor
    }

    /// Whether this rule applies to every device of `other`.
    fn covers(&self, other: &Self) -> bool {
        let wide = |mine: Option<u32>, its: Option<u32>| mine.is_none() || mine == its;
        self.kind == other.kind && wide(self.major, other.major) && wide(self.minor, other.minor)
    }

    /// Whether a device can exist to which both rules apply.
    fn meets(&self, other: &Self) -> bool {
        let common =
            |mine: Option<u32>, its: Option<u32>| mine.is_none() || its.is_none() || mine == its;
        self.kind == other.kind
            && common(self.major, other.major)
            && common(self.minor, other.minor)
    }

    /// The rule in the format of cgroup v1: `c 1:3 rwm`.
    #[must_use]
    pub fn to_v1(&self) -> String {
        let kind = match self.kind {
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let number =
            |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        format!("{kind} {}:{} {}", number(self.major), number(self.minor), self.access.letters())
    }
}

const fn char_device(major: u32, minor: u32) -> DeviceRule {
    DeviceRule::allow(DeviceKind::Char, Some(major), Some(minor), Access::ALL)
}

/// The accesses that every container has, after all rules of the config. The list is runc's, since
/// images and orchestrators rely on it: the devices of the specification, their pseudo-terminals,
/// mknod(2) of any node, and /dev/net/tun. When runc 1.2 removed the last one, programs of users
/// failed (runc #3468, #4555).
static DEFAULTS: [DeviceRule; 11] = [
    DeviceRule::allow(DeviceKind::Char, None, None, Access::MKNOD),
    DeviceRule::allow(DeviceKind::Block, None, None, Access::MKNOD),
    char_device(1, 3),                                                 // null
    char_device(1, 8),                                                 // random
    char_device(1, 7),                                                 // full
    char_device(5, 0),                                                 // tty
    char_device(1, 5),                                                 // zero
    char_device(1, 9),                                                 // urandom
    DeviceRule::allow(DeviceKind::Char, Some(136), None, Access::ALL), // pts/*
    char_device(5, 2),                                                 // ptmx
    char_device(10, 200),                                              // net/tun
];

/// Decides the device rules.
pub(super) fn decide(
    rules: &[config::DeviceCgroup<'_>],
    layout: &CgroupLayout,
    problems: &mut Problems,
) -> DevicePolicy {
    let mut policy = DevicePolicy { default: Verdict::Deny, rules: Vec::new() };
    // The index in the config of each rule of the policy. The rules of `DEFAULTS` have no entry.
    let mut origins: Vec<usize> = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        match read(rule) {
            Err((name, text)) => problems.add(format_args!("{KEY}/{index}{name}"), text),
            Ok(ParsedRule::Everything(verdict)) => {
                policy = DevicePolicy { default: verdict, rules: Vec::new() };
                origins.clear();
            }
            Ok(ParsedRule::Some(read)) => {
                origins.resize(origins.len() + read.len(), index);
                policy.rules.extend(read);
            }
        }
    }
    add_defaults(&mut policy);
    if !layout.is_unified() {
        policy = fold(&policy, &origins, problems);
    } else if policy.rules.iter().all(|rule| rule.verdict != policy.default) {
        policy.rules = merge(policy.rules);
    }
    let unlimited = policy.default == Verdict::Allow && policy.rules.is_empty();
    if !unlimited && !layout.has("devices") {
        // Without the controller the container could use every device of the host.
        problems.add_for(
            Cause::NoController,
            KEY,
            "cgroup controller \"devices\" is not available",
        );
    }
    policy
}

/// If the config allows everything, a default rule is added only for the same devices as one of the
/// config's denials. A wider default rule would weaken a denial that the config made on purpose.
fn add_defaults(policy: &mut DevicePolicy) {
    let lifted = |policy: &DevicePolicy, rule: &DeviceRule| {
        policy.default == Verdict::Deny || policy.rules.iter().any(|known| known.same_devices(rule))
    };
    let added: Vec<_> = DEFAULTS.iter().filter(|rule| lifted(policy, rule)).copied().collect();
    policy.rules.extend(added);
}

/// A parsed rule of the config.
enum ParsedRule {
    /// All accesses to all devices. The earlier rules have no effect then.
    Everything(Verdict),
    /// Rules for one kind of device or for both.
    Some(Vec<DeviceRule>),
}

/// Reads a rule. The error is the name of the wrong member, with a slash in front, and the reason.
fn read(rule: &config::DeviceCgroup<'_>) -> Result<ParsedRule, (&'static str, String)> {
    let verdict = if rule.allow { Verdict::Allow } else { Verdict::Deny };
    let kinds: &[DeviceKind] = match &*rule.kind {
        "" | "a" => &[DeviceKind::Block, DeviceKind::Char],
        "b" => &[DeviceKind::Block],
        "c" => &[DeviceKind::Char],
        other => return Err(("/type", format!("invalid cgroup device type {other:?}"))),
    };
    let access = Access::parse(&rule.access).ok_or_else(|| {
        (
            "/access",
            format!(
                "{:?} has a letter other than r, w and m (every access is \"rwm\")",
                &*rule.access
            ),
        )
    })?;
    if access.is_empty() {
        return Err(("/access", "device access cannot be empty".to_owned()));
    }
    let number = |value: Option<i64>, name| match value {
        None | Some(-1) => Ok(None),
        Some(value) => match u32::try_from(value) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err((name, format!("{value} is not a device number"))),
        },
    };
    let (major, minor) = (number(rule.major, "/major")?, number(rule.minor, "/minor")?);
    if kinds.len() == 2 && major.is_none() && minor.is_none() && access == Access::ALL {
        return Ok(ParsedRule::Everything(verdict));
    }
    // On cgroup v1 the kernel treats `a 8:0 r` as all accesses to all devices. Here it means only
    // reading of 8:0.
    Ok(ParsedRule::Some(
        kinds.iter().map(|&kind| DeviceRule { verdict, kind, major, minor, access }).collect(),
    ))
}

/// Merges rules of one verdict: the accesses to the same devices become one rule, and rules that a
/// wider one includes are removed.
fn merge(rules: Vec<DeviceRule>) -> Vec<DeviceRule> {
    let mut merged: Vec<DeviceRule> = Vec::with_capacity(rules.len());
    for rule in rules {
        match merged.iter_mut().find(|known| known.same_devices(&rule)) {
            Some(known) => known.access = known.access.with(rule.access),
            None => merged.push(rule),
        }
    }
    let wider = |rule: &DeviceRule, other: &DeviceRule| {
        !rule.same_devices(other) && other.covers(rule) && other.access.contains(rule.access)
    };
    let all = merged.clone();
    merged.retain(|rule| !all.iter().any(|other| wider(rule, other)));
    merged
}

/// The rules as exceptions from the default, for cgroup v1.
fn fold(policy: &DevicePolicy, origins: &[usize], problems: &mut Problems) -> DevicePolicy {
    let mut exceptions: Vec<DeviceRule> = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        if rule.verdict != policy.default {
            exceptions.push(*rule);
            continue;
        }
        for exception in &mut exceptions {
            if !exception.access.meets(rule.access) || !exception.meets(rule) {
                continue;
            }
            if rule.covers(exception) {
                exception.access = exception.access.without(rule.access);
                continue;
            }
            let key = origins.get(index).map_or(KEY.to_owned(), |origin| format!("{KEY}/{origin}"));
            let text = format_args!(
                "{} is a hole in the wider rule {}, which cgroup v1 cannot have",
                rule.to_v1(),
                exception.to_v1()
            );
            problems.add(key, text);
            break;
        }
        exceptions.retain(|exception| !exception.access.is_empty());
    }
    DevicePolicy { default: policy.default, rules: merge(exceptions) }
}
