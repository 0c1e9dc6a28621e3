//! The cgroup of the container: a directory in every hierarchy.
//! config.json: linux.cgroupsPath
//!
//! With systemd the path has another form ([`super::systemd`]), which is converted to a path below
//! the mount point.
//!
//! The rules of runc's cgroupfs driver: an absolute path is relative to the mount point of the
//! hierarchy, a relative one to our own cgroup, and the default is the id of the container,
//! relative. On cgroup v2 the parent of our own cgroup is used, since a cgroup with processes
//! cannot enable controllers for its children.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::host::cgroups::{CgroupLayout, Hierarchy};

use super::id_mappings::IdMappingsPlan;
use super::namespaces::NamespacesPlan;
use super::resources::ResourcePlan;
use super::systemd::{CgroupsPath, Manager, UnitPlan, properties};
use super::{Host, Problems, Request, delegated_cgroup};

const KEY: &str = "/linux/cgroupsPath";

/// Who creates the cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CgroupMaker {
    /// The runtime.
    #[default]
    Us,
    /// This systemd (`--systemd-cgroup`).
    Systemd(Manager),
    /// No process: the container stays in the cgroup of the caller (`--cgroup-manager disabled`).
    Nobody,
}

/// The cgroup to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupPlan {
    /// One directory of cgroup v2.
    Unified {
        /// The directory.
        dir: PathBelowMount,
        /// The controllers to enable for it, as far as possible.
        controllers: Vec<String>,
    },
    /// A directory in each hierarchy of cgroup v1.
    Legacy {
        /// The directories.
        dirs: Vec<LegacyDir>,
        /// The directory in cgroup v2, if that is mounted too.
        unified: Option<PathBelowMount>,
    },
}

/// A directory of a cgroup v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyDir {
    /// The controllers of the hierarchy, or its name as `name=systemd`.
    pub controllers: Vec<String>,
    /// The directory.
    pub dir: PathBelowMount,
}

/// A directory strictly below a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathBelowMount {
    /// The mount point of the hierarchy.
    pub mount: PathBuf,
    /// The normalized path from there: not empty, without empty, `.` or `..` components and without
    /// a leading slash.
    pub path: String,
}

impl CgroupPlan {
    /// No cgroup.
    #[must_use]
    pub fn none() -> Self {
        Self::Legacy { dirs: Vec::new(), unified: None }
    }
}

impl PathBelowMount {
    /// The absolute path.
    #[must_use]
    pub fn full(&self) -> PathBuf {
        self.mount.join(&self.path)
    }
}

/// Decides the directories of the container `id`. If the path is wrong, that is a problem, and the
/// default is used.
#[must_use]
pub fn decide(
    cgroups_path: &str,
    id: &str,
    layout: &CgroupLayout,
    problems: &mut Problems,
) -> CgroupPlan {
    let mut wanted = cgroups_path;
    if let Some(text) = bad(wanted) {
        problems.add(KEY, text);
        wanted = "";
    }
    let inner = if wanted.is_empty() { id } else { wanted };
    match layout {
        CgroupLayout::Unified { mount, own, controllers } => {
            let parent =
                clean(own).rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned());
            CgroupPlan::Unified {
                dir: below(mount, &parent, inner),
                controllers: controllers.clone(),
            }
        }
        CgroupLayout::Legacy { hierarchies, unified } => {
            let at = |found: &Hierarchy| below(&found.mount, found.own_below_mount(), inner);
            let dirs = hierarchies
                .iter()
                .filter(|found| found.name.is_empty() || found.name == "systemd")
                .map(|found| LegacyDir { controllers: names(found), dir: at(found) })
                .collect();
            CgroupPlan::Legacy { dirs, unified: unified.as_ref().map(at) }
        }
    }
}

/// Removes from `resources` what needs a cgroup. A limit is reported as a problem. Device rules are
/// removed without a problem, as in crun, since all callers write them.
fn without(cgroups_path: &str, resources: &mut ResourcePlan, problems: &mut Problems) {
    const WITHOUT: &str = "without a cgroup (--cgroup-manager disabled)";
    for limit in resources.writes.drain(..).filter(|limit| !limit.optional) {
        problems.add(&limit.key, format_args!("cannot be set {WITHOUT}"));
    }
    *resources = ResourcePlan::default();
    if !cgroups_path.is_empty() {
        problems.warn(KEY, format_args!("ignored {WITHOUT}"));
    }
}

/// Decides the cgroup, and the unit if systemd creates it.
pub(super) fn by_maker(
    config: &Config<'_>,
    request: &Request<'_>,
    resources: &mut ResourcePlan,
    layout: &CgroupLayout,
    problems: &mut Problems,
) -> (CgroupPlan, Option<UnitPlan>) {
    let path = &config.linux.cgroups_path;
    let manager = match &request.maker {
        CgroupMaker::Us => return (decide(path, request.id, layout, problems), None),
        CgroupMaker::Nobody => {
            without(path, resources, problems);
            delegated_cgroup::without(config, problems);
            return (decide("", request.id, layout, problems), None);
        }
        CgroupMaker::Systemd(manager) => manager,
    };
    let place = CgroupsPath::decide(path, request.id, manager, problems);
    let mut cgroup = by_systemd(&place, manager, layout, problems);
    let limits = properties::of_new_unit(resources, layout.is_unified());
    let mut unit = place.unit(manager, &config.annotations, limits, problems);
    let below = delegated_cgroup::below_unit(config, layout, problems);
    unit.above = below.and_then(|sub| cgroup.go_below(&sub));
    (cgroup, Some(unit))
}

/// The cgroup of a systemd unit.
fn by_systemd(
    place: &CgroupsPath<'_>,
    manager: &Manager,
    layout: &CgroupLayout,
    problems: &mut Problems,
) -> CgroupPlan {
    if *manager != Manager::System && !layout.is_unified() {
        problems.add(KEY, "cannot use rootless systemd cgroups manager on cgroup v1");
    }
    decide(&format!("/{}", place.path(manager)), "", layout, problems)
}

impl CgroupPlan {
    /// Sets the cgroup of the container to one below that of the unit. Returns that of the unit.
    pub(super) fn go_below(&mut self, sub: &str) -> Option<PathBuf> {
        let Self::Unified { dir, .. } = self else { return None };
        let unit = dir.full();
        dir.path = format!("{}/{sub}", dir.path);
        Some(unit)
    }
}

/// Decides the owner of the cgroup: the user of the container's processes, if these have a cgroup
/// namespace and a writable cgroup filesystem ("cgroup ownership" of the specification). On cgroup
/// v1 the owner is not changed, since that is not safe.
#[must_use]
pub fn owner(
    config: &Config<'_>,
    namespaces: &NamespacesPlan,
    ids: &IdMappingsPlan,
    host: &Host,
    layout: &CgroupLayout,
) -> Option<u32> {
    if !namespaces.create_cgroup_namespace || !layout.is_unified() {
        return None;
    }
    let writable = config.mounts.iter().any(|mount| {
        let at = clean(&mount.destination) == "sys/fs/cgroup";
        at && &*mount.source == "cgroup" && !mount.options.iter().any(|option| &**option == "ro")
    });
    let uid = config.process.as_ref()?.user.uid;
    ids.uid_on_host(uid).filter(|owner| writable && *owner != host.euid)
}

/// The problem of a path, if there is one.
fn bad(path: &str) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    if path.contains(['\0', '\n']) {
        return Some(format!("{path:?} has a character that no cgroup's name can have"));
    }
    // The root cgroup and our own cgroup have other processes.
    clean(path)
        .is_empty()
        .then(|| format!("{path:?} does not name a cgroup of the container's own"))
}

fn below(mount: &Path, own: &str, inner: &str) -> PathBelowMount {
    let mut path = if inner.starts_with('/') { String::new() } else { clean(own) };
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(&clean(inner));
    PathBelowMount { mount: mount.to_owned(), path }
}

/// The path without empty, `.` and `..` components and without a leading slash. `..` at the top has
/// no effect.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn names(found: &Hierarchy) -> Vec<String> {
    if found.name.is_empty() {
        found.controllers.clone()
    } else {
        vec![format!("name={}", found.name)]
    }
}

#[cfg(test)]
mod tests {
    use super::{CgroupPlan, PathBelowMount, decide};
    use crate::host::cgroups::{CgroupLayout, Hierarchy};
    use crate::plan::Problems;

    fn unified(own: &str) -> CgroupLayout {
        CgroupLayout::Unified {
            mount: "/sys/fs/cgroup".into(),
            own: own.into(),
            controllers: vec!["pids".into()],
        }
    }

    fn hierarchy(name: &str, own: &str, root: &str) -> Hierarchy {
        Hierarchy {
            mount: format!("/sys/fs/cgroup/{name}").into(),
            controllers: vec![name.into()],
            own: own.into(),
            root: root.into(),
            ..Hierarchy::default()
        }
    }

    #[test]
    fn a_path_names_a_directory_below_the_mount() {
        for (path, own, expected) in [
            ("/docker/abc", "/user.slice/x.scope", "docker/abc"),
            ("docker/abc", "/user.slice/x.scope", "user.slice/docker/abc"),
            ("", "/user.slice/x.scope", "user.slice/web"),
            ("", "/", "web"),
            ("", "/x.scope", "web"),
            ("", "/../../x.scope", "web"),
            ("/a//b/./c/", "/", "a/b/c"),
            ("/../../../etc", "/", "etc"),
            ("../../../etc", "/a/b", "a/etc"),
            ("a/../../../../b", "/a/b", "a/b"),
        ] {
            let mut problems = Problems::default();
            let plan = decide(path, "web", &unified(own), &mut problems);
            let dir = PathBelowMount { mount: "/sys/fs/cgroup".into(), path: expected.into() };
            assert_eq!(
                plan,
                CgroupPlan::Unified { dir, controllers: vec!["pids".into()] },
                "{path:?} from {own:?}"
            );
            assert!(problems.found().is_empty());
        }
    }

    #[test]
    fn each_v1_hierarchy_counts_from_its_own_place() {
        let mut other = hierarchy("other", "/", "/");
        other.name = "elogind".into();
        let mut systemd =
            Hierarchy { controllers: vec![], ..hierarchy("systemd", "/init.scope", "/") };
        systemd.name = "systemd".into();
        let layout = CgroupLayout::Legacy {
            hierarchies: vec![
                hierarchy("memory", "/api/f97c", "/"),
                hierarchy("pids", "/docker/abc", "/docker/abc"),
                systemd,
                other,
            ],
            unified: Some(Hierarchy { controllers: vec![], ..hierarchy("unified", "/", "/") }),
        };
        let paths = |path: &str| {
            let CgroupPlan::Legacy { dirs, unified } =
                decide(path, "web", &layout, &mut Problems::default())
            else {
                panic!("legacy");
            };
            let mut paths: Vec<String> = dirs
                .iter()
                .map(|dir| format!("{} {}", dir.controllers.join(","), dir.dir.full().display()))
                .collect();
            paths.extend(unified.map(|dir| dir.full().display().to_string()));
            paths
        };
        assert_eq!(
            paths(""),
            [
                "memory /sys/fs/cgroup/memory/api/f97c/web",
                "pids /sys/fs/cgroup/pids/web",
                "name=systemd /sys/fs/cgroup/systemd/init.scope/web",
                "/sys/fs/cgroup/unified/web",
            ]
        );
        assert_eq!(paths("/x/y")[0], "memory /sys/fs/cgroup/memory/x/y");
    }

    #[test]
    fn a_path_that_names_no_cgroup_is_a_problem() {
        for path in ["/", "..", "/..", "/a/..", "a\0b", "/a\nb"] {
            let mut problems = Problems::default();
            let plan = decide(path, "web", &unified("/"), &mut problems);
            assert_eq!(problems.found().len(), 1, "{path:?}");
            assert_eq!(problems.found()[0].key, "/linux/cgroupsPath");
            let dir = PathBelowMount { mount: "/sys/fs/cgroup".into(), path: "web".into() };
            assert_eq!(plan, CgroupPlan::Unified { dir, controllers: vec!["pids".into()] });
        }
    }
}
