//! Waiting: every call in which this process may wait, and for how long. Only this file may wait
//! (`integration/house-rules.sh` checks that), and every wait here needs a [`Bound`].
//!
//! `git grep 'Endless('` shows all waits without a bound, and [`Unbounded`] lists what ends each of
//! them.
//!
//! Two kinds of waiting are not here. A call on a file or a mount waits for the disk or the server
//! behind it (a hung NFS or FUSE mount), and the kernel offers no bound for that. Such a call ends
//! when the process is killed. It never delays a verb for another container: `state`, `list`,
//! `kill` and `delete` do not access a rootfs, a bundle or a mount source. And writes to our
//! standard output, standard error and log are as fast as the process that reads them.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags,
};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal,
};

use super::{Call, Named, check, fd, signal as signals};

/// How long a wait may take.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// At most this long.
    Within(Duration),
    /// At most until this time.
    Until(Instant),
    /// Without a bound.
    Endless(Unbounded),
}

/// Why a wait needs no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbounded {
    /// The process at the other end of a wire is working. Its mounts and the user's hooks may take
    /// any time. If it dies, the wire ends, and so does the wait. A process that may be stopped or
    /// frozen is watched (`runtime/watch.rs`).
    PeerAtWork,
    /// A created container waits for its `start`, which may come at any time. It can be killed.
    NotStartedYet,
    /// The user's program runs, and we have nothing else to do. Its end ends the wait, and signals
    /// are forwarded to it.
    ProgramRuns,
    /// We wait until the user's program reports that it is ready, or ends. Both may take any time.
    ProgramNotReady,
    /// config.json gives this hook no timeout, and the specification sets none. A prestart
    /// or createRuntime hook is killed when the container's init ends. The other hooks run until
    /// they end.
    HookWithoutTimeout,
}

impl Bound {
    /// Does not wait.
    pub const NOW: Self = Self::Within(Duration::ZERO);

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Within(limit) => Instant::now().checked_add(limit),
            Self::Until(deadline) => Some(deadline),
            Self::Endless(_) => None,
        }
    }

    /// The same bound with a fixed end, for a wait that consists of several calls.
    #[must_use]
    pub fn fixed(self) -> Self {
        self.deadline().map_or(self, Self::Until)
    }
}

/// How long a process may take to end after it was killed, or after its work is done.
pub const DEATH: Bound = Bound::Within(Duration::from_secs(10));

/// Waits until one of `files` is ready (poll(2)). False if the bound was reached first.
///
/// # Errors
/// The error of the call; `EINTR` for a signal that ends waits ([`signals::end_waits`]).
pub fn any(files: &mut [PollFd<'_>], bound: Bound) -> Result<bool, Call> {
    let bound = bound.fixed();
    while let Some(heard) = signals::heard() {
        let mut with_signals = files.to_vec();
        with_signals.push(PollFd::from_borrowed_fd(heard, PollFlags::IN));
        let ready = poll_until(&mut with_signals, bound)?;
        let signal = with_signals.pop().is_some_and(|file| !file.revents().is_empty());
        // A file that is ready counts before a signal: a signal that comes after the end of a wire
        // is meant for the program.
        if !ready || with_signals.iter().any(|file| !file.revents().is_empty()) {
            return poll_until(files, Bound::NOW); // sets the results in `files`
        }
        if signal {
            signals::ended_wait(heard)?;
        }
    }
    poll_until(files, bound)
}

fn poll_until(files: &mut [PollFd<'_>], bound: Bound) -> Result<bool, Call> {
    let deadline = bound.deadline();
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(|left| {
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        match poll(files, left.as_ref()) {
            Err(Errno::INTR) => {}
            other => return other.map(|ready| ready > 0).named(|| "poll()".to_owned()),
        }
    }
}

/// Waits until a descriptor can be read from, or its other end is closed. A pidfd is readable when
/// its process has ended, even if it is not our child. False if the bound was reached first.
///
/// # Errors
/// Errors of poll(2).
pub fn readable(fd: BorrowedFd<'_>, bound: Bound) -> Result<bool, Call> {
    any(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], bound)
}

/// As [`readable`], but for writing.
///
/// # Errors
/// Errors of poll(2).
pub fn writable(fd: BorrowedFd<'_>, bound: Bound) -> Result<bool, Call> {
    any(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], bound)
}

/// Waits until one of two descriptors can be read from, or its other end is closed. Returns which.
/// Both are `false` if the bound was reached.
///
/// # Errors
/// Errors of poll(2).
pub fn either_readable(fds: [BorrowedFd<'_>; 2], bound: Bound) -> Result<[bool; 2], Call> {
    let mut files = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    any(&mut files, bound)?;
    Ok(files.map(|file| !file.revents().is_empty()))
}

/// Waits for any blocked signal, also a real-time one (sigwaitinfo(2)). `_why` is the reason for
/// the missing bound.
///
/// # Errors
/// The error of the call.
pub fn signal(_why: Unbounded) -> Result<i32, Call> {
    // SAFETY: a signal set is plain memory, which sigfillset initialises.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours.
    unsafe { libc::sigfillset(&raw mut set) };
    loop {
        // SAFETY: the set is initialised and no information is requested.
        match check(unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) }) {
            Err(Errno::INTR) => {}
            other => {
                return other
                    .map(|number| i32::try_from(number).unwrap_or(0))
                    .named(|| "sigwaitinfo()".to_owned());
            }
        }
    }
}

/// recvmsg(2), repeated when a signal interrupts it. Returns the number of bytes.
///
/// # Errors
/// The error of the call; `ETIMEDOUT` if the bound was reached.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut RecvAncillaryBuffer<'_>,
    bound: Bound,
) -> Result<usize, Call> {
    let name = || "recvmsg()".to_owned();
    let mut wait = !matches!(bound, Bound::Endless(_)) || signals::heard().is_some();
    let bound = bound.fixed();
    loop {
        if wait && !readable(socket, bound)? {
            return Err(Errno::TIMEDOUT).named(name);
        }
        let mut slices = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(socket, &mut slices, control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait = true,
            other => return Ok(other.named(name)?.bytes),
        }
    }
}

/// Receives one packet into `buffer` (recv(2)) and returns its length. Usually the packet has
/// already arrived.
///
/// # Errors
/// The error of the call; `EAGAIN` if the bound was reached.
pub fn receive_plain(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    bound: Bound,
) -> Result<usize, Errno> {
    let bound = bound.fixed();
    loop {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if readable(socket, bound).is_ok_and(|ready| ready) => {}
            other => return other.map(|(length, _)| length),
        }
    }
}

/// sendmsg(2), which usually does not wait. Returns the number of bytes that were sent. Never
/// raises SIGPIPE.
///
/// # Errors
/// The error of the call; `EAGAIN` if the bound was reached.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    control: &mut SendAncillaryBuffer<'_, '_, '_>,
    bound: Bound,
) -> Result<usize, Call> {
    let bound = bound.fixed();
    loop {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], control, flags) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if writable(socket, bound)? => {}
            other => return other.named(|| "sendmsg()".to_owned()),
        }
    }
}

/// accept4(2). `_why` is the reason for the missing bound.
///
/// # Errors
/// The error of the call.
pub fn accept(listener: BorrowedFd<'_>, _why: Unbounded) -> Result<OwnedFd, Call> {
    loop {
        match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Err(Errno::INTR) => {}
            other => return other.named(|| "accept4()".to_owned()),
        }
    }
}

/// connect(2) without waiting. The socket must have `SOCK_NONBLOCK`.
///
/// # Errors
/// The error of the call: `EAGAIN` if the queue of the listening socket is full.
pub fn connect_now(socket: BorrowedFd<'_>, address: &SocketAddrUnix) -> Result<(), Errno> {
    rustix::net::connect(socket, address)
}

/// connect(2). `limit` is also the bound of each later send on this socket that has no bound of its
/// own.
///
/// # Errors
/// The error of the call: `EAGAIN` if the connection is not accepted in time.
pub fn connect(
    socket: BorrowedFd<'_>,
    address: &SocketAddrUnix,
    limit: Duration,
) -> Result<(), Errno> {
    rustix::net::sockopt::set_socket_timeout(socket, Timeout::Send, Some(limit))?;
    loop {
        match rustix::net::connect(socket, address) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Tries again until `attempt` succeeds, for cases where the kernel does not notify us. The pauses
/// double from the first to the last of `pauses`. `None` if the bound was reached. There is at
/// least one attempt.
///
/// # Errors
/// Errors of `attempt`.
pub fn retry<T, E>(
    bound: Bound,
    pauses: [Duration; 2],
    mut attempt: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let deadline = bound.deadline();
    let [mut pause, longest] = pauses;
    loop {
        if let Some(done) = attempt()? {
            return Ok(Some(done));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// The results of a program that we ran.
#[derive(Debug)]
pub struct ProgramOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Runs a program. `None` if the bound was reached and the program was killed. It is also killed if
/// we are; processes that it leaves behind are not. Its output goes to memory, so that it never
/// waits for a reader, and so that processes that it leaves behind with its output open do not
/// delay us.
///
/// # Errors
/// Errors of starting the program.
pub fn run(command: &mut Command, bound: Bound) -> std::io::Result<Option<ProgramOutput>> {
    let file = || fd::memory_file("output").map_err(as_io);
    let (mut stdout, mut stderr) = (file()?, file()?);
    command
        .stdin(std::process::Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    let us = getpid();
    // SAFETY: the closure only makes two system calls.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() == Some(us) { Ok(()) } else { Err(Errno::SRCH.into()) }
        });
    }
    let mut child = command.spawn()?;
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    if !readable(pidfd.as_fd(), bound).map_err(as_io)? {
        child.kill()?;
        return Ok(None);
    }
    let Some(status) = child.try_wait()? else { return Ok(None) };
    Ok(Some(ProgramOutput { status, stdout: content(&mut stdout)?, stderr: content(&mut stderr)? }))
}

fn content(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    Ok(content)
}

fn as_io(call: Call) -> std::io::Error {
    call.errno.into()
}

/// Reads a file that the caller named on the command line. If it is a pipe, this takes as long as
/// its writer takes.
///
/// # Errors
/// Errors of open(2), read(2).
pub fn callers_file(path: &Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Reads our standard input, as [`callers_file`] does.
///
/// # Errors
/// Errors of read(2).
pub fn callers_stdin() -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use rustix::io::Errno;

    use super::{Bound, Unbounded, either_readable, readable, receive_plain, retry};
    use crate::sys::socket;

    const SOON: Duration = Duration::from_millis(30);

    #[test]
    fn a_wait_ends_at_its_bound() {
        let (ours, _theirs) = socket::pair().expect("a pair");
        let begin = Instant::now();
        assert!(!readable(ours.as_fd(), Bound::NOW).expect("a look"));
        assert!(!readable(ours.as_fd(), Bound::Within(SOON)).expect("a wait"));
        assert!(!readable(ours.as_fd(), Bound::Within(SOON).fixed()).expect("a wait"));
        assert_eq!(
            receive_plain(ours.as_fd(), &mut [0; 8], Bound::Within(SOON)),
            Err(Errno::AGAIN)
        );
        let received = socket::receive(&ours, &mut [0; 8], Bound::Within(SOON));
        assert!(received.is_err_and(|call| call.is(Errno::TIMEDOUT)));
        assert!(begin.elapsed() >= SOON * 4 && begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn an_endless_wait_ends_with_the_other_end() {
        let (ours, theirs) = socket::pair().expect("a pair");
        let (others, _keep) = socket::pair().expect("a pair");
        drop(theirs);
        assert!(readable(ours.as_fd(), Bound::Endless(Unbounded::PeerAtWork)).expect("a wait"));
        let which =
            either_readable([others.as_fd(), ours.as_fd()], Bound::Endless(Unbounded::PeerAtWork));
        assert_eq!(which.expect("a wait"), [false, true]);
    }

    #[test]
    fn what_is_tried_again_is_tried_once_at_least_and_not_for_ever() {
        let pauses = [Duration::from_millis(1), Duration::from_millis(4)];
        let mut attempts = 0;
        let mut third = || {
            attempts += 1;
            Ok::<_, ()>((attempts == 3).then_some(attempts))
        };
        assert_eq!(retry(Bound::Within(Duration::from_secs(60)), pauses, &mut third), Ok(Some(3)));
        assert_eq!(retry(Bound::NOW, pauses, &mut third), Ok(None));
        assert_eq!(attempts, 4);
        assert_eq!(retry(Bound::Within(SOON), pauses, || Ok::<Option<()>, ()>(None)), Ok(None));
    }
}
