//! `--pidfd-socket`: sends a pidfd to a process that wants to watch or signal the new process,
//! without the risk that a pid is reused.
//! process: runtime

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::spawn::Init;
use crate::error::{Context, Result};
use crate::sys::socket;

/// The text that is sent with the pidfd of a container's init.
pub const INIT: &str = "standard";
/// The text that is sent with the pidfd of a process of `exec`.
pub const EXEC: &str = "setns";

/// A connection to the receiver.
#[derive(Debug)]
pub struct PidfdSocket(OwnedFd);

impl PidfdSocket {
    /// Connects. This is done before there is anything to undo.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn connect(path: &Path) -> Result<Self> {
        let socket = socket::connect_stream(path)
            .with_context(|| format!("connecting to {} (--pidfd-socket)", path.display()))?;
        Ok(Self(socket))
    }

    /// Sends the pidfd of the process, and its kind: [`INIT`] or [`EXEC`].
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn send(&self, process: &Init, what: &str) -> Result<()> {
        socket::send(&self.0, what.as_bytes(), Some(process.as_fd()))
            .context("sending the pidfd (--pidfd-socket)")
    }
}
