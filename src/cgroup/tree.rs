//! Walks through a cgroup and those below it.
//!
//! The container may have made cgroups below its own, nested deeper than PATH_MAX and than a
//! recursion allows. So only one directory is open at a time, and `..` leads back. That is safe: a
//! cgroup cannot be moved to another parent.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Dir as Entries, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::error::Result;
use crate::sys::{Call, Named};

/// The steps of a walk.
#[derive(Debug)]
pub(super) enum Visit<'a> {
    /// A cgroup, before those below it.
    In(BorrowedFd<'a>),
    /// A cgroup in `parent` with the name `name`, after those below it.
    Out {
        /// The parent.
        parent: BorrowedFd<'a>,
        /// Its name there.
        name: &'a CStr,
    },
}

/// Opens the cgroup `path` for [`walk`]; `None` if it does not exist.
pub(super) fn open(path: impl Arg + Copy) -> Result<Option<OwnedFd>, Call> {
    open_at(CWD, path)
}

/// Begins and ends at `top`. Cgroups that are removed meanwhile are skipped.
///
/// # Errors
/// Errors of `step`, openat(2) and getdents64(2), which end the walk.
pub(super) fn walk(top: OwnedFd, mut step: impl FnMut(Visit<'_>) -> Result<()>) -> Result<()> {
    step(Visit::In(top.as_fd()))?;
    let mut here = top;
    let mut names: Vec<CString> = Vec::new();
    let mut to_do = vec![children(&here)?];
    while let Some(level) = to_do.last_mut() {
        if let Some(name) = level.pop() {
            let Some(child) = open_at(here.as_fd(), name.as_c_str())? else { continue };
            here = child;
            step(Visit::In(here.as_fd()))?;
            to_do.push(children(&here)?);
            names.push(name);
            continue;
        }
        to_do.pop();
        let Some(name) = names.pop() else { break };
        let Some(parent) = open_at(here.as_fd(), c"..")? else { break };
        here = parent;
        step(Visit::Out { parent: here.as_fd(), name: &name })?;
    }
    Ok(())
}

fn open_at(directory: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<Option<OwnedFd>, Call> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        result => result.map(Some).named(|| format!("open({:?})", name.to_string_lossy())),
    }
}

/// The names of the cgroups directly below one.
fn children(directory: &OwnedFd) -> Result<Vec<CString>, Call> {
    let mut found = Vec::new();
    for entry in Entries::read_from(directory).named(|| "getdents(cgroup)".to_owned())? {
        let entry = match entry {
            Err(Errno::NOENT | Errno::NODEV) => break,
            result => result.named(|| "getdents(cgroup)".to_owned())?,
        };
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{AtFlags, unlinkat};

    use super::{Visit, open, walk};

    #[test]
    fn every_directory_is_come_by_in_order() {
        let top = tempfile::tempdir().expect("a directory");
        for name in ["a/b", "c"] {
            fs::create_dir_all(top.path().join(name)).expect("directories");
        }
        let (mut ins, mut outs) = (0, Vec::new());
        let there = open(top.path()).expect("it can be opened").expect("it is there");
        walk(there, |step| {
            match step {
                Visit::In(_) => ins += 1,
                Visit::Out { parent, name } => {
                    unlinkat(parent, name, AtFlags::REMOVEDIR)
                        .expect("nothing is below it any more");
                    outs.push(name.to_string_lossy().into_owned());
                }
            }
            Ok(())
        })
        .expect("a walk");
        outs.sort();
        assert_eq!((ins, outs.concat().as_str()), (4, "abc"));
        assert!(fs::read_dir(top.path()).expect("it is there").next().is_none());
        assert!(open(top.path().join("none").as_path()).expect("no error").is_none());
    }
}
