//! The user namespace in which an ordinary user unpacks an image. The user is root in it. So this
//! program may change the user's directories with any mode, and mount an overlay.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

/// Enters a new user namespace, in which our user and group are mapped to root and no others are
/// mapped. The process must have one thread.
///
/// # Errors
/// The machine does not allow it.
pub fn enter(more: CloneFlags) -> Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER | more).context(
        "unshare(CLONE_NEWUSER): this machine does not allow user namespaces to ordinary users \
         (user_namespaces(7))",
    )?;
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", &format!("0 {gid} 1"))
}

fn write(path: &str, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {text:?} to {path}"))
}
