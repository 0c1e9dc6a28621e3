//! `run` in the foreground: passes signals to the container, and ends when the container ends.
//! process: runtime

use std::os::fd::BorrowedFd;

use super::relay::Relay;
use super::signals::react;
use crate::error::{Context, Result};
use crate::sys::pidfd::Exit;
use crate::sys::wait::{self, Unbounded};
use crate::sys::{process, signal};

/// From now on, we are the parent of orphans among the container's processes. This is for a
/// container without its own pid namespace, which has no init that would be their parent.
///
/// # Errors
/// Errors of prctl(2).
pub fn adopt_orphans() -> Result<()> {
    Ok(process::adopt_orphans()?)
}

/// Waits for the end of the container. Meanwhile, every signal that we get is passed to its init,
/// and our terminal is relayed.
///
/// # Errors
/// Errors of waiting.
pub fn wait(init: BorrowedFd<'_>, relay: Option<Relay>) -> Result<Exit> {
    signal::stop_ending_waits();
    if let Some(relay) = relay {
        return relay.run(init);
    }
    loop {
        let number = wait::signal(Unbounded::ProgramRuns).context("waiting for signals")?;
        if let Some(exit) = react(number, init)? {
            return Ok(exit);
        }
    }
}
