//! Checks that a cgroup can be used for a new process: it is not in use and not frozen.

use std::path::{Path, PathBuf};

use rustix::fs::CWD;

use super::{Cgroup, Version};
use crate::error::{Cause, Failure, Result};
use crate::sys::small_file;

impl Cgroup {
    /// Refuses a cgroup that has processes or is frozen. Two containers in one cgroup would share
    /// their limits, and `delete` of one would kill both.
    ///
    /// # Errors
    /// [`Failure::WrongStatus`]; errors of reading the cgroup.
    pub fn refuse_used(&self) -> Result<()> {
        let procs = match &self.version {
            Version::V1(v1) => v1.most_procs()?,
            Version::V2(_) => self.procs()?.len(),
        };
        if procs != 0 {
            let text = format!("container's cgroup is not empty: {procs} process(es) found");
            return Err(Failure::WrongStatus(Cause::CgroupInUse.reason(text)).into());
        }
        self.refuse_frozen()
    }

    /// Refuses a cgroup that is frozen, itself or by one above it: a process that is created there
    /// never runs.
    ///
    /// # Errors
    /// [`Failure::WrongStatus`], which names the frozen cgroup.
    pub fn refuse_frozen(&self) -> Result<()> {
        let Some((own, frozen)) = self.frozen_at() else { return Ok(()) };
        let what = "container's cgroup unexpectedly frozen";
        let text = match own {
            true => format!("{what}: {} (thaw it first)", frozen.display()),
            false => format!("{what} by one above it: {} (thaw that first)", frozen.display()),
        };
        Err(Failure::WrongStatus(Cause::CgroupFrozen.reason(text)).into())
    }

    /// As [`Self::refuse_frozen`], on cgroup v1 only, and with a single read if it is not frozen.
    /// On v1 a frozen process cannot be killed, so it must not be created. On v2 it can be killed,
    /// so `runtime/watch.rs` checks that only for a process that does not answer.
    ///
    /// # Errors
    /// As [`Self::refuse_frozen`].
    pub fn refuse_frozen_on_v1(&self) -> Result<()> {
        match &self.version {
            Version::V1(v1) if v1.frozen_above() => self.refuse_frozen(),
            _ => Ok(()),
        }
    }

    /// Refuses a cgroup that is frozen by one above it. Its own state is tested by
    /// [`Self::frozen`].
    ///
    /// # Errors
    /// As [`Self::refuse_frozen`].
    pub fn refuse_frozen_above(&self) -> Result<()> {
        let above = match &self.version {
            Version::V1(v1) => v1.frozen_above(),
            Version::V2(v2) => matches!(v2.dir().read_pair("cgroup.events", "frozen"), Ok(Some(1))),
        };
        if above { self.refuse_frozen() } else { Ok(()) }
    }

    /// The nearest cgroup for which a freeze was requested, and whether it is this one.
    fn frozen_at(&self) -> Option<(bool, PathBuf)> {
        let freezers = match &self.version {
            Version::V1(v1) => v1.freezers(),
            Version::V2(v2) => vec![(v2.dir().path(), "cgroup.freeze")],
        };
        freezers.into_iter().find_map(|(path, file)| {
            let frozen = path.ancestors().find(|dir| is_told_to_freeze(dir, file))?;
            Some((frozen == path, frozen.to_owned()))
        })
    }
}

/// A file that cannot be read means that the cgroup is not frozen: it may not exist yet, and the
/// root has no such file.
fn is_told_to_freeze(dir: &Path, file: &str) -> bool {
    let file = dir.join(file);
    small_file::read_short(CWD, &file, || file.display().to_string())
        .is_ok_and(|text| text.trim_ascii() == b"1")
}
