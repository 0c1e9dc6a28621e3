//! The daemon of a pod: one thread with one epoll loop, and perhaps that of `pump_thread`.
//! process: daemon
//!
//! Only [`Daemon::run`] waits. Operations that may block are done by a worker ([`crate::jobs`]).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use orlop::sys::fd::FileId;
use orlop::sys::signal::Queue;
use prost::Message;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Resource, Rlimit};

use crate::connection::Connection;
use crate::container::{Container, Exit, Reply};
use crate::events::{Kind, Publisher};
use crate::frame::Frame;
use crate::jobs::Job;
use crate::messages::{Request, Response, Status};
use crate::poll::{Poll, Token, is_readable};
use crate::pump::Owner;
use crate::pump_thread::PumpThread;
use crate::socket;
use crate::status::{Failed, RESOURCE_EXHAUSTED};

/// The time after the start in which a client must connect. containerd never connects to a shim
/// whose answer it rejects.
const FIRST_CONNECTION: Duration = Duration::from_secs(30);
/// The time for the last events and answers before the daemon ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// The settings that `start` gives to the daemon.
#[derive(Debug, Clone)]
pub struct Settings {
    /// containerd's namespace.
    pub namespace: String,
    /// The path of the socket.
    pub socket: String,
    /// The address to which events are sent.
    pub events: String,
    /// Whether to log debug lines.
    pub debug: bool,
}

/// The daemon.
#[derive(Debug)]
pub struct Daemon {
    pub(crate) settings: Settings,
    pub(crate) poll: Poll,
    listener: OwnedFd,
    signals: Queue,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) jobs: BTreeMap<u64, Job>,
    /// The running pumps.
    pub(crate) pumps: BTreeMap<u64, Owner>,
    /// Their thread, once there is one.
    pump_thread: Option<PumpThread>,
    pub(crate) publisher: Publisher,
    /// Exits of processes with unknown pids. A running worker may have created them.
    pub(crate) unclaimed: BTreeMap<i32, Exit>,
    /// The soft limit on descriptors at the start.
    pub(crate) descriptors: u64,
    /// Loggers that have got SIGTERM, and their time limit.
    pub(crate) loggers: Vec<(OwnedFd, Instant)>,
    began: Instant,
    visited: bool,
    /// The time at which the daemon ends, even with unsent events.
    closing: Option<Instant>,
    /// The file of the socket.
    socket_file: Option<FileId>,
    /// The last request was Shutdown, while the only container was being created.
    pub(crate) given_up: bool,
}

impl Daemon {
    /// A daemon that listens on `listener`. All signals are blocked from now on.
    ///
    /// # Errors
    /// Errors of the calls.
    pub fn new(settings: Settings, listener: OwnedFd) -> anyhow::Result<Self> {
        SigSet::all().thread_block()?;
        orlop::sys::process::adopt_orphans()?;
        let signals = Queue::of_all()?;
        let poll = Poll::new()?;
        poll.add(&listener, Token::Listener, EventFlags::IN)?;
        poll.add(signals.as_fd(), Token::Signals, EventFlags::IN)?;
        let socket_file = socket::file_at(&settings.socket);
        let publisher = Publisher::new(&settings.events, &settings.namespace);
        Ok(Self {
            settings,
            poll,
            listener,
            signals,
            connections: BTreeMap::new(),
            containers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            pumps: BTreeMap::new(),
            pump_thread: None,
            publisher,
            unclaimed: BTreeMap::new(),
            descriptors: raise_descriptors(),
            loggers: Vec::new(),
            began: Instant::now(),
            visited: false,
            closing: None,
            socket_file,
            given_up: false,
        })
    }

    /// Runs until the daemon must stop.
    ///
    /// # Errors
    /// Errors of epoll_wait(2).
    pub fn run(&mut self) -> anyhow::Result<()> {
        while !self.is_over() {
            let limit = self.next_time().map(|next| next.saturating_duration_since(Instant::now()));
            for (token, flags) in self.poll.wait(limit)? {
                self.handle_event(token, flags)?;
            }
            self.end_what_is_due();
            self.close_if_given_up();
        }
        self.remove_socket();
        Ok(())
    }

    fn handle_event(&mut self, token: Token, flags: EventFlags) -> anyhow::Result<()> {
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.take_signals()?,
            Token::Connection(number) => self.serve(number, flags),
            Token::Job(number) => self.job_happened(number),
            Token::PumpsEnded => self.pumps_ended(),
            // Events of the other thread.
            Token::PumpTasks | Token::Source(_) | Token::Sink(_) => {}
            Token::Publisher(number) => self.publisher.happened(&mut self.poll, number, flags),
            Token::Oom(number) => self.oom_happened(number),
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let lonely = !self.visited && self.began.elapsed() >= FIRST_CONNECTION;
        let closed = self.closing.is_some_and(|until| {
            until <= Instant::now()
                || self.publisher.is_done() && self.connections.values().all(Connection::is_flushed)
        });
        lonely || closed && self.loggers.is_empty()
    }

    /// Stops the loop when all events and answers have been sent, and all loggers have ended. New
    /// clients no longer find the socket.
    pub(crate) fn close(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(Instant::now() + LAST_ANSWERS);
            self.remove_socket();
        }
    }

    /// Whether the daemon ends soon, and creates no containers any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Closes a daemon whose client has given up its only container while it was being created, as
    /// soon as nothing of it runs.
    fn close_if_given_up(&mut self) {
        let ended = |container: &Container| container.init.exit.is_some();
        if self.given_up && self.jobs.is_empty() && self.containers.values().all(ended) {
            self.close();
        }
    }

    /// Removes the socket, unless another daemon listens there by now.
    fn remove_socket(&self) {
        if socket::file_at(&self.settings.socket) == self.socket_file {
            let _ = rustix::fs::unlink(&*self.settings.socket);
        }
    }

    /// The next time at which the loop must run without an event.
    fn next_time(&self) -> Option<Instant> {
        let lonely = (!self.visited).then(|| self.began + FIRST_CONNECTION);
        let draining = self.containers.values().flat_map(|container| {
            std::iter::once(&container.init)
                .chain(container.execs.values())
                .filter_map(|process| process.draining)
        });
        let loggers = self.loggers.iter().map(|(_, until)| *until);
        let times = draining.map(|(_, until)| until).chain(loggers);
        times.chain(lonely).chain(self.publisher.due()).chain(self.closing).min()
    }

    fn end_what_is_due(&mut self) {
        self.publisher.look(&mut self.poll);
        self.end_draining();
        let now = Instant::now();
        self.loggers.retain(|(logger, until)| {
            let ended = is_readable(logger);
            if !ended && *until <= now {
                let _ = orlop::sys::pidfd::kill(logger.as_fd()); // it may have ended
            }
            !ended && *until > now
        });
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = rustix::net::accept_with(&self.listener, flags) else { return };
        if !socket::is_our_user(&socket) {
            log::warn!("a process of another user has been refused");
            return;
        }
        let number = self.poll.number();
        if let Err(errno) = self.poll.add(&socket, Token::Connection(number), EventFlags::IN) {
            log::warn!("a connection is lost: epoll_ctl(): {errno}");
            return;
        }
        self.visited = true;
        self.connections.insert(number, Connection::new(number, socket));
    }

    fn take_signals(&mut self) -> anyhow::Result<()> {
        while let Some(signal) = self.signals.next()? {
            match signal {
                libc::SIGCHLD => self.reap(),
                libc::SIGTERM | libc::SIGINT => self.close(),
                other => log::debug!("signal {other} is ignored"),
            }
        }
        Ok(())
    }

    fn serve(&mut self, number: u64, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let mut open = true;
        if flags.contains(EventFlags::OUT) {
            open = connection.send(&self.poll).is_ok();
        }
        if open && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            open = connection.receive().is_ok();
        }
        while let Some(frame) = self.connections.get_mut(&number).and_then(Connection::next_frame) {
            self.take_frame(number, frame);
        }
        if !open {
            self.hang_up(number);
        }
    }

    fn take_frame(&mut self, connection: u64, frame: Frame) {
        match frame {
            Frame::Message { stream, kind, body }
                if kind == crate::frame::REQUEST && stream % 2 == 1 =>
            {
                let reply = Reply { connection, stream };
                match Request::decode(&*body) {
                    Ok(request) => self.dispatch(reply, &request),
                    Err(error) => self.refuse(
                        reply,
                        Failed::invalid(format!("a request that does not decode: {error}")),
                    ),
                }
            }
            Frame::Message { stream, kind, .. } => {
                let text = format!(
                    "a message of kind {kind} on stream {stream}: a request has an odd number"
                );
                self.refuse(Reply { connection, stream }, Failed::invalid(text));
            }
            Frame::TooLong { stream, length } => {
                let text = format!(
                    "message length {length} exceeds maximum message size of {}",
                    crate::frame::LIMIT
                );
                self.refuse(Reply { connection, stream }, Failed::new(RESOURCE_EXHAUSTED, text));
            }
        }
    }

    /// Removes a connection, and the waiting requests of its client.
    fn hang_up(&mut self, number: u64) {
        let Some(connection) = self.connections.remove(&number) else { return };
        connection.end(&self.poll);
        for container in self.containers.values_mut() {
            for process in std::iter::once(&mut container.init).chain(container.execs.values_mut())
            {
                process.waiters.retain(|waiter| waiter.connection != number);
            }
        }
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, reply: Reply, message: &impl Message) {
        self.respond(reply, &Response { status: None, payload: message.encode_to_vec() });
    }

    /// Answers a request with a failure.
    pub(crate) fn refuse(&mut self, reply: Reply, failed: Failed) {
        log::debug!("refused: {}", failed.text);
        let status = Status { code: failed.code, message: failed.text };
        self.respond(reply, &Response { status: Some(status), payload: Vec::new() });
    }

    fn respond(&mut self, reply: Reply, response: &Response) {
        // The client may have closed the connection.
        let Some(connection) = self.connections.get_mut(&reply.connection) else { return };
        if connection.respond(&self.poll, reply.stream, &response.encode_to_vec()).is_err() {
            self.hang_up(reply.connection);
        }
    }

    /// Sends an event to containerd.
    pub(crate) fn publish(&mut self, kind: Kind, event: &impl Message) {
        self.publisher.publish(&mut self.poll, kind, event);
    }

    /// The thread of the pumps, which is started when it is first needed.
    ///
    /// # Errors
    /// Errors of starting it.
    pub(crate) fn pump_thread(&mut self) -> std::io::Result<&PumpThread> {
        let thread = match self.pump_thread.take() {
            Some(thread) => thread,
            None => PumpThread::start(&self.poll)?,
        };
        Ok(self.pump_thread.insert(thread))
    }

    fn pumps_ended(&mut self) {
        let ended = self.pump_thread.as_ref().map(PumpThread::take_ended).unwrap_or_default();
        for number in ended {
            self.forget_pump(number);
        }
    }

    /// Ends a pump.
    pub(crate) fn end_pump(&mut self, number: u64) {
        if let Some(thread) = &self.pump_thread {
            thread.end(number);
        }
        self.forget_pump(number);
    }

    fn forget_pump(&mut self, number: u64) {
        let Some(owner) = self.pumps.remove(&number) else { return };
        let Some(container) = self.containers.get_mut(&owner.id) else { return };
        let Ok(process) = container.process(&owner.exec_id) else { return };
        if owner.is_input {
            process.input = None;
        } else {
            process.outputs.retain(|output| *output != number);
        }
        if process.outputs.is_empty() && process.draining.is_some() {
            self.drained(&owner.id, &owner.exec_id);
        }
    }

    pub(crate) fn oom_happened(&mut self, number: u64) {
        let of =
            |container: &Container| container.oom.as_ref().is_some_and(|(oom, _)| *oom == number);
        let Some((id, container)) = self.containers.iter_mut().find(|(_, container)| of(container))
        else {
            return;
        };
        let (id, mut kills) = (id.clone(), 0);
        if let Some((_, watch)) = &mut container.oom {
            match watch.take() {
                Ok(new) => kills = new,
                Err(error) => {
                    log::warn!("watching for the OOM killer in {id}: {error:#}");
                    self.poll.remove(watch.fd().0);
                    container.oom = None;
                }
            }
        }
        for _ in 0..kills {
            let event = crate::events::TaskOnly { container_id: id.clone() };
            self.publish(crate::events::OOM, &event);
        }
    }
}

/// Raises the soft limit on descriptors to the hard limit, since a pod may have a thousand
/// processes. Returns the former limit, which is restored in our children; 0 if there was none.
fn raise_descriptors() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(errno) = rustix::process::setrlimit(Resource::Nofile, raised) {
        log::warn!("setrlimit(RLIMIT_NOFILE): {errno}");
    }
    limit.current.unwrap_or(0)
}

/// Converts the error of a call to a failure with a code.
pub(crate) fn call(what: &str) -> impl FnOnce(Errno) -> Failed {
    let what = what.to_owned();
    move |errno| Failed::unknown(format!("{what}: {errno}"))
}
