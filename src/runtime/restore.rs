//! Prepares what criu needs to restore processes: the container's cgroup, and a mount of the
//! rootfs.
//! config.json: mounts[].destination, root.path, root.readonly, linux.maskedPaths
//! process: runtime; `make_mount_points` runs in a process of its own

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::child::{Child, close_runtime_end};
use super::spawn::with_namespaces_restored;
use super::stdio;
use super::watch::Watch;
use crate::cgroup::{Cgroup, CgroupMembership};
use crate::criu::{Criu, CriuProgram};
use crate::error::{AtKey, Context, Report, Result};
use crate::plan::Plan;
use crate::plan::masked_paths::{ListedPath, MASK_ATTRIBUTES};
use crate::plan::mount_options::{SourceLink, attr, ms};
use crate::plan::mounts::{MountSource, MountStep};
use crate::plan::namespaces::{MOUNT, NETWORK};
use crate::sync::{self, FromInit};
use crate::sys::clone::{self, CloneRequest, SingleThreaded};
use crate::sys::mount::{self, Depth, LastLink};
use crate::sys::proc::Proc;
use crate::sys::root::{RootHandle, file_type, link_target};
use crate::sys::{Call, Named, fd, pidfd, process, wait};

/// A directory with the rootfs mounted on it, which is removed when dropped. criu needs a mount
/// whose parent mount is not covered by another one.
#[derive(Debug)]
pub struct MountPoint(PathBuf);

impl MountPoint {
    /// Makes the directory, and the mount points in the rootfs.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn make(plan: &Plan, path: PathBuf) -> Result<Self> {
        rustix::fs::mkdir(&path, Mode::RWXU).named_on("mkdir", &path)?;
        let place = Self(path); // removed on drop
        in_child(MOUNT.flag, || make_mount_points(plan, &place.0))
            .context("making mount points")?;
        attach_rootfs(&clone_rootfs(plan)?, &place.0)?;
        Ok(place)
    }

    /// The path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        // If this fails, it is removed with the container's directory.
        let _ = mount::detach(&self.0);
        let _ = rustix::fs::rmdir(&self.0);
    }
}

/// Starts criu for a container. criu is in the container's cgroup, under its limits, so the
/// restored processes are created there. It inherits our standard streams and `joined`.
///
/// # Errors
/// The error of the failed call, or the error that the child reports.
pub fn start(
    program: &CriuProgram,
    plan: &Plan,
    cgroup: &mut Cgroup,
    joined: &[OwnedFd],
) -> Result<Criu> {
    let directory = cgroup.fd_for_clone3().map(|fd| fd.try_clone_to_owned()).transpose()?;
    let membership =
        if directory.is_some() { CgroupMembership::Inside } else { CgroupMembership::Outside };
    let request =
        CloneRequest { cgroup: directory.as_ref().map(AsFd::as_fd), ..CloneRequest::default() };
    let joined: Vec<_> = joined.iter().map(AsFd::as_fd).collect();
    stdio::give(&plan.entry)?;
    program.start(&request, &joined, |pid| {
        cgroup.take_first(plan, pid, membership)?;
        cgroup.set(&plan.resources)
    })
}

/// Sets attributes that criu does not restore, in the container whose first process is `pid`: makes
/// its root read-only, if the config demands it, and the masks of files.
///
/// # Errors
/// The error of the failed call, with the place in config.json.
pub fn protect(plan: &Plan, pid: i32) -> Result<()> {
    if !plan.rootfs.readonly && plan.rootfs.masked_paths.is_empty() {
        return Ok(());
    }
    let mounts = fd::open(format!("/proc/{pid}/ns/{}", MOUNT.file).as_ref(), OFlags::RDONLY)?;
    in_child(0, || {
        clone::setns(mounts.as_fd(), MOUNT.flag)?; // our root is then the container's
        let root = RootHandle::open("/".as_ref())?;
        for ListedPath { index, path } in &plan.rootfs.masked_paths {
            protect_mask(&root, path).at(format_args!("/linux/maskedPaths/{index}"))?;
        }
        if plan.rootfs.readonly {
            mount::set_attributes(root.as_fd(), attr::RDONLY, 0, Depth::This)
                .at("/root/readonly")?;
        }
        Ok(())
    })
}

/// Sets the attributes of a masked file. criu restores them for only one of the masked files.
fn protect_mask(root: &RootHandle, path: &str) -> Result<(), Call> {
    let mask = match root.resolve(path) {
        Err(call) if call.is(Errno::NOENT) || call.is(Errno::NOTDIR) => return Ok(()),
        found => found?,
    };
    if file_type(mask.as_fd())? != FileType::CharacterDevice || !mount::of(mask.as_fd())?.is_root {
        return Ok(());
    }
    mount::set_attributes(mask.as_fd(), MASK_ATTRIBUTES, 0, Depth::This)
}

/// Runs `work` in a child with new namespaces, so that it has no effect on this process.
fn in_child(namespaces: u32, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (ours, theirs) = sync::pair()?;
    let cloned = clone::clone(
        SingleThreaded::prove()?,
        &CloneRequest { namespaces, ..CloneRequest::default() },
        || {
            close_runtime_end(&ours);
            if let Err(error) = work() {
                // If the other end is closed, the error is not needed.
                let _ = theirs.send(&FromInit::Failed(Report::of(&error)));
                return 1;
            }
            0
        },
    )?;
    drop(theirs);
    let mut child = Child::adopt(cloned);
    let mut watch = Watch::of_helper();
    match ours.receive_watched(|| watch.look(child.pid))? {
        FromInit::End => {
            let exit = pidfd::reap_within(child.pidfd.as_fd(), wait::DEATH)?
                .context("a process of ours does not end")?;
            child.release();
            anyhow::ensure!(exit.shell_code() == 0, "a process of ours died");
            Ok(())
        }
        FromInit::Failed(report) => Err(report.into()),
        other => anyhow::bail!("unexpected {other:?} from a process of ours"),
    }
}

fn attach_rootfs(rootfs: &OwnedFd, place: &Path) -> Result<()> {
    Ok(mount::attach(rootfs.as_fd(), fd::open(place, OFlags::PATH | OFlags::DIRECTORY)?.as_fd())?)
}

fn clone_rootfs(plan: &Plan) -> Result<OwnedFd> {
    mount::clone_tree_at(CWD, &plan.rootfs.path.to_string_lossy(), Depth::Recursive)
        .at("/root/path")
}

/// Makes the mount points that `create` would make in the rootfs. criu needs them, and the rootfs
/// may be a new one. Bind mounts from the host are made here, too, because other mount points may
/// be in them.
fn make_mount_points(plan: &Plan, place: &Path) -> Result<()> {
    // This mount namespace is a copy of the host's, and our mounts must not propagate to the host.
    mount::isolate(&Proc::open()?, &place.to_string_lossy())?;
    rustix::process::umask(Mode::empty());
    let tree = clone_rootfs(plan)?;
    mount::set_propagation(tree.as_fd(), ms::PRIVATE, Depth::Recursive)?;
    attach_rootfs(&tree, place)?;
    let root = RootHandle::from_fd(tree);
    for step in plan.mounts.iter().filter(|step| !is_in_filesystem(step, plan)) {
        make_mount_point(&root, step)
            .with_context(|| format!("the mount point of {step}"))
            .at(format_args!("/mounts/{}", step.index))?;
    }
    Ok(())
}

fn make_mount_point(root: &RootHandle, step: &MountStep) -> Result<()> {
    match &step.source {
        MountSource::Filesystem { .. } => drop(root.mkdir_all(&step.destination)?),
        MountSource::Bind { path, recursive, link } => {
            let depth = if *recursive { Depth::Recursive } else { Depth::This };
            let last = if *link == SourceLink::Copy { LastLink::Keep } else { LastLink::Follow };
            let source = mount::clone_source(&path.to_string_lossy(), depth, last)?;
            if *link == SourceLink::Copy && file_type(source.as_fd())? == FileType::Symlink {
                return Ok(root.symlink(&step.destination, &link_target(source.as_fd())?)?);
            }
            mount::set_propagation(source.as_fd(), ms::PRIVATE, Depth::Recursive)?;
            let target = match file_type(source.as_fd())? {
                FileType::Directory => root.mkdir_all(&step.destination)?,
                _ => root.create_file(&step.destination)?,
            };
            mount::attach(source.as_fd(), target.as_fd())?;
        }
        MountSource::Cgroup { .. } | MountSource::Remount { .. } => {}
    }
    Ok(())
}

/// Whether a mount is on a new filesystem. Its mount point then comes with that filesystem: from
/// the images, or from the kernel.
fn is_in_filesystem(step: &MountStep, plan: &Plan) -> bool {
    let is_below = |other: &MountStep| {
        matches!(other.source, MountSource::Filesystem { .. })
            && step
                .destination
                .strip_prefix(&other.destination)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    plan.mounts.iter().any(is_below)
}

/// Sets `lo` up in the network namespace of a process.
///
/// # Errors
/// The error of the failed call.
pub fn loopback_up(pid: i32) -> Result<()> {
    let namespace = fd::open(format!("/proc/{pid}/ns/net").as_ref(), OFlags::RDONLY)?;
    with_namespaces_restored([&NETWORK].into_iter(), || {
        clone::setns(namespace.as_fd(), NETWORK.flag)?;
        process::loopback_up().context("bringing the loopback interface up")
    })
}
