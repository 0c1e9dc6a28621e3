//! What an ordinary user needs to make a root filesystem: a user namespace in which he is root.
//! There he may enter and change directories of his own whatever their mode, and mount an overlay.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

/// Enters a new one, in which our user and group are root and nobody else exists. We must have one
/// thread.
///
/// # Errors
/// The machine does not let ordinary users have one.
pub fn enter(more: CloneFlags) -> Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER | more).context(
        "unshare(CLONE_NEWUSER): this machine lets no ordinary user have a user namespace (user_namespaces(7))",
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
