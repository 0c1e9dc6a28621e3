//! Owners, modes, extended attributes and times of what has been made.
//!
//! The order matters: a change of the owner takes away setuid bits and capabilities, a write takes
//! away capabilities, an ACL changes with the mode, and everything changes the time.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::apply::Owners;
use crate::archive::{Entry, Time, show};

/// Where an ordinary user records the owners that files cannot have (rootlesscontaine.rs).
const ROOTLESS: &[u8] = b"user.rootlesscontainers";
/// What the record says of an owner that is root.
const NOT_RECORDED: u32 = u32::MAX;

/// What an entry's metadata are given to: an open file or directory, or a name for what cannot be
/// opened.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// Of a regular file or directory.
    Open(BorrowedFd<'a>),
    /// In a directory; a link is not followed.
    Name(BorrowedFd<'a>, &'a [u8]),
}

/// Attributes that are the host's matter, or overlayfs's: a layer must not make a lower directory
/// redirect.
fn is_ours(name: &[u8]) -> bool {
    matches!(name, b"security.selinux" | b"security.nfs4_acl" | b"system.nfs4_acl")
        || name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"user.overlay.")
        || name == ROOTLESS
}

/// Gives `target` everything that `entry` says of it, but the times of a directory.
///
/// # Errors
/// The failed call's.
pub fn apply(target: Target<'_>, entry: &Entry, owners: Owners, is_link: bool) -> Result<()> {
    let recorded = match owners {
        Owners::Set => {
            target.chown(entry.uid, entry.gid)?;
            None
        }
        // A link or a fifo cannot have attributes of users.
        Owners::Recorded => {
            matches!(target, Target::Open(_)).then(|| record(entry.uid, entry.gid)).flatten()
        }
    };
    // Those of users ask for permission to write, those of the kernel may depend on the mode.
    let of_users = |name: &[u8]| name.starts_with(b"user.");
    let xattrs = entry.xattrs.iter().filter(|(name, _)| !is_ours(name));
    for (name, value) in xattrs.clone().filter(|(name, _)| of_users(name)) {
        target.set_xattr(name, value, owners)?;
    }
    if let Some(value) = recorded {
        target.set_xattr(ROOTLESS, &value, owners)?;
    }
    if !is_link {
        target.chmod(entry.mode)?;
    }
    for (name, value) in xattrs.filter(|(name, _)| !of_users(name)) {
        target.set_xattr(name, value, owners)?;
    }
    Ok(())
}

/// Removes the attributes of a directory that a lower layer has made.
///
/// # Errors
/// The failed call's.
pub fn clear_xattrs(directory: BorrowedFd<'_>) -> Result<()> {
    let mut names = vec![0; 1 << 16];
    let length = match rustix::fs::flistxattr(directory, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other.context("flistxattr()")?,
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if matches!(name, b"security.selinux" | b"security.nfs4_acl" | b"system.nfs4_acl") {
            continue;
        }
        rustix::fs::fremovexattr(directory, name)
            .with_context(|| format!("fremovexattr({:?})", show(name)))?;
    }
    Ok(())
}

/// Removes the ACLs that something new has from its directory: what it shall have, its entry says.
///
/// # Errors
/// The failed call's.
pub fn clear_acls(new: BorrowedFd<'_>) -> Result<()> {
    for name in [c"system.posix_acl_access", c"system.posix_acl_default"] {
        match rustix::fs::fremovexattr(new, name) {
            // There are none, or the filesystem knows none.
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno).with_context(|| format!("fremovexattr({name:?})")),
        }
    }
    Ok(())
}

/// Gives `target` the times of an entry.
///
/// # Errors
/// utimensat(2)'s.
pub fn set_times(target: Target<'_>, entry: &Entry) -> Result<()> {
    let times = timestamps(entry);
    match target {
        Target::Open(fd) => rustix::fs::futimens(fd, &times),
        Target::Name(parent, name) => {
            rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        }
    }
    .context("utimensat()")
}

/// An entry's times, that of the last access being that of the last change where it is not written.
pub fn timestamps(entry: &Entry) -> Timestamps {
    let timespec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps {
        last_access: timespec(entry.atime.unwrap_or(entry.mtime)),
        last_modification: timespec(entry.mtime),
    }
}

impl Target<'_> {
    fn chown(self, uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::Open(fd) => rustix::fs::fchown(fd, uid, gid),
            Self::Name(parent, name) => {
                rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
        .context("fchownat()")
    }

    fn chmod(self, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Self::Open(fd) => rustix::fs::fchmod(fd, mode),
            // The name is no link: we have just made it, and are alone.
            Self::Name(parent, name) => rustix::fs::chmodat(parent, name, mode, AtFlags::empty()),
        }
        .context("fchmodat()")
    }

    fn set_xattr(self, name: &[u8], value: &[u8], owners: Owners) -> Result<()> {
        let set = match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Name(parent, file) => {
                // There is no setxattrat(2) before Linux 6.13.
                let path =
                    [format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).as_bytes(), file]
                        .concat();
                rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
            }
        };
        match set {
            // What only root may set is lost to an ordinary user, as owners are.
            Err(Errno::PERM) if owners == Owners::Recorded => Ok(()),
            other => other.with_context(|| format!("setxattr({:?})", show(name))),
        }
    }
}

/// The record of an owner: a message with the fields `uid` and `gid` as varints
/// (rootlesscontainers.proto); nothing for root.
fn record(uid: u32, gid: u32) -> Option<Vec<u8>> {
    if uid == 0 && gid == 0 {
        return None;
    }
    let mut message = Vec::with_capacity(12);
    for (tag, id) in [(0x08, uid), (0x10, gid)] {
        let mut rest = if id == 0 { NOT_RECORDED } else { id };
        message.push(tag);
        while rest >= 0x80 {
            message.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        message.push(rest as u8);
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `protoc --encode` writes them.
    #[test]
    fn records() {
        assert_eq!(record(0, 0), None);
        assert_eq!(record(1, 2).unwrap(), [0x08, 1, 0x10, 2]);
        assert_eq!(
            record(1000, 0).unwrap(),
            [0x08, 0xe8, 0x07, 0x10, 0xff, 0xff, 0xff, 0xff, 0x0f]
        );
    }

    #[test]
    fn attributes_that_a_layer_cannot_have() {
        for name in [
            "trusted.overlay.redirect",
            "user.overlay.opaque",
            "security.selinux",
            "user.rootlesscontainers",
        ] {
            assert!(is_ours(name.as_bytes()), "{name}");
        }
        for name in ["security.capability", "user.overlay", "system.posix_acl_access", "trusted.x"]
        {
            assert!(!is_ours(name.as_bytes()), "{name}");
        }
    }
}
