//! Watches a process that is being made and has sent nothing for a while. We would wait endlessly
//! for a process that cannot run, and no other process knows of it yet.
//! process: runtime
//!
//! A process with little CPU time is slow, but goes on: the kernel allows no quota of 0, but at
//! least a millisecond in each second.

use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::error::{AtKey, Failure, Result};
use crate::sys::proc;

/// How long a process may be stopped by a signal, or paused during `start`.
const PATIENCE: Duration = Duration::from_secs(10);

/// The results of earlier checks of a process.
#[derive(Debug)]
pub struct Watch<'a> {
    freezer: Freezer<'a>,
    /// The role of the process, for the error.
    role: &'static str,
    /// The time since which each check has found that it could not run, and the CPU time that it
    /// had used then. A process that is traced is found stopped again and again, but goes on.
    still: Option<(Instant, u64)>,
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
        Self { freezer: Freezer::Refused(cgroup), role: PROGRAM, still: None }
    }

    /// Watches a process that may be paused, and goes on when it is resumed.
    #[must_use]
    pub fn of_one_that_may_be_paused() -> Self {
        Self { freezer: Freezer::Allowed, role: PROGRAM, still: None }
    }

    /// Watches a process of this cgroup, which may be paused if it is resumed soon.
    #[must_use]
    pub fn of_one_that_starts(cgroup: &'a Cgroup) -> Self {
        Self { freezer: Freezer::ForAWhile(cgroup), role: PROGRAM, still: None }
    }

    /// Watches a process that does some work for us, in our own cgroup.
    #[must_use]
    pub fn of_helper() -> Self {
        Self { freezer: Freezer::Allowed, role: "which works for the runtime", still: None }
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
            self.still = None;
            return Ok(());
        }
        let cpu = stat.map_or(0, |stat| stat.cpu);
        let still = self.still.filter(|(_, before)| *before == cpu);
        let (since, _) = *self.still.insert(still.unwrap_or_else(|| (Instant::now(), cpu)));
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
