//! A pump moves bytes from one descriptor to another, and waits for whichever is not ready.
//! process: daemon
//!
//! Between pipes the bytes are moved by splice(2) and never seen by us. Terminals and regular files
//! are read and written.

use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use crate::poll::{Poll, Token};

/// The most that is moved before others have their turn.
const TURN: usize = 16;

/// How much one call moves.
const PIECE: usize = 64 << 10;

/// How much is read at once where splice(2) does not do.
const BUFFER: usize = 4 << 10;

/// How a pump moves bytes.
#[derive(Debug)]
enum Way {
    Splice,
    /// What has been read and not yet been written.
    Copy(Vec<u8>),
}

/// Whom it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The container.
    pub id: String,
    /// What Exec has made, or init for an empty id.
    pub exec_id: String,
    /// Whether it brings input to the process, not output from it.
    pub is_input: bool,
}

/// A pump.
#[derive(Debug)]
pub struct Pump {
    /// Whom it belongs to.
    pub owner: Owner,
    number: u64,
    source: OwnedFd,
    sink: OwnedFd,
    way: Way,
    /// Whether it waits for the sink.
    blocked: bool,
}

impl Pump {
    /// One between pipes or fifos.
    #[must_use]
    pub fn splicing(number: u64, owner: Owner, source: OwnedFd, sink: OwnedFd) -> Self {
        Self { owner, number, source, sink, way: Way::Splice, blocked: false }
    }

    /// One from or to a terminal, or to a regular file.
    #[must_use]
    pub fn copying(number: u64, owner: Owner, source: OwnedFd, sink: OwnedFd) -> Self {
        Self { owner, number, source, sink, way: Way::Copy(Vec::new()), blocked: false }
    }

    /// The number that it is watched under.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Begins to wait for something to move.
    ///
    /// # Errors
    /// epoll_ctl(2)'s.
    pub fn begin(&self, poll: &Poll) -> Result<(), Errno> {
        poll.add(&self.source, Token::Source(self.number), EventFlags::IN)
    }

    /// Moves what can be moved; true when there will be no more.
    pub fn run(&mut self, poll: &Poll) -> bool {
        for _ in 0..TURN {
            let moved = match &mut self.way {
                Way::Splice => splice(&self.source, &self.sink),
                Way::Copy(buffer) => copy(&self.source, &self.sink, buffer),
            };
            match moved {
                Ok(Moved::Some) | Err(Errno::INTR) => {}
                Ok(Moved::End) => return true,
                Ok(Moved::Source) => return self.wait_for(poll, false).is_err(),
                Ok(Moved::Sink) => return self.wait_for(poll, true).is_err(),
                // It was one of the two: the one that we did not wait for, as epoll has told of the
                // other.
                Err(Errno::AGAIN) => {
                    let blocked = !self.blocked && self.is_readable();
                    return self.wait_for(poll, blocked).is_err();
                }
                // The reader has gone, or the terminal has been hung up.
                Err(_) => return true,
            }
        }
        false // what is level-triggered comes again
    }

    fn is_readable(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut files = [PollFd::new(&self.source, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut files, Some(&now)).is_ok_and(|count| count > 0) // no wait: a time of 0
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

    /// Watches neither side any more.
    pub fn end(&self, poll: &Poll) {
        poll.remove(&self.source);
        poll.remove(&self.sink);
    }
}

enum Moved {
    /// Go on.
    Some,
    /// The source has come to its end.
    End,
    /// Wait for the source.
    Source,
    /// Wait for the sink.
    Sink,
}

fn splice(source: &OwnedFd, sink: &OwnedFd) -> Result<Moved, Errno> {
    match rustix::pipe::splice(
        source,
        None,
        sink,
        None,
        PIECE,
        SpliceFlags::MOVE | SpliceFlags::NONBLOCK,
    )? {
        0 => Ok(Moved::End),
        _ => Ok(Moved::Some),
    }
}

fn copy(source: &OwnedFd, sink: &OwnedFd, pending: &mut Vec<u8>) -> Result<Moved, Errno> {
    if pending.is_empty() {
        let mut buffer = [0; BUFFER];
        let length = match rustix::io::read(source, &mut buffer) {
            Ok(0) | Err(Errno::IO) => return Ok(Moved::End),
            Err(Errno::AGAIN) => return Ok(Moved::Source),
            length => length?,
        };
        pending.extend(buffer.get(..length).unwrap_or_default());
    }
    match rustix::io::write(sink, pending) {
        Err(Errno::AGAIN) => Ok(Moved::Sink),
        written => {
            pending.drain(..written?);
            if pending.is_empty() {
                *pending = Vec::new();
            }
            Ok(Moved::Some)
        }
    }
}
