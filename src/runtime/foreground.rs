//! `run` in the foreground: signals go to the container, and its end is ours.
//! process: runtime

use std::os::fd::BorrowedFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use super::relay::Relay;
use crate::error::{Context, Result};
use crate::sys::pidfd::{self, Exit};
use crate::sys::wait::{self, Unbounded};
use crate::sys::{Named, process, signal};

/// Holds back all signals, so that none is lost between the container's birth and our waiting for
/// it. Init, which is born with them held back, lets them in again
/// ([`begin_afresh`](crate::sys::signal::begin_afresh)). Until the program runs, a signal that ends
/// a program ends whatever we wait for, and so us: what has been made is undone.
///
/// # Errors
/// Errors of sigprocmask(2).
pub fn hold_signals() -> Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
        .named(|| "sigprocmask()".to_owned())?;
    Ok(signal::end_waits()?)
}

/// From now on the orphans of the container's processes are ours to wait for, where it has no pid
/// namespace of its own and so no init that they would fall to.
///
/// # Errors
/// Errors of prctl(2).
pub fn adopt_orphans() -> Result<()> {
    Ok(process::adopt_orphans()?)
}

/// Waits for the container's end; meanwhile every signal that we get goes to its init, and its
/// terminal is ours.
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

/// Does what is to be done about a signal of this number; says how init has ended, if it was about
/// that.
pub(super) fn react(number: i32, init: BorrowedFd<'_>) -> Result<Option<Exit>> {
    if number == Signal::SIGCHLD as i32 {
        while pidfd::reap_another(init)? {}
        return pidfd::reap(init).context("waiting for the container");
    }
    // Sent by the kernel for a terminal's sake, or to us alone.
    if number != Signal::SIGURG as i32 && number != Signal::SIGPIPE as i32 {
        // That it has ended we learn by SIGCHLD.
        let _ = pidfd::signal(init, number);
    }
    Ok(None)
}
