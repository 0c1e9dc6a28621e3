//! Signals: those that wait for us, those that end a wait of ours, and what a program begins with.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::Errno;

use super::{Call, Named, check};

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

/// The signals by which people end a program.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// The file that tells of them (signalfd(2)) while they end our waits, else -1.
static HEARD: AtomicI32 = AtomicI32::new(-1);
/// The one that has ended a wait, or 0.
static ENDED_BY: AtomicI32 = AtomicI32::new(0);

fn ending() -> SigSet {
    ENDING.into_iter().collect()
}

/// From now on SIGHUP, SIGINT, SIGQUIT and SIGTERM, which must be held back, end every wait of
/// ours, unless our caller ignores them: the wait fails with `EINTR`. A second one ends us at once.
///
/// # Errors
/// signalfd(2)'s.
pub fn end_waits() -> Result<(), Call> {
    let file = SignalFd::with_flags(&ending(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
    HEARD.store(
        OwnedFd::from(file.named(|| "signalfd()".to_owned())?).into_raw_fd(),
        Ordering::Relaxed,
    );
    Ok(())
}

/// They end waits no more.
pub fn end_waits_no_more() {
    let file = HEARD.swap(-1, Ordering::Relaxed);
    if file >= 0 {
        // SAFETY: it is ours alone, from `end_waits`, and nobody finds it any more.
        drop(unsafe { OwnedFd::from_raw_fd(file) });
    }
}

/// As [`end_waits_no_more`], in a child, which may have closed the file.
pub(super) fn forget_waits() {
    HEARD.store(-1, Ordering::Relaxed);
}

/// The file to poll besides what is waited for.
pub(super) fn heard() -> Option<BorrowedFd<'static>> {
    let file = HEARD.load(Ordering::Relaxed);
    // SAFETY: it is open for as long as it is there.
    (file >= 0).then(|| unsafe { BorrowedFd::borrow_raw(file) })
}

/// Called when there is something in that file: the error of the wait, if the signal is one that
/// our caller does not ignore. What follows, undoing and the hooks of the last moment, is ended by
/// nothing but a second signal.
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
    end_waits_no_more();
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&ending()), None)
        .named(|| "sigprocmask()".to_owned())?;
    let name = Signal::try_from(number).map_or("a signal", Signal::as_str);
    Err(Call { text: format!("the wait was ended by {name}"), errno: Errno::INTR })
}

/// The signal that has ended a wait of ours.
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

/// All signals; those that the C library keeps for itself, 32 and 33, too. A program whose caller
/// ignores one of these would ignore it.
#[must_use]
pub fn every() -> SigSet {
    // SAFETY: a signal set is plain memory, each bit of which stands for a signal.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::memset((&raw mut set).cast(), 0xff, size_of::<libc::sigset_t>());
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// Does with signals what a program expects when it begins: none is held back or ignored, whatever
/// our caller ignores. Only SIGPIPE still is ([`end_on_broken_pipes`]).
///
/// # Errors
/// The failed call's.
pub fn begin_afresh() -> Result<(), Call> {
    const NOT: [i32; 3] = [libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE];
    const LAST: i32 = 64;
    // The default, without flags or mask, in the kernel's own structure, of which this is more than
    // enough: the C library leaves some signals out.
    let default = [0_u64; 4];
    for number in (1..=LAST).filter(|number| !NOT.contains(number)) {
        // SAFETY: a structure for the kernel to read; the old one is not asked for. The mask has 64
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

/// Makes SIGPIPE, which we ignore, what a program expects it to be.
///
/// # Errors
/// sigaction(2)'s.
pub fn end_on_broken_pipes() -> Result<(), Call> {
    // SAFETY: SIG_DFL is no function of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) }
        .named(|| "signal(SIGPIPE)".to_owned())?;
    Ok(())
}

extern "C" fn end(number: libc::c_int) {
    // SAFETY: _exit may be called from a signal handler.
    unsafe { libc::_exit(128 + number) }
}

/// Makes the usual signals end this process. To the first process of a pid namespace they do
/// nothing unless it wants them (pid_namespaces(7)), and `kill` of a created container should end
/// it. execve(2) undoes this.
///
/// # Errors
/// sigaction(2)'s.
pub fn end_on_usual_signals() -> Result<(), Call> {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: the handler only calls _exit.
        unsafe { nix::sys::signal::signal(signal, SigHandler::Handler(end)) }
            .named(|| format!("signal({signal})"))?;
    }
    Ok(())
}
