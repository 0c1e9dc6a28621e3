//! Copies the covered directory to a new tmpfs (`tmpcopyup`).
//! config.json: mounts[].options
//! process: init, before `enter`

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::bail;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};

use crate::error::Result;
use crate::plan::mount_options::attr;
use crate::sys::mount::{self, Depth};
use crate::sys::{Call, Named};

/// The maximum depth of a tree. It limits the stack and the descriptors that an image can make us
/// use.
const DEEPEST: usize = 200;

/// Copies the directory `from` to the mount `to`, which no other process can see yet: files,
/// directories, links, devices, with owners, modes and times. Links are not followed and devices
/// are not opened: a file may be replaced by a device while we copy, and no device rules apply to
/// us yet.
///
/// # Errors
/// The error of the failed call; `ENOSPC` if the tmpfs is too small.
pub fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let from = mount::clone_tree(from.as_fd(), Depth::Recursive)?;
    mount::set_attributes(from.as_fd(), attr::NODEV, 0, Depth::Recursive)?;
    copy_directory(&reopen(from.as_fd())?, &reopen(to.as_fd())?, 0)
}

/// Opens a handle (`O_PATH`) for reading.
fn reopen(handle: BorrowedFd<'_>) -> Result<OwnedFd, Call> {
    open_at(handle, c".", OFlags::RDONLY | OFlags::DIRECTORY)
}

fn open_at(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Call> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))
        .named(|| format!("open({name:?})"))
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<()> {
    if depth > DEEPEST {
        bail!("directories are nested more than {DEEPEST} deep");
    }
    for entry in Dir::read_from(from).named(|| "readdir()".to_owned())? {
        let entry = entry.named(|| "readdir()".to_owned())?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)
            .named(|| format!("stat({name:?})"))?;
        copy_entry(from, to, name, &stat, depth)?;
        keep_metadata(to, name, &stat)?;
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat, depth: usize) -> Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode).named(|| format!("mkdir({name:?})"))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            copy_directory(
                &open_at(from.as_fd(), name, flags)?,
                &open_at(to.as_fd(), name, flags)?,
                depth + 1,
            )?;
        }
        FileType::RegularFile => {
            // Non-blocking, in case a fifo has replaced the file.
            let mut source =
                File::from(open_at(from.as_fd(), name, OFlags::RDONLY | OFlags::NONBLOCK)?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let mut copy = File::from(open_at(to.as_fd(), name, flags)?);
            std::io::copy(&mut source, &mut copy).named(|| format!("copying {name:?}"))?;
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())
                .named(|| format!("readlink({name:?})"))?;
            rustix::fs::symlinkat(&target, to, name).named(|| format!("symlink({name:?})"))?;
        }
        kind => {
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)
                .named(|| format!("mknod({name:?})"))?;
        }
    }
    Ok(())
}

fn keep_metadata(to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Call> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .named(|| format!("chown({name:?})"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // After chown(2), which clears the set-user-id bit. Links have no mode. This name is not a
        // link, and no other process can see this mount.
        let mode = Mode::from_raw_mode(stat.st_mode);
        rustix::fs::chmodat(to, name, mode, AtFlags::empty())
            .named(|| format!("chmod({name:?})"))?;
    }
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .named(|| format!("utimensat({name:?})"))
}
