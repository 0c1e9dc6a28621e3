//! The gate between `create` and `start`: a socket in the container's directory, at which init waits.
//!
//! Not the fifo of other runtimes, for three reasons. Init needs no path and no /proc to wait: it is born with the
//! listening descriptor, where a fifo's handle must be opened again inside the container. `start` cannot hang: a
//! connection is refused at once when init is dead. And the answer comes back: `start` learns from init itself that the
//! program runs or why it does not. A `start` that is killed half-way has not opened it.
//!
//! While init waits the file answers; so it also tells `created` from `running`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::sync::RuntimeEnd;
use crate::sys::wait::{self, Bound};
use crate::sys::{Call, socket};

/// How long init may leave a `start` standing.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(10));

/// How long is waited from one attempt to the next.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// What is done.
const OPENING: &str = "opening the gate between create and start";

/// The socket's name.
pub const FILE: &str = "gate";

/// Makes the gate; the descriptor goes to init, and the gate ends with it.
///
/// # Errors
/// The failed call's.
pub fn make(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    socket::listen(directory, FILE).context("making the gate between create and start")
}

/// Stands before the gate; `None` when nobody waits behind it: init is dead or has passed.
///
/// # Errors
/// The failed call's; that init does not come to the gate, though it is there.
pub fn approach(directory: BorrowedFd<'_>) -> Result<Option<RuntimeEnd>> {
    // One who asks again and again for the state may stand before us.
    let there = wait::retry(PATIENCE, PAUSES, || match socket::connect(directory, FILE) {
        Ok(socket) => Ok(Some(Some(RuntimeEnd::from_fd(socket)))),
        Err(call) if is_nobody(&call) => Ok(Some(None)),
        Err(call) if call.is(Errno::AGAIN) => Ok(None),
        Err(call) => Err(call),
    });
    there.context(OPENING)?.context("init is alive, but does not come to the gate between create and start")
}

/// Whether init waits behind the gate. One that is frozen leaves those before it standing until there is no room for us.
///
/// # Errors
/// The failed call's.
pub fn is_closed(directory: BorrowedFd<'_>) -> Result<bool> {
    match socket::connect(directory, FILE) {
        Ok(_) => Ok(true),
        Err(call) if is_nobody(&call) => Ok(false),
        Err(call) if call.is(Errno::AGAIN) => Ok(true),
        Err(call) => Err(call).context(OPENING),
    }
}

fn is_nobody(call: &Call) -> bool {
    call.is(Errno::NOENT) || call.is(Errno::CONNREFUSED)
}

/// Takes the file away, once init has passed.
pub fn remove(directory: BorrowedFd<'_>) {
    // It is without meaning by now; `delete` takes what is left.
    let _ = rustix::fs::unlinkat(directory.as_fd(), FILE, rustix::fs::AtFlags::empty());
}
