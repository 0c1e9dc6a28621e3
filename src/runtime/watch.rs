//! Watches a process that is being made and has sent nothing for a while. We would wait endlessly
//! for a process that cannot run, and no other process knows of it yet.
//! process: runtime
//!
//! A process with a small CPU quota is not taken for stopped: the smallest quota of the kernel is
//! one millisecond in each second.

use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::error::{AtKey, Failure, Result};
use crate::sys::proc;

/// How long a process may be stopped by a signal, or paused during `start`.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks whether a process can run.
#[derive(Debug)]
pub struct Watch<'a> {
    freezer: Freezer<'a>,
    /// The role of the process, for the error.
    role: &'static str,
    /// When the process was first found unable to run, and its CPU time then. If its CPU time has
    /// grown since, it runs (for instance under a tracer), and this begins anew.
    stopped_since: Option<(Instant, u64)>,
}

/// What to do if the process is frozen.
#[derive(Debug)]
enum Freezer<'a> {
    /// Fail: this cgroup must not be frozen.
    Refused(&'a Cgroup),
    /// Wait for a while, and then fail.
    ForAWhile(&'a Cgroup),
    /// Wait until it is resumed.
    Allowed,
}

const PROGRAM: &str = "which is to become the program";

impl<'a> Watch<'a> {
    /// Watches a process of this cgroup, which must not be frozen.
    #[must_use]
    pub fn new(cgroup: &'a Cgroup) -> Self {
        Self { freezer: Freezer::Refused(cgroup), role: PROGRAM, stopped_since: None }
    }

    /// Watches a process that may be paused, and goes on when it is resumed.
    #[must_use]
    pub fn pausable() -> Self {
        Self { freezer: Freezer::Allowed, role: PROGRAM, stopped_since: None }
    }

    /// Watches a process of this cgroup, which may be paused if it is resumed soon.
    #[must_use]
    pub fn for_start(cgroup: &'a Cgroup) -> Self {
        Self { freezer: Freezer::ForAWhile(cgroup), role: PROGRAM, stopped_since: None }
    }

    /// Watches a process that does some work for us, in our own cgroup.
    #[must_use]
    pub fn of_helper() -> Self {
        Self { freezer: Freezer::Allowed, role: "which works for the runtime", stopped_since: None }
    }

    /// Checks the process `pid`.
    ///
    /// # Errors
    /// [`Failure::WrongStatus`] if it is frozen where it must not be, or is stopped or paused for
    /// too long.
    pub fn look(&mut self, pid: i32) -> Result<()> {
        let frozen = match self.freezer {
            Freezer::Refused(cgroup) => {
                cgroup.refuse_frozen().at("/linux/cgroupsPath")?;
                false
            }
            Freezer::ForAWhile(cgroup) => cgroup.frozen()?,
            Freezer::Allowed => false,
        };
        let stat = proc::stat(pid).ok();
        if !frozen && !stat.as_ref().is_some_and(|stat| b"Tt".contains(&stat.state)) {
            self.stopped_since = None;
            return Ok(());
        }
        let cpu = stat.map_or(0, |stat| stat.cpu);
        let still = self.stopped_since.filter(|(_, before)| *before == cpu);
        let (since, _) = *self.stopped_since.insert(still.unwrap_or_else(|| (Instant::now(), cpu)));
        if since.elapsed() < PATIENCE {
            return Ok(());
        }
        let text = if frozen {
            "cannot start a container in the paused state".to_owned()
        } else {
            let role = self.role;
            format!("process {pid}, {role}, was stopped (SIGSTOP) and is not continued")
        };
        Err(Failure::WrongStatus(text.into()).into())
    }
}
