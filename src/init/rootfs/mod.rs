//! Makes the root filesystem in three steps: builds it (mounts, devices), seals it (masked and
//! read-only paths), and enters it. Everything is done with handles of its root: until the last
//! step, the host is visible, and no path leads into the rootfs.
//! config.json: root.path, root.readonly, process.cwd
//! process: init

mod attributes;
mod cgroup_mount;
mod copy_up;
mod destinations;
mod devices;
pub mod inside;
mod masked_paths;
mod mounts;
mod pivot;

use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use crate::error::{AtKey, Context, Result};
use crate::plan::Plan;
use crate::plan::mount_options::{attr, ms};
use crate::plan::mounts::{MountSource, MountStep};
use crate::plan::namespaces::MOUNT;
use crate::plan::rootfs::EnterMethod;
use destinations::OwnMounts;

use crate::sync::InitEnd;
use crate::sys::mount::{self, Depth};
use crate::sys::proc::Proc;
use crate::sys::root::RootHandle;
use crate::sys::{Named, fd};

/// The rootfs after it was built.
#[derive(Debug)]
pub struct Rootfs<'a> {
    /// Its root.
    pub root: RootHandle,
    /// The mounts that are changed again after all other mounts were made on them. They are kept by
    /// handle, since a process that shares the rootfs may have moved them.
    kept: Vec<(RootHandle, &'a MountStep)>,
    /// The ids of the mounts.
    seen: OwnMounts,
}

/// Uses the working directory as the root, and builds it. The umask is 0 meanwhile.
///
/// # Errors
/// The error of the failed call, with the place in config.json.
pub fn build<'a>(plan: &'a Plan, proc: &Proc, runtime: &InitEnd) -> Result<Rootfs<'a>> {
    let root = root(plan, proc).at("/root/path")?;
    let seen = OwnMounts { root: mount::of(root.as_fd())?.id, ..OwnMounts::default() };
    let mut rootfs = Rootfs { root, kept: Vec::new(), seen };
    for step in &plan.mounts {
        mounts::make(plan, step, &mut rootfs, runtime)
            .with_context(|| format!("mounting {}", step))
            .at(format_args!("/mounts/{}", step.index))?;
    }
    refuse_cover(plan, &rootfs)?;
    devices::make(&plan.devices, &rootfs, proc, runtime)?;
    Ok(rootfs)
}

/// Makes the root a mount at its path on the host, where hooks expect it, and changes the working
/// directory to it.
fn root(plan: &Plan, proc: &Proc) -> Result<RootHandle> {
    if plan.namespaces.joins(&MOUNT) {
        let path = &plan.rootfs.path;
        rustix::process::chdir(path).named_on("chdir", path)?;
    }
    if plan.rootfs.enter == EnterMethod::Chroot {
        return Ok(RootHandle::open(".".as_ref())?);
    }
    match plan.rootfs.host_propagation {
        Some(ms::PRIVATE) => mount::set_namespace_propagation(MountPropagationFlags::PRIVATE)?,
        Some(_) => mount::set_namespace_propagation(MountPropagationFlags::DOWNSTREAM)?,
        // Mounts of the container must not appear on the host, but its bind mounts stay shared.
        None => mount::isolate(proc, ".")?,
    }
    let place = fd::open(".".as_ref(), OFlags::PATH | OFlags::DIRECTORY)?;
    let tree = mount::clone_tree(place.as_fd(), Depth::Recursive)?;
    if plan.rootfs.propagation.is_none() {
        // Mounts that the host makes below the rootfs later must not appear in the container.
        mount::set_propagation(tree.as_fd(), ms::PRIVATE, Depth::Recursive)?;
    }
    mount::attach(tree.as_fd(), place.as_fd())?;
    rustix::process::fchdir(&tree).named(|| "fchdir(rootfs)".to_owned())?;
    Ok(RootHandle::from_fd(tree))
}

/// Checks that nothing is mounted on the root, for instance by a link of the image. Init would be
/// below such a mount, and processes of `exec` above it. `..` of a root leads to the mount on top
/// of it.
fn refuse_cover(plan: &Plan, rootfs: &Rootfs<'_>) -> Result<()> {
    let (root, id) = (&rootfs.root, rootfs.seen.root);
    if plan.mounts.is_empty() {
        return Ok(());
    }
    if mount::of(root.resolve("..")?.as_fd())?.id == id {
        return Ok(());
    }
    for step in
        plan.mounts.iter().filter(|step| !matches!(step.source, MountSource::Remount { .. }))
    {
        let place = root.resolve(&step.destination).and_then(|handle| mount::of(handle.as_fd()));
        if place.is_ok_and(|place| place.is_root && place.id == id) {
            let text = format!("/{} leads to /, on which nothing can be mounted", step.destination);
            return Err(anyhow::Error::msg(text))
                .at(format_args!("/mounts/{}/destination", step.index));
        }
    }
    anyhow::bail!("something is mounted upon the root of the rootfs")
}

/// Creates the working directory if it does not exist, masks paths, and makes paths read-only; also
/// `/`, if the config says so.
///
/// # Errors
/// The error of the failed call, with the place in config.json.
pub fn protect(plan: &Plan, rootfs: &Rootfs<'_>) -> Result<()> {
    match rootfs.root.mkdir_all(&plan.entry.process.cwd) {
        // Root of a user namespace may not have the permission, although the user may have it. If
        // the directory does not exist in the end, a later chdir(2) fails.
        Err(call) if call.is(Errno::ACCESS) => {}
        result => drop(result.at("/process/cwd")?),
    }
    masked_paths::apply(plan, rootfs)?;
    for (mount, step) in rootfs.kept.iter().filter(|(_, step)| step.read_only_late) {
        mount::set_attributes(mount.as_fd(), attr::RDONLY, 0, Depth::This)
            .at(format_args!("/mounts/{}", step.index))?;
    }
    if plan.rootfs.readonly {
        mount::set_attributes(rootfs.root.as_fd(), attr::RDONLY, 0, Depth::This)
            .at("/root/readonly")?;
    }
    Ok(())
}

/// Makes the rootfs our root. After that, no path leads to the host.
///
/// # Errors
/// The error of the failed call.
pub fn enter(plan: &Plan, rootfs: &Rootfs<'_>, proc: &Proc) -> Result<()> {
    pivot::enter(&plan.rootfs, &rootfs.root, proc).context("entering the rootfs")
}
