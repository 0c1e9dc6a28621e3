//! Removes directory trees of any depth.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::tar_stream::show;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Removes `name` from `parent`, with everything below it. Returns whether it was a directory. If
/// it does not exist, that is not an error.
///
/// # Errors
/// Errors of the calls.
pub fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(Errno::ISDIR) => remove_directory(parent, name).map(|()| true),
        Err(errno) => Err(errno).with_context(|| format!("unlinkat({:?})", show(name))),
    }
}

/// Not recursive, and without a descriptor for each level, since a tree of an untrusted image may
/// be too deep for both. It returns with `..`, which is safe as long as no other process moves
/// directories.
fn remove_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let mut names = vec![name.to_vec()];
    let mut present = open(parent, name)?;
    loop {
        if let Some(child) = empty(present.as_fd())? {
            present = open(present.as_fd(), &child)?;
            names.push(child);
            continue;
        }
        let Some(done) = names.pop() else { return Ok(()) };
        let outer = if names.is_empty() { None } else { Some(open(present.as_fd(), b"..")?) };
        let holder = outer.as_ref().map_or(parent, AsFd::as_fd);
        rustix::fs::unlinkat(holder, done.as_slice(), AtFlags::REMOVEDIR)
            .with_context(|| format!("unlinkat({:?}, AT_REMOVEDIR)", show(&done)))?;
        let Some(outer) = outer else { return Ok(()) };
        present = outer;
    }
}

/// Removes the files and the empty directories. Returns the first directory that is not empty.
fn empty(directory: BorrowedFd<'_>) -> Result<Option<Vec<u8>>> {
    for (name, kind) in entries(directory)? {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(directory, name.as_slice(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => {}
                Err(errno) => {
                    return Err(errno).with_context(|| format!("unlinkat({:?})", show(&name)));
                }
            }
        }
        match rustix::fs::unlinkat(directory, name.as_slice(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(name)),
            Err(errno) => {
                return Err(errno)
                    .with_context(|| format!("unlinkat({:?}, AT_REMOVEDIR)", show(&name)));
            }
        }
    }
    Ok(None)
}

/// The names in a directory, with their types if the filesystem has them.
///
/// # Errors
/// Errors of getdents(2).
pub fn entries(directory: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, FileType)>> {
    let mut entries = Vec::new();
    // Opened again, since the descriptor may be `O_PATH`, and the position in the directory must be
    // its own.
    for entry in Dir::new(open(directory, b".")?).context("opening a directory")? {
        let entry = entry.context("getdents()")?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            entries.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(entries)
}

/// Opens a directory for reading.
///
/// # Errors
/// Errors of openat(2).
pub fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
        .with_context(|| format!("openat({:?})", show(name)))
}
