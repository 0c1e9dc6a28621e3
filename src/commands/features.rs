//! `features`: what this program supports, for engines that check it first (features.md of the
//! specification).
//!
//! All lists are those that the code uses. A feature of the specification that this version refuses
//! is missing, or `false`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::hooks::HOOK_POINTS;
use crate::plan::seccomp::{Action, Arch, Operator};
use crate::plan::{annotations, capabilities, memory_policy, mount_options, namespaces, seccomp};
use crate::state::VERSION;

/// The oldest version of the specification that is supported.
const OLDEST: &str = "1.0.0";

/// The document of features.md.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Vec<&'static str>,
    mount_options: Vec<&'static str>,
    linux: LinuxFeatures,
    annotations: BTreeMap<&'static str, &'static str>,
    potentially_unsafe_config_annotations: &'static [&'static str],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LinuxFeatures {
    namespaces: Vec<&'static str>,
    capabilities: Vec<String>,
    cgroup: CgroupFeatures,
    seccomp: SeccompFeatures,
    apparmor: Switch,
    selinux: Switch,
    intel_rdt: IntelRdtFeatures,
    memory_policy: MemoryPolicyFeatures,
    mount_extensions: MountExtensions,
    net_devices: Switch,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CgroupFeatures {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SeccompFeatures {
    enabled: bool,
    actions: Vec<&'static str>,
    operators: Vec<&'static str>,
    archs: Vec<&'static str>,
    known_flags: Vec<&'static str>,
    supported_flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct IntelRdtFeatures {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Debug, Serialize)]
struct MemoryPolicyFeatures {
    modes: Vec<&'static str>,
    flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct MountExtensions {
    idmap: Switch,
}

#[derive(Debug, Serialize)]
struct Switch {
    enabled: bool,
}

const YES: Switch = Switch { enabled: true };

/// What this program supports. It is the same on every machine.
///
/// # Examples
/// ```
/// let features = serde_json::to_value(orlop::commands::features::features())?;
/// assert_eq!(features["linux"]["seccomp"]["enabled"], true);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn features() -> Features {
    Features {
        oci_version_min: OLDEST,
        oci_version_max: VERSION,
        hooks: HOOK_POINTS.iter().map(|point| point.name()).collect(),
        mount_options: sorted(mount_options::names()),
        linux: LinuxFeatures {
            namespaces: sorted(namespaces::KINDS.iter().map(|kind| kind.name)),
            capabilities: capabilities::names(),
            cgroup: CgroupFeatures {
                v1: true,
                v2: true,
                systemd: true,
                systemd_user: true,
                rdma: true,
            },
            seccomp: seccomp(),
            apparmor: YES,
            selinux: YES,
            intel_rdt: IntelRdtFeatures { enabled: true, schemata: true, monitoring: true },
            memory_policy: MemoryPolicyFeatures {
                modes: sorted(memory_policy::MODES.iter().map(|(name, _)| *name)),
                flags: sorted(memory_policy::FLAGS.iter().map(|(name, _)| *name)),
            },
            mount_extensions: MountExtensions { idmap: YES },
            net_devices: YES,
        },
        // The specification defines the first for other runtimes, too: the version of runc that
        // they are most similar to.
        annotations: BTreeMap::from([
            ("org.opencontainers.runc.version", env!("ORLOP_RUNC")),
            ("org.opencontainers.runc.checkpoint.enabled", "true"),
        ]),
        potentially_unsafe_config_annotations: &annotations::OBEYED,
    }
}

fn seccomp() -> SeccompFeatures {
    let archs = Arch::all().filter(|arch| arch.is_big_endian() == Arch::NATIVE.is_big_endian());
    SeccompFeatures {
        enabled: true,
        actions: sorted(Action::names()),
        operators: sorted(Operator::names()),
        archs: sorted(archs.map(Arch::name)),
        known_flags: sorted(seccomp::flag_names()),
        supported_flags: sorted(seccomp::flag_names()),
    }
}

fn sorted(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::features;

    #[test]
    fn the_specification_knows_every_field() {
        let text = serde_json::to_string(&features()).expect("a text");
        let read: oci_spec::runtime::Features = serde_json::from_str(&text).expect("features");
        let linux = read.linux().as_ref().expect("linux");
        assert_eq!(linux.seccomp().as_ref().and_then(|seccomp| *seccomp.enabled()), Some(true));
        assert_eq!(linux.namespaces().as_ref().map(Vec::len), Some(8));
    }
}
