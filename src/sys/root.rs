//! The handle of a directory tree that is not trusted. Files below it are never used by a path of
//! the host.
//!
//! All look-ups use openat2(2). With `RESOLVE_IN_ROOT`, `..` and absolute links stay inside, even
//! if the tree is changed meanwhile. With `RESOLVE_NO_MAGICLINKS`, links of a procfs do not lead
//! out.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use orlop_paths::lookup::{MAX_LINKS, open_below};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Call, CallText, Named};

/// The mode of directories that are created, as in other runtimes.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// What is created if the path does not exist.
#[derive(Debug, Clone, Copy)]
enum Make {
    Directory,
    File,
}

/// The handle of a root: an `O_PATH` descriptor.
#[derive(Debug)]
pub struct RootHandle(OwnedFd);

impl AsFd for RootHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl RootHandle {
    /// Opens the directory `path` of the host as a root.
    ///
    /// # Errors
    /// The error of the call.
    pub fn open(path: &Path) -> Result<Self, Call> {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(Self)
            .named(|| CallText::with_path(format!("open({path:?}, O_DIRECTORY)"), path))
    }

    /// Uses the descriptor of a directory or of a detached mount as a root.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens `path`. Links are followed inside the root. With `O_PATH` alone, the result is a
    /// handle.
    ///
    /// # Errors
    /// The error of the call: `ENOENT`, `ENOTDIR`, `ELOOP` for a magic link.
    pub fn open_in(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Call> {
        self.openat2(path, flags, Mode::empty(), ResolveFlags::empty())
            .named(|| CallText::with_path(format!("openat2(rootfs, {path:?}, {flags:?})"), path))
    }

    /// A handle of `path`. Links are followed inside the root.
    ///
    /// # Errors
    /// As [`Self::open_in`].
    pub fn resolve(&self, path: &str) -> Result<OwnedFd, Call> {
        self.open_in(path, OFlags::PATH)
    }

    /// A handle of `path`. If its last component is a symbolic link, that link is not followed.
    ///
    /// # Errors
    /// As [`Self::open_in`].
    pub fn resolve_link(&self, path: &str) -> Result<OwnedFd, Call> {
        self.open_in(path, OFlags::PATH | OFlags::NOFOLLOW)
    }

    /// A handle of `path` itself: no component may be a symbolic link.
    ///
    /// # Errors
    /// As [`Self::open_in`]; `ELOOP` if there is a link.
    pub fn resolve_without_links(&self, path: &str) -> Result<OwnedFd, Call> {
        self.openat2(path, OFlags::PATH, Mode::empty(), ResolveFlags::NO_SYMLINKS).named(|| {
            CallText::with_path(format!("openat2(rootfs, {path:?}, O_PATH, NO_SYMLINKS)"), path)
        })
    }

    /// A handle of the directory `path`. It is created with its parents if it does not exist, also
    /// as the target of a dangling link inside the root.
    ///
    /// # Errors
    /// The error of the failed call; `ENOTDIR` if a file that is not a directory is in the way.
    pub fn mkdir_all(&self, path: &str) -> Result<OwnedFd, Call> {
        self.make(path, Make::Directory, MAX_LINKS)
    }

    /// A handle of the file `path` of any type. If it does not exist, an empty one is created as by
    /// [`Self::mkdir_all`].
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn create_file(&self, path: &str) -> Result<OwnedFd, Call> {
        self.make(path, Make::File, MAX_LINKS)
    }

    /// A handle of `path`. If its last component is a symbolic link, that link is not followed. If
    /// nothing exists there, this makes a directory or an empty file, as `kind` says, with its
    /// parents.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn make_itself(&self, path: &str, kind: FileType) -> Result<OwnedFd, Call> {
        match self.resolve_link(path) {
            Err(call) if call.is(Errno::NOENT) => {}
            other => return other,
        }
        let (directory, name) = self.parent_of(path)?;
        let made = match kind {
            FileType::Directory => rustix::fs::mkdirat(&directory, name, DIRECTORY_MODE),
            _ => rustix::fs::mknodat(
                &directory,
                name,
                FileType::RegularFile,
                Mode::from_raw_mode(0o644),
                0,
            ),
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => self.resolve_link(path),
            Err(errno) => Err(errno)
                .named(|| CallText::with_path(format!("creating {path:?} in the rootfs"), path)),
        }
    }

    /// Creates the symbolic link `path` to `target`, with its parents. The same link may exist
    /// already.
    ///
    /// # Errors
    /// The error of the failed call; `EEXIST` if something else exists there.
    pub fn symlink(&self, path: &str, target: &CStr) -> Result<(), Call> {
        let (directory, name) = self.parent_of(path)?;
        match rustix::fs::symlinkat(target, &directory, name) {
            Err(Errno::EXIST)
                if rustix::fs::readlinkat(&directory, name, Vec::new())
                    .is_ok_and(|there| *there == *target) =>
            {
                Ok(())
            }
            result => result.named(|| {
                let text = format!("symlink({target:?}, {path:?} in the rootfs)");
                CallText::with_path(text, OsStr::from_bytes(target.to_bytes()))
            }),
        }
    }

    fn make(&self, path: &str, what: Make, links: usize) -> Result<OwnedFd, Call> {
        let flags = match what {
            Make::Directory => OFlags::PATH | OFlags::DIRECTORY,
            Make::File => OFlags::PATH,
        };
        match self.openat2(path, flags, Mode::empty(), ResolveFlags::empty()) {
            Err(Errno::NOENT) => {}
            other => {
                return other.named(|| {
                    CallText::with_path(format!("openat2(rootfs, {path:?}, {flags:?})"), path)
                });
            }
        }
        let (parent, name) = split(path);
        if name.is_empty() || links == 0 {
            return Err(Errno::LOOP).named(|| {
                CallText::with_path(format!("openat2(rootfs, {path:?}, {flags:?})"), path)
            });
        }
        let directory = self.make(parent, Make::Directory, links)?;
        let made = match what {
            Make::Directory => rustix::fs::mkdirat(&directory, name, DIRECTORY_MODE),
            // mknod(2) and not open(2) with O_CREAT, which could open a device or a fifo that
            // another process puts there.
            Make::File => rustix::fs::mknodat(
                &directory,
                name,
                FileType::RegularFile,
                Mode::from_raw_mode(0o644),
                0,
            ),
        };
        match made {
            // The whole path is opened again, since another process may have replaced the new file
            // by a link.
            Ok(()) => return self.open_in(path, flags),
            Err(Errno::EXIST) => {}
            Err(errno) => {
                return Err(errno).named(|| {
                    CallText::with_path(format!("creating {path:?} in the rootfs"), path)
                });
            }
        }
        match rustix::fs::readlinkat(&directory, name, Vec::new()) {
            Ok(target) => {
                let target = target.to_string_lossy();
                let target = if target.starts_with('/') {
                    target.into_owned()
                } else {
                    format!("{parent}/{target}")
                };
                self.make(&target, what, links - 1)
            }
            // Not a link: another process has created it.
            Err(_) => self.open_in(path, flags),
        }
    }

    /// The directory of `path`, which is created if it does not exist, and the last component. This
    /// is for mknodat(2) and other calls that do not follow a link there.
    ///
    /// # Errors
    /// As [`Self::mkdir_all`] and [`parent_and_name`].
    pub fn parent_of<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str), Call> {
        let (parent, name) = parent_and_name(path)?;
        Ok((self.mkdir_all(parent)?, name))
    }

    fn openat2(
        &self,
        path: &str,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        open_below(&self.0, path, flags, mode, resolve | ResolveFlags::IN_ROOT)
    }
}

/// The directory and the last component of a path.
///
/// # Errors
/// `EINVAL` for a path without a last component.
pub fn parent_and_name(path: &str) -> Result<(&str, &str), Call> {
    match split(path) {
        (_, "" | "." | "..") => Err(Errno::INVAL)
            .named(|| CallText::with_path(format!("openat2(rootfs, {path:?})"), path)),
        both => Ok(both),
    }
}

/// Splits off the last component of a path. Slashes at its end are ignored.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches('/');
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The target of the symbolic link of a handle.
///
/// # Errors
/// Errors of readlinkat(2).
pub fn link_target(handle: BorrowedFd<'_>) -> Result<CString, Call> {
    rustix::fs::readlinkat(handle, "", Vec::new()).named(|| "readlink()".to_owned())
}

/// The type of the file of a handle.
///
/// # Errors
/// Errors of fstat(2).
pub fn file_type(fd: BorrowedFd<'_>) -> Result<FileType, Call> {
    let stat = rustix::fs::fstat(fd).named(|| "fstat()".to_owned())?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::io::Errno;

    use super::{RootHandle, split};

    #[test]
    fn paths_split_at_the_last_component() {
        assert_eq!(split("/a/b/"), ("/a", "b"));
        assert_eq!(split("b"), ("", "b"));
        assert_eq!(split("/"), ("", ""));
    }

    #[test]
    fn links_stay_inside() {
        let outside = tempfile::tempdir().expect("a directory");
        let inside = outside.path().join("root");
        std::fs::create_dir(&inside).expect("a root");
        symlink(outside.path(), inside.join("absolute")).expect("a link");
        symlink("../../..", inside.join("up")).expect("a link");
        symlink("/proc/self/fd/0", inside.join("magic")).expect("a link");
        let root = RootHandle::open(&inside).expect("a handle");
        let error = root.resolve("absolute").expect_err("the target does not exist inside");
        assert!(error.is(Errno::NOENT), "{error}");
        root.mkdir_all("up/made").expect("made inside");
        assert!(inside.join("made").is_dir());
        root.mkdir_all("magic/x").expect("made inside");
        assert!(inside.join("proc/self/fd/0/x").is_dir());
        symlink("../run/deep/file", inside.join("made/link")).expect("a link");
        root.create_file("made/link").expect("made inside");
        assert!(inside.join("run/deep/file").is_file());
        symlink("loop", inside.join("loop")).expect("a link");
        let error = root.create_file("loop").expect_err("a link to itself");
        assert!(error.is(Errno::LOOP), "{error}");
        root.create_file("new/dir/file").expect("made with its parents");
        assert!(inside.join("new/dir/file").is_file());
        let error = root.resolve_without_links("up").expect_err("a link");
        assert!(error.is(Errno::LOOP), "{error}");
    }
}
