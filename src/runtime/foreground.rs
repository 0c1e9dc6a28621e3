//! `run` in the foreground: passes signals to the container, and ends when the container ends.
//! process: runtime

use std::os::fd::BorrowedFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use super::relay::Relay;
use crate::error::{Context, Result};
use crate::sys::pidfd::{self, Exit};
use crate::sys::wait::{self, Unbounded};
use crate::sys::{Named, process, signal};

/// Blocks all signals, so that none is lost between the creation of the container and our wait for
/// it. Init inherits the blocked signals and unblocks them
/// ([`begin_afresh`](crate::sys::signal::begin_afresh)). Until the program runs, a signal that ends
/// a program ends our current wait with an error, and everything that was made is undone.
///
/// # Errors
/// Errors of sigprocmask(2).
pub fn hold_signals() -> Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
        .named(|| "sigprocmask()".to_owned())?;
    Ok(signal::end_waits()?)
}

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
    signal::end_waits_no_more();
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

/// Handles a signal. Returns how init has ended, if the signal reports that.
pub(super) fn react(number: i32, init: BorrowedFd<'_>) -> Result<Option<Exit>> {
    if number == Signal::SIGCHLD as i32 {
        while pidfd::reap_another(init)? {}
        return pidfd::reap(init).context("waiting for the container");
    }
    // The kernel sends these two to a process because of its own files, so they are only for us.
    if number != Signal::SIGURG as i32 && number != Signal::SIGPIPE as i32 {
        // If init has ended, SIGCHLD tells us.
        let _ = pidfd::signal(init, number);
    }
    Ok(None)
}
