//! Files of /proc and cgroupfs: read whole, or written with one write.
//!
//! Three calls each, where `std::fs::read` makes six; relative to a directory, so that no path is
//! walked twice.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read, write};
use rustix::path::Arg;

use super::{Call, Named};

/// More than any file has that is one record to the kernel (its own buffer begins with a page).
const SHORT: usize = 4096;

/// Opens `name` below `dir` with open(2); `shown` is its path in an error.
///
/// # Errors
/// openat(2).
pub fn open(
    dir: BorrowedFd<'_>,
    name: impl Arg,
    flags: OFlags,
    shown: impl Fn() -> String,
) -> Result<OwnedFd, Call> {
    openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())
        .named(|| format!("open({:?})", shown()))
}

/// The whole file.
///
/// # Errors
/// openat(2), read(2).
pub fn read_all(
    dir: BorrowedFd<'_>,
    name: impl Arg,
    shown: impl Fn() -> String,
) -> Result<Vec<u8>, Call> {
    // Should it be a fifo, we do not wait for its other end.
    read_open(&open(dir, name, OFlags::RDONLY | OFlags::NONBLOCK, &shown)?, shown)
}

/// The whole of an open file.
///
/// # Errors
/// read(2).
pub fn read_open(file: &OwnedFd, shown: impl Fn() -> String) -> Result<Vec<u8>, Call> {
    let mut content = Vec::with_capacity(SHORT);
    loop {
        if content.len() == content.capacity() {
            content.reserve(SHORT);
        }
        match read(file, spare_capacity(&mut content)) {
            Ok(0) => return Ok(content),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).named(|| format!("read({:?})", shown())),
        }
    }
}

/// The beginning of a file that is one short record, such as `cgroup.controllers`: one read, at
/// most a page.
///
/// # Errors
/// openat(2), read(2).
pub fn read_short(
    dir: BorrowedFd<'_>,
    name: impl Arg,
    shown: impl Fn() -> String,
) -> Result<Vec<u8>, Call> {
    let file = open(dir, name, OFlags::RDONLY, &shown)?;
    let mut content = Vec::with_capacity(SHORT);
    loop {
        match read(&file, spare_capacity(&mut content)) {
            Err(Errno::INTR) => {}
            result => return result.map(|_| content).named(|| format!("read({:?})", shown())),
        }
    }
}

/// Writes `value` to a file that is there, in one call, as the kernel's settings want it.
///
/// # Errors
/// openat(2), write(2); the errors of the setting.
pub fn write_at(
    dir: BorrowedFd<'_>,
    name: impl Arg,
    value: &str,
    shown: impl Fn() -> String,
) -> Result<(), Call> {
    let file = open(dir, name, OFlags::WRONLY, &shown)?;
    write_to(&file, value, shown)
}

/// Writes `value` to an open file, in one call.
///
/// # Errors
/// write(2).
pub fn write_to(file: &OwnedFd, value: &str, shown: impl Fn() -> String) -> Result<(), Call> {
    loop {
        match write(file, value.as_bytes()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).named(|| format!("write({:?}, {value:?})", shown())),
        }
    }
}
