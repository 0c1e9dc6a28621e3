//! How a mount of `type: cgroup` is made. It shows the cgroups of the container.

use std::path::PathBuf;

use super::Problems;
use super::cgroup::CgroupPlan;
use super::mount_options::is_negation;
use super::mounts::{MountSource, MountStep};
use super::namespaces::{CGROUP, NamespacesPlan};
use crate::host::cgroups::CgroupLayout;
use crate::kernel::FsOption;

/// How the mount is made.
#[derive(Debug, PartialEq, Eq)]
pub enum CgroupMountPlan {
    /// A cgroup2 filesystem. If the kernel refuses one (in a user namespace without a cgroup
    /// namespace of its own), the directory of the host is bind-mounted.
    Unified {
        /// The directory of the host.
        fallback: PathBuf,
    },
    /// A tmpfs with a directory for each hierarchy of cgroup v1.
    Legacy {
        /// The hierarchies.
        hierarchies: Vec<HierarchyMount>,
        /// Links for controllers that share a hierarchy: name and target.
        links: Vec<(String, String)>,
    },
}

/// One hierarchy in the container.
#[derive(Debug, PartialEq, Eq)]
pub struct HierarchyMount {
    /// The name of its directory: `cpu,cpuacct`, or `systemd` for a named hierarchy.
    pub name: String,
    /// The content of that directory.
    pub view: HierarchyView,
}

/// The content of the directory of a hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub enum HierarchyView {
    /// A filesystem of this cgroup namespace, with these options.
    Namespaced(Vec<FsOption>),
    /// The container's directory on the host.
    Bound(PathBuf),
}

/// Decides how the mount is made.
pub fn decide(
    layout: &CgroupLayout,
    cgroup: &CgroupPlan,
    namespaces: &NamespacesPlan,
) -> CgroupMountPlan {
    match (layout, cgroup) {
        (CgroupLayout::Unified { mount, .. }, CgroupPlan::Unified { dir, .. }) => {
            let own = namespaces.has_own(&CGROUP);
            CgroupMountPlan::Unified { fallback: if own { dir.full() } else { mount.clone() } }
        }
        (_, CgroupPlan::Legacy { dirs, .. }) => {
            let mut hierarchies = Vec::new();
            let mut links = Vec::new();
            for dir in dirs {
                let name = dir.controllers.join(",");
                let name = name.strip_prefix("name=").unwrap_or(&name).to_owned();
                if dir.controllers.len() > 1 {
                    links.extend(
                        dir.controllers.iter().map(|controller| (controller.clone(), name.clone())),
                    );
                }
                let view = if namespaces.has_own(&CGROUP) {
                    HierarchyView::Namespaced(
                        // `memory`, or `name=systemd`, which would need `none` if no hierarchy
                        // had that name.
                        dir.controllers.iter().map(|word| FsOption::parse(word)).collect(),
                    )
                } else {
                    HierarchyView::Bound(dir.dir.full())
                };
                hierarchies.push(HierarchyMount { name, view });
            }
            CgroupMountPlan::Legacy { hierarchies, links }
        }
        (_, CgroupPlan::Unified { dir, .. }) => CgroupMountPlan::Unified { fallback: dir.full() },
    }
}

/// Reports options for the filesystem on cgroup v1: it has several filesystems, and without a
/// cgroup namespace none is made.
pub(super) fn check_options(steps: &[MountStep], layout: &CgroupLayout, problems: &mut Problems) {
    if layout.is_unified() {
        return;
    }
    for step in steps {
        let MountSource::Cgroup { options } = &step.source else { continue };
        if options.iter().any(|option| !is_negation(&option.name)) {
            problems.add(
                format_args!("/mounts/{}/options", step.index),
                "a mount of cgroup v1 takes no options for the filesystem",
            );
        }
    }
}
