//! The owner of the cgroup of a container.
//!
//! cgroups(7), "Cgroup delegation"; the specification's "cgroup ownership".

use std::path::Path;

use rustix::fs::{AtFlags, CWD, Uid, chownat};
use rustix::io::Errno;

use super::{Cgroup, Version};
use crate::error::Result;
use crate::sys::{CallText, Named, small_file};

/// The files of a delegated cgroup, for kernels that do not list them.
const FILES: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Changes the owner of the cgroup: of the directory, and of the files that the kernel lists
    /// for delegation. Nothing is changed on cgroup v1, where that is not safe.
    ///
    /// # Errors
    /// fchownat(2).
    pub fn give_to(&self, owner: u32) -> Result<()> {
        match &self.version {
            Version::V2(v2) => give(v2.dir().path(), owner),
            Version::V1(_) => Ok(()),
        }
    }
}

/// Changes the owner of a cgroup v2.
pub(super) fn give(directory: &Path, owner: u32) -> Result<()> {
    const LIST: &str = "/sys/kernel/cgroup/delegate";
    let list = small_file::read_all(CWD, LIST, || LIST.to_owned());
    let list =
        list.map_or_else(|_| FILES.to_owned(), |list| String::from_utf8_lossy(&list).into_owned());
    let files = list.lines().map(|name| directory.join(name));
    for path in std::iter::once(directory.to_owned()).chain(files) {
        match chownat(CWD, &path, Some(Uid::from_raw(owner)), None, AtFlags::SYMLINK_NOFOLLOW) {
            // Some of them belong to controllers that may not be enabled.
            Err(Errno::NOENT) => {}
            result => {
                result.named(|| CallText::with_path(format!("chown({path:?}, {owner})"), path))?
            }
        }
    }
    Ok(())
}
