//! The socket on which the program reports that it is ready (sd_notify(3)). The report is passed on
//! to the process that waits for it, at the `NOTIFY_SOCKET` of our own environment.
//!
//! The container cannot use that socket itself: the receiver there identifies a sender by its pid
//! and cgroup, and accepts every kind of message. So the container gets its own socket, and we pass
//! on only one line of its messages, and the pid to watch, which the container does not know. The
//! socket is in a directory of its own, which the container sees read-only.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::error::{Context, Result};
use crate::sys::wait::{self, Bound, Unbounded};
use crate::sys::{Call, Named, socket};

/// The name of the directory that holds the socket, in the container's directory.
pub const DIRECTORY: &str = "notify";
/// The socket's name in it.
pub const SOCKET: &str = "notify.sock";

/// How long the receiver at `NOTIFY_SOCKET` may take to process our messages.
const BARRIER: Duration = Duration::from_secs(30);

/// The value of `NOTIFY_SOCKET` in our environment, if it is set.
#[must_use]
pub fn wanted() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Makes the directory. The container has it mounted from the beginning.
///
/// # Errors
/// Errors of mkdir(2).
pub fn make_directory(container: BorrowedFd<'_>) -> Result<()> {
    // The container's users must be able to enter it, whatever their ids on the host are.
    rustix::fs::mkdirat(container, DIRECTORY, Mode::from_raw_mode(0o755))
        .named_on("mkdir", DIRECTORY)
        .context("making the directory of the notify socket")
}

/// Removes the directory, if there is one.
///
/// # Errors
/// The error of the failed call.
pub fn remove_directory(container: BorrowedFd<'_>) -> Result<()> {
    let directory = match open(container) {
        Err(call) if call.is(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    remove_socket(&directory)?;
    rustix::fs::unlinkat(container, DIRECTORY, AtFlags::REMOVEDIR).named_on("rmdir", DIRECTORY)?;
    Ok(())
}

fn open(container: BorrowedFd<'_>) -> Result<OwnedFd, Call> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(container, DIRECTORY, flags, Mode::empty()).named_on("open", DIRECTORY)
}

fn remove_socket(directory: &OwnedFd) -> Result<(), Call> {
    match rustix::fs::unlinkat(directory, SOCKET, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).named(|| format!("unlink({SOCKET:?})")),
    }
}

/// Receives the program's messages, and passes on that it is ready.
#[derive(Debug)]
pub struct Notify {
    program: OwnedFd,
    host: OwnedFd,
}

impl Notify {
    /// Makes the container's socket, and connects to `host`.
    ///
    /// # Errors
    /// The error of the failed call; an error if the container was made without the directory.
    pub fn listen(container: BorrowedFd<'_>, host: &OsStr) -> Result<Self> {
        let host = socket::connect_datagrams(host).context("connecting to $NOTIFY_SOCKET")?;
        let directory = match open(container) {
            Err(call) if call.is(Errno::NOENT) => {
                return Err(call)
                    .context("the container was created without NOTIFY_SOCKET in the environment");
            }
            other => other?,
        };
        remove_socket(&directory)?; // left by a `start` that was killed
        let program = socket::bind_datagrams(directory.as_fd(), SOCKET)
            .context("making the notify socket")?;
        Ok(Self { program, host })
    }

    /// Waits until the program is ready. Then sends `READY=` to `NOTIFY_SOCKET`, and `main_pid` as
    /// the process to watch. Sends nothing if the process of the pidfd `init` ends first.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn forward(&self, init: BorrowedFd<'_>, main_pid: i32) -> Result<()> {
        let Some(mut ready) = self.ready(init)? else { return Ok(()) };
        ready.push(b'\n');
        let send =
            |text: &[u8]| socket::send(&self.host, text, None).context("sending to $NOTIFY_SOCKET");
        send(&ready)?;
        send(format!("MAINPID={main_pid}\n").as_bytes())?;
        self.barrier().context("waiting for the one at $NOTIFY_SOCKET")
    }

    /// The first line that begins with `READY=`. All other lines of the program are ignored. `None`
    /// if init ends first.
    fn ready(&self, init: BorrowedFd<'_>) -> Result<Option<Vec<u8>>> {
        let mut buffer = [0; 4096];
        let mut ended = false;
        loop {
            match socket::receive_now(&self.program, &mut buffer)? {
                Some(length) => {
                    let said = buffer.get(..length).unwrap_or_default();
                    if let Some(line) =
                        said.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="))
                    {
                        return Ok(Some(line.to_vec()));
                    }
                }
                None if ended => return Ok(None),
                // A message that the program sent before it ended still counts.
                None => {
                    let fds = [self.program.as_fd(), init];
                    [_, ended] =
                        wait::either_readable(fds, Bound::Endless(Unbounded::ProgramNotReady))?;
                }
            }
        }
    }

    /// sd_notify_barrier(3): the receiver closes the descriptor that we send, after it has
    /// processed all earlier messages.
    fn barrier(&self) -> Result<()> {
        let (ours, theirs) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).named(|| "pipe2()".to_owned())?;
        socket::send(&self.host, b"BARRIER=1", Some(theirs.as_fd()))?;
        drop(theirs);
        if !wait::readable(ours.as_fd(), Bound::Within(BARRIER))? {
            log::warn!("no answer to BARRIER=1 at $NOTIFY_SOCKET within {} s", BARRIER.as_secs());
            return Ok(());
        }
        let length = rustix::io::read(&ours, &mut [0]).named(|| "read()".to_owned())?;
        anyhow::ensure!(length == 0, "the descriptor of BARRIER=1 was written to");
        Ok(())
    }
}
