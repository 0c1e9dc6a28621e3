//! `pause` and `resume`: the freezer of the container's cgroup.

use std::path::Path;

use super::{cgroup_of, open, status_of};
use crate::error::{Cause, Context, Failure, Result};
use crate::state::Status;

/// Freezes all processes, and returns when they are frozen. A created container can be paused, too.
///
/// # Errors
/// An error if the container does not run or is paused already; an error if its processes do not
/// freeze. They are then left running.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::pause::{pause, resume};
///
/// pause("web", Path::new("/run/orlop"))?;
/// resume("web", Path::new("/run/orlop"))?;
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn pause(id: &str, state_root: &Path) -> Result<()> {
    let container = open(state_root, id)?;
    match status_of(&container)? {
        Status::Created | Status::Running => {
            cgroup_of(&container).freeze().context("pausing the container")
        }
        Status::Creating | Status::Paused | Status::Stopped => {
            Err(Failure::WrongStatus("container not running".into()).into())
        }
    }
}

/// Thaws all processes.
///
/// # Errors
/// An error if the container is not paused.
pub fn resume(id: &str, state_root: &Path) -> Result<()> {
    let container = open(state_root, id)?;
    if status_of(&container)? != Status::Paused {
        return Err(Failure::WrongStatus(Cause::NotPaused.reason("container not paused")).into());
    }
    cgroup_of(&container).thaw().context("resuming the container")
}
