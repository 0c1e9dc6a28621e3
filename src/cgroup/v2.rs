//! A cgroup on cgroup v2.
//! config.json: linux.cgroupsPath, linux.resources
//!
//! Kernel: Documentation/admin-guide/cgroup-v2.rst.

use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, OFlags};
use rustix::io::{Errno, pread};

use crate::error::{AtKey, Result};
use crate::plan::cgroup::PathBelowMount;
use crate::plan::resources::{ResourcePlan, Write};
use crate::sys::wait::{self, Bound};
use crate::sys::{Call, CallText, Named, small_file};

use super::dir::{Dir, join};
use super::settings::write_all;
use super::{CreatedDirs, devices, not_frozen, signal_all};

/// How long freezing may take.
const FREEZE_PATIENCE: Bound = Bound::Within(Duration::from_secs(10));

#[derive(Debug)]
pub(super) struct V2Cgroup {
    dir: Dir,
}

impl V2Cgroup {
    pub(super) fn create(
        below: &PathBelowMount,
        controllers: &[String],
        made: &mut CreatedDirs,
    ) -> Result<Self> {
        made.make(below)?;
        let dir = Dir::open(below.full())?;
        // Most parents have all controllers enabled already. A controller that cannot be enabled is
        // an error only when it is limited.
        if !controllers.is_empty() && !has_all(&dir, controllers) {
            hand_down(below, controllers);
            make_usable(&dir)?;
        }
        Ok(Self { dir })
    }

    pub(super) fn open(path: &Path) -> Self {
        Self { dir: Dir::open(path.to_owned()).unwrap_or_else(|_| Dir::by_path(path.to_owned())) }
    }

    pub(super) fn by_path(path: &Path) -> Self {
        Self { dir: Dir::by_path(path.to_owned()) }
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) fn write<'w>(&self, writes: impl Iterator<Item = &'w Write>) -> Result<()> {
        write_all(writes, |_| Some(&self.dir))
    }

    pub(super) fn set_devices(&self, plan: &ResourcePlan) -> Result<()> {
        match &plan.devices {
            Some(policy) => devices::attach(&self.dir, policy).at("/linux/resources/devices"),
            None => Ok(()),
        }
    }

    pub(super) fn freeze(&self) -> Result<()> {
        self.dir.write("cgroup.freeze", "1")?;
        let result = self.wait_frozen();
        if result.is_err() {
            // A container that is frozen in part is worse than one that runs.
            drop(self.thaw());
        }
        result
    }

    /// Waits for `frozen 1` in cgroup.events. poll(2) returns after each change since the last
    /// read.
    fn wait_frozen(&self) -> Result<()> {
        let events = self.dir.open_file("cgroup.events", OFlags::RDONLY)?;
        let patience = FREEZE_PATIENCE.fixed();
        loop {
            let mut buffer = [0; 128];
            let length = pread(&events, &mut buffer, 0)
                .named(|| CallText::on("read", self.dir.shown("cgroup.events")))?;
            if buffer[..length].split(|&byte| byte == b'\n').any(|line| line == b"frozen 1") {
                return Ok(());
            }
            if !wait::any(&mut [PollFd::new(&events, PollFlags::PRI)], patience)? {
                return Err(not_frozen(self.dir.path()));
            }
        }
    }

    pub(super) fn thaw(&self) -> Result<()> {
        Ok(self.dir.write("cgroup.freeze", "0")?)
    }

    pub(super) fn frozen(&self) -> Result<bool> {
        match self.dir.read("cgroup.freeze") {
            Err(call) if call.is(Errno::NOENT) || call.is(Errno::NODEV) => Ok(false),
            result => Ok(result?.trim() == "1"),
        }
    }

    pub(super) fn kill(&self) -> Result<()> {
        match self.dir.write("cgroup.kill", "1") {
            // The kernel has no such file, or the cgroup does not exist.
            Err(call) if call.is(Errno::NOENT) || call.is(Errno::NODEV) => {
                signal_all(&self.dir.procs()?)
            }
            // A threaded cgroup has no `cgroup.kill`. Nothing may be forked while the list is read.
            Err(call) if call.is(Errno::OPNOTSUPP) => {
                drop(self.freeze());
                let result = self.dir.procs().and_then(|pids| signal_all(&pids));
                drop(self.thaw());
                result
            }
            result => Ok(result?),
        }
    }
}

/// The cgroup of a process, relative to the root of the hierarchy that we see; `None` if it is
/// above that.
pub(super) fn path_of(pid: i32) -> Result<Option<String>, Call> {
    let file = format!("/proc/{pid}/cgroup");
    let text = small_file::read_all(CWD, &file, || file.clone())?;
    Ok(parse_path(&String::from_utf8_lossy(&text)))
}

/// The path in a /proc/PID/cgroup (cgroups(7)).
pub(super) fn parse_path(text: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    path.filter(|path| !path.split('/').any(|part| part == "..")).map(str::to_owned)
}

/// Creates a cgroup, moves the process there, and then enables the controllers for it as far as
/// possible. They are enabled after the move, since a cgroup with processes cannot enable them for
/// its children.
pub(super) fn move_below(
    below: &PathBelowMount,
    controllers: &[String],
    pid: i32,
    made: &mut CreatedDirs,
) -> Result<()> {
    made.make(below)?;
    let dir = Dir::open(below.full())?;
    make_usable(&dir)?;
    join(&dir, pid)?;
    hand_down(below, controllers);
    Ok(())
}

fn has_all(dir: &Dir, controllers: &[String]) -> bool {
    dir.read("cgroup.controllers").is_ok_and(|list| {
        controllers.iter().all(|wanted| list.split_ascii_whitespace().any(|name| name == wanted))
    })
}

/// Enables the controllers in each cgroup from the mount to the parent. If the kernel refuses them
/// together, they are enabled one by one: one may be bound to a v1 hierarchy, or need a parent
/// without processes.
fn hand_down(below: &PathBelowMount, controllers: &[String]) {
    let each: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
    let all = each.join(" ");
    let ends = std::iter::once(0).chain(below.path.match_indices('/').map(|(at, _)| at));
    for end in ends {
        let parent = Dir::by_path(below.mount.join(&below.path[..end]));
        if parent.write("cgroup.subtree_control", &all).is_err() {
            for one in &each {
                drop(parent.write("cgroup.subtree_control", one));
            }
        }
    }
}

/// Below a cgroup with processes and threaded controllers, a new cgroup must be threaded too. Then
/// controllers that need whole processes (memory, io) cannot be limited.
fn make_usable(dir: &Dir) -> Result<()> {
    if dir.read("cgroup.type").is_ok_and(|kind| kind.trim() == "domain invalid") {
        dir.write("cgroup.type", "threaded")?;
    }
    Ok(())
}
