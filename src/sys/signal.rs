//! Signals: a descriptor to receive them, signals that end our waits, and the signal state of a new
//! program.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::Errno;

use super::{Call, Named, check};

/// Blocked signals, as a descriptor for poll(2) (signalfd(2)).
#[derive(Debug)]
pub struct Queue(SignalFd);

impl Queue {
    /// A descriptor for all signals.
    ///
    /// # Errors
    /// The error of the call.
    pub fn of_all() -> Result<Self, Call> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&SigSet::all(), flags).map(Self).named(|| "signalfd()".to_owned())
    }

    /// The next signal, if there is one.
    ///
    /// # Errors
    /// Errors of read(2).
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

/// The signals with which users end a program.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// The signalfd(2) for these signals while they end our waits, or -1.
static HEARD: AtomicI32 = AtomicI32::new(-1);
/// The number of the signal that has ended a wait, or 0.
static ENDED_BY: AtomicI32 = AtomicI32::new(0);

fn ending() -> SigSet {
    ENDING.into_iter().collect()
}

/// From now on, SIGHUP, SIGINT, SIGQUIT and SIGTERM end each wait with `EINTR`, unless the caller
/// ignores them. They must be blocked. A second signal ends this process at once.
///
/// # Errors
/// Errors of signalfd(2).
pub fn end_waits() -> Result<(), Call> {
    let file = SignalFd::with_flags(&ending(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
    HEARD.store(
        OwnedFd::from(file.named(|| "signalfd()".to_owned())?).into_raw_fd(),
        Ordering::Relaxed,
    );
    Ok(())
}

/// From now on, the signals do not end waits.
pub fn stop_ending_waits() {
    let file = HEARD.swap(-1, Ordering::Relaxed);
    if file >= 0 {
        // SAFETY: the descriptor is from `end_waits`, and no other code can find it any more.
        drop(unsafe { OwnedFd::from_raw_fd(file) });
    }
}

/// As [`stop_ending_waits`], in a child, which may have closed the descriptor.
pub(super) fn forget_waits() {
    HEARD.store(-1, Ordering::Relaxed);
}

/// The descriptor that a wait must also poll.
pub(super) fn heard() -> Option<BorrowedFd<'static>> {
    let file = HEARD.load(Ordering::Relaxed);
    // SAFETY: the descriptor is open as long as its number is in `HEARD`.
    (file >= 0).then(|| unsafe { BorrowedFd::borrow_raw(file) })
}

/// Called when the descriptor is readable. Returns the error of the wait, unless the caller ignores
/// the signal. After this, the clean-up and the last hooks can only be ended by a second signal.
pub(super) fn ended_wait(heard: BorrowedFd<'static>) -> Result<(), Call> {
    let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
    let Ok(length) = rustix::io::read(heard, &mut info) else { return Ok(()) };
    let Some(number) =
        info.first_chunk().filter(|_| length == info.len()).map(|bytes| i32::from_ne_bytes(*bytes))
    else {
        return Ok(());
    };
    if is_ignored(number)? {
        return Ok(());
    }
    ENDED_BY.store(number, Ordering::Relaxed);
    stop_ending_waits();
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&ending()), None)
        .named(|| "sigprocmask()".to_owned())?;
    let text = format!("the wait was ended by {}", name(number)).into();
    Err(Call { text, errno: Errno::INTR })
}

/// A signal for an error text: `SIGSYS`, or `signal 34` for one without a name.
#[must_use]
pub fn name(number: i32) -> Cow<'static, str> {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().into(),
        Err(_) => format!("signal {number}").into(),
    }
}

/// The number of the signal that has ended a wait.
#[must_use]
pub fn ended_by() -> Option<u8> {
    u8::try_from(ENDED_BY.load(Ordering::Relaxed)).ok().filter(|number| *number > 0)
}

fn is_ignored(number: i32) -> Result<bool, Call> {
    // SAFETY: sigaction is a C structure for which zero is valid; nothing is changed.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is ours, and outlives the call.
    check(unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) })
        .named(|| format!("sigaction({number})"))?;
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

/// All signals, also 32 and 33, which the C library reserves for itself. Without them, a program
/// would ignore such a signal if our caller ignores it.
#[must_use]
pub fn every() -> SigSet {
    // SAFETY: a signal set is plain memory, each bit of which stands for a signal.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::memset((&raw mut set).cast(), 0xff, size_of::<libc::sigset_t>());
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// Sets the signal state that a program expects: no signal is blocked, and none is ignored, even if
/// our caller ignores it. Only SIGPIPE stays ignored ([`reset_sigpipe`]).
///
/// # Errors
/// The error of the failed call.
pub fn reset_to_default() -> Result<(), Call> {
    const NOT: [i32; 3] = [libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE];
    const LAST: i32 = 64;
    // The default action without flags or mask. The kernel's structure is not longer than this. We
    // do not use the C library's call, because it refuses some signals.
    let default = [0_u64; 4];
    for number in (1..=LAST).filter(|number| !NOT.contains(number)) {
        // SAFETY: a structure for the kernel to read; the old one is not requested. The mask has 64
        // bits.
        check(unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default.as_ptr(),
                std::ptr::null::<u64>(),
                8,
            )
        })
        .named(|| format!("rt_sigaction({number})"))?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .named(|| "sigprocmask()".to_owned())
}

/// Sets SIGPIPE, which we ignore ourselves, to its default action.
///
/// # Errors
/// Errors of sigaction(2).
pub fn reset_sigpipe() -> Result<(), Call> {
    // SAFETY: no handler is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) }
        .named(|| "signal(SIGPIPE)".to_owned())?;
    Ok(())
}

extern "C" fn end(number: libc::c_int) {
    // SAFETY: _exit may be called from a signal handler.
    unsafe { libc::_exit(128 + number) }
}

/// Makes the usual signals end this process. Without a handler, the first process of a pid
/// namespace ignores them (pid_namespaces(7)), and `kill` must be able to end a created container.
/// execve(2) resets this.
///
/// # Errors
/// Errors of sigaction(2).
pub fn exit_on_ending_signals() -> Result<(), Call> {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: the handler only calls _exit.
        unsafe { nix::sys::signal::signal(signal, SigHandler::Handler(end)) }
            .named(|| format!("signal({signal})"))?;
    }
    Ok(())
}
