//! Passes on the master of the program's terminal: to a socket, to us, or to our caller.
//! config.json: process.terminal
//! process: runtime

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::isatty;

use super::relay::Relay;
use crate::error::{AtKey, Context, Result};
use crate::plan::terminal::{Master, TerminalPlan};
use crate::sys::{Named, fd, socket};

/// The name that is sent with the master. It is that of runc, which receivers expect.
const NAME: &[u8] = b"/dev/ptmx";

/// The receiver of the master.
#[derive(Debug)]
pub enum Console {
    /// There is no terminal.
    Nobody,
    /// The process that listens on a socket.
    Socket(OwnedFd),
    /// This process: its own terminal, and the master, once we have it.
    Runtime(OwnedFd, Option<OwnedFd>),
    /// The program that uses this crate, which takes the master; and the master, once we have it.
    Caller(Option<OwnedFd>),
}

impl Console {
    /// Connects to the receiver, or opens our own terminal, before anything is made.
    ///
    /// # Errors
    /// An error if no process listens on the socket, or if we have no terminal of our own.
    pub fn prepare(plan: Option<&TerminalPlan>) -> Result<Self> {
        match plan.map(|plan| &plan.master) {
            None => Ok(Self::Nobody),
            Some(Master::Socket(path)) => socket::connect_stream(path)
                .context("the console socket (--console-socket)")
                .map(Self::Socket),
            Some(Master::Caller) => Ok(Self::Caller(None)),
            Some(Master::Runtime) => {
                own_terminal().at("/process/terminal").map(|own| Self::Runtime(own, None))
            }
        }
    }

    /// Takes the master from init, or from criu. A socket gets it at once: the process that listens
    /// there expects it even if the program cannot be run.
    ///
    /// # Errors
    /// Errors of sendmsg(2).
    pub fn take(&mut self, master: OwnedFd) -> Result<()> {
        match self {
            Self::Nobody => {
                anyhow::bail!("there is a terminal that nobody asked for (process.terminal)")
            }
            Self::Runtime(_, taken) | Self::Caller(taken) => *taken = Some(master),
            Self::Socket(socket) => {
                socket::send(&socket, NAME, Some(master.as_fd()))
                    .and_then(|()| socket::shut_down(&socket)) // init has the socket, too
                    .context("sending the terminal to the console socket (--console-socket)")?;
            }
        }
        Ok(())
    }

    /// The relay between the program's terminal and ours, if the master is for us. From then on,
    /// our terminal belongs to the program.
    ///
    /// # Errors
    /// Errors of changing our terminal.
    pub fn relay(&mut self) -> Result<Option<Relay>> {
        match std::mem::replace(self, Self::Nobody) {
            Self::Runtime(own, Some(master)) => {
                Relay::begin(own, master).at("/process/terminal").map(Some)
            }
            other => {
                *self = other;
                Ok(None)
            }
        }
    }

    /// The master, if it is for the caller.
    #[must_use]
    pub fn into_master(self) -> Option<OwnedFd> {
        if let Self::Caller(master) = self { master } else { None }
    }
}

/// One of our standard streams, or our controlling terminal if all of them are redirected.
fn own_terminal() -> Result<OwnedFd> {
    let own = match [stdin(), stdout(), stderr()].into_iter().find(|stream| isatty(stream)) {
        Some(stream) => stream.try_clone_to_owned().named(|| "dup(terminal)".to_owned()),
        None => fd::open("/dev/tty".as_ref(), OFlags::RDWR | OFlags::NOCTTY),
    };
    own.context("there is no terminal to show the program's on (stdin, stdout and stderr are none)")
}
