//! Hands the descriptor of a notifying filter to the agent that answers for it.
//! config.json: linux.seccomp.listenerPath, linux.seccomp.listenerMetadata
//! process: runtime (the path is the host's, and so is the pid that the agent is told)
//!
//! The agent is called when there is something to hand over, which may be as late as `start`
//! ([`crate::plan::Plan::why_listener_waits`]): it may read one connection after the other, and
//! must not be made to wait with one of ours. So that a missing agent is told by `create` in any
//! case, that one looks whether there is a socket.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::seccomp::ListenerPlan;
use crate::sys::wait::Bound;
use crate::sys::{Call, Named, socket};

/// The key that is to blame.
const KEY: &str = "/linux/seccomp/listenerPath";

/// runc's text, which callers match.
const NO_AGENT: &str = "failed to connect with seccomp agent specified in the seccomp profile";

/// How long an agent may leave us standing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks whether there is a socket, without calling.
///
/// # Errors
/// When there is none, or something else.
pub fn look_for(agent: &ListenerPlan) -> Result<()> {
    if agent.path.starts_with('@') {
        return Ok(()); // an abstract one cannot be seen but by calling
    }
    is_socket(&agent.path).context(NO_AGENT).at(KEY)
}

fn is_socket(path: &str) -> Result<(), Call> {
    let name = || format!("stat({path:?})");
    let stat = rustix::fs::stat(path).named(name)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => Ok(()),
        _ => Err(Errno::NOTSOCK).named(name),
    }
}

/// Calls the agent at `path` and hands it `listener` with `document`, the state of the process. One
/// state for each connection, which then ends, as the specification has it.
///
/// # Errors
/// The error of the failed call; `EAGAIN` when the agent does not take it within seconds.
pub fn hand_over(path: &str, document: &str, listener: &OwnedFd) -> Result<()> {
    let agent = socket::call(path.as_ref(), PATIENCE).context(NO_AGENT).at(KEY)?;
    socket::send_all(&agent, document.as_bytes(), Some(listener.as_fd()), Bound::Within(PATIENCE))
        .context("telling the seccomp agent")
        .at(KEY)
}
