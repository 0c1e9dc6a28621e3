//! Whether what is kept in the state root can be trusted: hooks in state.json are run with our
//! rights, and signals go to the process that it names. So nobody else may be able to write there,
//! nor to put another directory in its place.
//!
//! From `/` to the state root each directory belongs to us or to root, and nobody else may write to
//! it; on the way there a sticky directory such as /tmp may be everybody's, as only the owner can
//! rename what is in it. As each step is judged below one that nobody else can change, it stays as
//! it was seen.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::error::{Failure, Result};
use crate::sys::{Call, Named};

/// How many symbolic links are followed, as in the kernel's look-ups.
const LINKS: usize = 40;

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// What a file is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A directory, or a symbolic link, above the state root. In a user namespace the host's root
    /// is not mapped, and is seen as the owner of `/`.
    Above { owner_of_slash: u32 },
    /// The state root and what is in it.
    Kept,
}

/// Judges the state root and the way to it; false when it does not exist.
///
/// # Errors
/// [`Failure::Usage`], which names the directory and who may write there; lstat(2)'s,
/// readlink(2)'s.
pub(super) fn judge_root(state_root: &Path) -> Result<bool> {
    let path = std::path::absolute(state_root)?;
    let slash = lstat(Path::new("/"))?;
    let above = Role::Above { owner_of_slash: slash.st_uid };
    judge(Path::new("/"), &slash, above)?;
    let mut found = slash;
    let mut links = LINKS;
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
            Err(call) if call.is(Errno::NOENT) => return Ok(false),
            other => other?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            judge(&next, &stat, above)?;
            links =
                links.checked_sub(1).ok_or(Errno::LOOP).named(|| format!("readlink({next:?})"))?;
            let target =
                rustix::fs::readlink(&next, Vec::new()).named(|| format!("readlink({next:?})"))?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            left.extend(names_reversed(&target));
            continue;
        }
        judge(&next, &stat, above)?;
        (at, found) = (next, stat);
    }
    judge(&at, &found, Role::Kept)?;
    Ok(true)
}

/// Judges an open file or directory in the state root.
///
/// # Errors
/// As [`judge_root`].
pub(super) fn judge_kept(file: impl AsFd, path: impl FnOnce() -> PathBuf) -> Result<()> {
    let stat = rustix::fs::fstat(file).named(|| "fstat()".to_owned())?;
    if objection(&stat, Role::Kept).is_some() { judge(&path(), &stat, Role::Kept) } else { Ok(()) }
}

fn names_reversed(path: &Path) -> Vec<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

fn lstat(path: &Path) -> Result<Stat, Call> {
    rustix::fs::lstat(path).named(|| format!("lstat({path:?})"))
}

fn judge(path: &Path, stat: &Stat, role: Role) -> Result<()> {
    let Some(objection) = objection(stat, role) else { return Ok(()) };
    let text = format!(
        "the state root (--root) cannot be trusted: {path:?} {objection}, who could choose the programs that we run as \
         hooks; use a directory that only its owner can write to"
    );
    Err(Failure::Usage(text).into())
}

/// Who else may change the file.
fn objection(stat: &Stat, role: Role) -> Option<String> {
    let us = rustix::process::geteuid().as_raw();
    let owner = stat.st_uid;
    let of_root = matches!(role, Role::Above { owner_of_slash } if owner_of_slash == owner);
    if owner != 0 && owner != us && !of_root {
        return Some(format!("belongs to user {owner}"));
    }
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    if is_link || role != Role::Kept && stat.st_mode & STICKY != 0 {
        return None;
    }
    if stat.st_mode & OTHERS_WRITE != 0 {
        return Some("can be written to by every user".to_owned());
    }
    // An ordinary user's own group often has him alone, and a umask that lets it write.
    let own_group = us != 0 && stat.st_gid == rustix::process::getegid().as_raw();
    (stat.st_mode & GROUP_WRITES != 0 && !own_group)
        .then(|| format!("can be written to by members of group {}", stat.st_gid))
}
