//! The gate between `create` and `start`: a socket in the container's directory, at which init
//! waits.
//!
//! Other runtimes use a fifo. A socket is better for three reasons. Init needs no path and no /proc
//! to wait, because it has the listening descriptor from its start; a fifo must be opened again
//! inside the container. `start` cannot hang, because a connection is refused at once when init is
//! dead. And `start` gets an answer: init itself reports that the program runs, or why it does not.
//! If `start` is killed before it has sent its message, init continues to wait.
//!
//! Together with init's name, the file of the socket also distinguishes `created` from `running`. A
//! check whether the file exists does not wake init, as a connection would. There is one case in
//! which a running container looks `created`. Its program must have the same name as our init, and
//! `start` must have been killed after init had gone on and before the file was removed. The next
//! `start` then finds that nothing listens at the gate.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::sync::RuntimeEnd;
use crate::sys::wait::{self, Bound};
use crate::sys::{Named, socket};

/// How long init may take to accept the connection of `start`.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(10));

/// The pauses between two attempts: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// The socket's name.
pub const FILE: &str = "gate";

/// Makes the gate. The descriptor is for init; when init closes it, nothing can connect any more.
///
/// # Errors
/// The error of the failed call.
pub fn make(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    socket::listen(directory, FILE).context("making the gate between create and start")
}

/// Connects to the gate. `None` if nothing listens there: init is dead or has already gone on.
///
/// # Errors
/// The error of the failed call; an error if init is alive but does not accept.
pub fn connect(directory: BorrowedFd<'_>) -> Result<Option<RuntimeEnd>> {
    // EAGAIN: the queue of connections is full until init has accepted some.
    let there = wait::retry(PATIENCE, PAUSES, || match socket::connect(directory, FILE) {
        Ok(socket) => Ok(Some(Some(RuntimeEnd::from_fd(socket)))),
        Err(call) if call.is(Errno::NOENT) || call.is(Errno::CONNREFUSED) => Ok(Some(None)),
        Err(call) if call.is(Errno::AGAIN) => Ok(None),
        Err(call) => Err(call),
    });
    there.context("opening the gate between create and start")?.context(
        "init is alive, but does not accept a connection at the gate between create and start",
    )
}

/// Whether the gate's file `name` is in `directory`. `start` removes it after init
/// has gone on.
///
/// # Errors
/// Errors of faccessat(2).
pub fn is_there(directory: BorrowedFd<'_>, name: &str) -> Result<bool> {
    match rustix::fs::accessat(directory, name, Access::EXISTS, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => {
            Err(errno).named(|| format!("access({name:?})")).context("looking for the gate")
        }
    }
}

/// Removes the file, after init has gone on.
pub fn remove(directory: BorrowedFd<'_>) {
    // The file has no effect any more. If it stays, `delete` removes it.
    let _ = rustix::fs::unlinkat(directory.as_fd(), FILE, AtFlags::empty());
}
