//! `run` in the foreground: signals go to the container, and its end is ours.
//! process: runtime

use std::os::fd::BorrowedFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use crate::error::{Context, Result};
use crate::sys::pidfd::{self, Exit};
use crate::sys::{Named, process, signal};

/// Holds back all signals, so that none is lost between the container's birth and our waiting for it. Init, which is
/// born with them held back, gives itself the old mask again ([`signal::restore`]).
///
/// # Errors
/// sigprocmask(2)'s.
pub fn hold_signals() -> Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).named(|| "sigprocmask()".to_owned())?;
    Ok(())
}

/// From now on the orphans of the container's processes are ours to wait for, where it has no pid namespace of its own
/// and so no init that they would fall to.
///
/// # Errors
/// prctl(2)'s.
pub fn adopt_orphans() -> Result<()> {
    Ok(process::adopt_orphans()?)
}

/// Waits for the container's end; meanwhile every signal that we get goes to its init.
///
/// # Errors
/// Those of waiting.
pub fn wait(init: BorrowedFd<'_>) -> Result<Exit> {
    loop {
        let number = signal::wait_any().context("waiting for signals")?;
        if number == Signal::SIGCHLD as i32 {
            while pidfd::reap_another(init)? {}
            if pidfd::wait_end(init, std::time::Duration::ZERO)? {
                return pidfd::reap(init).context("waiting for the container");
            }
            continue;
        }
        // Sent by the kernel for a terminal's sake, or to us alone.
        if number == Signal::SIGURG as i32 || number == Signal::SIGPIPE as i32 {
            continue;
        }
        // That it has ended we learn by SIGCHLD.
        let _ = pidfd::signal(init, number);
    }
}
