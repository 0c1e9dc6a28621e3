//! A process that we created.
//! process: runtime

use std::os::fd::{AsFd, OwnedFd};

use crate::error::Result;
use crate::sync::RuntimeEnd;
use crate::sys::clone::NewProcess;
use crate::sys::{self, pidfd, proc, wait};

/// A process that we created. It is killed and reaped when dropped, unless it was released.
#[derive(Debug)]
pub struct Child {
    /// Its pid, in our pid namespace.
    pub pid: i32,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
    released: bool,
}

impl Child {
    pub(super) fn adopt(cloned: NewProcess) -> Self {
        Self { pid: cloned.pid, pidfd: cloned.pidfd, released: false }
    }

    /// A child of ours that the bootstrap or criu has created.
    ///
    /// # Errors
    /// Errors of pidfd_open(2).
    pub fn open(pid: i32) -> Result<Self> {
        Ok(Self { pid, pidfd: pidfd::open(pid)?, released: false })
    }

    /// Its start time in clock ticks since boot.
    ///
    /// # Errors
    /// Errors of reading /proc.
    pub fn start_time(&self) -> Result<u64> {
        Ok(proc::stat(self.pid)?.start)
    }

    /// Lets the process run on when this is dropped.
    pub fn release(&mut self) {
        self.released = true;
    }
}

impl AsMut<Self> for Child {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.released {
            // The caller already returns an error, and that one matters more than these.
            let _ = pidfd::kill(self.pidfd.as_fd());
            // A process that is stuck in the kernel dies later, and we do not wait for that.
            let _ = pidfd::reap_within(self.pidfd.as_fd(), wait::DEATH);
        }
    }
}

/// Closes the runtime's end of the wire, in the process that has the other end. Otherwise that
/// process would keep its own wire open, and would not notice our death.
pub(super) fn close_runtime_end(wire: &RuntimeEnd) {
    sys::fd::close_copy(wire.as_fd());
}
