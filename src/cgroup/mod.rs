//! The container's cgroup as it exists: made, joined, limited, frozen, killed, removed.
//!
//! What to make and what to write was decided in `plan/cgroup.rs` and `plan/resources.rs`. cgroup
//! v2 and v1 differ in nearly every file, so each has its own file here; this one has what is the
//! same, and the interface.

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
use crate::plan::Plan;
use crate::plan::cgroup::{CgroupPlan, PathBelowMount};
use crate::plan::resources::ResourcePlan;
use crate::plan::systemd::Unit;
use crate::sys::{Call, Named};

use dir::{Dir, join};

/// The warning where neither a cgroup nor a pid namespace tells which processes are the
/// container's. It begins as runc's.
pub const ONLY_INIT_IS_KNOWN: &str = "Creating a rootless container with no cgroup and no private pid namespace. \
    Such configuration is strongly discouraged: kill and delete reach only its first process (linux.namespaces)";

/// A container's cgroup: one directory on cgroup v2, one in every hierarchy on v1.
///
/// One that was made by [`create`](Self::create) is removed when this is dropped, unless
/// [`keep`](Self::keep) was called; one from [`open`](Self::open) never is.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    paths: Vec<(String, PathBuf)>,
    /// The unit that has it, if systemd has made it.
    unit: Option<Unit>,
    /// The limits of [`limit_birth`](Self::limit_birth) are set.
    limited: bool,
    made: CreatedDirs,
}

#[derive(Debug)]
enum Version {
    V1(v1::V1Cgroup),
    V2(v2::V2Cgroup),
}

/// Where a process that is added comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMembership {
    /// It was made in the directory of [`Cgroup::clone_into`], by `CLONE_INTO_CGROUP`.
    Inside,
    /// It is in some other cgroup.
    Outside,
}

/// What is stored of a cgroup: each controller (empty for cgroup v2, `name=systemd` for that
/// hierarchy) and its directory, whether it is there yet or not.
#[must_use]
pub fn planned_paths(plan: &CgroupPlan) -> Vec<(String, PathBuf)> {
    match plan {
        CgroupPlan::Unified { dir, .. } => vec![(String::new(), dir.full())],
        CgroupPlan::Legacy { dirs, unified } => dirs
            .iter()
            .flat_map(|dir| dir.controllers.iter().map(|name| (name.clone(), dir.dir.full())))
            .chain(unified.iter().map(|dir| (String::new(), dir.full())))
            .collect(),
    }
}

impl Cgroup {
    /// Makes the cgroup, its parents, and on v2 hands the controllers down to it as far as they go.
    /// An empty cgroup that is there already is taken over. Of `limits` it gets what it takes no
    /// process without.
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

    /// The cgroup of [`paths`](Self::paths). Nothing is looked at until it is used, and it may be
    /// gone by now.
    #[must_use]
    pub fn open(paths: &[(String, PathBuf)]) -> Self {
        let version = match paths {
            [(name, path)] if name.is_empty() => Version::V2(v2::V2Cgroup::open(path)),
            paths => Version::V1(v1::V1Cgroup::open(paths)),
        };
        Self {
            version,
            paths: paths.to_vec(),
            unit: None,
            limited: false,
            made: CreatedDirs::default(),
        }
    }

    /// As [`Self::open`], for one look at one file.
    #[must_use]
    pub fn by_path(paths: &[(String, PathBuf)]) -> Self {
        match paths {
            [(name, path)] if name.is_empty() => Self {
                version: Version::V2(v2::V2Cgroup::by_path(path)),
                paths: Vec::new(),
                unit: None,
                limited: false,
                made: CreatedDirs::default(),
            },
            paths => Self::open(paths),
        }
    }

    /// The same, as that of a unit, if there is one: what systemd made, systemd changes and
    /// removes.
    #[must_use]
    pub fn of_unit(self, unit: Option<Unit>) -> Self {
        Self { unit, ..self }
    }

    /// The unit that has it.
    #[must_use]
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// What an ordinary user's container has who may make no cgroup: nothing that could be limited,
    /// frozen or counted.
    #[must_use]
    pub fn none() -> Self {
        Self::open(&[])
    }

    /// The cgroup of cgroup v2, mounted at `mount`, that a process is in now; `None` when it is out
    /// of our sight.
    ///
    /// # Errors
    /// Reading /proc/PID/cgroup.
    pub fn of_process(pid: i32, mount: &Path) -> Result<Option<Self>> {
        let path = v2::path_of(pid)?.map(|path| mount.join(path));
        Ok(path.map(|path| Self::open(&[(String::new(), path)])))
    }

    /// Whether it is a cgroup of version 2.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        matches!(self.version, Version::V2(_))
    }

    /// From now on the cgroup outlives this value.
    pub fn keep(&mut self) {
        self.made.forget();
    }

    /// The directory for `CLONE_INTO_CGROUP`: that of cgroup v2, which the hybrid layout has too.
    #[must_use]
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        match &self.version {
            Version::V1(v1) => v1.unified().and_then(Dir::fd),
            Version::V2(v2) => v2.dir().fd(),
        }
    }

    /// Takes the container's first process, `pid`, in. If the cgroup is systemd's, it is made now,
    /// around the process.
    ///
    /// # Errors
    /// Those of [`add`](Self::add), and of making it.
    pub fn take_first(&mut self, plan: &Plan, pid: i32, born: CgroupMembership) -> Result<()> {
        let Some(unit) = &plan.unit else { return self.add(pid, born) };
        systemd::start(unit, pid)?;
        self.made.unit = Some(unit.unit.clone());
        self.made.leaves = self.paths.iter().map(|(_, path)| path.clone()).collect();
        // systemd knows some controllers only; the rest is ours, as ever.
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
        made.forget();
        Ok(())
    }

    /// Moves the process `pid`, with all its threads, into the cgroup: into all hierarchies where
    /// it is not yet.
    ///
    /// # Errors
    /// write(2) to `cgroup.procs`.
    pub fn add(&self, pid: i32, born: CgroupMembership) -> Result<()> {
        match &self.version {
            // From his session, an ordinary user can move nothing into a cgroup of his systemd;
            // that can.
            Version::V2(v2)
                if born == CgroupMembership::Outside
                    && self.unit.as_ref().is_some_and(|unit| unit.user) =>
            {
                self.unit.iter().try_for_each(|unit| systemd::attach(unit, v2.dir().path(), pid))
            }
            Version::V1(v1) => v1.add(pid, born),
            Version::V2(_) if born == CgroupMembership::Inside => Ok(()),
            Version::V2(v2) => join(v2.dir(), pid),
        }
    }

    /// The directories, as [`planned_paths`] has them.
    #[must_use]
    pub fn paths(&self) -> &[(String, PathBuf)] {
        &self.paths
    }

    /// The host pids of all processes in the cgroup and below it; none when it is gone.
    ///
    /// # Errors
    /// Reading `cgroup.procs`.
    pub fn procs(&self) -> Result<Vec<i32>> {
        match &self.version {
            Version::V1(v1) => v1.procs(),
            Version::V2(v2) => v2.dir().procs(),
        }
    }

    /// Stops all processes, and returns when they have stopped.
    ///
    /// # Errors
    /// When they do not within ten seconds, which leaves them running; without a freezer.
    pub fn freeze(&self) -> Result<()> {
        match &self.version {
            Version::V1(v1) => v1.freeze(),
            Version::V2(v2) => v2.freeze(),
        }
    }

    /// Lets all processes run again.
    ///
    /// # Errors
    /// write(2) to `cgroup.freeze` or `freezer.state`; without a freezer.
    pub fn thaw(&self) -> Result<()> {
        match &self.version {
            Version::V1(v1) => v1.thaw(),
            Version::V2(v2) => v2.thaw(),
        }
    }

    /// Whether the cgroup itself, not one above it, was told to freeze. One that is gone is not
    /// frozen.
    ///
    /// # Errors
    /// Reading `cgroup.freeze` or `freezer.state`.
    pub fn frozen(&self) -> Result<bool> {
        match &self.version {
            Version::V1(v1) => v1.frozen(),
            Version::V2(v2) => v2.frozen(),
        }
    }

    /// Sends SIGKILL to all processes, also to frozen ones, and to those that are being forked.
    /// Waits for none.
    ///
    /// # Errors
    /// write(2) to `cgroup.kill`, kill(2), or reading `cgroup.procs`.
    pub fn kill(&self) -> Result<()> {
        match &self.version {
            Version::V1(v1) => v1.kill(),
            Version::V2(v2) => v2.kill(),
        }
    }

    /// Removes the cgroup and those below it. Kills nothing, but waits up to two seconds for the
    /// dying. To be gone already is fine. A unit is stopped, with what is in it; when systemd
    /// cannot be asked to, only that is told, since a scope ends by itself when its cgroup is gone.
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

    /// Whether the OOM killer has killed in the cgroup. When that cannot be read, it has not.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        let count = match &self.version {
            Version::V1(v1) => v1.oom_kills(),
            Version::V2(v2) => v2.dir().read_pair("memory.events", "oom_kill").ok().flatten(),
        };
        count.is_some_and(|count| count > 0)
    }
}

/// The directories that were made; they are removed when this is dropped.
#[derive(Debug, Default)]
struct CreatedDirs {
    /// Those of the container.
    leaves: Vec<PathBuf>,
    /// Those above, from the top.
    parents: Vec<PathBuf>,
    /// One of the container's was there already.
    existed: bool,
    /// The unit that systemd made them for.
    unit: Option<Unit>,
}

impl CreatedDirs {
    /// Makes a directory and those above it; whether it is new.
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

    fn forget(&mut self) {
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
        // Already on the way out with an error, which says more than one from here. A parent may
        // have been joined by another container; then the kernel keeps it.
        drop(dir::remove(self.leaves.iter().map(PathBuf::as_path)));
        for parent in self.parents.iter().rev() {
            let _ = rustix::fs::unlinkat(CWD, parent, rustix::fs::AtFlags::REMOVEDIR);
        }
    }
}

/// Whether an error of [`Cgroup::create`] says that we have no right to.
#[must_use]
pub fn is_denied(error: &anyhow::Error) -> bool {
    const DENIED: [Errno; 4] = [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::NOENT];
    error.downcast_ref::<Call>().is_some_and(|call| DENIED.iter().any(|errno| call.is(*errno)))
}

/// SIGKILL for each of `pids`; one that is gone is fine.
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

/// The error of a freezer that does not get there.
fn not_frozen(path: &Path) -> anyhow::Error {
    anyhow!("the processes of {} did not all stop", path.display())
}
