//! Cgroups below that of the container or of the unit, for two annotations of crun:
//! `run.oci.delegate-cgroup` and `run.oci.systemd.subgroup`.
//!
//! ```text
//! a.slice/a-1.scope            cgroup of the unit: properties of systemd
//! a.slice/a-1.scope/SUBGROUP   run.oci.systemd.subgroup: limits, root of the cgroup namespace
//! …/SUBGROUP/DELEGATED         run.oci.delegate-cgroup: the processes, no limits
//! ```
//!
//! In each case state.json has the cgroup of the container. An operation on it, as `kill` or
//! `pause`, includes the cgroups below it. Both annotations need cgroup v2, as delegation is not
//! safe on v1.

use std::collections::BTreeMap;

use super::annotations::{DELEGATE_CGROUP, SYSTEMD_SUBGROUP, find};
use super::cgroup::{CgroupPlan, PathBelowMount, clean};
use super::id_mappings::IdMappingsPlan;
use super::{Host, Problems};
use crate::config::Config;
use crate::host::cgroups::CgroupLayout;

const NEEDS_V2: &str = "needs cgroup v2, mounted alone at /sys/fs/cgroup";

/// The cgroup that the processes are moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegated {
    /// The directory.
    pub dir: PathBelowMount,
    /// The controllers to enable for it, as far as possible.
    pub controllers: Vec<String>,
    /// Its owner, a uid of the host, if that is not the user who creates it.
    pub owner: Option<u32>,
}

/// The path of the container's cgroup below that of its unit, if they differ.
pub(super) fn below_unit(
    config: &Config<'_>,
    layout: &CgroupLayout,
    problems: &mut Problems,
) -> Option<String> {
    let path = checked(config, SYSTEMD_SUBGROUP, problems)?;
    if !layout.is_unified() {
        problems.add(key(SYSTEMD_SUBGROUP), NEEDS_V2);
        return None;
    }
    Some(path)
}

/// Reports the problem that nothing can be delegated without a cgroup.
pub(super) fn without(config: &Config<'_>, problems: &mut Problems) {
    if checked(config, DELEGATE_CGROUP, &mut Problems::default()).is_some() {
        problems.add(
            key(DELEGATE_CGROUP),
            "needs a cgroup (there is none with --cgroup-manager disabled)",
        );
    }
}

/// Decides the delegated cgroup and its owner.
pub(super) fn decide(
    config: &Config<'_>,
    cgroup: &CgroupPlan,
    owner: Option<u32>,
    problems: &mut Problems,
) -> Option<Delegated> {
    let path = checked(config, DELEGATE_CGROUP, problems)?;
    match cgroup {
        CgroupPlan::Unified { dir, controllers } => {
            let dir =
                PathBelowMount { mount: dir.mount.clone(), path: format!("{}/{path}", dir.path) };
            Some(Delegated { dir, controllers: controllers.clone(), owner })
        }
        none if *none == CgroupPlan::none() => None, // `without` reports this
        CgroupPlan::Legacy { .. } => {
            problems.add(key(DELEGATE_CGROUP), NEEDS_V2);
            None
        }
    }
}

/// The owner: the one of the container's cgroup (`owner`) if there is one, else root of the
/// container.
pub(super) fn owner(owner: Option<u32>, ids: &IdMappingsPlan, host: &Host) -> Option<u32> {
    owner.or_else(|| ids.uid_on_host(0).filter(|root| *root != host.euid))
}

/// The path below the cgroup of an existing container in which its processes were started.
#[must_use]
pub fn of_processes(annotations: &BTreeMap<String, String>) -> Option<String> {
    annotations.get(DELEGATE_CGROUP).map(|path| clean(path)).filter(|path| !path.is_empty())
}

/// The path in an annotation. An empty path is ignored, as in crun.
fn checked(config: &Config<'_>, name: &str, problems: &mut Problems) -> Option<String> {
    let text = find(&config.annotations, name).filter(|text| !text.is_empty())?;
    let path = clean(text);
    if path.is_empty() || text.contains(['\0', '\n']) || text.split('/').any(|part| part == "..") {
        problems.add(
            key(name),
            format_args!("{text:?} is not the path of a cgroup below the container's"),
        );
        return None;
    }
    Some(path)
}

fn key(name: &str) -> String {
    format!("/annotations/{name}")
}
