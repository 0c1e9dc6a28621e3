//! Standard input and outputs belong to whom they are used by.
//! config.json: process.user.uid
//! process: runtime (init has no rights over files of another user namespace)

use rustix::fs::{FileType, Gid, Uid};
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::Entry;
use crate::sys::Named;

/// Makes the container's user the owner of our pipes, sockets and files, which init inherits, so
/// that it may open them again (/dev/stdout), as runc does. Not of terminals and other devices,
/// which are everybody's; not when it gets a terminal instead of ours; and not where nothing says
/// who it is on the host.
///
/// # Errors
/// Errors of fchown(2).
pub fn give(plan: &Entry) -> Result<()> {
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
            // Not ours to give.
            Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL) => {}
            Err(errno) => {
                let result = Err(errno).named(|| format!("fchown(stdio, {owner})"));
                return result.context("giving the user its stdio").at("/process/user/uid");
            }
        }
    }
    Ok(())
}
