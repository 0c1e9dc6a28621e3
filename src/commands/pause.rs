//! `pause` and `resume`: the freezer of the container's cgroup.

use std::path::Path;

use super::{cgroup_of, open, status_of};
use crate::error::{Cause, Context, Failure, Result};
use crate::state::Status;

/// Carries out `pause`; returns when all processes have stopped. A container that is created can be
/// paused, too.
///
/// # Errors
/// A container that does not run, or is paused already; processes that do not stop, which are left
/// running.
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

/// Carries out `resume`.
///
/// # Errors
/// A container that is not paused.
pub fn resume(id: &str, state_root: &Path) -> Result<()> {
    let container = open(state_root, id)?;
    if status_of(&container)? != Status::Paused {
        return Err(Failure::WrongStatus(Cause::NotPaused.reason("container not paused")).into());
    }
    cgroup_of(&container).thaw().context("resuming the container")
}
