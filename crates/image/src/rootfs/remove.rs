//! Removing what a layer replaces or deletes, however deep it is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::archive::show;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Removes `name` from `parent`, whatever it is, with everything below it; gives whether it was a
/// directory. It is no error if nothing is there.
///
/// # Errors
/// The failed call's.
pub fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(Errno::ISDIR) => remove_directory(parent, name).map(|()| true),
        Err(errno) => Err(errno).with_context(|| format!("unlinkat({:?})", show(name))),
    }
}

/// Neither recursive nor with a descriptor for each level: a hostile tree may be deeper than either
/// would allow. We come back up by "..", which is safe where nobody else moves directories.
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

/// Removes what is not a directory; gives the first directory that has something in it.
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

/// The names in a directory, and what they are as far as the filesystem says.
///
/// # Errors
/// getdents(2)'s.
pub fn entries(directory: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, FileType)>> {
    let mut entries = Vec::new();
    // A descriptor of its own: the position in a directory is a part of it, and ours may be a mere
    // handle.
    for entry in Dir::new(open(directory, b".")?).context("opening a directory")? {
        let entry = entry.context("getdents()")?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            entries.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(entries)
}

/// A directory itself, for reading.
///
/// # Errors
/// openat(2)'s.
pub fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
        .with_context(|| format!("openat({:?})", show(name)))
}
