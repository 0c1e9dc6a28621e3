//! Sends the listener of a notifying filter to the agent.
//! config.json: linux.seccomp.listenerPath, linux.seccomp.listenerMetadata
//! process: runtime (the path is on the host, and the agent needs the pid on the host)
//!
//! We connect to the agent only when there is a listener to send, which may be as late as `start`
//! ([`crate::plan::Plan::why_listener_waits`]). The reason is that the agent may read one
//! connection after the other, and must not wait for ours. `create` checks that the socket exists,
//! so that it always reports a missing agent.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::error::{AtKey, Cause, Context, Reason, Result};
use crate::plan::seccomp::ListenerPlan;
use crate::sys::wait::Bound;
use crate::sys::{Call, CallText, Named, socket};

/// The key of config.json in errors.
const KEY: &str = "/linux/seccomp/listenerPath";

/// The text of runc, which callers match.
fn no_agent() -> Reason {
    Cause::NoAgent.reason("failed to connect with seccomp agent specified in the seccomp profile")
}

/// How long the agent may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks that there is a socket, without connecting to it.
///
/// # Errors
/// An error if there is no socket.
pub fn look_for(agent: &ListenerPlan) -> Result<()> {
    if agent.path.starts_with('@') {
        return Ok(()); // an abstract address can only be tested by connecting
    }
    is_socket(&agent.path).with_context(no_agent).at(KEY)
}

fn is_socket(path: &str) -> Result<(), Call> {
    let name = || CallText::on("stat", path);
    let stat = rustix::fs::stat(path).named(name)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => Ok(()),
        _ => Err(Errno::NOTSOCK).named(name),
    }
}

/// Connects to the agent at `path`, and sends it `listener` with `document`, the state of the
/// process. As the specification demands, each connection is for one state and then ends.
///
/// # Errors
/// The error of the failed call; `EAGAIN` if the agent does not take it in time.
pub fn send(path: &str, document: &str, listener: &OwnedFd) -> Result<()> {
    let agent = socket::call(path.as_ref(), PATIENCE).with_context(no_agent).at(KEY)?;
    socket::send_all(&agent, document.as_bytes(), Some(listener.as_fd()), Bound::Within(PATIENCE))
        .context("sending to the seccomp agent")
        .at(KEY)
}
