//! Signals: those that wait for us, and handing on a clean slate.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{Call, Named};

/// The signals that are held back, as a file to be polled (signalfd(2)).
#[derive(Debug)]
pub struct Queue(SignalFd);

impl Queue {
    /// Of all signals.
    ///
    /// # Errors
    /// The call's.
    pub fn of_all() -> Result<Self, Call> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&SigSet::all(), flags).map(Self).named(|| "signalfd()".to_owned())
    }

    /// The next one, if there is one.
    ///
    /// # Errors
    /// read(2)'s.
    pub fn next(&self) -> Result<Option<i32>, Call> {
        let signal = self.0.read_signal().named(|| "read(signalfd)".to_owned())?;
        Ok(signal.map(|signal| signal.ssi_signo.cast_signed()))
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Holds no signal back, as a program expects to begin.
///
/// # Errors
/// The call's.
pub fn let_all_in() -> Result<(), Call> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).named(|| "sigprocmask()".to_owned())
}

/// Makes SIGPIPE, which we ignore, what a program expects it to be.
///
/// # Errors
/// sigaction(2)'s.
pub fn end_on_broken_pipes() -> Result<(), Call> {
    // SAFETY: SIG_DFL is no function of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) }.named(|| "signal(SIGPIPE)".to_owned())?;
    Ok(())
}

extern "C" fn end(number: libc::c_int) {
    // SAFETY: _exit may be called from a signal handler.
    unsafe { libc::_exit(128 + number) }
}

/// Makes the usual signals end this process. To the first process of a pid namespace they do nothing unless it wants
/// them (pid_namespaces(7)), and `kill` of a created container should end it. execve(2) undoes this.
///
/// # Errors
/// sigaction(2)'s.
pub fn end_on_usual_signals() -> Result<(), Call> {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: the handler only calls _exit.
        unsafe { nix::sys::signal::signal(signal, SigHandler::Handler(end)) }.named(|| format!("signal({signal})"))?;
    }
    Ok(())
}
