//! The cgroup of a container: created, joined, limited, frozen, killed, removed.
//!
//! `plan/cgroup.rs` and `plan/resources.rs` decide what is created and written. cgroup v1 and v2
//! differ in nearly every file, so each has a file here. This file has what both share, and the
//! interface.

pub mod bpf;
mod delegated;
mod devices;
mod dir;
pub mod oom;
mod owner;
mod settings;
pub mod stats;
pub mod systemd;
#[cfg(test)]
mod tests;
mod tree;
mod update;
mod used;
mod v1;
mod v2;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::error::Result;
use crate::kernel::{CgroupPaths, HierarchyName};
use crate::plan::Plan;
use crate::plan::cgroup::{CgroupPlan, PathBelowMount};
use crate::plan::resources::ResourcePlan;
use crate::plan::systemd::Unit;
use crate::sys::{Call, Named};

use dir::{Dir, join};

/// The warning if neither a cgroup nor a pid namespace identifies the processes of the container.
/// It begins as that of runc.
pub const ONLY_INIT_IS_KNOWN: &str = "Creating a rootless container with no cgroup and no private pid namespace. \
    Such configuration is strongly discouraged: kill and delete reach only its first process (linux.namespaces)";

/// A container's cgroup: one directory on cgroup v2, one in every hierarchy on v1.
///
/// One that was made by [`create`](Self::create) is removed when this is dropped, unless
/// [`keep`](Self::keep) was called; one from [`open`](Self::open) never is.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    paths: CgroupPaths,
    /// The unit, if systemd has created the cgroup.
    unit: Option<Unit>,
    /// The limits of [`set_early_limits`](Self::set_early_limits) are set.
    limited: bool,
    made: CreatedDirs,
}

#[derive(Debug)]
enum Version {
    V1(v1::V1Cgroup),
    V2(v2::V2Cgroup),
}

/// The cgroup of a process before it is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMembership {
    /// It was created in the directory of [`Cgroup::fd_for_clone3`], with `CLONE_INTO_CGROUP`.
    Inside,
    /// It is in another cgroup.
    Outside,
}

/// The directories of a cgroup, whether they exist or not.
#[must_use]
pub fn planned_paths(plan: &CgroupPlan) -> CgroupPaths {
    let v1 = |name: &String| HierarchyName::V1(name.clone());
    match plan {
        CgroupPlan::Unified { dir, .. } => CgroupPaths::v2(dir.full()),
        CgroupPlan::Legacy { dirs, unified } => dirs
            .iter()
            .flat_map(|dir| dir.controllers.iter().map(move |name| (v1(name), dir.dir.full())))
            .chain(unified.iter().map(|dir| (HierarchyName::V2, dir.full())))
            .collect(),
    }
}

impl Cgroup {
    /// Creates the cgroup and its parents, and enables the controllers for it on v2 as far as
    /// possible. An empty cgroup that exists is used. Of `limits` only those are set without which
    /// it accepts no process.
    ///
    /// # Errors
    /// [`WrongStatus`](crate::error::Failure::WrongStatus) when there are processes in it or it is
    /// frozen; mkdir(2), open(2).
    pub fn create(plan: &CgroupPlan, limits: &ResourcePlan) -> Result<Self> {
        let mut made = CreatedDirs::default();
        let version = match plan {
            CgroupPlan::Unified { dir, controllers } => {
                Version::V2(v2::V2Cgroup::create(dir, controllers, &mut made)?)
            }
            CgroupPlan::Legacy { dirs, unified } => {
                Version::V1(v1::V1Cgroup::create(dirs, unified.as_ref(), limits, &mut made)?)
            }
        };
        let paths = match &version {
            Version::V1(v1) => v1.paths(),
            Version::V2(_) => planned_paths(plan),
        };
        let cgroup = Self { version, paths, unit: None, limited: false, made };
        if cgroup.made.existed {
            cgroup.refuse_used()?;
        }
        cgroup.refuse_frozen_on_v1()?;
        Ok(cgroup)
    }

    /// The cgroup of [`paths`](Self::paths). It is not examined before it is used, and may not
    /// exist any more.
    #[must_use]
    pub fn open(paths: &CgroupPaths) -> Self {
        let version = match paths.only_v2() {
            Some(path) => Version::V2(v2::V2Cgroup::open(path)),
            None => Version::V1(v1::V1Cgroup::open(paths)),
        };
        Self {
            version,
            paths: paths.clone(),
            unit: None,
            limited: false,
            made: CreatedDirs::default(),
        }
    }

    /// As [`Self::open`], to read a single file.
    #[must_use]
    pub fn by_path(paths: &CgroupPaths) -> Self {
        match paths.only_v2() {
            Some(path) => Self {
                version: Version::V2(v2::V2Cgroup::by_path(path)),
                paths: CgroupPaths::default(),
                unit: None,
                limited: false,
                made: CreatedDirs::default(),
            },
            None => Self::open(paths),
        }
    }

    /// The same cgroup as that of a unit, if there is one. systemd then changes and removes it.
    #[must_use]
    pub fn of_unit(self, unit: Option<Unit>) -> Self {
        Self { unit, ..self }
    }

    /// The unit that has it.
    #[must_use]
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// No cgroup: for an ordinary user who may not create one. Nothing can be limited, frozen or
    /// counted.
    #[must_use]
    pub fn none() -> Self {
        Self::open(&CgroupPaths::default())
    }

    /// The cgroup v2 of a process, below `mount`; `None` if it is outside of our view.
    ///
    /// # Errors
    /// Errors of reading /proc/PID/cgroup.
    pub fn of_process(pid: i32, mount: &Path) -> Result<Option<Self>> {
        let path = v2::path_of(pid)?.map(|path| mount.join(path));
        Ok(path.map(|path| Self::open(&CgroupPaths::v2(path))))
    }

    /// Whether it is a cgroup of version 2.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        matches!(self.version, Version::V2(_))
    }

    /// Keeps the cgroup when this value is dropped.
    pub fn keep(&mut self) {
        self.made.keep();
    }

    /// The directory for `CLONE_INTO_CGROUP`: that of cgroup v2, which the hybrid layout has too.
    #[must_use]
    pub fn fd_for_clone3(&self) -> Option<BorrowedFd<'_>> {
        match &self.version {
            Version::V1(v1) => v1.unified().and_then(Dir::fd),
            Version::V2(v2) => v2.dir().fd(),
        }
    }

    /// Adds the first process of the container, `pid`. A cgroup of systemd is created now, with
    /// this process.
    ///
    /// # Errors
    /// Those of [`add`](Self::add), and of making it.
    pub fn take_first(
        &mut self,
        plan: &Plan,
        pid: i32,
        membership: CgroupMembership,
    ) -> Result<()> {
        let Some(unit) = &plan.unit else { return self.add(pid, membership) };
        systemd::start(unit, pid)?;
        self.made.unit = Some(unit.unit.clone());
        self.made.leaves = self.paths.iter().map(|(_, path)| path.to_owned()).collect();
        // systemd supports only some controllers. For the others the directories are created here.
        let mut made = CreatedDirs::default();
        match &plan.cgroup {
            CgroupPlan::Unified { dir, controllers } if unit.above.is_some() => {
                v2::move_below(dir, controllers, pid, &mut made)?;
            }
            CgroupPlan::Unified { dir, controllers } => {
                drop(v2::V2Cgroup::create(dir, controllers, &mut made)?)
            }
            CgroupPlan::Legacy { dirs, unified } => {
                v1::V1Cgroup::create(dirs, unified.as_ref(), &plan.resources, &mut made)?
                    .add(pid, CgroupMembership::Outside)?;
            }
        }
        made.keep();
        Ok(())
    }

    /// Moves the process `pid` with all its threads into the cgroup, in all hierarchies in which it
    /// is not there yet.
    ///
    /// # Errors
    /// write(2) to `cgroup.procs`.
    pub fn add(&self, pid: i32, membership: CgroupMembership) -> Result<()> {
        match &self.version {
            // An ordinary user may not move a process from his session into a cgroup of his
            // systemd. systemd may.
            Version::V2(v2)
                if membership == CgroupMembership::Outside
                    && self.unit.as_ref().is_some_and(|unit| unit.user) =>
            {
                self.unit.iter().try_for_each(|unit| systemd::attach(unit, v2.dir().path(), pid))
            }
            Version::V1(v1) => v1.add(pid, membership),
            Version::V2(_) if membership == CgroupMembership::Inside => Ok(()),
            Version::V2(v2) => join(v2.dir(), pid),
        }
    }

    /// The directories, as [`planned_paths`] has them.
    #[must_use]
    pub fn paths(&self) -> &CgroupPaths {
        &self.paths
    }

    /// The host pids of all processes in the cgroup and below it; none if it does not exist.
    ///
    /// # Errors
    /// Errors of reading `cgroup.procs`.
    pub fn procs(&self) -> Result<Vec<i32>> {
        match &self.version {
            Version::V1(v1) => v1.procs(),
            Version::V2(v2) => v2.dir().procs(),
        }
    }

    /// Freezes all processes, and waits until they are frozen.
    ///
    /// # Errors
    /// An error if they do not freeze within ten seconds, and are then thawed again, or if there is
    /// no freezer.
    pub fn freeze(&self) -> Result<()> {
        match &self.version {
            Version::V1(v1) => v1.freeze(),
            Version::V2(v2) => v2.freeze(),
        }
    }

    /// Thaws all processes.
    ///
    /// # Errors
    /// Errors of write(2) to `cgroup.freeze` or `freezer.state`; an error if there is no freezer.
    pub fn thaw(&self) -> Result<()> {
        match &self.version {
            Version::V1(v1) => v1.thaw(),
            Version::V2(v2) => v2.thaw(),
        }
    }

    /// Whether a freeze was requested for this cgroup itself, and not only for one above it. False
    /// if it does not exist.
    ///
    /// # Errors
    /// Errors of reading `cgroup.freeze` or `freezer.state`.
    pub fn frozen(&self) -> Result<bool> {
        match &self.version {
            Version::V1(v1) => v1.frozen(),
            Version::V2(v2) => v2.frozen(),
        }
    }

    /// Sends SIGKILL to all processes, also to frozen ones and to those that are being forked. Does
    /// not wait.
    ///
    /// # Errors
    /// write(2) to `cgroup.kill`, kill(2), or reading `cgroup.procs`.
    pub fn kill(&self) -> Result<()> {
        match &self.version {
            Version::V1(v1) => v1.kill(),
            Version::V2(v2) => v2.kill(),
        }
    }

    /// Removes the cgroup and those below it. Kills nothing, but waits up to two seconds for killed
    /// processes. A cgroup that does not exist is not an error. A unit is stopped with its
    /// processes. If systemd cannot be reached, only a warning is logged, since a scope ends by
    /// itself when its cgroup is gone.
    ///
    /// # Errors
    /// rmdir(2): `EBUSY` when there are processes in it.
    pub fn destroy(&self) -> Result<()> {
        if let Some(unit) = &self.unit
            && let Err(error) = systemd::stop(unit)
        {
            log::warn!("{error:#}");
        }
        match &self.version {
            Version::V1(v1) => v1.destroy(),
            Version::V2(v2) => dir::remove([v2.dir().path()]),
        }
    }

    /// Whether the OOM killer has killed in the cgroup; false if that cannot be read.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        let count = match &self.version {
            Version::V1(v1) => v1.oom_kills(),
            Version::V2(v2) => v2.dir().read_pair("memory.events", "oom_kill").ok().flatten(),
        };
        count.is_some_and(|count| count > 0)
    }
}

/// The directories that were created. They are removed when this is dropped.
#[derive(Debug, Default)]
struct CreatedDirs {
    /// Those of the container.
    leaves: Vec<PathBuf>,
    /// Those above, from the top.
    parents: Vec<PathBuf>,
    /// A directory of the container existed already.
    existed: bool,
    /// The unit for which systemd has created them.
    unit: Option<Unit>,
}

impl CreatedDirs {
    /// Creates a directory and those above it. Returns whether it is new.
    fn make(&mut self, below: &PathBelowMount) -> Result<bool> {
        let full = below.full();
        let new = match dir::make(&full) {
            Err(call) if call.is(Errno::NOENT) => {
                for (at, _) in below.path.match_indices('/') {
                    let parent = below.mount.join(&below.path[..at]);
                    if dir::make(&parent)? {
                        self.parents.push(parent);
                    }
                }
                dir::make(&full)?
            }
            result => result?,
        };
        if new {
            self.leaves.push(full);
        } else {
            self.existed = true;
        }
        Ok(new)
    }

    /// Keeps all of it when this value is dropped.
    fn keep(&mut self) {
        self.leaves.clear();
        self.parents.clear();
        self.unit = None;
    }
}

impl Drop for CreatedDirs {
    fn drop(&mut self) {
        if let Some(unit) = &self.unit {
            drop(systemd::stop(unit));
        }
        // The error that has caused this is more useful than one from here. If another container
        // uses a parent by now, the kernel keeps the parent.
        drop(dir::remove(self.leaves.iter().map(PathBuf::as_path)));
        for parent in self.parents.iter().rev() {
            let _ = rustix::fs::unlinkat(CWD, parent, rustix::fs::AtFlags::REMOVEDIR);
        }
    }
}

/// Whether an error of [`Cgroup::create`] is one of missing permission.
#[must_use]
pub fn is_denied(error: &anyhow::Error) -> bool {
    const DENIED: [Errno; 4] = [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::NOENT];
    error.downcast_ref::<Call>().is_some_and(|call| DENIED.iter().any(|errno| call.is(*errno)))
}

/// Sends SIGKILL to each of `pids`. One that has ended is not an error.
fn signal_all(pids: &[i32]) -> Result<()> {
    for &raw in pids {
        let Some(pid) = Pid::from_raw(raw) else { continue };
        match kill_process(pid, Signal::KILL) {
            Err(Errno::SRCH) => {}
            result => result.named(|| format!("kill({raw}, SIGKILL)"))?,
        }
    }
    Ok(())
}

/// The error of a freezer that does not finish.
fn not_frozen(path: &Path) -> anyhow::Error {
    anyhow!("the processes of {} did not all stop", path.display())
}
