//! Checks that only we and root can change the files in a directory, or replace the directory.
//!
//! Each directory from `/` down to it must belong to us or to root, and no other user may write to
//! it. A directory above it may be writable for all users if it is sticky, as /tmp, since there
//! only the owner of a file can rename it. Each check is made below a directory that no other user
//! can change, so its result stays true.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::lookup::MAX_LINKS;

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Why a directory is not trusted.
#[derive(Debug)]
pub enum Distrust {
    /// Another user may change or replace `path`.
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// A text for the error, a verb with its object: who may change it.
        reason: String,
    },
    /// A call failed.
    Call {
        /// The call with its arguments.
        call: String,
        /// The path among the arguments, or empty.
        path: PathBuf,
        /// Its error.
        errno: Errno,
    },
}

impl Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted { path, reason } => write!(f, "{path:?} {reason}"),
            Self::Call { call, errno, .. } => write!(f, "{call}: {errno}"),
        }
    }
}

impl std::error::Error for Distrust {}

/// The position of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A directory or a symbolic link above the trusted directory. In a user namespace, root of the
    /// host is not mapped. The owner of `/` then counts as root.
    Above { owner_of_slash: u32 },
    /// The trusted directory, or a file in it.
    Inside,
}

/// Checks a directory and all directories above it. Returns whether it exists.
///
/// # Errors
/// [`Distrust`].
pub fn check_directory(directory: &Path) -> Result<bool, Distrust> {
    let path = std::path::absolute(directory).map_err(|error| Distrust::Call {
        call: "getcwd()".to_owned(),
        path: PathBuf::new(),
        errno: Errno::from_io_error(&error).unwrap_or(Errno::INVAL),
    })?;
    let slash = lstat(Path::new("/"))?;
    let above = Role::Above { owner_of_slash: slash.st_uid };
    check(Path::new("/"), &slash, above)?;
    let mut found = slash;
    let mut links = MAX_LINKS;
    let mut at = PathBuf::from("/");
    let mut left = names_reversed(&path);
    while let Some(name) = left.pop() {
        if name == ".." {
            at.pop();
            found = lstat(&at)?;
            continue;
        }
        let next = at.join(&name);
        let stat = match lstat(&next) {
            Err(Distrust::Call { errno: Errno::NOENT, .. }) => return Ok(false),
            other => other?,
        };
        check(&next, &stat, above)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            (at, found) = (next, stat);
            continue;
        }
        let call = |errno| Distrust::Call {
            call: format!("readlink({next:?})"),
            path: next.clone(),
            errno,
        };
        links = links.checked_sub(1).ok_or(Errno::LOOP).map_err(call)?;
        let target = rustix::fs::readlink(&next, Vec::new()).map_err(call)?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(names_reversed(&target));
    }
    check(&at, &found, Role::Inside)?;
    Ok(true)
}

/// Checks an open file or directory in a trusted directory.
///
/// # Errors
/// [`Distrust`].
pub fn check_file(file: impl AsFd, path: impl FnOnce() -> PathBuf) -> Result<(), Distrust> {
    let stat = rustix::fs::fstat(file).map_err(|errno| Distrust::Call {
        call: "fstat()".to_owned(),
        path: PathBuf::new(),
        errno,
    })?;
    match untrusted(&stat, Role::Inside) {
        Some(reason) => Err(Distrust::Untrusted { path: path(), reason }),
        None => Ok(()),
    }
}

fn names_reversed(path: &Path) -> Vec<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

fn lstat(path: &Path) -> Result<Stat, Distrust> {
    rustix::fs::lstat(path).map_err(|errno| Distrust::Call {
        call: format!("lstat({path:?})"),
        path: path.to_owned(),
        errno,
    })
}

fn check(path: &Path, stat: &Stat, role: Role) -> Result<(), Distrust> {
    match untrusted(stat, role) {
        Some(reason) => Err(Distrust::Untrusted { path: path.to_owned(), reason }),
        None => Ok(()),
    }
}

/// The other users who may change the file, as a text; `None` if there are none.
fn untrusted(stat: &Stat, role: Role) -> Option<String> {
    let us = rustix::process::geteuid().as_raw();
    let owner = stat.st_uid;
    let of_root = matches!(role, Role::Above { owner_of_slash } if owner_of_slash == owner);
    if owner != 0 && owner != us && !of_root {
        return Some(format!("belongs to user {owner}"));
    }
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    if is_link || role != Role::Inside && stat.st_mode & STICKY != 0 {
        return None;
    }
    if stat.st_mode & OTHERS_WRITE != 0 {
        return Some("can be written to by every user".to_owned());
    }
    // Many users have a group of their own, and a umask that lets the group write.
    let own_group = us != 0 && stat.st_gid == rustix::process::getegid().as_raw();
    (stat.st_mode & GROUP_WRITES != 0 && !own_group)
        .then(|| format!("can be written to by members of group {}", stat.st_gid))
}
