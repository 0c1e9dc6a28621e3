//! Who gets the master of the program's terminal: whoever listens on a socket, or we ourselves.
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

/// The name that goes with the master, as receivers know it from runc.
const NAME: &[u8] = b"/dev/ptmx";

/// Who gets it, when it is there.
#[derive(Debug)]
pub enum Console {
    /// There will be none.
    Nobody,
    /// Whoever is at the other end.
    Socket(OwnedFd),
    /// We, with this terminal of our own.
    Runtime(OwnedFd),
}

impl Console {
    /// Finds out that there is somebody, before anything is made.
    ///
    /// # Errors
    /// That nobody listens; that we have no terminal of our own.
    pub fn prepare(plan: Option<&TerminalPlan>) -> Result<Self> {
        match plan.map(|plan| &plan.master) {
            None => Ok(Self::Nobody),
            Some(Master::Socket(path)) => {
                socket::connect_stream(path).context("the console socket (--console-socket)").map(Self::Socket)
            }
            Some(Master::Runtime) => own_terminal().at("/process/terminal").map(Self::Runtime),
        }
    }

    /// Gives it the master. From then on our own terminal, if it is that, belongs to the program.
    ///
    /// # Errors
    /// sendmsg(2)'s; those of changing our terminal.
    pub fn give(self, master: Option<OwnedFd>) -> Result<Option<Relay>> {
        match (self, master) {
            (_, None) | (Self::Nobody, _) => Ok(None),
            (Self::Socket(socket), Some(master)) => {
                socket::send(&socket, NAME, Some(master.as_fd()))
                    .context("sending the terminal to the console socket (--console-socket)")?;
                Ok(None)
            }
            (Self::Runtime(own), Some(master)) => Relay::begin(own, master).at("/process/terminal").map(Some),
        }
    }
}

/// One of our standard streams; or our controlling terminal, when all of them are redirected.
fn own_terminal() -> Result<OwnedFd> {
    let own = match [stdin(), stdout(), stderr()].into_iter().find(|stream| isatty(stream)) {
        Some(stream) => stream.try_clone_to_owned().named(|| "dup(terminal)".to_owned()),
        None => fd::open("/dev/tty".as_ref(), OFlags::RDWR | OFlags::NOCTTY),
    };
    own.context("there is no terminal to show the program's on (stdin, stdout and stderr are none)")
}
