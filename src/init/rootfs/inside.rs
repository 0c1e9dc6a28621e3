//! The process that `mounts` starts in a running container. It makes mounts there or removes them.
//! process: a child of the runtime, in the container's mount and user namespace
//!
//! It is in no other namespace of the container, so processes of the container do not see it. All
//! paths are looked up with handles below the root, as in `create`. If the container renames a
//! directory or makes a link meanwhile, the mount is somewhere else in the container, but never
//! outside. Files of the container are opened only with handles, since its procfs cannot be
//! trusted.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::attributes::{self, CopiedBy};
use super::mounts::{allowed_over_proc, bind_target, from_runtime, set_attributes};
use super::{copy_up, mounts};
use crate::error::{AtKey, Context, Report, Result};
use crate::plan::mount_options::{SourceLink, attr};
use crate::plan::mounts::{MountSource, MountStep};
use crate::plan::namespaces::USER;
use crate::plan::running_mounts::{MountsChange, RunningMounts};
use crate::sync::{FromInit, InitEnd};
use crate::sys::mount::{self, Depth};
use crate::sys::proc::Proc;
use crate::sys::root::{RootHandle, file_type, link_target};
use crate::sys::{Call, CallText, Named, clone, ids, process};

/// Applies the plan in the container of `init`. Returns an exit code.
pub fn main(plan: &RunningMounts, init: &OwnedFd, runtime: &InitEnd) -> i32 {
    let said = match run(plan, init, runtime) {
        Ok(()) => runtime.send(&FromInit::Ready),
        Err(error) => runtime.send(&FromInit::Failed(Report::of(&error))),
    };
    // If the other end is closed, the runtime does not need the message.
    i32::from(said.is_err())
}

fn run(plan: &RunningMounts, init: &OwnedFd, runtime: &InitEnd) -> Result<()> {
    process::set_name(c"orlop:[mounts]")?;
    let proc = Proc::open()?; // the host's
    clone::setns(init.as_fd(), plan.namespaces).context("joining the container's namespaces")?;
    if plan.namespaces & USER.flag != 0 {
        ids::become_user(0, 0).context("becoming root of the user namespace")?;
        process::set_dumpable(false)?; // a change of ids may set the flag
    }
    rustix::process::umask(Mode::empty());
    let root = RootHandle::open("/".as_ref())?;
    match &plan.change {
        MountsChange::Add(steps) => {
            // The attributes of the sources are locked for a user namespace (mount_namespaces(7)).
            let locks = plan.namespaces & USER.flag != 0;
            let copied = if locks { CopiedBy::Runtime } else { CopiedBy::Init };
            let detached = make(steps, runtime)?;
            add(steps.iter().zip(&detached), &root, &proc, copied)
        }
        MountsChange::Remove(paths) => remove(paths, &root, &proc),
    }
}

/// Makes all mounts detached before the first one is attached, since most errors happen here.
fn make(steps: &[MountStep], runtime: &InitEnd) -> Result<Vec<OwnedFd>> {
    steps.iter().map(|step| at(step, detached(step, runtime))).collect()
}

/// Attaches the mounts. If one fails, the mounts before it are removed again.
fn add<'a>(
    mounts: impl Iterator<Item = (&'a MountStep, &'a OwnedFd)>,
    root: &RootHandle,
    proc: &Proc,
    copied: CopiedBy,
) -> Result<()> {
    let mut attached: Vec<&OwnedFd> = Vec::new();
    for (step, mount) in mounts {
        let placed = place(step, mount, root, copied).and_then(|placed| {
            if placed == Placed::Mount {
                attached.push(mount);
                attributes::set_propagation(step, mount)?;
            }
            Ok(())
        });
        if let Err(error) = at(step, placed) {
            for mount in attached.iter().rev() {
                // The first error is reported.
                let _ = mount::detach_handle(proc, mount.as_fd());
            }
            return Err(error);
        }
    }
    Ok(())
}

fn at<T>(step: &MountStep, result: Result<T>) -> Result<T> {
    result.with_context(|| format!("mounting {step}")).at(format_args!("/mounts/{}", step.index))
}

fn detached(step: &MountStep, runtime: &InitEnd) -> Result<OwnedFd> {
    match &step.source {
        MountSource::Filesystem { kind, source, options, .. } if step.idmap.is_none() => {
            Ok(mount::new_filesystem(kind, source, options, step.first_attributes())?)
        }
        // If we opened the path here, it would be looked up in the container.
        MountSource::Bind { .. } => from_runtime(step, None, runtime).context("source"),
        _ => from_runtime(step, None, runtime),
    }
}

/// What [`place`] has made at the destination.
#[derive(Debug, PartialEq, Eq)]
enum Placed {
    Mount,
    SourceLink,
}

fn place(step: &MountStep, mount: &OwnedFd, root: &RootHandle, copied: CopiedBy) -> Result<Placed> {
    let target = match &step.source {
        MountSource::Bind { link: SourceLink::Copy, .. }
            if file_type(mount.as_fd())? == FileType::Symlink =>
        {
            root.symlink(&step.destination, &link_target(mount.as_fd())?).context("destination")?;
            return Ok(Placed::SourceLink);
        }
        MountSource::Bind { .. } => bind_target(root, step, mount)?,
        _ => root.mkdir_all(&step.destination).context("destination")?,
    };
    allowed_over_proc(step, mount, &target)?;
    if mounts::takes_mode(step) {
        mounts::give_mode(mount, &target)?;
    }
    if step.copy_up {
        copy_up::copy(&target, mount).context("tmpcopyup")?;
    }
    set_attributes(step, mount, copied)?;
    if step.read_only_late {
        mount::set_attributes(mount.as_fd(), attr::RDONLY, 0, Depth::This)?;
    }
    mount::attach(mount.as_fd(), target.as_fd())?;
    Ok(Placed::Mount)
}

/// Unmounts the mounts, the last one first, since they may be on top of each other. Links are not
/// followed, because the container controls them, and they could lead to a mount that hides
/// something of the host.
fn remove(paths: &[(usize, String)], root: &RootHandle, proc: &Proc) -> Result<()> {
    let find = |index: &usize, path: &str| {
        mount_at(root, path)
            .with_context(|| format!("unmounting /{path}"))
            .at(format_args!("/mounts/{index}/destination"))
    };
    for (index, path) in paths {
        find(index, path)?; // check that all are mount points before the first is unmounted
    }
    for (index, path) in paths.iter().rev() {
        let mount = find(index, path)?;
        mount::detach_handle(proc, mount.as_fd())
            .with_context(|| format!("unmounting /{path}"))
            .at(format_args!("/mounts/{index}/destination"))?;
    }
    Ok(())
}

fn mount_at(root: &RootHandle, path: &str) -> Result<OwnedFd, Call> {
    let handle = root.resolve_without_links(path)?;
    let name = || CallText::with_path(format!("statx(rootfs, {path:?}): no mount point"), path);
    let stat =
        rustix::fs::statx(&handle, "", AtFlags::EMPTY_PATH, StatxFlags::empty()).named(name)?;
    let is_mount = StatxAttributes::from_bits_retain(stat.stx_attributes.bits())
        .contains(StatxAttributes::MOUNT_ROOT);
    if is_mount { Ok(handle) } else { Err(Errno::INVAL).named(name) }
}
