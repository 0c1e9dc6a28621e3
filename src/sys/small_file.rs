//! Files of /proc and cgroupfs: reads a whole file, or writes with one write(2).
//!
//! A read takes three calls here, and six with `std::fs::read`. Names are relative to a directory,
//! so that no path is looked up twice.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read, write};
use rustix::path::Arg;

use super::{Call, CallText, Named};

/// Larger than any file that the kernel writes as one record: its own buffer is one page at first.
const SHORT: usize = 4096;

/// Opens `name` below `dir` with open(2). `shown` is its path in an error.
///
/// # Errors
/// Errors of openat(2).
pub fn open(
    dir: BorrowedFd<'_>,
    name: impl Arg,
    flags: OFlags,
    shown: impl Fn() -> String,
) -> Result<OwnedFd, Call> {
    openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())
        .named(|| CallText::on("open", shown()))
}

/// Reads a whole file.
///
/// # Errors
/// Errors of openat(2), read(2).
pub fn read_all(
    dir: BorrowedFd<'_>,
    name: impl Arg,
    shown: impl Fn() -> String,
) -> Result<Vec<u8>, Call> {
    // NONBLOCK, because the open of a fifo would wait for its other end.
    read_open(&open(dir, name, OFlags::RDONLY | OFlags::NONBLOCK, &shown)?, shown)
}

/// Reads the rest of an open file.
///
/// # Errors
/// Errors of read(2).
pub fn read_open(file: &OwnedFd, shown: impl Fn() -> String) -> Result<Vec<u8>, Call> {
    let mut content = Vec::with_capacity(SHORT);
    loop {
        if content.len() == content.capacity() {
            content.reserve(SHORT);
        }
        match read(file, spare_capacity(&mut content)) {
            Ok(0) => return Ok(content),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).named(|| CallText::on("read", shown())),
        }
    }
}

/// Reads a file that is one short record, such as `cgroup.controllers`, with one read(2) of at most
/// a page.
///
/// # Errors
/// Errors of openat(2), read(2).
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
            result => return result.map(|_| content).named(|| CallText::on("read", shown())),
        }
    }
}

/// Writes `value` to an existing file with one write(2), because the kernel treats one write as one
/// value.
///
/// # Errors
/// openat(2), write(2), which also returns the errors of the setting.
pub fn write_at(
    dir: BorrowedFd<'_>,
    name: impl Arg,
    value: &str,
    shown: impl Fn() -> String,
) -> Result<(), Call> {
    let file = open(dir, name, OFlags::WRONLY, &shown)?;
    write_to(&file, value, shown)
}

/// Writes `value` to an open file with one write(2).
///
/// # Errors
/// Errors of write(2).
pub fn write_to(file: &OwnedFd, value: &str, shown: impl Fn() -> String) -> Result<(), Call> {
    loop {
        match write(file, value.as_bytes()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(errno).named(|| {
                    let path = shown();
                    CallText::with_path(format!("write({path:?}, {value:?})"), path)
                });
            }
        }
    }
}
