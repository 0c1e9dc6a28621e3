//! A mount of `type: cgroup`: the container's own cgroups.
//! config.json: mounts[].type, linux.mountLabel
//! process: init, before `enter`

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::attributes::set_propagation;
use crate::error::{Context, Result};
use crate::kernel::FsOption;
use crate::plan::Plan;
use crate::plan::cgroup_mount::{CgroupMountPlan, HierarchyMount, HierarchyView};
use crate::plan::mount_options::{attr, ms};
use crate::plan::mounts::MountStep;
use crate::sys::mount::{self, Depth};
use crate::sys::root::RootHandle;
use crate::sys::{Call, CallText, Named};

/// Makes the mount.
///
/// # Errors
/// The error of the failed call.
pub fn make(plan: &Plan, step: &MountStep, options: &[FsOption], root: &RootHandle) -> Result<()> {
    let target = root.mkdir_all(&step.destination).context("destination")?;
    let mount = match &plan.cgroup_mount {
        CgroupMountPlan::Unified { fallback } => {
            let mount =
                match mount::new_filesystem("cgroup2", "cgroup", options, step.attributes.set) {
                    Err(call) if call.is(Errno::PERM) || call.is(Errno::BUSY) => {
                        bound(&fallback.to_string_lossy(), step)?
                    }
                    result => result?,
                };
            mount::attach(mount.as_fd(), target.as_fd())?;
            mount
        }
        CgroupMountPlan::Legacy { hierarchies, links } => {
            let tmpfs = empty_tmpfs(plan.mount_label.as_deref())?;
            legacy(hierarchies, links, step, tmpfs, &target)?
        }
    };
    if !step.recursive.is_empty() {
        mount::set_attributes(
            mount.as_fd(),
            step.recursive.set,
            step.recursive.clear,
            Depth::Recursive,
        )?;
    }
    Ok(set_propagation(step, &mount)?)
}

/// A tmpfs with a directory for each hierarchy. If it must be read-only, that is set at the end.
fn legacy(
    hierarchies: &[HierarchyMount],
    links: &[(String, String)],
    step: &MountStep,
    tmpfs: OwnedFd,
    target: &OwnedFd,
) -> Result<OwnedFd> {
    mount::attach(tmpfs.as_fd(), target.as_fd())?;
    let top = RootHandle::from_fd(tmpfs.try_clone()?);
    for hierarchy in hierarchies {
        let place = top.mkdir_all(&hierarchy.name)?;
        let mount = match &hierarchy.view {
            HierarchyView::Namespaced(options) => {
                mount::new_filesystem("cgroup", "cgroup", options, step.attributes.set)
                    .with_context(|| format!("cgroup v1 hierarchy {}", hierarchy.name))?
            }
            HierarchyView::Bound(path) => bound(&there(path).to_string_lossy(), step)?,
        };
        mount::attach(mount.as_fd(), place.as_fd())?;
    }
    for (name, to) in links {
        rustix::fs::symlinkat(to.as_str(), &top, name.as_str())
            .named(|| CallText::with_path(format!("symlink({to:?}, {name:?})"), to))?;
    }
    if step.attributes.set & attr::RDONLY != 0 {
        mount::set_attributes(tmpfs.as_fd(), attr::RDONLY, 0, Depth::This)?;
    }
    Ok(tmpfs)
}

/// The directory, or its parent if an ordinary user could not create the directory.
fn there(path: &Path) -> &Path {
    let found = !matches!(rustix::fs::stat(path), Err(Errno::NOENT));
    if found { path } else { path.parent().unwrap_or(path) }
}

fn empty_tmpfs(label: Option<&str>) -> Result<OwnedFd, Call> {
    let mut options = vec![FsOption::new("mode", "755")];
    options.extend(label.map(|label| FsOption::new("context", label)));
    mount::new_filesystem("tmpfs", "tmpfs", &options, attr::NOSUID | attr::NODEV | attr::NOEXEC)
}

fn bound(path: &str, step: &MountStep) -> Result<OwnedFd> {
    let mount = mount::clone_tree_at(CWD, path, Depth::Recursive)?;
    mount::set_attributes(mount.as_fd(), step.attributes.set, step.attributes.clear, Depth::This)?;
    if step.propagation.is_empty() {
        mount::set_propagation(mount.as_fd(), ms::PRIVATE, Depth::Recursive)?;
    }
    Ok(mount)
}
