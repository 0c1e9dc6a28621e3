//! Looks after a process on its way that has been silent for a moment: one that cannot run would be
//! waited for without end, and nobody but us knows of it yet. process: runtime
//!
//! One that gets little CPU time goes on, if slowly: the kernel takes no quota of 0. Its least is a
//! millisecond of a second.

use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::error::{AtKey, Failure, Result};
use crate::sys::proc;

/// How long a process may be stopped by a signal.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was seen of a process.
#[derive(Debug)]
pub struct Watch<'a> {
    cgroup: Option<&'a Cgroup>,
    /// Since when it was stopped at every look.
    stopped: Option<Instant>,
}

impl<'a> Watch<'a> {
    /// Over a process of this cgroup, which nobody may freeze.
    #[must_use]
    pub fn new(cgroup: &'a Cgroup) -> Self {
        Self { cgroup: Some(cgroup), stopped: None }
    }

    /// Over a process that may be paused, and goes on when it is resumed.
    #[must_use]
    pub fn of_one_that_may_be_paused() -> Self {
        Self { cgroup: None, stopped: None }
    }

    /// Looks at the process `pid`.
    ///
    /// # Errors
    /// [`Failure::WrongStatus`] when it is frozen, or has been stopped for long.
    pub fn look(&mut self, pid: i32) -> Result<()> {
        if let Some(cgroup) = self.cgroup {
            cgroup.refuse_frozen().at("/linux/cgroupsPath")?;
        }
        if !proc::stat(pid).is_ok_and(|stat| b"Tt".contains(&stat.state)) {
            self.stopped = None;
            return Ok(());
        }
        if self.stopped.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            return Ok(());
        }
        let text = format!(
            "process {pid}, which is to become the program, was stopped (SIGSTOP) and does not go on"
        );
        Err(Failure::WrongStatus(text).into())
    }
}
