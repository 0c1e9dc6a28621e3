//! `pause` and `resume`: the freezer of the container's cgroup.

use std::path::Path;

use clap::Args;

use super::{cgroup_of, open, status_of};
use crate::error::{Context, Failure, Result};
use crate::state::Status;

/// Stop all processes of a container, until it is resumed.
#[derive(Debug, Args)]
pub struct Pause {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub id: String,
}

/// Let the processes of a paused container run again.
#[derive(Debug, Args)]
pub struct Resume {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub id: String,
}

/// Carries out `pause`; returns when all processes have stopped. A container that is created can be
/// paused, too.
///
/// # Errors
/// A container that does not run, or is paused already; processes that do not stop, which are left
/// running.
pub fn pause(args: &Pause, state_root: &Path) -> Result<()> {
    let container = open(state_root, &args.id)?;
    match status_of(&container)? {
        Status::Created | Status::Running => {
            cgroup_of(&container).freeze().context("pausing the container")
        }
        Status::Creating | Status::Paused | Status::Stopped => {
            Err(Failure::WrongStatus("container not running".to_owned()).into())
        }
    }
}

/// Carries out `resume`.
///
/// # Errors
/// A container that is not paused.
pub fn resume(args: &Resume, state_root: &Path) -> Result<()> {
    let container = open(state_root, &args.id)?;
    if status_of(&container)? != Status::Paused {
        return Err(Failure::WrongStatus("container not paused".to_owned()).into());
    }
    cgroup_of(&container).thaw().context("resuming the container")
}
