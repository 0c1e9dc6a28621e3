//! A cgroup on cgroup v1: a directory in each hierarchy, and one in cgroup v2 if that is mounted
//! too.
//! config.json: linux.cgroupsPath, linux.resources
//! Kernel: Documentation/admin-guide/cgroup-v1/. Files are opened by path and not relative to a
//! descriptor, since in most directories only cgroup.procs is used.

use std::path::Path;
use std::time::Duration;

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::error::{AtKey, Failure, Result};
use crate::kernel::{CgroupPaths, HierarchyName};
use crate::plan::cgroup::{LegacyDir, PathBelowMount};
use crate::plan::resources::{ResourcePlan, Write};
use crate::sys::wait::{self, Bound};
use crate::sys::{Call, small_file};

use super::dir::{self, Dir, PAUSES, join};
use super::settings::write_all;
use super::{CgroupMembership, CreatedDirs, devices, not_frozen, signal_all};

/// How long freezing may take.
const FREEZE_PATIENCE: Bound = Bound::Within(Duration::from_secs(10));

#[derive(Debug)]
pub(super) struct V1Cgroup {
    hierarchies: Vec<HierarchyDirs>,
    unified: Option<Dir>,
}

#[derive(Debug)]
struct HierarchyDirs {
    controllers: Vec<String>,
    dir: Dir,
}

/// Creates the directory in cgroup v2. It has no limits here, so a missing permission is not an
/// error.
fn make_unified(below: &PathBelowMount, made: &mut CreatedDirs) -> Result<Option<Dir>> {
    match made.make(below) {
        Err(error) if super::is_denied(&error) => {
            log::debug!("no cgroup of cgroup v2 beside those of v1: {error:#}");
            Ok(None)
        }
        result => result.and_then(|_| Ok(Some(Dir::open(below.full())?))),
    }
}

impl V1Cgroup {
    pub(super) fn create(
        dirs: &[LegacyDir],
        unified: Option<&PathBelowMount>,
        limits: &ResourcePlan,
        made: &mut CreatedDirs,
    ) -> Result<Self> {
        let mut hierarchies = Vec::with_capacity(dirs.len());
        for LegacyDir { controllers, dir } in dirs {
            made.make(dir)?;
            if controllers.iter().any(|name| name == "cpuset") {
                fill_cpuset(dir, limits)?;
            }
            hierarchies.push(HierarchyDirs {
                controllers: controllers.clone(),
                dir: Dir::by_path(dir.full()),
            });
        }
        let unified = unified.map(|below| make_unified(below, made)).transpose()?.flatten();
        Ok(Self { hierarchies, unified })
    }

    /// The directories.
    pub(super) fn paths(&self) -> CgroupPaths {
        let named = |found: &HierarchyDirs| {
            let path = found.dir.path().to_owned();
            let names = found.controllers.clone().into_iter().map(HierarchyName::V1);
            names.map(move |name| (name, path.clone()))
        };
        let unified = self.unified.iter().map(|dir| (HierarchyName::V2, dir.path().to_owned()));
        self.hierarchies.iter().flat_map(named).chain(unified).collect()
    }

    pub(super) fn open(paths: &CgroupPaths) -> Self {
        let mut cgroup = Self { hierarchies: Vec::new(), unified: None };
        for (name, path) in paths.iter() {
            let path = path.to_owned();
            let HierarchyName::V1(name) = name else {
                cgroup.unified =
                    Some(Dir::open(path.clone()).unwrap_or_else(|_| Dir::by_path(path)));
                continue;
            };
            match cgroup.hierarchies.iter_mut().find(|known| known.dir.path() == path) {
                Some(known) => known.controllers.push(name.clone()),
                None => {
                    let controllers = vec![name.clone()];
                    let dir = Dir::by_path(path);
                    cgroup.hierarchies.push(HierarchyDirs { controllers, dir });
                }
            }
        }
        cgroup
    }

    pub(super) fn unified(&self) -> Option<&Dir> {
        self.unified.as_ref()
    }

    pub(super) fn add(&self, pid: i32, membership: CgroupMembership) -> Result<()> {
        for hierarchy in &self.hierarchies {
            join(&hierarchy.dir, pid)?;
        }
        match &self.unified {
            Some(unified) if membership == CgroupMembership::Outside => join(unified, pid),
            _ => Ok(()),
        }
    }

    pub(super) fn write<'w>(&self, writes: impl Iterator<Item = &'w Write>) -> Result<()> {
        write_all(writes, |controller| self.dir(controller))
    }

    pub(super) fn set_devices(&self, plan: &ResourcePlan) -> Result<()> {
        match (&plan.devices, self.dir("devices")) {
            (Some(policy), Some(dir)) => devices::write(dir, policy).at("/linux/resources/devices"),
            // Without the controller there is an error in the plan, unless everything is allowed.
            (_, None) | (None, _) => Ok(()),
        }
    }

    pub(super) fn procs(&self) -> Result<Vec<i32>> {
        // Any hierarchy can be used. Programs in the container have the least reason to make
        // cgroups below that of devices.
        let first = self.hierarchies.first().map(|hierarchy| &hierarchy.dir);
        self.dir("devices").or(first).or(self.unified.as_ref()).map_or(Ok(Vec::new()), Dir::procs)
    }

    /// The number of processes in the hierarchy with the most. Perhaps only the hierarchy of
    /// systemd has any.
    pub(super) fn most_procs(&self) -> Result<usize> {
        let dirs = self.hierarchies.iter().map(|hierarchy| &hierarchy.dir).chain(&self.unified);
        dirs.map(Dir::procs).try_fold(0, |most, procs| Ok(most.max(procs?.len())))
    }

    /// The freezer, and the file that says whether a freeze was requested.
    pub(super) fn freezers(&self) -> Vec<(&Path, &'static str)> {
        let freezer = self.dir("freezer").map(|dir| (dir.path(), "freezer.self_freezing"));
        freezer
            .into_iter()
            .chain(self.unified.as_ref().map(|dir| (dir.path(), "cgroup.freeze")))
            .collect()
    }

    /// Whether a freeze was requested for a cgroup above this one. False if that cannot be read.
    pub(super) fn frozen_above(&self) -> bool {
        let freezer = self.dir("freezer");
        freezer.is_some_and(|dir| {
            dir.read("freezer.parent_freezing").is_ok_and(|text| text.trim() == "1")
        })
    }

    pub(super) fn freeze(&self) -> Result<()> {
        let freezer = self.freezer()?;
        let result = freeze(freezer);
        if result.is_err() {
            // A container that is frozen in part is worse than one that runs.
            drop(self.thaw());
        }
        result
    }

    pub(super) fn thaw(&self) -> Result<()> {
        Ok(self.freezer()?.write("freezer.state", "THAWED")?)
    }

    pub(super) fn frozen(&self) -> Result<bool> {
        let Some(freezer) = self.dir("freezer") else { return Ok(false) };
        // 1 as soon as a freeze was requested for this cgroup; not 1 if only for one above.
        match freezer.read("freezer.self_freezing") {
            Err(call) if call.is(Errno::NOENT) || call.is(Errno::NODEV) => Ok(false),
            result => Ok(result?.trim() == "1"),
        }
    }

    pub(super) fn kill(&self) -> Result<()> {
        let freezer = self.dir("freezer");
        // cgroup v2 kills all at once. Without it, nothing may be forked while the list is read.
        let at_once =
            self.unified.as_ref().is_some_and(|unified| unified.write("cgroup.kill", "1").is_ok());
        if let Some(freezer) = freezer.filter(|_| !at_once) {
            drop(freeze(freezer));
        }
        let result = self.procs().and_then(|pids| signal_all(&pids));
        // Frozen processes end when they are thawed.
        match freezer.map(|freezer| freezer.write("freezer.state", "THAWED")) {
            Some(Err(call)) if !call.is(Errno::NOENT) && !call.is(Errno::NODEV) => {
                result.and(Err(call.into()))
            }
            _ => result,
        }
    }

    pub(super) fn destroy(&self) -> Result<()> {
        let dirs = self.hierarchies.iter().map(|hierarchy| &hierarchy.dir).chain(&self.unified);
        dir::remove(dirs.map(Dir::path))
    }

    pub(super) fn oom_kills(&self) -> Option<u64> {
        self.dir("memory")?.read_pair("memory.oom_control", "oom_kill").ok().flatten()
    }

    fn freezer(&self) -> Result<&Dir> {
        let text = || Failure::Unsupported("cgroup controller \"freezer\" is not available".into());
        self.dir("freezer").ok_or_else(|| text().into())
    }

    pub(super) fn dir(&self, controller: &str) -> Option<&Dir> {
        let found = self
            .hierarchies
            .iter()
            .find(|known| known.controllers.iter().any(|name| name == controller));
        found.map(|hierarchy| &hierarchy.dir)
    }
}

/// Freezes the processes. While new ones are forked the kernel may not finish; writing FROZEN again
/// helps.
fn freeze(freezer: &Dir) -> Result<()> {
    let frozen = wait::retry(FREEZE_PATIENCE, PAUSES, || {
        freezer.write("freezer.state", "FROZEN")?;
        Ok::<_, Call>((freezer.read("freezer.state")?.trim() == "FROZEN").then_some(()))
    })?;
    frozen.ok_or_else(|| not_frozen(freezer.path()))
}

/// A new cpuset has no CPUs and no memory nodes, and accepts no process. It gets those of the
/// config at once, else those of its parent. Those of the parent cannot be set first: the kernel
/// refuses them beside an exclusive cpuset.
fn fill_cpuset(dir: &PathBelowMount, limits: &ResourcePlan) -> Result<(), Call> {
    let (leaf, mount) = (dir.full(), &*dir.mount);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Some(parent) = leaf.parent() {
            inherit(parent, mount, file)?;
        }
        if let Some(own) = limits.writes.iter().rfind(|write| write.file == file) {
            // If the kernel refuses it, the error comes when all limits are set.
            drop(Dir::by_path(leaf.clone()).write(file, &own.value));
        }
        inherit(&leaf, mount, file)?;
    }
    Ok(())
}

/// Copies the list of the parent to a cpuset without one. The parent may not have one yet either.
fn inherit(dir: &Path, mount: &Path, file: &str) -> Result<(), Call> {
    if !list(dir, file)?.is_empty() {
        return Ok(());
    }
    let Some(parent) = dir.parent().filter(|parent| parent.starts_with(mount)) else {
        return Ok(());
    };
    inherit(parent, mount, file)?;
    let at = dir.join(file);
    small_file::write_at(CWD, &at, &list(parent, file)?, || at.display().to_string())
}

fn list(dir: &Path, file: &str) -> Result<String, Call> {
    let at = dir.join(file);
    let content = small_file::read_all(CWD, &at, || at.display().to_string())?;
    Ok(String::from_utf8_lossy(&content).trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the ban on writing files is for the runtime")]

    use std::fs;

    use super::{PathBelowMount, fill_cpuset};
    use crate::plan::resources::{ResourcePlan, Write};

    /// On plain files: the kernel would need CPUs that no other test uses.
    #[test]
    fn a_cpuset_gets_the_configs_lists_or_keeps_its_own_or_gets_its_parents() {
        let write = |value: &str| Write {
            controller: "cpuset".into(),
            file: "cpuset.cpus".into(),
            value: value.to_owned(),
            key: "".into(),
            or: None,
            optional: false,
            retried: false,
            early: false,
        };
        for (config, there, found) in [(None, "", "0-3"), (None, "2\n", "2"), (Some("1"), "", "1")]
        {
            let mount = tempfile::tempdir().expect("tempdir");
            let leaf = mount.path().join("parent/leaf");
            fs::create_dir_all(&leaf).expect("directories");
            for (dir, cpus) in
                [(mount.path(), "0-3\n"), (&mount.path().join("parent"), "\n"), (&leaf, there)]
            {
                fs::write(dir.join("cpuset.cpus"), cpus).expect("cpus");
                fs::write(dir.join("cpuset.mems"), "0\n").expect("mems");
            }
            let limits = ResourcePlan {
                writes: config.map(write).into_iter().collect(),
                ..ResourcePlan::default()
            };
            let below =
                PathBelowMount { mount: mount.path().to_owned(), path: "parent/leaf".to_owned() };
            fill_cpuset(&below, &limits).expect("filled");
            let read =
                |dir: &std::path::Path| fs::read_to_string(dir.join("cpuset.cpus")).expect("cpus");
            assert_eq!(read(&leaf).trim(), found, "{config:?}, {there:?}");
            assert_eq!(read(&mount.path().join("parent")).trim(), "0-3");
        }
    }
}
