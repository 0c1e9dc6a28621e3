//! The descriptors that a thread of the daemon waits for, and the numbers by which epoll(7)
//! identifies them.
//! process: daemon

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The source of an event. Numbers count up and are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// A client connects.
    Listener,
    /// A signal has arrived.
    Signals,
    /// A connection of a client.
    Connection(u64),
    /// An answer of a worker.
    Job(u64),
    /// Pumps have ended.
    PumpsEnded,
    /// There are tasks for the thread of the pumps.
    PumpTasks,
    /// The source of a pump.
    Source(u64),
    /// The sink of a pump.
    Sink(u64),
    /// The connection for events to containerd.
    Publisher(u64),
    /// The OOM killer in a container.
    Oom(u64),
}

const SHIFT: u32 = 56;

impl Token {
    fn number(self) -> u64 {
        let (kind, number) = match self {
            Self::Listener => (0, 0),
            Self::Signals => (1, 0),
            Self::Connection(number) => (2, number),
            Self::Job(number) => (3, number),
            Self::Source(number) => (4, number),
            Self::Sink(number) => (5, number),
            Self::Publisher(number) => (6, number),
            Self::Oom(number) => (7, number),
            Self::PumpsEnded => (8, 0),
            Self::PumpTasks => (9, 0),
        };
        kind << SHIFT | number
    }

    fn of(number: u64) -> Option<Self> {
        let rest = number & ((1 << SHIFT) - 1);
        Some(match number >> SHIFT {
            0 => Self::Listener,
            1 => Self::Signals,
            2 => Self::Connection(rest),
            3 => Self::Job(rest),
            4 => Self::Source(rest),
            5 => Self::Sink(rest),
            6 => Self::Publisher(rest),
            7 => Self::Oom(rest),
            8 => Self::PumpsEnded,
            9 => Self::PumpTasks,
            _ => return None,
        })
    }
}

/// An epoll descriptor.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
    last: u64,
}

impl Poll {
    /// Creates one.
    ///
    /// # Errors
    /// Errors of epoll_create1(2).
    pub fn new() -> Result<Self, Errno> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, last: 0 })
    }

    /// A number that has not been used.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Watches a descriptor.
    ///
    /// # Errors
    /// Errors of epoll_ctl(2).
    pub fn add(&self, fd: impl AsFd, token: Token, flags: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token.number()), flags)
    }

    /// Changes the events that it is watched for.
    ///
    /// # Errors
    /// Errors of epoll_ctl(2).
    pub fn change(&self, fd: impl AsFd, token: Token, flags: EventFlags) -> Result<(), Errno> {
        epoll::modify(&self.epoll, fd, EventData::new_u64(token.number()), flags)
    }

    /// Stops watching it. Does nothing if it is not watched.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until there is an event, or until the time limit.
    ///
    /// # Errors
    /// Errors of epoll_wait(2).
    pub fn wait(&self, limit: Option<Duration>) -> Result<Vec<(Token, EventFlags)>, Errno> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 32];
        let count = match epoll::wait(&self.epoll, &mut events, limit.as_ref()) {
            Err(Errno::INTR) => 0,
            count => count?,
        };
        let happened = events.iter().take(count).filter_map(|event| {
            let Event { flags, data } = *event;
            Token::of(data.u64()).map(|token| (token, flags))
        });
        Ok(happened.collect())
    }
}

/// Whether the descriptor is readable now. That of a process is, if the process has ended.
#[must_use]
pub fn is_readable(fd: impl AsFd) -> bool {
    has_event(&fd, PollFlags::IN)
}

/// Whether the write end of a pipe has no reader.
#[must_use]
pub fn is_broken(writer: impl AsFd) -> bool {
    has_event(&writer, PollFlags::empty()) // POLLERR is always reported
}

fn has_event(fd: &impl AsFd, events: PollFlags) -> bool {
    let mut files = [PollFd::new(fd, events)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut files, Some(&now)).is_ok_and(|count| count > 0) // no wait: a time of 0
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_a_number_and_back() {
        for token in [
            Token::Listener,
            Token::Signals,
            Token::Connection(7),
            Token::Job(0),
            Token::Oom(1 << 40),
            Token::PumpsEnded,
            Token::PumpTasks,
        ] {
            assert_eq!(Token::of(token.number()), Some(token));
        }
    }
}
