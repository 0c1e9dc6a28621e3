//! Looks after a process on its way that has been silent for a moment: one that cannot run would be
//! waited for without end, and nobody but us knows of it yet.
//! process: runtime
//!
//! One that gets little CPU time goes on, if slowly: the kernel takes no quota of 0. Its least is a
//! millisecond of a second.

use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::error::{AtKey, Failure, Result};
use crate::sys::proc;

/// How long a process may be stopped by a signal, or paused while somebody waits for `start`.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was seen of a process.
#[derive(Debug)]
pub struct Watch<'a> {
    freezer: Freezer<'a>,
    /// What the process is, for the message.
    role: &'static str,
    /// Since when it could not run at every look.
    still: Option<Instant>,
}

/// What it means that the process is frozen.
#[derive(Debug)]
enum Freezer<'a> {
    /// Nobody may freeze this cgroup.
    Refused(&'a Cgroup),
    /// It may be paused for a while.
    ForAWhile(&'a Cgroup),
    /// It is paused, and goes on when it is resumed.
    Allowed,
}

const PROGRAM: &str = "which is to become the program";

impl<'a> Watch<'a> {
    /// Over a process of this cgroup, which nobody may freeze.
    #[must_use]
    pub fn new(cgroup: &'a Cgroup) -> Self {
        Self { freezer: Freezer::Refused(cgroup), role: PROGRAM, still: None }
    }

    /// Over a process that may be paused, and goes on when it is resumed.
    #[must_use]
    pub fn of_one_that_may_be_paused() -> Self {
        Self { freezer: Freezer::Allowed, role: PROGRAM, still: None }
    }

    /// Over a process of this cgroup, which may be paused if it is resumed soon.
    #[must_use]
    pub fn of_one_that_starts(cgroup: &'a Cgroup) -> Self {
        Self { freezer: Freezer::ForAWhile(cgroup), role: PROGRAM, still: None }
    }

    /// Over a process that does something for us, in our own cgroup.
    #[must_use]
    pub fn of_helper() -> Self {
        Self { freezer: Freezer::Allowed, role: "which works for the runtime", still: None }
    }

    /// Looks at the process `pid`.
    ///
    /// # Errors
    /// [`Failure::WrongStatus`] when it is frozen, or has been stopped for long.
    pub fn look(&mut self, pid: i32) -> Result<()> {
        let frozen = match self.freezer {
            Freezer::Refused(cgroup) => {
                cgroup.refuse_frozen().at("/linux/cgroupsPath")?;
                false
            }
            Freezer::ForAWhile(cgroup) => cgroup.frozen()?,
            Freezer::Allowed => false,
        };
        if !frozen && !proc::stat(pid).is_ok_and(|stat| b"Tt".contains(&stat.state)) {
            self.still = None;
            return Ok(());
        }
        if self.still.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            return Ok(());
        }
        let text = if frozen {
            "cannot start a container in the paused state".to_owned()
        } else {
            let role = self.role;
            format!("process {pid}, {role}, was stopped (SIGSTOP) and does not go on")
        };
        Err(Failure::WrongStatus(text).into())
    }
}
