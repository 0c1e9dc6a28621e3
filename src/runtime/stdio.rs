//! Changes the owner of the standard streams to the container's user.
//! config.json: process.user.uid
//! process: runtime (init has no rights over files of another user namespace)

use rustix::fs::{FileType, Gid, Uid};
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::EntryPlan;
use crate::sys::Named;

/// Makes the container's user the owner of our pipes, sockets and files, which init inherits, so
/// that the program can open them again (/dev/stdout), as in runc. Terminals and other devices are
/// not changed, because every user can open them. Nothing is changed if the program gets a terminal
/// of its own, or if we do not know the user's id on the host.
///
/// # Errors
/// Errors of fchown(2).
pub fn give(plan: &EntryPlan) -> Result<()> {
    if plan.terminal.is_some() {
        return Ok(());
    }
    let uid = plan.process.user.uid;
    let Some(owner) = plan.ids.uid_on_host(uid) else { return Ok(()) };
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let Ok(stat) = rustix::fs::fstat(fd) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if stat.st_uid == owner
            || !matches!(kind, FileType::Fifo | FileType::Socket | FileType::RegularFile)
        {
            continue;
        }
        match rustix::fs::fchown(fd, Some(Uid::from_raw(owner)), None::<Gid>) {
            // We may not change the owner.
            Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL) => {}
            Err(errno) => {
                let result = Err(errno).named(|| format!("fchown(stdio, {owner})"));
                return result.context("giving the user its stdio").at("/process/user/uid");
            }
        }
    }
    Ok(())
}
