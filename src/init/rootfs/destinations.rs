//! Finds the directories in which nodes and links are made. These directories are on mounts of the
//! rootfs, or on filesystems that the container has mounted. They are never directories of the host
//! that are bind-mounted into the container, whatever links the image has.
//! config.json: linux.devices
//! process: init, before `enter`

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::bail;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Rootfs;
use crate::error::Result;
use crate::sys::proc::Proc;
use crate::sys::root::{self, RootHandle};
use crate::sys::{Call, mount, mountinfo};

/// How many dangling links are followed (path_resolution(7)).
const LINKS: usize = 40;

/// The destination of a node or link.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'p, 'a> {
    /// The directory.
    pub directory: BorrowedFd<'p>,
    /// The name in it.
    pub name: &'a str,
    /// Whether the directory belongs to the host. Then nothing is created or removed in it.
    pub is_of_host: bool,
}

/// Finds destinations, and caches the last directory, since most destinations are in the same one.
#[derive(Debug)]
pub struct Destinations<'a> {
    rootfs: &'a Rootfs<'a>,
    proc: &'a Proc,
    last: Option<(&'a str, OwnedFd, bool)>,
}

impl<'a> Destinations<'a> {
    /// For destinations in this rootfs.
    pub fn new(rootfs: &'a Rootfs<'a>, proc: &'a Proc) -> Self {
        Self { rootfs, proc, last: None }
    }

    /// The root of the rootfs.
    pub fn root(&self) -> &'a RootHandle {
        &self.rootfs.root
    }

    /// The destination for `path`. Its directory is created if it does not exist.
    ///
    /// # Errors
    /// As [`RootHandle::mkdir_all`]; an error if a missing directory would be created in a
    /// directory of the host.
    pub fn of(&mut self, path: &'a str) -> Result<Destination<'_, 'a>> {
        let (parent, name) = root::parent_and_name(path)?;
        let last = match self.last.take() {
            Some(last) if last.0 == parent => last,
            _ => {
                let (directory, is_of_host) = self.directory(parent, LINKS)?;
                (parent, directory, is_of_host)
            }
        };
        let last = &*self.last.insert(last);
        Ok(Destination { directory: last.1.as_fd(), name, is_of_host: last.2 })
    }

    /// The error for a path that does not exist in a directory of the host.
    pub fn refusal(&self, path: &str) -> anyhow::Error {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        anyhow::anyhow!(
            "/{directory} leads to a directory of the host, in which nothing is made: mount a tmpfs on /dev"
        )
    }

    /// The directory `path`, and whether it belongs to the host. It is created if it does not
    /// exist, also behind at most `links` dangling links.
    fn directory(&self, path: &str, links: usize) -> Result<(OwnedFd, bool)> {
        let root = &self.rootfs.root;
        let directory = match root.open_in(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(call) if call.is(Errno::NOENT) => {
                let (parent, name) = root::parent_and_name(path)?;
                let (above, is_of_host) = self.directory(parent, links)?;
                if let (Ok(target), 1..) = (rustix::fs::readlinkat(&above, name, Vec::new()), links)
                {
                    let target = target.to_string_lossy();
                    let target = if target.starts_with('/') {
                        target.into()
                    } else {
                        format!("{parent}/{target}")
                    };
                    return self.directory(&target, links - 1);
                }
                if is_of_host {
                    return Err(self.refusal(path));
                }
                root.mkdir_all(path)?
            }
            result => result?,
        };
        let is_of_host = self.is_of_host(directory.as_fd())?;
        Ok((directory, is_of_host))
    }

    fn is_of_host(&self, directory: BorrowedFd<'_>) -> Result<bool> {
        let seen = &self.rootfs.seen;
        let mut id = mount::of(directory)?.id;
        if id == seen.root || seen.filesystems.contains(&id) || seen.binds.is_empty() {
            return Ok(false);
        }
        if seen.binds.contains(&id) {
            return Ok(true);
        }
        // A mount that was part of the rootfs, or of the source of a bind mount.
        let mounts = self.proc.read_bytes("self/mountinfo")?;
        for _ in mountinfo::mounts(&mounts) {
            let Some(parent) = mountinfo::find(&mounts, id).map(|mount| mount.parent) else {
                break;
            };
            if seen.binds.contains(&parent) {
                return Ok(true);
            }
            if parent == seen.root || seen.filesystems.contains(&parent) {
                return Ok(false);
            }
            id = parent;
        }
        bail!("the mount of a directory of the rootfs is not below the rootfs")
    }
}

/// The ids of the mounts that we made.
#[derive(Debug, Default)]
pub struct OwnMounts {
    /// The id of the root mount.
    pub root: u64,
    /// The new filesystems of the container.
    pub filesystems: Vec<u64>,
    /// The bind mounts of the host.
    pub binds: Vec<u64>,
}

impl OwnMounts {
    /// Records a mount.
    ///
    /// # Errors
    /// Errors of statx(2).
    pub fn note(&mut self, mount: BorrowedFd<'_>, is_bind: bool) -> Result<(), Call> {
        let list = if is_bind { &mut self.binds } else { &mut self.filesystems };
        list.push(mount::of(mount)?.id);
        Ok(())
    }
}
