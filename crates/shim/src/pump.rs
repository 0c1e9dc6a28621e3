//! A pump moves bytes from its source to its sink, and waits for the one that is not ready.
//! process: daemon, in the thread of `pump_thread`
//!
//! Between pipes it uses splice(2), so the bytes are not copied to our memory. For terminals and
//! regular files it reads and writes.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use crate::poll::{Poll, Token, is_readable};

/// The limit on calls in one run, so that other events are not delayed.
const TURN: usize = 16;

/// The limit on bytes of one splice(2).
const PIECE: usize = 64 << 10;

/// The limit on bytes of one read(2).
const BUFFER: usize = 4 << 10;

/// How a pump moves bytes.
#[derive(Debug)]
enum Method {
    Splice,
    /// Bytes that have been read and not yet been written.
    Copy(Vec<u8>),
}

/// The process that a pump belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The container.
    pub id: String,
    /// The id of the exec process; empty for init.
    pub exec_id: String,
    /// Whether it moves input of the process. Otherwise it moves output.
    pub is_input: bool,
}

/// A pump.
#[derive(Debug)]
pub struct Pump {
    /// The process that it belongs to.
    pub owner: Owner,
    number: u64,
    source: Arc<OwnedFd>,
    sink: OwnedFd,
    method: Method,
    /// Whether it waits for the sink.
    blocked: bool,
}

impl Pump {
    /// A pump between pipes or fifos.
    #[must_use]
    pub fn splicing(number: u64, owner: Owner, source: OwnedFd, sink: OwnedFd) -> Self {
        let source = Arc::new(source);
        Self { owner, number, source, sink, method: Method::Splice, blocked: false }
    }

    /// A pump from or to a terminal, or to a regular file.
    #[must_use]
    pub fn copying(number: u64, owner: Owner, source: Arc<OwnedFd>, sink: OwnedFd) -> Self {
        Self { owner, number, source, sink, method: Method::Copy(Vec::new()), blocked: false }
    }

    /// Its number in [`Poll`].
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Begins to watch the source.
    ///
    /// # Errors
    /// Errors of epoll_ctl(2).
    pub fn begin(&self, poll: &Poll) -> Result<(), Errno> {
        poll.add(&self.source, Token::Source(self.number), EventFlags::IN)
    }

    /// Moves the available bytes. Returns whether the pump is finished.
    pub fn run(&mut self, poll: &Poll) -> bool {
        for _ in 0..TURN {
            let moved = match &mut self.method {
                Method::Splice => splice(&self.source, &self.sink),
                Method::Copy(buffer) => copy(&self.source, &self.sink, buffer),
            };
            match moved {
                Ok(Progress::Some) | Err(Errno::INTR) => {}
                Ok(Progress::End) => return true,
                Ok(Progress::SourceEmpty) => return self.wait_for(poll, false).is_err(),
                Ok(Progress::SinkFull) => return self.wait_for(poll, true).is_err(),
                // One of the two is not ready. It is the one that we did not wait for, since epoll
                // reported the other.
                Err(Errno::AGAIN) => {
                    let blocked = !self.blocked && is_readable(&self.source);
                    return self.wait_for(poll, blocked).is_err();
                }
                // The reader has closed its end, or the terminal was hung up.
                Err(_) => return true,
            }
        }
        false // epoll is level-triggered: the event comes again
    }

    fn wait_for(&mut self, poll: &Poll, sink: bool) -> Result<(), Errno> {
        if self.blocked == sink {
            return Ok(());
        }
        if sink {
            poll.remove(&self.source);
            poll.add(&self.sink, Token::Sink(self.number), EventFlags::OUT)?;
        } else {
            poll.remove(&self.sink);
            poll.add(&self.source, Token::Source(self.number), EventFlags::IN)?;
        }
        self.blocked = sink;
        Ok(())
    }

    /// Stops watching both. Closes the source, and returns the sink.
    pub fn end(self, poll: &Poll) -> OwnedFd {
        poll.remove(&self.source);
        poll.remove(&self.sink);
        self.sink
    }
}

/// The result of moving bytes once.
enum Progress {
    /// Bytes were moved.
    Some,
    /// The source is at its end.
    End,
    /// The source has no bytes.
    SourceEmpty,
    /// The sink is full.
    SinkFull,
}

fn splice(source: &OwnedFd, sink: &OwnedFd) -> Result<Progress, Errno> {
    match rustix::pipe::splice(
        source,
        None,
        sink,
        None,
        PIECE,
        SpliceFlags::MOVE | SpliceFlags::NONBLOCK,
    )? {
        0 => Ok(Progress::End),
        _ => Ok(Progress::Some),
    }
}

fn copy(source: &OwnedFd, sink: &OwnedFd, pending: &mut Vec<u8>) -> Result<Progress, Errno> {
    if pending.is_empty() {
        let mut buffer = [0; BUFFER];
        let mut read = rustix::io::read(source, &mut buffer);
        if read == Err(Errno::IO) {
            // It may not be the end of a terminal's output yet.
            read = orlop::sys::terminal::read_rest(source, &mut buffer);
        }
        let length = match read {
            Ok(0) | Err(Errno::IO) => return Ok(Progress::End),
            Err(Errno::AGAIN) => return Ok(Progress::SourceEmpty),
            length => length?,
        };
        pending.extend(buffer.get(..length).unwrap_or_default());
    }
    match rustix::io::write(sink, pending) {
        Err(Errno::AGAIN) => Ok(Progress::SinkFull),
        written => {
            pending.drain(..written?);
            if pending.is_empty() {
                *pending = Vec::new();
            }
            Ok(Progress::Some)
        }
    }
}
