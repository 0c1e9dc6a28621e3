//! `--pidfd-socket`: a descriptor for the process, sent to whoever wants to watch or signal it
//! without the danger of a recycled pid.
//! process: runtime

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::spawn::Init;
use crate::error::{Context, Result};
use crate::sys::socket;

/// What is sent with the descriptor of a container's init.
pub const INIT: &str = "standard";
/// What is sent with that of a process that `exec` made.
pub const EXEC: &str = "setns";

/// A connection to whoever wants it.
#[derive(Debug)]
pub struct PidfdSocket(OwnedFd);

impl PidfdSocket {
    /// Connects, before there is anything that would have to be undone.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn connect(path: &Path) -> Result<Self> {
        let socket = socket::connect_stream(path)
            .with_context(|| format!("connecting to {} (--pidfd-socket)", path.display()))?;
        Ok(Self(socket))
    }

    /// Sends the process: its descriptor, and what it is, [`INIT`] or [`EXEC`].
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn send(&self, process: &Init, what: &str) -> Result<()> {
        socket::send(&self.0, what.as_bytes(), Some(process.as_fd()))
            .context("sending the pidfd (--pidfd-socket)")
    }
}
