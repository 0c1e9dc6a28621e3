//! What `create`, `run` and `restore` have made until the container is there: it is kept as a
//! whole, or undone.

use std::path::Path;

use super::create::with_oom;
use super::run_poststop_hooks;
use crate::cgroup::Cgroup;
use crate::container::{Container, Reserved, StateFile};
use crate::error::Result;
use crate::resctrl::Groups;
use crate::runtime::net_devices::MovedDevices;
use crate::runtime::pid_file;
use crate::runtime::spawn::Child;

/// What has been made of a new container. Unless it is kept, all of it is undone.
#[derive(Debug)]
pub(super) struct Creation<I> {
    // In the order of undoing: a cgroup with a process cannot be removed.
    pub(super) net_devices: MovedDevices,
    pub(super) init: I,
    pub(super) cgroup: Cgroup,
    pub(super) resctrl: Option<Groups>,
    pub(super) reserved: Reserved,
    pub(super) saved: StateFile,
}

impl<I: AsMut<Child>> Creation<I> {
    /// Writes the pid file and the final state; from then on nothing is undone.
    pub(super) fn keep(mut self, pid_file: Option<&Path>) -> Result<(I, Container)> {
        let pid = self.init.as_mut().pid;
        if let Some(path) = pid_file
            && let Err(error) = pid_file::write(path, pid)
        {
            return Err(self.undo(error));
        }
        self.saved.complete = true;
        let directory = match self.reserved.commit(&self.saved) {
            Ok(directory) => directory,
            Err(error) => {
                pid_file.map(pid_file::remove);
                return Err(self.undo(error));
            }
        };
        let Self { mut net_devices, mut init, mut cgroup, mut resctrl, saved, .. } = self;
        net_devices.keep();
        init.as_mut().release();
        cgroup.keep();
        if let Some(groups) = &mut resctrl {
            groups.keep();
        }
        Ok((init, Container::kept(saved, directory)))
    }

    /// Undoes it, runs the poststop hooks, and returns `reason`.
    pub(super) fn undo(self, reason: anyhow::Error) -> anyhow::Error {
        run_poststop_hooks(&self.take_away());
        reason
    }

    /// As [`Self::undo`] for a failure before the container was ready: poststop hooks run only if
    /// other hooks have.
    pub(super) fn give_up(self, reason: anyhow::Error, hooks_began: bool) -> anyhow::Error {
        let reason = with_oom(reason, &self.cgroup);
        let saved = self.take_away();
        if hooks_began {
            run_poststop_hooks(&saved);
        }
        reason
    }

    /// Undoes it; returns what was known of the container.
    fn take_away(self) -> StateFile {
        let Self { net_devices, init, cgroup, resctrl, reserved, saved } = self;
        drop((net_devices, init));
        if saved.shared_pid_namespace {
            // There a hook in the container outlives init. What does not die, nobody can remove.
            let _ = cgroup.kill();
        }
        drop((cgroup, resctrl, reserved));
        saved
    }
}
