//! Sets owners, modes, extended attributes and times.
//!
//! The order matters: chown(2) clears setuid bits and capabilities, write(2) clears capabilities,
//! chmod(2) changes an ACL, and all of them change the times.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::apply::Owners;
use crate::tar_stream::{TarEntry, Timestamp, show};

/// The attribute in which an ordinary user records owners (rootlesscontaine.rs).
const ROOTLESS: &[u8] = b"user.rootlesscontainers";
/// The recorded value for an owner that is root.
const NOT_RECORDED: u32 = u32::MAX;

/// A file whose metadata are set: by a descriptor, or by its name if it cannot be opened.
#[derive(Debug, Clone, Copy)]
pub enum FileRef<'a> {
    /// A regular file or directory.
    Open(BorrowedFd<'a>),
    /// A name in a directory. A symbolic link is not followed.
    Name(BorrowedFd<'a>, &'a [u8]),
}

/// Attributes that a layer must not set: they belong to the host or to overlayfs, and could
/// redirect a lower directory.
fn is_forbidden(name: &[u8]) -> bool {
    matches!(name, b"security.selinux" | b"security.nfs4_acl" | b"system.nfs4_acl")
        || name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"user.overlay.")
        || name == ROOTLESS
}

/// Sets all metadata of `entry`, except times.
///
/// # Errors
/// Errors of the calls.
pub fn apply(file: FileRef<'_>, entry: &TarEntry, owners: Owners, is_link: bool) -> Result<()> {
    let recorded = match owners {
        Owners::Set => {
            file.chown(entry.uid, entry.gid)?;
            None
        }
        // Symbolic links and fifos cannot have `user.` attributes.
        Owners::Recorded => {
            matches!(file, FileRef::Open(_)).then(|| record(entry.uid, entry.gid)).flatten()
        }
    };
    // `user.` attributes need write permission, so they are set before the mode. Others may depend
    // on the mode.
    let of_users = |name: &[u8]| name.starts_with(b"user.");
    let xattrs = entry.xattrs.iter().filter(|(name, _)| !is_forbidden(name));
    for (name, value) in xattrs.clone().filter(|(name, _)| of_users(name)) {
        file.set_xattr(name, value, owners)?;
    }
    if let Some(value) = recorded {
        file.set_xattr(ROOTLESS, &value, owners)?;
    }
    if !is_link {
        file.chmod(entry.mode)?;
    }
    for (name, value) in xattrs.filter(|(name, _)| !of_users(name)) {
        file.set_xattr(name, value, owners)?;
    }
    Ok(())
}

/// Removes the attributes that a lower layer has given to a directory.
///
/// # Errors
/// Errors of the calls.
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

/// Removes the ACLs that a new file inherits from its directory.
///
/// # Errors
/// Errors of the calls.
pub fn clear_acls(new: BorrowedFd<'_>) -> Result<()> {
    for name in [c"system.posix_acl_access", c"system.posix_acl_default"] {
        match rustix::fs::fremovexattr(new, name) {
            // There are none, or the filesystem does not support them.
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno).with_context(|| format!("fremovexattr({name:?})")),
        }
    }
    Ok(())
}

/// Sets the times of an entry.
///
/// # Errors
/// Errors of utimensat(2).
pub fn set_times(file: FileRef<'_>, entry: &TarEntry) -> Result<()> {
    let times = timestamps(entry);
    match file {
        FileRef::Open(fd) => rustix::fs::futimens(fd, &times),
        FileRef::Name(parent, name) => {
            rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        }
    }
    .context("utimensat()")
}

/// The times of an entry. Without an access time, the modification time is used for both.
pub fn timestamps(entry: &TarEntry) -> Timestamps {
    let timespec =
        |time: Timestamp| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps {
        last_access: timespec(entry.atime.unwrap_or(entry.mtime)),
        last_modification: timespec(entry.mtime),
    }
}

impl FileRef<'_> {
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
            // The name is not a link: we have just made it, and no other process changes the tree.
            Self::Name(parent, name) => rustix::fs::chmodat(parent, name, mode, AtFlags::empty()),
        }
        .context("fchmodat()")
    }

    fn set_xattr(self, name: &[u8], value: &[u8], owners: Owners) -> Result<()> {
        let set = match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Name(parent, name_in_it) => {
                // setxattrat(2) needs Linux 6.13.
                let path = [
                    format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).as_bytes(),
                    name_in_it,
                ]
                .concat();
                rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
            }
        };
        match set {
            // An ordinary user may not set it. It is ignored, as owners are ignored.
            Err(Errno::PERM) if owners == Owners::Recorded => Ok(()),
            other => other.with_context(|| format!("setxattr({:?})", show(name))),
        }
    }
}

/// The record of an owner: a protobuf message with the fields `uid` and `gid`
/// (rootlesscontainers.proto); `None` for root.
///
/// It is encoded here, because `prost` and its derive would add two crates for two varints.
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
            assert!(is_forbidden(name.as_bytes()), "{name}");
        }
        for name in ["security.capability", "user.overlay", "system.posix_acl_access", "trusted.x"]
        {
            assert!(!is_forbidden(name.as_bytes()), "{name}");
        }
    }
}
