//! The wire between the runtime and a process that it makes: the messages in both directions.
//!
//! ```text
//!      bootstrap / init                      runtime
//!   ─────────────────────────────────────────────────────────────────────────────────
//!                                   ◀── Begin             the bootstrap is in its cgroup
//!   Forked(pid)                     ──▶     only by the bootstrap, its last message
//!                                   ◀── Begin             in its cgroup, its ids are mapped
//!   MountSource(n)        (0..k×)   ──▶     a source that only the runtime may open, or a copy of
//!     + perhaps a descriptor                it, whose ids the runtime must map
//!                                   ◀── MountSource       with the descriptor
//!   Devices               (0..1×)   ──▶     nodes that only the runtime may make
//!                                   ◀── Devices           with the nodes, if the runtime may
//!   Built                           ──▶     cgroup limits, prestart, createRuntime
//!                                   ◀── Continue          only if `Plan::init_waits`
//!   Terminal + descriptor           ──▶     the master, if the program has a terminal; no answer
//!   Limits                          ──▶     rlimits, scheduling, if init is in a user namespace
//!                                   ◀── LimitsSet
//!   Listener + descriptor (0..1×)   ──▶     only if the filter is loaded at `create`, see below
//!                                   ◀── ListenerDelivered
//!   Ready                           ──▶     the startContainer hooks, the filter (unless it is
//!                                           loaded already) and execve are left
//!                                   ◀── Saved             state.json = created; `create` returns
//!   Failed(report)        (any time)──▶     becomes the error of the command, with its kind
//! ```
//! If the wire ends before `Ready` and without a `Failed`, init has died. If it ends after `Ready`,
//! init has become the program: the descriptor is close-on-exec.
//!
//! `run` uses the same wire. `start` uses a second one of the same form, which it gets by a
//! connection to the gate ([`crate::container::gate`]).
//!
//! ```text
//!                                   ◀── Start             only by `start`: init may go on
//!   Listener + descriptor (0..k×)   ──▶     for the agent of linux.seccomp.listenerPath: one for
//!                                           each startContainer hook, and one for the program
//!                                   ◀── ListenerDelivered the agent has it
//!   Failed(report)                  ──▶     the program was not executed
//!   the end                         ──▶     init has become the program
//! ```
//! A filter that notifies an agent and allows all of our own calls is loaded before `Ready` of
//! `create` and `run`. Every other filter is loaded after it, as with `exec`.
//!
//! A process of `exec` uses the same messages: `Begin` once or, with a bootstrap, twice;
//! `Terminal`, `Limits`, `Ready`; `Saved`, after the pid file is written; `Listener`. Other
//! processes of ours use some of them: a process that becomes criu receives `Begin`, a process that
//! changes the mounts of a running container sends `MountSource` and `Ready`, a process that holds
//! a user namespace sends `UserNamespace`, and all of them can send `Failed`.
//!
//! A message is a packet of SOCK_SEQPACKET, perhaps with a descriptor. A message to init is one
//! byte, the tag. A message from init is the tag, then a number of eight bytes (`Forked`,
//! `MountSource`), a report (`Failed`) or nothing. Only
//! [`RuntimeEnd`] can send [`ToInit`], and only [`InitEnd`] can send [`FromInit`]. After each
//! question, [`InitEnd`] waits for the matching answer. Another message is an error, which names
//! both.

#[cfg(test)]
mod tests;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Context, Report, Result};
use crate::sys::wait::{Bound, Unbounded};
use crate::sys::{Call, socket};

/// Init's name in `ps` until it has become the program.
pub const INIT_NAME: &CStr = c"orlop:[init]";

/// The messages of bootstrap and init.
#[derive(Debug)]
pub enum FromInit {
    /// Init was created, with this pid.
    Forked(i32),
    /// Init cannot open the source of `mounts[n]`, or cannot map the ids of this copy of it.
    MountSource(usize, Option<OwnedFd>),
    /// Init cannot make the device nodes of the config.
    Devices,
    /// The mounts and devices are made. The runtime now moves the network devices, sets the limits
    /// of the cgroup, and runs the prestart and createRuntime hooks.
    Built,
    /// The master of the program's terminal.
    Terminal(OwnedFd),
    /// The limits of the process must be set now, before it gives up its privileges.
    Limits,
    /// Only the startContainer hooks, the filter (unless it is loaded already) and execve are left.
    Ready,
    /// The filter is loaded. This is its listener.
    Listener(OwnedFd),
    /// The user namespace that the process holds.
    UserNamespace(OwnedFd),
    /// An error.
    Failed(Report),
    /// The wire ended.
    End,
}

/// The messages to bootstrap and init.
#[derive(Debug)]
pub enum ToInit {
    /// The process is in its cgroup, and the ids of an init are mapped: it begins its work.
    Begin,
    /// Answers [`FromInit::MountSource`].
    MountSource(OwnedFd),
    /// Answers [`FromInit::Devices`]. `None` if the runtime may not make nodes either.
    Devices(Option<OwnedFd>),
    /// Answers [`FromInit::Built`], if init waits: the hooks have run, and the limits are set.
    Continue,
    /// Answers [`FromInit::Limits`].
    LimitsSet,
    /// Answers [`FromInit::Listener`].
    ListenerDelivered,
    /// Answers [`FromInit::Ready`]: state.json says `created`, or the pid file of `exec` is
    /// written.
    Saved,
    /// From `start`: init may go on.
    Start,
}

const BEGIN: u8 = b'b';
const SOURCE: u8 = b'm';
const NODES: u8 = b'd';
const CONTINUE: u8 = b'h';
const LIMITS_SET: u8 = b'l';
const DELIVERED: u8 = b's';
const SAVED: u8 = b'c';
/// The same value as in other versions: one version's `start` may meet another version's init.
const START: u8 = b'g';

const FORKED: u8 = b'p';
const MOUNT_SOURCE: u8 = b'm';
const DEVICES: u8 = b'd';
const BUILT: u8 = b'b';
const TERMINAL: u8 = b't';
const LIMITS: u8 = b'l';
const READY: u8 = b'r';
const LISTENER: u8 = b's';
const USER_NAMESPACE: u8 = b'u';
const FAILED: u8 = b'f';

/// The longest packet. The text of an error is cut to fit.
const LONGEST: usize = 8192;

/// How long init may send nothing before it is checked.
pub const SILENCE: Duration = Duration::from_millis(100);

/// The runtime's end.
#[derive(Debug)]
pub struct RuntimeEnd(OwnedFd);

/// The end of bootstrap and init.
#[derive(Debug)]
pub struct InitEnd(OwnedFd);

/// Makes a wire.
///
/// # Errors
/// Errors of socketpair(2).
pub fn pair() -> Result<(RuntimeEnd, InitEnd)> {
    let (runtime, init) = socket::pair()?;
    Ok((RuntimeEnd(runtime), InitEnd(init)))
}

impl RuntimeEnd {
    /// Takes a connected socket as the runtime's end.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends a message. It is not an error if init is dead: the next `receive` reports that.
    ///
    /// # Errors
    /// Errors of sendmsg(2).
    pub fn send(&self, message: &ToInit) -> Result<()> {
        let (tag, descriptor) = match message {
            ToInit::Begin => (BEGIN, None),
            ToInit::MountSource(source) => (SOURCE, Some(source.as_fd())),
            ToInit::Devices(nodes) => (NODES, nodes.as_ref().map(AsFd::as_fd)),
            ToInit::Continue => (CONTINUE, None),
            ToInit::LimitsSet => (LIMITS_SET, None),
            ToInit::ListenerDelivered => (DELIVERED, None),
            ToInit::Saved => (SAVED, None),
            ToInit::Start => (START, None),
        };
        match socket::send(&self.0, &[tag], descriptor) {
            Err(call) if !is_gone(&call) => Err(call).context("sending to the container's init"),
            _ => Ok(()),
        }
    }

    /// Receives the next message. Waits as long as the process is at work.
    ///
    /// # Errors
    /// Errors of recvmsg(2); an error for an invalid packet.
    pub fn receive(&self) -> Result<FromInit> {
        match self.read(Bound::Endless(Unbounded::PeerAtWork)) {
            Err(error) if is(&error, Errno::CONNRESET) => Ok(FromInit::End),
            said => said.context("receiving from the container's init"),
        }
    }

    /// As `receive`. Each time init has been silent for [`SILENCE`], this calls `look`, whose error
    /// ends the wait.
    ///
    /// # Errors
    /// As `receive`; errors of `look`.
    pub fn receive_watched(&self, look: impl FnMut() -> Result<()>) -> Result<FromInit> {
        match self.receive_answer(look) {
            Err(error) if is(&error, Errno::CONNRESET) => Ok(FromInit::End),
            said => said.context("receiving from the container's init"),
        }
    }

    /// As [`Self::receive_watched`], but it is an error (`ECONNRESET`) if the other end was closed
    /// before it accepted our connection.
    ///
    /// # Errors
    /// Errors of recvmsg(2); errors of `look`.
    pub fn receive_answer(&self, mut look: impl FnMut() -> Result<()>) -> Result<FromInit> {
        loop {
            match self.read(Bound::Within(SILENCE)) {
                Err(error) if is(&error, Errno::TIMEDOUT) => look()?,
                said => return said,
            }
        }
    }

    fn read(&self, bound: Bound) -> Result<FromInit> {
        let mut buffer = [0; LONGEST];
        let (length, descriptor) = socket::receive(&self.0, &mut buffer, bound)?;
        decode(buffer.get(..length).unwrap_or_default(), descriptor)
    }
}

impl InitEnd {
    /// Takes a connected socket as init's end.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Waits for [`ToInit::Begin`].
    ///
    /// # Errors
    /// As `hear`.
    pub fn wait_for_begin(&self) -> Result<()> {
        self.hear("Begin", |heard| exactly(heard, &ToInit::Begin))
    }

    /// Asks the runtime to open the source of `mounts[index]`, or to map the ids of `copy`.
    ///
    /// # Errors
    /// As `ask`.
    pub fn request_mount_source(&self, index: usize, copy: Option<OwnedFd>) -> Result<OwnedFd> {
        self.ask(&FromInit::MountSource(index, copy), "MountSource", |heard| match heard {
            ToInit::MountSource(source) => Ok(source),
            other => Err(other),
        })
    }

    /// Asks for the device nodes. `None` if the runtime may not make nodes either.
    ///
    /// # Errors
    /// As `ask`.
    pub fn request_devices(&self) -> Result<Option<OwnedFd>> {
        self.ask(&FromInit::Devices, "Devices", |heard| match heard {
            ToInit::Devices(nodes) => Ok(nodes),
            other => Err(other),
        })
    }

    /// Waits for [`ToInit::Continue`].
    ///
    /// # Errors
    /// As `hear`.
    pub fn wait_for_continue(&self) -> Result<()> {
        self.hear("Continue", |heard| exactly(heard, &ToInit::Continue))
    }

    /// Asks the runtime to set the limits of this process.
    ///
    /// # Errors
    /// As `ask`.
    pub fn request_limits(&self) -> Result<()> {
        self.ask(&FromInit::Limits, "LimitsSet", |heard| exactly(heard, &ToInit::LimitsSet))
    }

    /// Asks the runtime to send the listener of the filter to its agent.
    ///
    /// # Errors
    /// As `ask`.
    pub fn send_listener(&self, listener: OwnedFd) -> Result<()> {
        self.ask(&FromInit::Listener(listener), "ListenerDelivered", |heard| {
            exactly(heard, &ToInit::ListenerDelivered)
        })
    }

    /// Sends [`FromInit::Ready`], and waits until the runtime has saved that.
    ///
    /// # Errors
    /// As `ask`.
    pub fn report_ready(&self) -> Result<()> {
        self.ask(&FromInit::Ready, "Saved", |heard| exactly(heard, &ToInit::Saved))
    }

    /// Waits for [`ToInit::Start`]. False if the other end is closed without it.
    ///
    /// # Errors
    /// As `hear`.
    pub fn wait_for_start(&self) -> Result<bool> {
        match self.next()? {
            None => Ok(false),
            Some(ToInit::Start) => Ok(true),
            Some(other) => Err(unexpected(&other, "Start")),
        }
    }

    /// Waits until the other end is closed.
    ///
    /// # Errors
    /// Errors of recvmsg(2); an error if a message comes instead.
    pub fn wait_for_end(&self) -> Result<()> {
        self.next()?.map_or(Ok(()), |other| Err(unexpected(&other, "the end")))
    }

    /// Sends a message and waits for the answer.
    ///
    /// # Errors
    /// Errors of sendmsg(2); as `hear`.
    fn ask<T>(
        &self,
        message: &FromInit,
        answer: &str,
        take: impl FnOnce(ToInit) -> Result<T, ToInit>,
    ) -> Result<T> {
        self.send(message)?;
        self.hear(answer, take)
    }

    /// Waits for a message. An error if the runtime is dead: then no process would start or delete
    /// us.
    ///
    /// # Errors
    /// Errors of recvmsg(2); an error if the runtime is dead, or if another message comes.
    fn hear<T>(&self, expected: &str, take: impl FnOnce(ToInit) -> Result<T, ToInit>) -> Result<T> {
        let heard = self.next()?.context("the runtime is gone")?;
        take(heard).map_err(|other| unexpected(&other, expected))
    }

    /// Sends a message that needs no answer.
    ///
    /// # Errors
    /// Errors of sendmsg(2), also if the runtime is dead.
    pub fn send(&self, message: &FromInit) -> Result<()> {
        let descriptor = match message {
            FromInit::Terminal(fd)
            | FromInit::Listener(fd)
            | FromInit::UserNamespace(fd)
            | FromInit::MountSource(_, Some(fd)) => Some(fd.as_fd()),
            _ => None,
        };
        socket::send(&self.0, &encode(message), descriptor).context("sending to the runtime")
    }

    /// The next message of the runtime. `None` if the runtime is dead.
    fn next(&self) -> Result<Option<ToInit>> {
        let mut buffer = [0; 16];
        let bound = Bound::Endless(Unbounded::PeerAtWork);
        let (length, descriptor) = match socket::receive(&self.0, &mut buffer, bound) {
            Err(call) if call.is(Errno::CONNRESET) => return Ok(None),
            heard => heard.context("receiving from the runtime")?,
        };
        let heard = match (buffer.first().filter(|_| length > 0), descriptor) {
            (None, _) => return Ok(None),
            (Some(&BEGIN), None) => ToInit::Begin,
            (Some(&SOURCE), Some(source)) => ToInit::MountSource(source),
            (Some(&NODES), nodes) => ToInit::Devices(nodes),
            (Some(&CONTINUE), None) => ToInit::Continue,
            (Some(&LIMITS_SET), None) => ToInit::LimitsSet,
            (Some(&DELIVERED), None) => ToInit::ListenerDelivered,
            (Some(&SAVED), None) => ToInit::Saved,
            (Some(&START), None) => ToInit::Start,
            (Some(tag), _) => anyhow::bail!("unknown message {tag:#x} from the runtime"),
        };
        Ok(Some(heard))
    }

    /// Another descriptor of the same end, for another thread.
    ///
    /// # Errors
    /// Errors of dup(2).
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }
}

impl AsFd for RuntimeEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for InitEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Accepts a message without content, if it is the expected one.
fn exactly(heard: ToInit, expected: &ToInit) -> Result<(), ToInit> {
    if std::mem::discriminant(&heard) == std::mem::discriminant(expected) {
        Ok(())
    } else {
        Err(heard)
    }
}

fn unexpected(heard: &ToInit, expected: &str) -> anyhow::Error {
    anyhow::anyhow!("the runtime sent {heard:?} instead of {expected}")
}

fn is(error: &anyhow::Error, errno: Errno) -> bool {
    error.downcast_ref().is_some_and(|call: &Call| call.is(errno))
}

fn is_gone(call: &Call) -> bool {
    call.is(Errno::PIPE) || call.is(Errno::CONNRESET)
}

pub(crate) fn encode(message: &FromInit) -> Vec<u8> {
    let number = |tag: u8, number: u64| [&[tag], number.to_le_bytes().as_slice()].concat();
    match message {
        FromInit::Forked(pid) => number(FORKED, u64::from(pid.unsigned_abs())),
        FromInit::MountSource(index, _) => number(MOUNT_SOURCE, *index as u64),
        FromInit::Devices => vec![DEVICES],
        FromInit::Built => vec![BUILT],
        FromInit::Terminal(_) => vec![TERMINAL],
        FromInit::Limits => vec![LIMITS],
        FromInit::Ready => vec![READY],
        FromInit::Listener(_) => vec![LISTENER],
        FromInit::UserNamespace(_) => vec![USER_NAMESPACE],
        FromInit::End => Vec::new(),
        FromInit::Failed(report) => {
            let mut packet = [&[FAILED], report.encode().as_slice()].concat();
            packet.truncate(LONGEST);
            packet
        }
    }
}

pub(crate) fn decode(packet: &[u8], descriptor: Option<OwnedFd>) -> Result<FromInit> {
    let number =
        packet.get(1..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    Ok(match packet.first() {
        None => FromInit::End,
        Some(&FORKED) => FromInit::Forked(i32::try_from(number)?),
        Some(&MOUNT_SOURCE) => FromInit::MountSource(usize::try_from(number)?, descriptor),
        Some(&DEVICES) => FromInit::Devices,
        Some(&BUILT) => FromInit::Built,
        Some(&TERMINAL) => {
            FromInit::Terminal(descriptor.context("a terminal without a descriptor")?)
        }
        Some(&LIMITS) => FromInit::Limits,
        Some(&READY) => FromInit::Ready,
        Some(&LISTENER) => {
            FromInit::Listener(descriptor.context("a message without its descriptor")?)
        }
        Some(&USER_NAMESPACE) => {
            FromInit::UserNamespace(descriptor.context("a message without its descriptor")?)
        }
        Some(&FAILED) => FromInit::Failed(Report::decode(packet.get(1..).unwrap_or_default())),
        Some(tag) => anyhow::bail!("unknown message {tag:#x}"),
    })
}
