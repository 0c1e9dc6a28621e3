//! Events, which containerd gets without a request.
//! process: daemon
//!
//! They are sent one after the other over our own connection to containerd (`TTRPC_ADDRESS`).
//! Events that containerd does not accept yet are queued. If the queue is full, the oldest are
//! lost.
#![allow(
    missing_docs,
    reason = "the fields are those of containerd's protocol files, which explain them"
)]

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use prost::Message;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::frame::{self, Frame, Incoming};
use crate::messages::{Any, Mount, Request, Response, Timestamp};
use crate::poll::{Poll, Token};
use crate::socket;

/// The limit on events in the queue.
const MOST: usize = 2048;
/// How many times an event is sent if containerd refuses it.
const TRIES: u32 = 5;
/// The time between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// The time for containerd's answer to an event.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, PartialEq, Eq, Message)]
struct Envelope {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    topic: String,
    #[prost(message, optional, tag = "4")]
    event: Option<Any>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ForwardRequest {
    #[prost(message, optional, tag = "1")]
    envelope: Option<Envelope>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskIo {
    #[prost(string, tag = "1")]
    pub stdin: String,
    #[prost(string, tag = "2")]
    pub stdout: String,
    #[prost(string, tag = "3")]
    pub stderr: String,
    #[prost(bool, tag = "4")]
    pub terminal: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskCreate {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(string, tag = "2")]
    pub bundle: String,
    #[prost(message, repeated, tag = "3")]
    pub rootfs: Vec<Mount>,
    #[prost(message, optional, tag = "4")]
    pub io: Option<TaskIo>,
    #[prost(string, tag = "5")]
    pub checkpoint: String,
    #[prost(uint32, tag = "6")]
    pub pid: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskStart {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(uint32, tag = "2")]
    pub pid: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskDelete {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(uint32, tag = "2")]
    pub pid: u32,
    #[prost(uint32, tag = "3")]
    pub exit_status: u32,
    #[prost(message, optional, tag = "4")]
    pub exited_at: Option<Timestamp>,
    #[prost(string, tag = "5")]
    pub id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskExit {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(string, tag = "2")]
    pub id: String,
    #[prost(uint32, tag = "3")]
    pub pid: u32,
    #[prost(uint32, tag = "4")]
    pub exit_status: u32,
    #[prost(message, optional, tag = "5")]
    pub exited_at: Option<Timestamp>,
}

/// TaskOOM, TaskPaused and TaskResumed.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskOnly {
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// TaskExecAdded and TaskExecStarted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskExec {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(string, tag = "2")]
    pub exec_id: String,
    #[prost(uint32, tag = "3")]
    pub pid: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskCheckpointed {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(string, tag = "2")]
    pub checkpoint: String,
}

/// The topic and the type of an event.
pub type Kind = (&'static str, &'static str);

pub const CREATE: Kind = ("/tasks/create", "containerd.events.TaskCreate");
pub const START: Kind = ("/tasks/start", "containerd.events.TaskStart");
pub const OOM: Kind = ("/tasks/oom", "containerd.events.TaskOOM");
pub const EXIT: Kind = ("/tasks/exit", "containerd.events.TaskExit");
pub const DELETE: Kind = ("/tasks/delete", "containerd.events.TaskDelete");
pub const EXEC_ADDED: Kind = ("/tasks/exec-added", "containerd.events.TaskExecAdded");
pub const EXEC_STARTED: Kind = ("/tasks/exec-started", "containerd.events.TaskExecStarted");
pub const PAUSED: Kind = ("/tasks/paused", "containerd.events.TaskPaused");
pub const RESUMED: Kind = ("/tasks/resumed", "containerd.events.TaskResumed");
pub const CHECKPOINTED: Kind = ("/tasks/checkpointed", "containerd.events.TaskCheckpointed");

/// The connection to containerd, and the queue.
#[derive(Debug)]
pub struct Publisher {
    address: String,
    namespace: String,
    waiting: VecDeque<Vec<u8>>,
    line: Option<Line>,
    /// How many times containerd has refused the first event.
    tries: u32,
    /// When the first event is sent again.
    next: Option<Instant>,
    stream: u32,
}

/// A connection to containerd.
#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    number: u64,
    incoming: Incoming,
    unsent: Vec<u8>,
    /// The time limit for containerd's answer.
    until: Instant,
}

impl Publisher {
    /// A publisher for this address. With an empty address, events are dropped.
    #[must_use]
    pub fn new(address: &str, namespace: &str) -> Self {
        Self {
            address: address.strip_prefix("unix://").unwrap_or(address).to_owned(),
            namespace: namespace.to_owned(),
            waiting: VecDeque::new(),
            line: None,
            tries: 0,
            next: None,
            stream: 1,
        }
    }

    /// Queues an event, and sends it if the queue was empty.
    pub fn publish(&mut self, poll: &mut Poll, (topic, kind): Kind, event: &impl Message) {
        if self.address.is_empty() {
            return;
        }
        if self.waiting.len() >= MOST {
            log::warn!("an event is lost: {MOST} wait, and containerd takes none");
            if self.line.is_some() {
                // The first one is being sent.
                self.waiting.remove(1);
            } else {
                self.waiting.pop_front();
                self.tries = 0;
            }
        }
        let event = Any { type_url: kind.to_owned(), value: event.encode_to_vec() };
        let envelope = Envelope {
            timestamp: Some(Timestamp::now()),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(event),
        };
        let request = Request {
            service: "containerd.services.events.ttrpc.v1.Events".to_owned(),
            method: "Forward".to_owned(),
            payload: ForwardRequest { envelope: Some(envelope) }.encode_to_vec(),
            timeout_nano: i64::try_from(PATIENCE.as_nanos()).unwrap_or(0),
        };
        self.waiting.push_back(request.encode_to_vec());
        if self.waiting.len() == 1 {
            self.try_first(poll);
        }
    }

    /// Whether all events have been sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The time at which [`Self::look`] must be called at the latest.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let until = self.line.as_ref().filter(|_| !self.waiting.is_empty()).map(|line| line.until);
        self.next.into_iter().chain(until).min()
    }

    /// Sends the first event again, if it is time to.
    pub fn look(&mut self, poll: &mut Poll) {
        let now = Instant::now();
        if self.next.is_some_and(|next| next <= now) {
            self.next = None;
            self.try_first(poll);
        } else if self.next.is_none()
            && self.line.as_ref().is_some_and(|line| line.until <= now)
            && !self.is_done()
        {
            self.fail(poll, "containerd does not answer");
        }
    }

    fn try_first(&mut self, poll: &mut Poll) {
        let Some(first) = self.waiting.front() else { return };
        let mut bytes = Vec::new();
        frame::put(&mut bytes, self.stream, frame::REQUEST, first);
        self.stream = self.stream.wrapping_add(2);
        if self.line.is_none() {
            match connect(&self.address, poll) {
                Ok(line) => self.line = Some(line),
                Err(errno) => return self.fail(poll, &errno.to_string()),
            }
        }
        if let Some(line) = &mut self.line {
            line.until = Instant::now() + PATIENCE;
            line.unsent = bytes;
            if let Err(errno) = line.send(poll) {
                self.fail(poll, &errno.to_string());
            }
        }
    }

    /// Handles a failed attempt to send the first event.
    fn fail(&mut self, poll: &mut Poll, why: &str) {
        if let Some(line) = self.line.take() {
            poll.remove(&line.socket);
        }
        log::debug!("an event is not sent: {why}");
        self.next = Some(Instant::now() + PAUSE);
    }

    /// Handles an event of epoll on connection `number`.
    pub fn happened(&mut self, poll: &mut Poll, number: u64, flags: EventFlags) {
        let Some(line) = self.line.as_mut().filter(|line| line.number == number) else { return };
        if flags.contains(EventFlags::OUT)
            && let Err(errno) = line.send(poll)
        {
            return self.fail(poll, &errno.to_string());
        }
        match line.receive() {
            Ok(None) => {}
            Ok(Some(response)) => {
                let status = response.status.filter(|status| status.code != 0);
                match status {
                    Some(status) if self.tries + 1 < TRIES => {
                        self.tries += 1;
                        log::debug!("containerd does not take an event: {}", status.message);
                        self.next = Some(Instant::now() + PAUSE);
                    }
                    status => {
                        if let Some(status) = status {
                            log::warn!(
                                "an event is lost: containerd does not take it: {}",
                                status.message
                            );
                        }
                        self.waiting.pop_front();
                        self.tries = 0;
                        self.try_first(poll);
                    }
                }
            }
            Err(errno) if self.is_done() => {
                log::debug!("containerd has closed the connection for events: {errno}");
                if let Some(line) = self.line.take() {
                    poll.remove(&line.socket);
                }
            }
            Err(errno) => self.fail(poll, &errno.to_string()),
        }
    }
}

fn connect(address: &str, poll: &mut Poll) -> Result<Line, Errno> {
    let socket = socket::connect(address)?;
    let number = poll.number();
    poll.add(&socket, Token::Publisher(number), EventFlags::IN)?;
    Ok(Line {
        socket,
        number,
        incoming: Incoming::default(),
        unsent: Vec::new(),
        until: Instant::now(),
    })
}

impl Line {
    fn send(&mut self, poll: &Poll) -> Result<(), Errno> {
        while !self.unsent.is_empty() {
            match rustix::net::send(
                &self.socket,
                &self.unsent,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Err(Errno::AGAIN) => break,
                sent => drop(self.unsent.drain(..sent?)),
            }
        }
        let out = if self.unsent.is_empty() { EventFlags::empty() } else { EventFlags::OUT };
        poll.change(&self.socket, Token::Publisher(self.number), EventFlags::IN | out)
    }

    fn receive(&mut self) -> Result<Option<Response>, Errno> {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) => return Err(Errno::PIPE),
            Err(Errno::AGAIN) => return Ok(None),
            length => self.incoming.push(buffer.get(..length?).unwrap_or_default()),
        }
        match self.incoming.next_frame() {
            Some(Frame::Message { body, .. }) => {
                Response::decode(&*body).map(Some).map_err(|_| Errno::PROTO)
            }
            Some(Frame::TooLong { .. }) => Err(Errno::PROTO),
            None => Ok(None),
        }
    }
}
