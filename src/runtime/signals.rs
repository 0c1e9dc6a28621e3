//! The signals of a runtime in the foreground: held back, and passed to the container.
//! process: runtime

use std::os::fd::BorrowedFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use crate::error::{Context, Result};
use crate::sys::pidfd::{self, Exit};
use crate::sys::{Named, signal};

/// Blocks all signals, so that none is lost between the creation of the container and our wait for
/// it. Init inherits the blocked signals and unblocks them
/// ([`reset_to_default`](crate::sys::signal::reset_to_default)). Until the program runs, a signal
/// that ends a program ends our current wait with an error, and everything that was made is undone.
///
/// # Errors
/// Errors of sigprocmask(2).
pub fn hold() -> Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
        .named(|| "sigprocmask()".to_owned())?;
    Ok(signal::end_waits()?)
}

/// Handles a signal. Returns how init has ended, if the signal reports that.
pub(super) fn react(number: i32, init: BorrowedFd<'_>) -> Result<Option<Exit>> {
    if number == Signal::SIGCHLD as i32 {
        while pidfd::reap_another(init)? {}
        return pidfd::reap(init).context("waiting for the container");
    }
    // The kernel sends these two to a process because of its own files, so they are only for us.
    if number != Signal::SIGURG as i32 && number != Signal::SIGPIPE as i32 {
        // If init has ended, SIGCHLD reports that.
        let _ = pidfd::signal(init, number);
    }
    Ok(None)
}
