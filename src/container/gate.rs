//! The gate between `create` and `start`: a socket in the container's directory, at which init
//! waits.
//!
//! Not the fifo of other runtimes, for three reasons. Init needs no path and no /proc to wait: it
//! is born with the listening descriptor, where a fifo's handle must be opened again inside the
//! container. `start` cannot hang: a connection is refused at once when init is dead. And the
//! answer comes back: `start` learns from init itself that the program runs or why it does not. A
//! `start` that is killed half-way has not opened it.
//!
//! The file also tells `created` from `running`, with init's name: a look does not wake init up, as
//! a knock would. Only a program of that very name could be taken for an init that waits, and only
//! if `start` was killed after it had let init go and before it took the file away; then `start`
//! finds nobody behind the gate.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::sync::RuntimeEnd;
use crate::sys::wait::{self, Bound};
use crate::sys::{Named, socket};

/// How long init may leave a `start` standing.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(10));

/// How long is waited from one attempt to the next.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// The socket's name.
pub const FILE: &str = "gate";

/// Makes the gate; the descriptor goes to init, and the gate ends with it.
///
/// # Errors
/// The error of the failed call.
pub fn make(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    socket::listen(directory, FILE).context("making the gate between create and start")
}

/// Stands before the gate; `None` when nobody waits behind it: init is dead or has passed.
///
/// # Errors
/// The error of the failed call; that init does not come to the gate, though it is there.
pub fn approach(directory: BorrowedFd<'_>) -> Result<Option<RuntimeEnd>> {
    // One who asks again and again for the state may stand before us.
    let there = wait::retry(PATIENCE, PAUSES, || match socket::connect(directory, FILE) {
        Ok(socket) => Ok(Some(Some(RuntimeEnd::from_fd(socket)))),
        Err(call) if call.is(Errno::NOENT) || call.is(Errno::CONNREFUSED) => Ok(Some(None)),
        Err(call) if call.is(Errno::AGAIN) => Ok(None),
        Err(call) => Err(call),
    });
    there
        .context("opening the gate between create and start")?
        .context("init is alive, but does not come to the gate between create and start")
}

/// Whether there is one, in the file `name` of `directory`, as long as nobody has passed.
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

/// Takes the file away, once init has passed.
pub fn remove(directory: BorrowedFd<'_>) {
    // It is without meaning by now; `delete` takes what is left.
    let _ = rustix::fs::unlinkat(directory.as_fd(), FILE, AtFlags::empty());
}
