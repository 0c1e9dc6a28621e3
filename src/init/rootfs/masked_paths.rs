//! Masks paths of /proc and /sys: mounts /dev/null on files, and an empty read-only tmpfs on
//! directories. Also makes paths read-only.
//! config.json: linux.maskedPaths, linux.readonlyPaths, linux.mountLabel
//! process: init, before `enter`

use std::os::fd::{AsFd, OwnedFd};

use anyhow::bail;
use rustix::fs::{CWD, FileType, makedev};
use rustix::io::Errno;

use super::Rootfs;
use crate::error::{AtKey, Context, Result};
use crate::kernel::FsOption;
use crate::plan::Plan;
use crate::plan::masked_paths::{self, ListedPath, MASK_ATTRIBUTES};
use crate::plan::mount_options::attr;
use crate::sys::mount::{self, Depth};
use crate::sys::{Call, Named};

/// Masks paths and makes paths read-only. A path that does not exist is skipped.
///
/// # Errors
/// The error of the failed call, with the place in config.json.
pub fn apply(plan: &Plan, rootfs: &Rootfs<'_>) -> Result<()> {
    let root = rootfs.seen.root;
    for ListedPath { index, path } in &plan.rootfs.readonly_paths {
        let key = format_args!("/linux/readonlyPaths/{index}");
        if let Some(target) = find(rootfs, path).at(key)? {
            make_readonly(&target, root).at(key)?;
        }
    }
    let mut masks = Masks { root, label: plan.mount_label.as_deref(), directory: None, file: None };
    for ListedPath { index, path } in &plan.rootfs.masked_paths {
        let key = format_args!("/linux/maskedPaths/{index}");
        if let Some(target) = find(rootfs, path).at(key)? {
            masks.cover(&target).at(key)?;
        }
    }
    Ok(())
}

/// Looks a path up. Below a mount of procfs or sysfs, the look-up begins at that mount, because a
/// process that shares the rootfs may have moved the directory that it is mounted on. (`..` of the
/// mount's root leads to the mount on top of it, if we have made one.)
fn find(rootfs: &Rootfs<'_>, path: &str) -> Result<Option<OwnedFd>, Call> {
    let mut below = rootfs
        .kept
        .iter()
        .rev()
        .filter_map(|(mount, step)| Some((mount, masked_paths::below(step, path)?)));
    let found = match below.next() {
        Some((mount, rest)) => mount.resolve(&format!("../{rest}")),
        None => rootfs.root.resolve(path),
    };
    match found {
        Err(call) if call.is(Errno::NOENT) || call.is(Errno::NOTDIR) => Ok(None),
        result => result.map(Some),
    }
}

/// Bind-mounts the path read-only on itself. If the path is the root mount, which has the id
/// `root`, that mount itself is made read-only. (A mount on top of it would be the root for `exec`,
/// but not for init, which is below it.)
fn make_readonly(target: &OwnedFd, root: u64) -> Result<(), Call> {
    let place = mount::of(target.as_fd())?;
    if place.is_root && place.id == root {
        return mount::set_attributes(target.as_fd(), attr::RDONLY, 0, Depth::This);
    }
    let mount = mount::clone_tree(target.as_fd(), Depth::Recursive)?;
    mount::set_attributes(mount.as_fd(), attr::RDONLY, 0, Depth::This)?;
    mount::attach(mount.as_fd(), target.as_fd())
}

/// The masks. Each is made when it is first needed. All directories share one tmpfs, since a
/// machine with many CPUs has hundreds of them.
#[derive(Debug)]
struct Masks<'a> {
    /// The id of the mount of the root.
    root: u64,
    label: Option<&'a str>,
    directory: Option<OwnedFd>,
    file: Option<OwnedFd>,
}

impl Masks<'_> {
    fn cover(&mut self, target: &OwnedFd) -> Result<()> {
        let place = mount::of(target.as_fd())?;
        if place.is_root && place.id == self.root {
            bail!("this path leads to the root, which cannot be hidden");
        }
        if place.is_directory() {
            let mask = match &self.directory {
                Some(first) => mount::clone_tree(first.as_fd(), Depth::This)?,
                None => empty_directory(self.label)?,
            };
            mount::attach(mask.as_fd(), target.as_fd())?;
            self.directory.get_or_insert(mask);
            return Ok(());
        }
        let mask = match &self.file {
            Some(first) => mount::clone_tree(first.as_fd(), Depth::This)?,
            None => null_device().context("the mask of a file")?,
        };
        mount::attach(mask.as_fd(), target.as_fd())?;
        self.file.get_or_insert(mask);
        Ok(())
    }
}

fn empty_directory(label: Option<&str>) -> Result<OwnedFd, Call> {
    let mut options = vec![FsOption::new("nr_blocks", "1"), FsOption::new("nr_inodes", "1")];
    options.extend(label.map(|label| FsOption::new("context", label)));
    mount::new_filesystem(
        "tmpfs",
        "tmpfs",
        &options,
        attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC,
    )
}

/// The host's /dev/null, which is checked to be that device. The image's is not used, because
/// another file there would uncover what is masked (CVE-2025-31133). The copy is private.
/// Otherwise, mounts that the host makes on its /dev/null would also appear on the mask.
fn null_device() -> Result<OwnedFd> {
    let null = mount::open_attached(CWD, "/dev/null")?;
    let stat = rustix::fs::fstat(&null).named(|| "fstat(/dev/null)".to_owned())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        || stat.st_rdev != makedev(1, 3)
    {
        bail!("the host's /dev/null is not the null device");
    }
    let mask = mount::clone_tree(null.as_fd(), Depth::This)?;
    mount::make_private(mask.as_fd(), MASK_ATTRIBUTES)?;
    Ok(mask)
}
