//! A connection of a client, with received bytes that are not a whole frame yet, and bytes that
//! could not be sent yet.
//! process: daemon

use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::frame::{self, Frame, Incoming};
use crate::poll::{Poll, Token};

/// The limit on unsent bytes for a client that does not read.
const MOST: usize = 16 << 20;

/// A connection of a client.
#[derive(Debug)]
pub struct Connection {
    number: u64,
    socket: OwnedFd,
    incoming: Incoming,
    unsent: Vec<u8>,
}

impl Connection {
    /// A connection that is watched under this number.
    #[must_use]
    pub fn new(number: u64, socket: OwnedFd) -> Self {
        Self { number, socket, incoming: Incoming::default(), unsent: Vec::new() }
    }

    /// Reads the bytes that have arrived.
    ///
    /// # Errors
    /// An error if the connection is closed or broken.
    pub fn receive(&mut self) -> Result<(), Errno> {
        let mut buffer = [0; 8192];
        loop {
            match rustix::io::read(&self.socket, &mut buffer) {
                Ok(0) => return Err(Errno::PIPE),
                Ok(length) => {
                    self.incoming.push(buffer.get(..length).unwrap_or_default());
                    if length < buffer.len() {
                        return Ok(());
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.incoming.next_frame()
    }

    /// Sends an answer, or keeps it until it can be sent.
    ///
    /// # Errors
    /// An error if the connection is broken, or if the client does not read.
    pub fn respond(&mut self, poll: &Poll, stream: u32, body: &[u8]) -> Result<(), Errno> {
        frame::put(&mut self.unsent, stream, frame::RESPONSE, body);
        if self.unsent.len() > MOST {
            return Err(Errno::NOBUFS);
        }
        self.send(poll)
    }

    /// Sends the kept bytes.
    ///
    /// # Errors
    /// An error if the connection is broken.
    pub fn send(&mut self, poll: &Poll) -> Result<(), Errno> {
        while !self.unsent.is_empty() {
            match rustix::net::send(
                &self.socket,
                &self.unsent,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    return poll.change(
                        &self.socket,
                        Token::Connection(self.number),
                        EventFlags::IN | EventFlags::OUT,
                    );
                }
                sent => drop(self.unsent.drain(..sent?)),
            }
        }
        self.unsent = Vec::new();
        poll.change(&self.socket, Token::Connection(self.number), EventFlags::IN)
    }

    /// Whether everything has been sent.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Stops watching the connection.
    pub fn end(&self, poll: &Poll) {
        poll.remove(&self.socket);
    }
}
