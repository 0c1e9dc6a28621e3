//! Pidfds: signals, waits and ids of processes, without the risk that an id is reused
//! (pidfd_open(2)).

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::wait::{self, Bound};
use super::{Call, Named};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With a status.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// The exit status as in shells: the status, or 128 and the number of the signal.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// pidfd_open(2).
///
/// # Errors
/// The error of the call; `ESRCH` if there is no such process.
pub fn open(pid: i32) -> Result<OwnedFd, Call> {
    let name = || format!("pidfd_open({pid})");
    let pid = Pid::from_raw(pid).ok_or(Errno::SRCH).named(name)?;
    // Our arguments are valid, so these errors also mean that there is no such process: it has just
    // been reaped, or the id belongs to a thread.
    let gone =
        |errno| if matches!(errno, Errno::INVAL | Errno::NOENT) { Errno::SRCH } else { errno };
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(gone).named(name)
}

/// pidfd_send_signal(2), with any signal number that the kernel accepts.
///
/// # Errors
/// The error of the call; `ESRCH` if the process does not exist any more.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Call> {
    use std::os::fd::AsRawFd;
    // SAFETY: a descriptor open for the time of the call, a number, and no siginfo.
    super::check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .named(|| format!("pidfd_send_signal({signal})"))
    .map(|_| ())
}

/// Sends SIGKILL. A process that has ended is not an error.
///
/// # Errors
/// The error of the call.
pub fn kill(pidfd: BorrowedFd<'_>) -> Result<(), Call> {
    match signal(pidfd, Signal::KILL.as_raw()) {
        Err(call) if !call.is(Errno::SRCH) => Err(call),
        _ => Ok(()),
    }
}

/// Reaps one child that has ended, unless the process of `but` has ended. Returns false if nothing
/// was reaped.
///
/// # Errors
/// The errors of the calls.
pub fn reap_another(but: BorrowedFd<'_>) -> Result<bool, Call> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid}; // no wait: WNOHANG, below
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    let name = || "waitid(P_ALL)".to_owned();
    let found = waitid(Id::All, ended | WaitPidFlag::WNOWAIT); // no wait: WNOHANG
    let found = match found {
        Err(nix::errno::Errno::ECHILD) => return Ok(false),
        found => found.named(name)?.pid(),
    };
    let Some(pid) = found else { return Ok(false) };
    if wait::readable(but, Bound::NOW)? {
        return Ok(false);
    }
    waitid(Id::Pid(pid), ended).named(name)?; // no wait: WNOHANG
    Ok(true)
}

/// Reaps our child (waitid(2)) if it has ended.
///
/// # Errors
/// The error of the call; `ECHILD` if it is not our child.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Option<Exit>, Call> {
    wait_id(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

/// Reaps a child that has ended, so that its pidfd was readable. If the child has a tracer, the
/// tracer is notified first, and [`reap`] may not find the child yet.
///
/// # Errors
/// The error of the call; `ECHILD` if it is not our child.
pub fn reap_ended(pidfd: BorrowedFd<'_>) -> Result<Exit, Call> {
    match wait_id(pidfd, WaitIdOptions::EXITED) {
        Ok(None) => Err(Errno::CHILD).named(|| "waitid()".to_owned()),
        Ok(Some(exit)) => Ok(exit),
        Err(call) => Err(call),
    }
}

/// Waits for the end of our child, and leaves it to be reaped. `None` if the bound was reached
/// first.
///
/// # Errors
/// Errors of poll(2), waitid(2).
pub fn ended_within(pidfd: BorrowedFd<'_>, bound: Bound) -> Result<Option<Exit>, Call> {
    if !wait::readable(pidfd, bound)? {
        return Ok(None);
    }
    wait_id(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
}

/// Waits for the end of our child and reaps it. `None` if the bound was reached first.
///
/// # Errors
/// Errors of poll(2), waitid(2).
pub fn reap_within(pidfd: BorrowedFd<'_>, bound: Bound) -> Result<Option<Exit>, Call> {
    if wait::readable(pidfd, bound)? { reap_ended(pidfd).map(Some) } else { Ok(None) }
}

fn wait_id(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Exit>, Call> {
    let status = loop {
        let found = rustix::process::waitid(WaitId::PidFd(pidfd), options); // no wait: NOHANG
        match found {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).named(|| "waitid()".to_owned()),
            Ok(None) => return Ok(None),
            Ok(Some(status)) => break status,
        }
    };
    Ok(Some(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(255),
    }))
}
