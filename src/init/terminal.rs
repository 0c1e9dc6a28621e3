//! Creates the terminal of the program in the devpts of the container, so that it has a name there.
//! config.json: process.terminal, process.consoleSize.{height, width}
//! process: init, before the rootfs is sealed, and a process of `exec`
//!
//! Everything is done with handles, so it does not depend on what a path in the container leads to
//! (CVE-2025-52565, CVE-2026-88264).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::namespaces::MOUNT;
use crate::plan::terminal::TerminalPlan;
use crate::plan::{EntryPlan, Plan};
use crate::sync::{FromInit, InitEnd};
use crate::sys::mount::{self, Depth};
use crate::sys::root::{RootHandle, file_type};
use crate::sys::{Call, CallText, Named, terminal};

const CONSOLE: &str = "/dev/console";

/// Creates the terminal of init, and mounts it on /dev/console. Does nothing if none is planned.
///
/// # Errors
/// The error of the failed call.
pub fn give_init(plan: &Plan, root: &RootHandle, runtime: &InitEnd) -> Result<()> {
    let Some(terminal) = &plan.entry.terminal else { return Ok(()) };
    let slave = open(terminal, &plan.entry, root, runtime).at("/process/terminal")?;
    // Without its own mount namespace, the mount would be made on the host.
    if plan.namespaces.has_own(&MOUNT) {
        mount_console(&slave, root)
            .context("mounting the terminal on /dev/console")
            .at("/process/terminal")?;
    }
    terminal::take(&slave).at("/process/terminal")
}

/// Creates the terminal of a process of `exec`. Does nothing if none is planned. Our root must be
/// the root of the container.
///
/// # Errors
/// The error of the failed call.
pub fn give_exec(entry: &EntryPlan, runtime: &InitEnd) -> Result<()> {
    let Some(terminal) = &entry.terminal else { return Ok(()) };
    let root = RootHandle::open("/".as_ref())?;
    let slave = open(terminal, entry, &root, runtime).at("/process/terminal")?;
    terminal::take(&slave).at("/process/terminal")
}

/// Creates a terminal that belongs to the user, and sends its master to the runtime.
fn open(
    plan: &TerminalPlan,
    entry: &EntryPlan,
    root: &RootHandle,
    runtime: &InitEnd,
) -> Result<OwnedFd> {
    let directory = root
        .open_in("dev/pts", OFlags::PATH | OFlags::DIRECTORY)
        .context("a terminal needs a devpts")?;
    let pair = terminal::open_pair(directory.as_fd()).context("a terminal needs a devpts")?;
    if let Some(size) = plan.size {
        terminal::set_size(&pair.master, size)?;
    }
    give_to(entry.process.user.uid, &pair.slave)?;
    runtime.send(&FromInit::Terminal(pair.master))?;
    Ok(pair.slave)
}

/// Changes only the owner: the terminal already has the group of the devpts.
fn give_to(uid: u32, slave: &OwnedFd) -> Result<(), Call> {
    let stat = rustix::fs::fstat(slave).named(|| "fstat(terminal)".to_owned())?;
    if stat.st_uid == uid {
        return Ok(());
    }
    match rustix::fs::fchown(slave, Some(Uid::from_raw(uid)), None::<Gid>) {
        // In a devpts of another user namespace the owner cannot be changed.
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno).named(|| format!("fchown(terminal, {uid})")),
    }
}

/// Mounts the terminal, with its descriptor, on /dev/console, whatever file that is. A link there
/// is not followed.
fn mount_console(slave: &OwnedFd, root: &RootHandle) -> Result<()> {
    let (directory, name) = root.parent_of("dev/console")?;
    // mknod(2) and not open(2) with O_CREAT, which could open a device or a fifo.
    match rustix::fs::mknodat(
        &directory,
        name,
        FileType::RegularFile,
        Mode::from_raw_mode(0o644),
        0,
    ) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => {
            return Err(errno).named_on("mknodat", CONSOLE).map_err(Into::into);
        }
    }
    let open = || CallText::with_path(format!("open({CONSOLE:?}, O_NOFOLLOW)"), CONSOLE);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(&directory, name, flags, Mode::empty()).named(open)?;
    if file_type(target.as_fd())? == FileType::Symlink {
        return Err(Errno::LOOP).named(open).map_err(Into::into);
    }
    let console = mount::clone_tree(slave.as_fd(), Depth::This)?;
    Ok(mount::attach(console.as_fd(), target.as_fd())?)
}
