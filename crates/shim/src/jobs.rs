//! Jobs: running workers, and their answers.
//! process: daemon

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::container::Reply;
use crate::daemon::{Daemon, call};
use crate::order::{self, Answer, Order};
use crate::poll::Token;
use crate::status::Failed;
use crate::stdio::Streams;
use crate::worker::ACTION;

/// The meaning of a worker's successful answer.
#[derive(Debug)]
pub enum Then {
    /// The container has been created, or its rootfs mounted.
    Created,
    /// The container's program runs.
    Started,
    /// The program of the exec process runs.
    ExecStarted,
    /// The request is only answered.
    Done,
    /// The container is paused.
    Paused,
    /// It is resumed.
    Resumed,
    /// It is saved at this path.
    Checkpointed(String),
    /// It is deleted.
    Deleted,
    /// The remaining processes of a container have been killed after its init. No client waits for
    /// it.
    RestKilled,
}

/// A running worker.
#[derive(Debug)]
pub struct Job {
    pub(crate) id: String,
    pub(crate) exec_id: String,
    pub(crate) reply: Option<Reply>,
    pub(crate) then: Then,
    /// The streams of the process that it creates.
    pub(crate) streams: Option<Streams>,
    socket: Option<OwnedFd>,
    received: Vec<u8>,
    console: Option<OwnedFd>,
    pid: i32,
}

impl Job {
    /// A job for a container.
    pub(crate) fn new(id: &str, reply: Option<Reply>, then: Then) -> Self {
        Self {
            id: id.to_owned(),
            exec_id: String::new(),
            reply,
            then,
            streams: None,
            socket: None,
            received: Vec::new(),
            console: None,
            pid: 0,
        }
    }

    /// Adds the streams of a new process.
    pub(crate) fn with(self, streams: Option<Streams>) -> Self {
        Self { streams, ..self }
    }
}

impl Daemon {
    /// Starts a worker.
    ///
    /// # Errors
    /// Errors of the calls.
    pub(crate) fn send_out(&mut self, mut job: Job, mut order: Order) -> Result<(), Failed> {
        order.id.clone_from(&job.id);
        order.exec_id.clone_from(&job.exec_id);
        order.namespace.clone_from(&self.settings.namespace);
        order.debug = self.settings.debug;
        order.descriptors = self.descriptors;
        order.daemon = rustix::process::getpid().as_raw_nonzero().get();
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                .map_err(call("socketpair()"))?;
        let streams = job.streams.as_ref().map(Streams::theirs).unwrap_or_default();
        order::send(&ours, &order, &streams).map_err(call("sending an order to a worker"))?;
        orlop::sys::fd::set_nonblocking(&ours)
            .map_err(|failed| Failed::unknown(failed.to_string()))?;
        let number = self.poll.number();
        // Before there is a worker: one without a job would go on by itself.
        self.poll.add(&ours, Token::Job(number), EventFlags::IN).map_err(call("epoll_ctl()"))?;
        let child = Command::new("/proc/self/exe")
            .arg0("containerd-shim-orlop-v2")
            .arg(ACTION)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::inherit()) // /dev/null, as all of the daemon's
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| {
                self.poll.remove(&ours);
                Failed::unknown(format!("starting a worker: {error}"))
            })?;
        job.pid = i32::try_from(child.id()).unwrap_or_default();
        job.socket = Some(ours);
        self.jobs.insert(number, job);
        Ok(())
    }

    /// Handles data from a worker, or its end.
    pub(crate) fn job_happened(&mut self, number: u64) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let ended = loop {
            let Some(socket) = &job.socket else { break true };
            let mut buffer = [0; 4096];
            match order::receive(socket, &mut buffer) {
                Ok((0, _)) => break true,
                Ok((length, descriptors)) => {
                    job.received.extend(buffer.get(..length).unwrap_or_default());
                    job.console = descriptors.into_iter().next().or(job.console.take());
                }
                Err(Errno::AGAIN) => break false,
                Err(Errno::INTR) => {}
                Err(_) => break true,
            }
        };
        let answer = order::whole(&job.received);
        if answer.is_none() && !ended {
            return;
        }
        // The process that the worker has created may have ended. While the job exists, `reap`
        // keeps its exit as unclaimed.
        self.reap();
        let Some(mut job) = self.jobs.remove(&number) else { return };
        if let Some(socket) = job.socket.take() {
            self.poll.remove(&socket);
        }
        let died = || Err(Failed::unknown("the worker died before it could answer"));
        let result = answer.map_or_else(died, Answer::result);
        let console = job.console.take();
        self.finish(job, result, console);
        if self.jobs.is_empty() {
            self.unclaimed.clear();
        }
    }

    /// Whether this is the pid of a running worker.
    pub(crate) fn is_worker(&self, pid: i32) -> bool {
        self.jobs.values().any(|job| job.pid == pid)
    }
}
