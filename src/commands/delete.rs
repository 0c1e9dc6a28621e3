//! `delete`: removes a container.

use std::os::fd::AsFd;
use std::path::Path;

use super::{cgroup_of, status_of};
use crate::container::{Container, ContainerId};
use crate::error::{Cause, Context, Failure, Result};
use crate::log::Phases;
use crate::resctrl;
use crate::state::Status;
use crate::sys::pidfd;
use crate::sys::wait;

/// A `delete` request.
#[derive(Debug, Default, Clone)]
pub struct Delete {
    /// The container's id.
    pub id: String,
    /// Whether a container that still runs is killed, and a missing one is not an error.
    pub force: bool,
}

/// Deletes the container.
///
/// # Errors
/// An error if the container still runs, without `force`; the error of the failed call.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::delete::{Delete, delete};
///
/// delete(&Delete { id: "web".to_owned(), force: true }, Path::new("/run/orlop"))?;
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn delete(args: &Delete, state_root: &Path) -> Result<()> {
    let mut phases = Phases::begin();
    let id = ContainerId::parse(&args.id)?;
    // A `create` or `start` that still has the lock fails and releases it when init dies.
    let kill_init =
        || if args.force { stop_or_gone(Container::open(state_root, &id)) } else { Ok(()) };
    let container = match Container::lock(state_root, &id, kill_init) {
        Err(error) if args.force && error.downcast_ref() == Some(&Failure::NoSuchContainer) => {
            return Ok(());
        }
        other => other?,
    };
    match status_of(&container)? {
        Status::Stopped => {}
        // Its program has not run yet. containerd and Podman rely on this.
        Status::Created => stop(&container)?,
        _ if args.force => stop(&container)?,
        status => {
            let text = format!("cannot delete container {} that is not stopped: {status}", args.id);
            return Err(Failure::WrongStatus(Cause::NotStopped.reason(text)).into());
        }
    }
    phases.end("stop");
    remove(&container)?;
    phases.end("remove");
    Ok(())
}

fn stop_or_gone(container: Result<Container>) -> Result<()> {
    match container {
        Err(error) if error.downcast_ref() == Some(&Failure::NoSuchContainer) => Ok(()),
        container => stop(&container?),
    }
}

/// Kills init and waits until it is dead.
pub(super) fn stop(container: &Container) -> Result<()> {
    let Some(init) = container.init()? else { return Ok(()) };
    pidfd::kill(init.as_fd())?;
    let cgroup = cgroup_of(container);
    if cgroup.frozen()? {
        cgroup.thaw()?;
    }
    if !wait::readable(init.as_fd(), wait::DEATH)? {
        anyhow::bail!("init (pid {}) does not die of SIGKILL", container.saved.init_process_pid);
    }
    Ok(())
}

/// Kills and removes a container as the runtime specification says ("the container MUST be
/// destroyed"). The caller has another result or error to return, so an error is only logged, and
/// the container is left for `delete`. Does nothing if the container was deleted meanwhile, even if
/// a new one has its id.
pub(super) fn destroy(container: &Container) {
    let destroyed = container.hold().and_then(|held| {
        if held { stop(container).and_then(|()| remove(container)) } else { Ok(()) }
    });
    if let Err(error) = destroyed {
        log::warn!("cleaning up container {}: {error:#}", container.saved.id);
    }
}

/// Removes the cgroup with all processes that are still in it (without a pid namespace of its own,
/// they do not end with init), the groups of resctrl, and the state. Then runs the poststop hooks.
pub(super) fn remove(container: &Container) -> Result<()> {
    let cgroup = cgroup_of(container);
    // A `create` that was killed before it had an init may not have made the cgroup. Then its
    // processes are not ours, and are not killed. An init that was just made ends by itself.
    let had_init = container.saved.init_process_pid != 0;
    if had_init && !cgroup.procs()?.is_empty() {
        cgroup.kill()?;
    }
    match cgroup.destroy() {
        Err(error) if had_init => return Err(error).context("removing the container's cgroup"),
        _ => {}
    }
    resctrl::remove(&container.saved.intel_rdt_made)
        .context("unable to remove container's IntelRDT group")?;
    container.remove_directory()?;
    super::run_poststop_hooks(&container.saved);
    Ok(())
}
