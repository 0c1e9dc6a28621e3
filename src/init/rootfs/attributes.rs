//! Sets the attributes of detached bind mounts and of remounts. A user namespace must not clear
//! attributes that its owner has locked (mount_namespaces(7)).
//! config.json: mounts[].options
//! process: init, before `enter`

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;

use crate::error::{Cause, Context, Result};
use crate::plan::mount_options::{attr, ms};
use crate::plan::mounts::MountStep;
use crate::sys::mount::{self, Depth};
use crate::sys::{Call, Named};

/// The process that has copied the source of a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopiedBy {
    /// This process, in its own mount namespace: the kernel records which attributes are locked.
    Init,
    /// The runtime, for a container with a user namespace: the copy has no locks, but all of its
    /// attributes count as locked.
    Runtime,
}

/// The attributes that can be locked, with the names of the options and the flags of statvfs(2).
const LOCKED: [(u64, &str, StatVfsMountFlags); 6] = [
    (attr::RDONLY, "ro", StatVfsMountFlags::RDONLY),
    (attr::NOSUID, "nosuid", StatVfsMountFlags::NOSUID),
    (attr::NODEV, "nodev", StatVfsMountFlags::NODEV),
    (attr::NOEXEC, "noexec", StatVfsMountFlags::NOEXEC),
    (attr::NOATIME, "noatime", StatVfsMountFlags::NOATIME),
    (attr::NODIRATIME, "nodiratime", StatVfsMountFlags::NODIRATIME),
];

/// Sets `set`, and clears the attributes that the step clears or does not name. Locked attributes
/// that no option names are kept.
///
/// # Errors
/// The error of the failed call. If locked attributes cannot be cleared, it names their options.
pub fn change(step: &MountStep, set: u64, mount: &OwnedFd, copied: CopiedBy) -> Result<()> {
    let clear = step.attributes.clear;
    let change = |unnamed| mount::set_attributes(mount.as_fd(), set, clear | unnamed, Depth::This);
    if copied == CopiedBy::Runtime {
        let locked = lockable(mount.as_fd())?;
        change(step.unnamed & !locked)?;
        // Only now can the attributes of the mount be distinguished from the attributes of its
        // filesystem. No other process can see this mount yet.
        return refuse(locked & clear & !lockable(mount.as_fd())?);
    }
    let Err(call) = change(step.unnamed) else { return Ok(()) };
    if !call.is(Errno::PERM) {
        return Err(call.into());
    }
    let locked = lockable(mount.as_fd())?;
    explain(change(step.unnamed & !locked), locked & clear)
}

/// Changes the attributes of a mount and of all mounts below it.
///
/// # Errors
/// As [`change`].
pub fn change_all(step: &MountStep, mount: &OwnedFd) -> Result<()> {
    let result = mount::set_attributes(
        mount.as_fd(),
        step.recursive.set,
        step.recursive.clear,
        Depth::Recursive,
    );
    explain(result, step.recursive.clear)
}

/// Remounts `target`. A bind mount keeps locked attributes that no option names.
///
/// # Errors
/// As [`change`].
pub fn remount(step: &MountStep, target: &OwnedFd, flags: u64, data: &str) -> Result<()> {
    match mount::remount(target.as_fd(), flags, data) {
        Err(call) if call.is(Errno::PERM) && flags & ms::BIND != 0 => {
            const SAME: u64 = ms::RDONLY | ms::NOSUID | ms::NODEV | ms::NOEXEC;
            let locked = lockable(target.as_fd())?;
            let kept = locked & SAME & !step.attributes.clear;
            explain(
                mount::remount(target.as_fd(), flags | kept, data),
                locked & step.attributes.clear,
            )
        }
        result => Ok(result?),
    }
}

/// The lockable attributes of the mount, and for `ro` also of its filesystem.
fn lockable(mount: BorrowedFd<'_>) -> Result<u64, Call> {
    let has = rustix::fs::fstatvfs(mount).named(|| "fstatvfs(mount)".to_owned())?.f_flag;
    Ok(LOCKED
        .iter()
        .filter(|(.., flag)| has.contains(*flag))
        .fold(0, |found, (attribute, ..)| found | attribute))
}

/// Names the options of `clear` that could not be cleared.
fn explain(result: Result<(), Call>, clear: u64) -> Result<()> {
    match result {
        Err(call) if call.is(Errno::PERM) => {
            refuse(clear)?;
            Err(call.into())
        }
        result => Ok(result?),
    }
}

fn refuse(locked: u64) -> Result<()> {
    let names: Vec<&str> = LOCKED
        .iter()
        .filter(|(attribute, ..)| locked & attribute != 0)
        .map(|(_, name, _)| *name)
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let call: Result<(), Call> = Err(Errno::PERM).named(|| "mount_setattr()".to_owned());
    let text = format!("cannot clear locked flags: {}", names.join(","));
    call.context(Cause::LockedFlags.reason(text))
}

/// Changes the propagation, in the given order. This is done after the mount is attached, because a
/// mount that is attached below a shared one becomes shared.
///
/// # Errors
/// The error of the failed call.
pub fn set_propagation(step: &MountStep, mount: &OwnedFd) -> Result<(), Call> {
    for (flag, recursive) in &step.propagation {
        let depth = if *recursive { Depth::Recursive } else { Depth::This };
        mount::set_propagation(mount.as_fd(), *flag, depth)?;
    }
    Ok(())
}
