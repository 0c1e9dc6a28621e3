//! The container's root filesystem in three steps: build it (mounts, devices), seal it (what is
//! read-only or hidden), and enter it. All by handles of its root: until the last step the host is
//! around us, and no path leads into the rootfs.
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
use crate::sys::root::Root;
use crate::sys::{Named, fd};

/// The rootfs between building and entering.
#[derive(Debug)]
pub struct Rootfs<'a> {
    /// Its root.
    pub root: Root,
    /// Mounts that there is more to do with once everything is on them. Whoever shares the rootfs
    /// may have moved them since.
    kept: Vec<(Root, &'a MountStep)>,
    /// The ids of its mounts.
    seen: OwnMounts,
}

/// Takes the directory that we were born in as root, and fills it. The file mode creation mask is 0
/// meanwhile.
///
/// # Errors
/// The failed call's, with the place in config.json.
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

/// The root as a mount of its own, at its place in the host's tree, where hooks look for it; and
/// our working directory.
fn root(plan: &Plan, proc: &Proc) -> Result<Root> {
    if plan.namespaces.joins(&MOUNT) {
        let path = &plan.rootfs.path;
        rustix::process::chdir(path).named(|| format!("chdir({path:?})"))?;
    }
    if plan.rootfs.enter == EnterMethod::Chroot {
        return Ok(Root::open(".".as_ref())?);
    }
    match plan.rootfs.host_propagation {
        Some(ms::PRIVATE) => mount::set_namespace_propagation(MountPropagationFlags::PRIVATE)?,
        Some(_) => mount::set_namespace_propagation(MountPropagationFlags::DOWNSTREAM)?,
        // What is mounted in the container must not appear on the host, but what it binds stays
        // shared with it.
        None => mount::isolate(proc, ".")?,
    }
    let place = fd::open(".".as_ref(), OFlags::PATH | OFlags::DIRECTORY)?;
    let tree = mount::clone_tree(place.as_fd(), Depth::Recursive)?;
    if plan.rootfs.propagation.is_none() {
        // What the host mounts below the rootfs later does not appear in the container.
        mount::set_propagation(tree.as_fd(), ms::PRIVATE, Depth::Recursive)?;
    }
    mount::attach(tree.as_fd(), place.as_fd())?;
    rustix::process::fchdir(&tree).named(|| "fchdir(rootfs)".to_owned())?;
    Ok(Root::from_fd(tree))
}

/// Nothing may be mounted upon the root, as a link of the image would have it: init would be below
/// that mount, and what `exec` makes above it. `..` of a root is what is mounted upon it.
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

/// Makes read-only and hides what is to be so. The working directory is made before, where it is
/// missing.
///
/// # Errors
/// The failed call's, with the place in config.json.
pub fn seal(plan: &Plan, rootfs: &Rootfs<'_>) -> Result<()> {
    match rootfs.root.mkdir_all(&plan.entry.process.cwd) {
        // The user may be allowed where root of a user namespace is not: chdir decides.
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

/// Makes it our root. No path leads to the host any more.
///
/// # Errors
/// The failed call's.
pub fn enter(plan: &Plan, rootfs: &Rootfs<'_>, proc: &Proc) -> Result<()> {
    pivot::enter(&plan.rootfs, &rootfs.root, proc).context("entering the rootfs")
}
