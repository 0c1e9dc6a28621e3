//! Replaces the host's /dev/null as a standard stream by the container's.
//! process: init, and a process of `exec`, inside the rootfs

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::sys::{Call, Named, fd};

const PATH: &str = "/dev/null";

/// Replaces each standard stream that is /dev/null by the container's /dev/null. The caller's is a
/// file of the host, whose mode and owner root of the container could change. If the container has
/// no such device or may not open it, the stream is kept.
///
/// # Errors
/// The error of the failed call.
pub fn replace() -> Result<()> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    // A stream that is closed is no device.
    let is_hosts = |stream: BorrowedFd<'_>| is_null(stream).unwrap_or(false);
    if !streams.into_iter().any(is_hosts) {
        return Ok(());
    }
    let Some(null) = open_null().context("opening the container's /dev/null")? else {
        return Ok(());
    };
    for (number, _) in (0..).zip(streams).filter(|(_, stream)| is_hosts(*stream)) {
        fd::become_standard(null.as_fd(), number)?;
    }
    Ok(())
}

fn open_null() -> Result<Option<OwnedFd>, Call> {
    // Only a handle at first: to open another device could have an effect.
    let handle = match open(OFlags::PATH) {
        Err(call) if call.is(Errno::NOENT) || call.is(Errno::NOTDIR) => return Ok(None),
        handle => handle?,
    };
    if !is_null(handle.as_fd())? {
        return Ok(None);
    }
    let null = match open(OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK) {
        Err(call) if call.is(Errno::ACCESS) || call.is(Errno::PERM) => return Ok(None),
        null => null?,
    };
    // A process of the container may have changed the file since.
    Ok(is_null(null.as_fd())?.then_some(null))
}

fn open(flags: OFlags) -> Result<OwnedFd, Call> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, PATH, flags, Mode::empty()).named_on("open", PATH)
}

fn is_null(fd: BorrowedFd<'_>) -> Result<bool, Call> {
    let stat = rustix::fs::fstat(fd).named(|| "fstat()".to_owned())?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok(kind == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3))
}
