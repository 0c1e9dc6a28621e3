//! `kill`: sends a signal to a container's init.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use super::{cgroup_of, open};
use crate::cgroup::Cgroup;
use crate::container::Container;
use crate::error::{Failure, Result};
use crate::sys::pidfd;

/// A `kill` request.
#[derive(Debug, Default, Clone)]
pub struct Kill {
    /// The container's id.
    pub id: String,
    /// The signal's number. 0 only checks whether there is a process.
    pub signal: i32,
    /// Whether it is sent to all processes of the container.
    pub all: bool,
}

/// Sends the signal.
///
/// # Errors
/// An error if the signal is invalid, or if the container does not run.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::kill::{Kill, kill};
///
/// kill(&Kill { id: "web".to_owned(), signal: 15, all: false }, Path::new("/run/orlop"))?;
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn kill(args: &Kill, state_root: &Path) -> Result<()> {
    let signal = args.signal;
    let container = open(state_root, &args.id)?;
    if args.all {
        return signal_all(&container, signal).map(drop);
    }
    let not_running = || Failure::WrongStatus("container not running".into());
    // Without a pid namespace of its own, the container's processes do not end with init.
    if signal == libc::SIGKILL && container.saved.shared_pid_namespace {
        return if signal_all(&container, signal)? { Ok(()) } else { Err(not_running().into()) };
    }
    let init = container.init()?.ok_or_else(not_running)?;
    match pidfd::signal(init.as_fd(), signal) {
        Err(call) if call.is(Errno::SRCH) => return Err(not_running().into()),
        result => result?,
    }
    if signal == libc::SIGKILL && cgroup_of(&container).frozen()? {
        // On cgroup v1 a frozen process dies only when it is thawed.
        cgroup_of(&container).thaw()?;
    }
    Ok(())
}

/// Sends the signal to all processes of the container, and to init even if it is in no cgroup.
/// Returns whether there were any.
fn signal_all(container: &Container, signal: i32) -> Result<bool> {
    let cgroup = cgroup_of(container);
    let init = container.init()?;
    let mut pids = cgroup.procs()?;
    let any = init.is_some() || !pids.is_empty();
    if signal == libc::SIGKILL {
        // Also processes that are being forked or are frozen.
        cgroup.kill()?;
        pids.clear();
    } else {
        pids.retain(|pid| *pid != container.saved.init_process_pid);
    }
    for process in init.into_iter().chain(open_all(&cgroup, pids)?) {
        match pidfd::signal(process.as_fd(), signal) {
            Err(call) if call.is(Errno::SRCH) => {}
            result => result?,
        }
    }
    Ok(any)
}

/// Opens the processes `pids` of a cgroup. If one has ended meanwhile, its pid may be reused
/// outside of the cgroup. So only those are returned whose pid is still in the cgroup afterwards.
fn open_all(cgroup: &Cgroup, pids: Vec<i32>) -> Result<Vec<OwnedFd>> {
    let mut opened = Vec::with_capacity(pids.len());
    for pid in pids {
        match pidfd::open(pid) {
            Err(call) if call.is(Errno::SRCH) => {}
            process => opened.push((pid, process?)),
        }
    }
    if !opened.is_empty() {
        let still: HashSet<i32> = cgroup.procs()?.into_iter().collect();
        opened.retain(|(pid, _)| still.contains(pid));
    }
    Ok(opened.into_iter().map(|(_, process)| process).collect())
}
