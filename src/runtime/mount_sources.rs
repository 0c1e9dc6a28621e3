//! Opens the source of a bind mount for an init that may not reach it, since a user namespace gives
//! no privileges over directories of the host's root. Also maps the ids of such a mount or of a new
//! filesystem, because that needs privileges over the filesystem.
//! config.json: mounts[].source, mounts[].uidMappings, mounts[].gidMappings
//! process: runtime

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags, StatxFlags};
use rustix::io::Errno;

use super::user_namespace;
use crate::error::{AtKey, Cause, Context, Result};
use crate::plan::Plan;
use crate::plan::idmapped_mounts::{IdmapPlan, Ids};
use crate::plan::mount_options::{SourceLink, attr, ms};
use crate::plan::mounts::{MountSource, MountStep};
use crate::plan::namespaces::USER;
use crate::plan::running_mounts::{MountsChange, RunningMounts};
use crate::sys::mount::{self, Depth, LastLink};
use crate::sys::proc::Proc;
use crate::sys::{Call, Named, fd, mountinfo};

/// The mount sources that init may request.
#[derive(Debug)]
pub struct MountSources<'a> {
    steps: &'a [MountStep],
    spread: Propagation,
    /// Whether the container has a user namespace. Options of our mounts are then locked for it.
    locks: bool,
    /// Init's pid.
    init: i32,
    /// A user namespace for each mapping that was needed so far.
    namespaces: Vec<(&'a Ids, OwnedFd)>,
}

impl<'a> MountSources<'a> {
    /// For the mounts of a plan. Nothing is made yet.
    #[must_use]
    pub fn new(plan: &'a Plan, init: i32) -> Self {
        Self {
            steps: &plan.mounts,
            spread: Propagation::As(plan.rootfs.host_propagation),
            locks: plan.namespaces.has_own(&USER),
            init,
            namespaces: Vec::new(),
        }
    }

    /// For mounts of a running container.
    #[must_use]
    pub fn of_running(plan: &'a RunningMounts, init: i32) -> Self {
        let steps =
            if let MountsChange::Add(steps) = &plan.change { steps.as_slice() } else { &[] };
        let locks = plan.namespaces & USER.flag != 0;
        Self { steps, spread: Propagation::AsAsked, locks, init, namespaces: Vec::new() }
    }

    /// The mount for `mounts[index]`. Usually it is a detached copy of the mount that contains the
    /// source, with the source as its root. If init has made that copy itself (`copy`), that one is
    /// used. Otherwise it is a new filesystem. Its ids are mapped if the config demands it.
    ///
    /// # Errors
    /// The error of the failed call; an error if options would be cleared that are locked for a
    /// user namespace.
    pub fn open(&mut self, index: usize, copy: Option<OwnedFd>) -> Result<OwnedFd> {
        let step = self.steps.iter().find(|step| step.index == index);
        let step = step.context("init asked for the source of a mount that is not there")?;
        let tree = match (&step.source, copy) {
            (MountSource::Bind { .. }, Some(copy)) => copy,
            (MountSource::Bind { path, recursive, link }, None) => self
                .copy(step, path, depth(*recursive), *link)
                .at(format_args!("/mounts/{index}/source"))?,
            (MountSource::Filesystem { kind, source, options, by_mount: None, .. }, None)
                if step.idmap.is_some() =>
            {
                mount::new_filesystem(kind, source, options, step.first_attributes())
                    .at(format_args!("/mounts/{index}"))?
            }
            _ => anyhow::bail!("init asked for the source of a mount that has none"),
        };
        if let Some(idmap) = &step.idmap {
            self.map(idmap, &tree, &step.source).at(format_args!("/mounts/{index}"))?;
        }
        Ok(tree)
    }

    fn copy(
        &self,
        step: &MountStep,
        path: &Path,
        depth: Depth,
        link: SourceLink,
    ) -> Result<OwnedFd> {
        let last = if link == SourceLink::Follow { LastLink::Follow } else { LastLink::Keep };
        let tree = mount::clone_source(&path.to_string_lossy(), depth, last)?;
        if self.locks {
            keep_locks(step, path)?;
        }
        if let Some(propagation) = self.spread.of(step) {
            // As for all mounts that init copies itself: mounts that the container makes there must
            // not propagate to the host.
            mount::set_propagation(tree.as_fd(), propagation, Depth::Recursive)?;
        }
        Ok(tree)
    }

    fn map(&mut self, idmap: &'a IdmapPlan, tree: &OwnedFd, source: &MountSource) -> Result<()> {
        let place = match self.namespaces.iter().position(|(ids, _)| *ids == &idmap.ids) {
            Some(place) => place,
            None => {
                self.namespaces.push((&idmap.ids, self.user_namespace(&idmap.ids)?));
                self.namespaces.len() - 1
            }
        };
        match mount::map_ids(tree.as_fd(), self.namespaces[place].1.as_fd(), depth(idmap.recursive))
        {
            Err(call) if call.is(Errno::INVAL) => {
                let below = if idmap.recursive { ", or one mounted below," } else { "" };
                let what = match source {
                    MountSource::Bind { path, .. } => {
                        let kind = filesystem_of(path).unwrap_or_else(|| "unknown".to_owned());
                        format!("the filesystem of {path:?} ({kind}){below}")
                    }
                    MountSource::Filesystem { kind, .. } => format!("filesystem {kind}"),
                    _ => "this".to_owned(),
                };
                Err(call).with_context(|| format!("{what} may not support id-mapped mounts"))
            }
            result => Ok(result?),
        }
    }

    fn user_namespace(&self, ids: &Ids) -> Result<OwnedFd> {
        match ids {
            Ids::Container => Ok(open_user_namespace(self.init)?),
            Ids::Own { uid, gid } => user_namespace::with_mappings(uid, gid),
        }
    }
}

/// Refuses to clear options that are locked. In a user namespace, the kernel would not allow it on
/// the mounts below the source, but our copy has no such locks.
fn keep_locks(step: &MountStep, path: &Path) -> Result<()> {
    const NAMES: [(u64, &str); 4] = [
        (attr::RDONLY, "ro"),
        (attr::NOSUID, "nosuid"),
        (attr::NODEV, "nodev"),
        (attr::NOEXEC, "noexec"),
    ];
    let cleared: Vec<&str> = NAMES
        .iter()
        .filter(|(flag, _)| step.recursive.clear & flag != 0)
        .map(|(_, name)| *name)
        .collect();
    if cleared.is_empty() {
        return Ok(());
    }
    let path = path.canonicalize().with_context(|| format!("finding {path:?}"))?;
    let text = Proc::open()?.read_bytes("self/mountinfo")?;
    let id = mount::of(fd::open(&path, OFlags::PATH)?.as_fd())?.id;
    let copied: Vec<_> = mountinfo::mounts(&text)
        .filter(|mount| mount.id == id || mount.path().starts_with(&path))
        .collect();
    let locked = |name: &&str| copied.iter().any(|mount| mount.has(name));
    match cleared.iter().find(|name| locked(name)) {
        Some(name) => {
            // The error that the kernel would return in the container's user namespace.
            let call: Result<(), Call> = Err(Errno::PERM).named(|| "mount_setattr()".to_owned());
            call.context(Cause::LockedFlags.reason(format!("cannot clear locked flags: {name}")))
        }
        None => Ok(()),
    }
}

/// The propagation of a copy of a source.
#[derive(Debug, Clone, Copy)]
enum Propagation {
    /// The propagation of all copies of the host's mounts in the container. With `None`, it is not
    /// changed.
    As(Option<u64>),
    /// The propagation in the options of the mount, or private.
    AsAsked,
}

impl Propagation {
    fn of(self, step: &MountStep) -> Option<u64> {
        let asks_for = |propagation| step.propagation.iter().any(|(flag, _)| *flag == propagation);
        match self {
            Self::As(propagation) => propagation,
            Self::AsAsked if asks_for(ms::SHARED) => None,
            Self::AsAsked if asks_for(ms::SLAVE) => Some(ms::SLAVE),
            Self::AsAsked => Some(ms::PRIVATE),
        }
    }
}

fn depth(recursive: bool) -> Depth {
    if recursive { Depth::Recursive } else { Depth::This }
}

fn open_user_namespace(pid: i32) -> Result<OwnedFd, Call> {
    fd::open(format!("/proc/{pid}/ns/user").as_ref(), OFlags::RDONLY)
}

/// The type of the filesystem of `path`, found by the id of its mount (proc_pid_mountinfo(5)).
fn filesystem_of(path: &Path) -> Option<String> {
    let id = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?.stx_mnt_id;
    let mounts = Proc::open().ok()?.read_bytes("self/mountinfo").ok()?;
    Some(mountinfo::find(&mounts, id)?.kind.to_string_lossy().into_owned())
}
