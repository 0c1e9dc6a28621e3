//! Starts a process that enters a running container to add or remove mounts, and opens the sources
//! on the host that the process requests.
//! process: runtime

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::child::{Child, close_runtime_end};
use super::mount_sources::MountSources;
use crate::error::{Context, Failure, Result};
use crate::init;
use crate::plan::running_mounts::RunningMounts;
use crate::sync::{self, FromInit, ToInit};
use crate::sys::clone::{self, CloneRequest, SingleThreaded};
use crate::sys::{pidfd, process, wait};

/// How long the process may take. The container is locked meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries out the plan in the container whose init is the process `pid`.
///
/// # Errors
/// The error of the failed call, or the error that the process reports. Then no mount was added,
/// but mounts may have been removed in part.
pub fn change(plan: &RunningMounts, init: &OwnedFd, pid: i32) -> Result<()> {
    let token = SingleThreaded::prove()?;
    let (wire, end) = sync::pair()?;
    // If the container is in the host's pid namespace, its processes can see the new process as
    // soon as it exists (CVE-2016-9962).
    let cloned = process::while_undumpable(|| {
        clone::clone(token, &CloneRequest::default(), || {
            close_runtime_end(&wire);
            init::inside::main(plan, init, &end)
        })
    })?;
    drop(end);
    let mut child = Child::adopt(cloned.context("making the process")?); // killed on drop
    let mut sources = MountSources::of_running(plan, pid);
    let began = Instant::now();
    loop {
        // A path may lead through a filesystem that the container serves and that never answers.
        let in_time = || match began.elapsed() < PATIENCE {
            true => Ok(()),
            false => {
                Err(Failure::WrongStatus("a look-up in the container does not end".into()).into())
            }
        };
        match wire.receive_watched(in_time)? {
            FromInit::MountSource(index, copy) => {
                wire.send(&ToInit::MountSource(sources.open(index, copy)?))?
            }
            FromInit::Ready => break,
            FromInit::Failed(report) => return Err(report.into()),
            FromInit::End => anyhow::bail!("the process died before it reported an error"),
            other => anyhow::bail!("unexpected {other:?} from a process of ours"),
        }
    }
    pidfd::reap_within(child.pidfd.as_fd(), wait::DEATH)?
        .context("a process of ours does not end")?;
    child.release();
    Ok(())
}

/// The error for a container that has stopped.
#[must_use]
pub fn stopped() -> anyhow::Error {
    Failure::WrongStatus("cannot change the mounts of a stopped container".into()).into()
}
