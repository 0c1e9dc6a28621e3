//! The tree of a root filesystem, used by a handle: looks directories up and creates them, and sets
//! their times at the end of a layer.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt::Debug;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use orlop_paths::lookup::{MAX_LINKS, open_below};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::name::{is_below, join, split};
use super::remove;
use crate::tar_stream::show;

/// The flags for a handle of a directory.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The mode of directories that no entry describes.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// A directory of the tree.
#[derive(Debug)]
pub struct TreeDirectory {
    fd: OwnedFd,
    /// Its resolved path from the root; empty for the root.
    pub path: Vec<u8>,
}

impl TreeDirectory {
    /// The directory `fd` with its path.
    #[must_use]
    pub fn new(fd: OwnedFd, path: Vec<u8>) -> Self {
        Self { fd, path }
    }
}

impl AsFd for TreeDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A tree of files. No other process may change it at the same time.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    /// The directory of the last look-up, and its path: entries are sorted by directory.
    last: Option<(Vec<u8>, Rc<TreeDirectory>)>,
    /// The times that directories get at the end of the layer, by resolved paths.
    times: BTreeMap<Vec<u8>, Timestamps>,
}

impl Tree {
    /// Opens the directory `path` of the host as a tree.
    ///
    /// # Errors
    /// Errors of open(2).
    pub fn open(path: &Path) -> Result<Self> {
        let root = rustix::fs::open(path, HANDLE, Mode::empty())
            .with_context(|| format!("open({path:?})"))?;
        Ok(Self::from_fd(root))
    }

    /// Uses the descriptor of a directory or of a detached mount.
    #[must_use]
    pub fn from_fd(root: OwnedFd) -> Self {
        Self { root, last: None, times: BTreeMap::new() }
    }

    /// A handle of the root.
    ///
    /// # Errors
    /// Errors of dup(2).
    pub fn top(&self) -> Result<TreeDirectory> {
        Ok(TreeDirectory { fd: self.root.try_clone().context("dup()")?, path: Vec::new() })
    }

    /// The directory of a normalized path. Links are followed inside the tree. `None` if it does
    /// not exist or is not a directory.
    ///
    /// # Errors
    /// Errors of openat2(2).
    pub fn directory(&mut self, path: &[u8]) -> Result<Option<Rc<TreeDirectory>>> {
        if let Some((asked, directory)) = &self.last
            && asked == path
        {
            return Ok(Some(Rc::clone(directory)));
        }
        let found = self.find(path)?.map(Rc::new);
        if let Some(directory) = &found {
            self.last = Some((path.to_vec(), Rc::clone(directory)));
        }
        Ok(found)
    }

    /// As [`Self::directory`], but creates missing directories, and the targets of dangling links.
    ///
    /// # Errors
    /// Errors of the calls; a file that is not a directory has the name.
    pub fn make_directory(&mut self, path: &[u8]) -> Result<Rc<TreeDirectory>> {
        match self.directory(path)? {
            Some(directory) => Ok(directory),
            None => self.make(path, MAX_LINKS),
        }
    }

    fn make(&mut self, path: &[u8], links: usize) -> Result<Rc<TreeDirectory>> {
        if let Some(directory) = self.directory(path)? {
            return Ok(directory);
        }
        let (parent, name) = split(path);
        if name.is_empty() || links == 0 {
            bail!("{:?}: too many symbolic links", show(path));
        }
        let parent = self.make(parent, links)?;
        self.record_times(&parent)?;
        match rustix::fs::mkdirat(&parent, name, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).with_context(|| format!("mkdirat({:?})", show(path))),
        }
        if let Some(directory) = self.directory(path)? {
            return Ok(directory);
        }
        let target = match rustix::fs::readlinkat(&parent, name, Vec::new()) {
            Err(Errno::INVAL) => bail!("{:?} exists and is not a directory", show(path)),
            other => other.with_context(|| format!("readlinkat({:?})", show(path)))?,
        };
        let target = target.as_bytes();
        let target =
            if target.starts_with(b"/") { target.to_vec() } else { join(&parent.path, target) };
        self.make(trim(&target), links - 1)
    }

    /// Looks a directory up.
    fn find(&self, path: &[u8]) -> Result<Option<TreeDirectory>> {
        let asked = if path.is_empty() { b"." } else { path };
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let plain = self.look_up(asked, HANDLE, inside | ResolveFlags::NO_SYMLINKS);
        // Only targets of links can contain "." or "..".
        let is_plain =
            !path.split(|byte| *byte == b'/').any(|part| matches!(part, b"." | b".." | b""));
        let fd = match plain {
            Ok(fd) if is_plain || path.is_empty() => {
                return Ok(Some(TreeDirectory { fd, path: path.to_vec() }));
            }
            Ok(_) | Err(Errno::LOOP) => self.look_up(asked, HANDLE, inside),
            other => other,
        };
        match fd {
            Ok(fd) => {
                let path = self.path_of(fd.as_fd())?;
                Ok(Some(TreeDirectory { fd, path }))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("openat2({:?})", show(path))),
        }
    }

    fn look_up(&self, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        open_below(&self.root, path, flags, Mode::empty(), resolve)
    }

    /// The path of a directory in the tree, from /proc/self/fd.
    fn path_of(&self, directory: BorrowedFd<'_>) -> Result<Vec<u8>> {
        let root = kernel_path(self.root.as_fd())?;
        let path = kernel_path(directory)?;
        if path == root {
            return Ok(Vec::new());
        }
        let root = root.strip_suffix(b"/").unwrap_or(&root);
        let below = path.strip_prefix(root).and_then(|rest| rest.strip_prefix(b"/"));
        below.map(<[u8]>::to_vec).with_context(|| format!("{:?} is not in the tree", show(&path)))
    }

    /// Opens a regular file for reading. Links are followed inside the tree. `None` if it does not
    /// exist.
    ///
    /// # Errors
    /// Errors of openat2(2); it is not a regular file.
    pub fn read(&self, path: &str) -> Result<Option<File>> {
        // The type is checked on an `O_PATH` handle, since opening a device can have effects on the
        // host.
        let Some(handle) = self.handle(path)? else { return Ok(None) };
        if !handle.metadata().with_context(|| format!("fstat({path:?})"))?.is_file() {
            bail!("{path:?} is not a regular file");
        }
        File::open(own_link(handle.as_fd())).map(Some).with_context(|| format!("open({path:?})"))
    }

    /// The user and the group of a file. Links are followed inside the tree. `None` if it does not
    /// exist.
    ///
    /// # Errors
    /// Errors of openat2(2).
    pub fn owner(&self, path: &str) -> Result<Option<(u32, u32)>> {
        let Some(handle) = self.handle(path)? else { return Ok(None) };
        let status = handle.metadata().with_context(|| format!("fstat({path:?})"))?;
        Ok(Some((status.uid(), status.gid())))
    }

    fn handle(&self, path: &str) -> Result<Option<File>> {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match self.look_up(path.as_bytes(), OFlags::PATH, inside) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("openat2({path:?})")),
        }
    }

    /// Removes `name` from `parent`, with everything below it.
    ///
    /// # Errors
    /// Errors of the calls.
    pub fn remove(&mut self, parent: &TreeDirectory, name: &[u8]) -> Result<()> {
        if remove(parent.as_fd(), name)? {
            let path = join(&parent.path, name);
            self.times.remove(&path);
            let below: Vec<_> = self
                .times
                .range(join(&path, b"")..)
                .map(|(other, _)| other.clone())
                .take_while(|other| is_below(other, &path))
                .collect();
            for other in &below {
                self.times.remove(other);
            }
        }
        // The cached directory may have been removed, or its path may have contained a removed
        // link.
        self.last = None;
        Ok(())
    }

    /// Records the current times of a directory, to restore them after changes in it. Times that an
    /// entry has set are kept.
    ///
    /// # Errors
    /// Errors of statx(2).
    pub fn record_times(&mut self, directory: &TreeDirectory) -> Result<()> {
        if self.times.contains_key(&directory.path) {
            return Ok(());
        }
        let stat = rustix::fs::statat(&directory.fd, c"", AtFlags::EMPTY_PATH)
            .with_context(|| format!("fstatat({:?})", show(&directory.path)))?;
        let mtime = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            last_modification: mtime,
        };
        self.times.insert(directory.path.clone(), times);
        Ok(())
    }

    /// Records the times for a directory at the end of the layer.
    pub fn set_times(&mut self, path: Vec<u8>, times: Timestamps) {
        self.times.insert(path, times);
    }

    /// Sets the recorded times of all directories, at the end of a layer.
    ///
    /// # Errors
    /// Errors of the calls.
    pub fn apply_times(&mut self) -> Result<()> {
        self.last = None;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        for (path, times) in std::mem::take(&mut self.times) {
            let asked = if path.is_empty() { b".".as_slice() } else { &path };
            let call = || format!("{:?}: setting its times", show(&path));
            let directory = self.look_up(asked, HANDLE, inside).with_context(call)?;
            rustix::fs::utimensat(directory, c"", &times, AtFlags::EMPTY_PATH)
                .with_context(call)?;
        }
        Ok(())
    }
}

/// Removes leading slashes.
fn trim(mut path: &[u8]) -> &[u8] {
    while let Some(rest) = path.strip_prefix(b"/") {
        path = rest;
    }
    path
}

fn kernel_path(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let link = own_link(fd);
    let path =
        rustix::fs::readlink(&link, Vec::new()).with_context(|| format!("readlink({link:?})"))?;
    Ok(CStr::to_bytes(&path).to_vec())
}

fn own_link(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// openat2(2) returns `EAGAIN` for ".." if any file is renamed at the same time, anywhere.
    #[test]
    fn renames_elsewhere() {
        let (dir, over) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("tree/a")).unwrap();
        std::os::unix::fs::symlink("a/../".repeat(30), at("tree/l")).unwrap();
        fs::create_dir(at("x")).unwrap();
        let tree = Tree::open(&at("tree")).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    fs::rename(at("x"), at("y")).unwrap();
                    fs::rename(at("y"), at("x")).unwrap();
                }
            });
            let found: Vec<_> =
                (0..20_000).map(|_| tree.find(b"l").map(|found| found.is_some())).collect();
            over.store(true, Ordering::Relaxed);
            assert!(found.into_iter().all(|found| found.unwrap()));
        });
    }
}
