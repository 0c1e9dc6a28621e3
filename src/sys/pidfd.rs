//! Processes by descriptor: signalled, waited for and named without the danger of a recycled id (pidfd_open(2)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

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
    /// As shells tell it: the status, or 128 and the signal's number.
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
/// The call's; `ESRCH` when there is no such process.
pub fn open(pid: i32) -> Result<OwnedFd, Call> {
    let name = || format!("pidfd_open({pid})");
    let pid = Pid::from_raw(pid).ok_or(Errno::SRCH).named(name)?;
    // Our arguments are valid: these too say that no process has this id, being just reaped or now a thread's.
    let gone = |errno| if matches!(errno, Errno::INVAL | Errno::NOENT) { Errno::SRCH } else { errno };
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(gone).named(name)
}

/// pidfd_send_signal(2); any signal number the kernel knows.
///
/// # Errors
/// The call's; `ESRCH` when the process is gone.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Call> {
    use std::os::fd::AsRawFd;
    // SAFETY: a descriptor open for the time of the call, a number, and no siginfo.
    super::check(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    })
    .named(|| format!("pidfd_send_signal({signal})"))
    .map(|_| ())
}

/// Kills with SIGKILL; a process already gone is fine.
///
/// # Errors
/// The call's.
pub fn kill(pidfd: BorrowedFd<'_>) -> Result<(), Call> {
    match signal(pidfd, Signal::KILL.as_raw()) {
        Err(call) if !call.is(Errno::SRCH) => Err(call),
        _ => Ok(()),
    }
}

/// Waits until the process has ended, whosever child it is; false when `limit` passed before.
///
/// # Errors
/// poll(2)'s.
pub fn wait_end(pidfd: BorrowedFd<'_>, limit: Duration) -> Result<bool, Call> {
    wait_readable(pidfd, limit)
}

/// Waits until a descriptor can be read from or its other end is gone; false when `limit` passed before.
///
/// # Errors
/// poll(2)'s.
pub fn wait_readable(fd: BorrowedFd<'_>, limit: Duration) -> Result<bool, Call> {
    wait_for(fd, PollFlags::IN, limit)
}

/// Waits until a descriptor can be written to or its other end is gone; false when `limit` passed before.
///
/// # Errors
/// poll(2)'s.
pub fn wait_writable(fd: BorrowedFd<'_>, limit: Duration) -> Result<bool, Call> {
    wait_for(fd, PollFlags::OUT, limit)
}

/// Waits until `fd` can be read from or the process of `pidfd` has ended, as long as it takes; whether it has.
///
/// # Errors
/// poll(2)'s.
pub fn wait_readable_or_end(fd: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> Result<bool, Call> {
    let mut files = [fd, pidfd].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    loop {
        match poll(&mut files, None) {
            Err(Errno::INTR) => {}
            other => {
                other.named(|| "poll()".to_owned())?;
                return Ok(!files[1].revents().is_empty());
            }
        }
    }
}

fn wait_for(fd: BorrowedFd<'_>, event: PollFlags, limit: Duration) -> Result<bool, Call> {
    let end = std::time::Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        match poll(&mut [PollFd::from_borrowed_fd(fd, event)], Some(&left)) {
            Err(Errno::INTR) => {}
            other => return other.map(|ready| ready > 0).named(|| "poll()".to_owned()),
        }
    }
}

/// Reaps a child that has ended already, whichever, as long as the process of `but` has not ended: false when there is
/// none.
///
/// # Errors
/// The calls'.
pub fn reap_another(but: BorrowedFd<'_>) -> Result<bool, Call> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    let name = || "waitid(P_ALL)".to_owned();
    let found = match waitid(Id::All, ended | WaitPidFlag::WNOWAIT) {
        Err(nix::errno::Errno::ECHILD) => return Ok(false),
        found => found.named(name)?.pid(),
    };
    let Some(pid) = found else { return Ok(false) };
    if wait_end(but, Duration::ZERO)? {
        return Ok(false);
    }
    waitid(Id::Pid(pid), ended).named(name)?;
    Ok(true)
}

/// Reaps our child (waitid(2)) once it has ended.
///
/// # Errors
/// The call's; `ECHILD` when it is not our child.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Exit, Call> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Ok(None) => return Err(Errno::CHILD).named(|| "waitid()".to_owned()),
            Ok(Some(status)) => {
                return Ok(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => Exit::Code(255),
                });
            }
            Err(errno) => return Err(errno).named(|| "waitid()".to_owned()),
        }
    }
}
