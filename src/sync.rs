//! The one wire: what bootstrap and init say to the runtime, and what they hear.
//!
//! ```text
//!      bootstrap / init                      runtime
//!   ─────────────────────────────────────────────────────────────────────────────────
//!                                   ◀── Begin             the bootstrap is in its cgroup
//!   Forked(pid)                     ──▶     only by the bootstrap, its last message
//!                                   ◀── Begin             in its cgroup, its ids are mapped
//!   MountSource(n)        (0..k×)   ──▶     a source that only the runtime may open, or a copy of
//!     + perhaps a descriptor                it whose ids it maps
//!                                   ◀── MountSource       with the descriptor
//!   Devices               (0..1×)   ──▶     nodes that only the host side may make
//!                                   ◀── Devices           with them, if it may
//!   Built                           ──▶     cgroup limits, prestart, createRuntime
//!                                   ◀── HooksDone         only if init waits: there are hooks
//!   Terminal + descriptor           ──▶     its master, when the program has one; no answer
//!   Limits                          ──▶     rlimits, scheduling, if init is in a user namespace
//!                                   ◀── LimitsSet
//!   Listener + descriptor (0..1×)   ──▶     only if the filter is loaded at `create`, see below
//!                                   ◀── ListenerDelivered
//!   Ready                           ──▶     all that can fail has not
//!                                   ◀── Saved             state.json = created; `create` returns
//!   Failed(report)        (any time)──▶     becomes the command's error, kind intact
//! ```
//! The end of the wire without a `Failed` means, before `Ready`, that init died; after it, that
//! init became the program: the descriptor is close-on-exec.
//!
//! `run` has the same wire until then. `start` speaks to init on a second one of the same form,
//! which it gets by connecting to the gate ([`crate::container::gate`]).
//!
//! ```text
//!                                   ◀── Start             only by `start`: the gate is open
//!   Listener + descriptor (0..k×)   ──▶     for the agent of linux.seccomp.listenerPath: of each
//!                                           startContainer hook, and of the program
//!                                   ◀── ListenerDelivered it may ask now
//!   Failed(report)                  ──▶     there is no program
//!   the end                         ──▶     it is the program
//! ```
//! A filter that judges no call of ours is loaded before `Ready` of `create` and `run`, else after
//! it, as with `exec`.
//!
//! What `exec` makes goes the same way: `Begin` once or, with a bootstrap, twice; `Terminal`,
//! `Limits`, `Ready`; `Saved`, when the pid file is written; `Listener`. Other processes of ours
//! use parts of it: one that becomes criu hears `Begin`, one that changes the mounts of a running
//! container says `MountSource` and `Ready`, one that holds a user namespace says `UserNamespace`,
//! and all say `Failed`.
//!
//! Packets of SOCK_SEQPACKET: a tag, eight bytes of number, then text. Only [`RuntimeEnd`] can send
//! [`ToInit`], only [`InitEnd`] can send [`FromInit`]. Each question of [`InitEnd`] waits for the
//! answer that belongs to it; another is an error that names both.

#[cfg(test)]
mod tests;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Context, Report, Result};
use crate::sys::wait::{Bound, Unbounded};
use crate::sys::{Call, socket};

/// The name that init has for `ps` until it is the program.
pub const INIT_NAME: &CStr = c"orlop:[init]";

/// What bootstrap and init say.
#[derive(Debug)]
pub enum FromInit {
    /// Init is there, with this pid.
    Forked(i32),
    /// The source of `mounts[n]` cannot be opened from here, or it is this mount, and its ids
    /// cannot be mapped from here.
    MountSource(usize, Option<OwnedFd>),
    /// The device nodes of the config cannot be made from here.
    Devices,
    /// The mounts and devices are made, pivot_root is next: the moment for the cgroup's limits and
    /// the first hooks.
    Built,
    /// The master of the program's terminal.
    Terminal(OwnedFd),
    /// The limits of the process are to be set, before it gives up its rights.
    Limits,
    /// All is done but the program.
    Ready,
    /// The filter is in force: this descriptor answers for it.
    Listener(OwnedFd),
    /// The user namespace that the process was made for.
    UserNamespace(OwnedFd),
    /// It went wrong.
    Failed(Report),
    /// The wire ended.
    End,
}

/// What they hear.
#[derive(Debug)]
pub enum ToInit {
    /// The process is in its cgroup, and its ids are mapped: it begins its work.
    Begin,
    /// Answers [`FromInit::MountSource`].
    MountSource(OwnedFd),
    /// Answers [`FromInit::Devices`]; with nothing, if the runtime may not make any either.
    Devices(Option<OwnedFd>),
    /// Answers [`FromInit::Built`], if init waits for it.
    HooksDone,
    /// Answers [`FromInit::Limits`].
    LimitsSet,
    /// Answers [`FromInit::Listener`].
    ListenerDelivered,
    /// Answers [`FromInit::Ready`]: state.json says `created`, or the pid file of `exec` is
    /// written.
    Saved,
    /// `start` opens the gate.
    Start,
}

const BEGIN: u8 = b'b';
const SOURCE: u8 = b'm';
const NODES: u8 = b'd';
const HOOKS_DONE: u8 = b'h';
const LIMITS_SET: u8 = b'l';
const DELIVERED: u8 = b's';
const SAVED: u8 = b'c';
/// As in versions whose `start` may meet an init of this one, or the other way round.
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

/// The longest packet: an error's text is cut to fit.
const LONGEST: usize = 4096;

/// How long init is not looked after.
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

    /// Says something. That init is dead is no error here: the next `receive` says so.
    ///
    /// # Errors
    /// Errors of sendmsg(2).
    pub fn send(&self, message: &ToInit) -> Result<()> {
        let (tag, descriptor) = match message {
            ToInit::Begin => (BEGIN, None),
            ToInit::MountSource(source) => (SOURCE, Some(source.as_fd())),
            ToInit::Devices(nodes) => (NODES, nodes.as_ref().map(AsFd::as_fd)),
            ToInit::HooksDone => (HOOKS_DONE, None),
            ToInit::LimitsSet => (LIMITS_SET, None),
            ToInit::ListenerDelivered => (DELIVERED, None),
            ToInit::Saved => (SAVED, None),
            ToInit::Start => (START, None),
        };
        match socket::send(&self.0, &[tag], descriptor) {
            Err(call) if !is_gone(&call) => Err(call).context("speaking to the container's init"),
            _ => Ok(()),
        }
    }

    /// What init says next; waits for it as long as it is at work.
    ///
    /// # Errors
    /// Errors of recvmsg(2); a packet that is none of ours.
    pub fn receive(&self) -> Result<FromInit> {
        match self.read(Bound::Endless(Unbounded::PeerAtWork)) {
            Err(error) if is(&error, Errno::CONNRESET) => Ok(FromInit::End),
            said => said.context("listening to the container's init"),
        }
    }

    /// As `receive`. Each time init has been silent for a moment, `look` looks after it;
    /// its error ends the wait.
    ///
    /// # Errors
    /// As `receive`; those of `look`.
    pub fn receive_watched(&self, look: impl FnMut() -> Result<()>) -> Result<FromInit> {
        match self.receive_answer(look) {
            Err(error) if is(&error, Errno::CONNRESET) => Ok(FromInit::End),
            said => said.context("listening to the container's init"),
        }
    }

    /// As [`Self::receive_watched`], but the other end having gone before it took our connection is
    /// an error of its own (`ECONNRESET`).
    ///
    /// # Errors
    /// Errors of recvmsg(2); those of `look`.
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
    pub fn begin(&self) -> Result<()> {
        self.hear("Begin", |heard| exactly(heard, &ToInit::Begin))
    }

    /// Asks for the source of `mounts[index]`, or for the ids of `copy` to be mapped.
    ///
    /// # Errors
    /// As `ask`.
    pub fn mount_source(&self, index: usize, copy: Option<OwnedFd>) -> Result<OwnedFd> {
        self.ask(&FromInit::MountSource(index, copy), "MountSource", |heard| match heard {
            ToInit::MountSource(source) => Ok(source),
            other => Err(other),
        })
    }

    /// Asks for the device nodes; nothing, if the runtime may make none either.
    ///
    /// # Errors
    /// As `ask`.
    pub fn devices(&self) -> Result<Option<OwnedFd>> {
        self.ask(&FromInit::Devices, "Devices", |heard| match heard {
            ToInit::Devices(nodes) => Ok(nodes),
            other => Err(other),
        })
    }

    /// Waits until the first hooks have run.
    ///
    /// # Errors
    /// As `hear`.
    pub fn hooks_done(&self) -> Result<()> {
        self.hear("HooksDone", |heard| exactly(heard, &ToInit::HooksDone))
    }

    /// Has the limits of this process set.
    ///
    /// # Errors
    /// As `ask`.
    pub fn limits(&self) -> Result<()> {
        self.ask(&FromInit::Limits, "LimitsSet", |heard| exactly(heard, &ToInit::LimitsSet))
    }

    /// Has the listener of the filter delivered to its agent.
    ///
    /// # Errors
    /// As `ask`.
    pub fn listener(&self, listener: OwnedFd) -> Result<()> {
        self.ask(&FromInit::Listener(listener), "ListenerDelivered", |heard| {
            exactly(heard, &ToInit::ListenerDelivered)
        })
    }

    /// Says that all is done but the program, and waits until that is known to others.
    ///
    /// # Errors
    /// As `ask`.
    pub fn ready(&self) -> Result<()> {
        self.ask(&FromInit::Ready, "Saved", |heard| exactly(heard, &ToInit::Saved))
    }

    /// Waits for [`ToInit::Start`]; false when the other end goes away without it.
    ///
    /// # Errors
    /// As `hear`.
    pub fn started(&self) -> Result<bool> {
        match self.next()? {
            None => Ok(false),
            Some(ToInit::Start) => Ok(true),
            Some(other) => Err(unexpected(&other, "Start")),
        }
    }

    /// Waits for the end of the other end, which says nothing any more.
    ///
    /// # Errors
    /// Errors of recvmsg(2); that it says something.
    pub fn ended(&self) -> Result<()> {
        self.next()?.map_or(Ok(()), |other| Err(unexpected(&other, "the end")))
    }

    /// Says something and waits for the answer.
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

    /// Waits for a message. The runtime's death ends us, too: nobody would ever start or delete us.
    ///
    /// # Errors
    /// Errors of recvmsg(2); that the runtime is gone; another message than `expected`.
    fn hear<T>(&self, expected: &str, take: impl FnOnce(ToInit) -> Result<T, ToInit>) -> Result<T> {
        let heard = self.next()?.context("the runtime is gone")?;
        take(heard).map_err(|other| unexpected(&other, expected))
    }

    /// Says something that needs no answer.
    ///
    /// # Errors
    /// Errors of sendmsg(2); that the runtime is gone.
    pub fn send(&self, message: &FromInit) -> Result<()> {
        let descriptor = match message {
            FromInit::Terminal(fd)
            | FromInit::Listener(fd)
            | FromInit::UserNamespace(fd)
            | FromInit::MountSource(_, Some(fd)) => Some(fd.as_fd()),
            _ => None,
        };
        socket::send(&self.0, &encode(message), descriptor).context("speaking to the runtime")
    }

    /// What the runtime says next; `None` when it is gone.
    fn next(&self) -> Result<Option<ToInit>> {
        let mut buffer = [0; 16];
        let bound = Bound::Endless(Unbounded::PeerAtWork);
        let (length, descriptor) = match socket::receive(&self.0, &mut buffer, bound) {
            Err(call) if call.is(Errno::CONNRESET) => return Ok(None),
            heard => heard.context("listening to the runtime")?,
        };
        let heard = match (buffer.first().filter(|_| length > 0), descriptor) {
            (None, _) => return Ok(None),
            (Some(&BEGIN), None) => ToInit::Begin,
            (Some(&SOURCE), Some(source)) => ToInit::MountSource(source),
            (Some(&NODES), nodes) => ToInit::Devices(nodes),
            (Some(&HOOKS_DONE), None) => ToInit::HooksDone,
            (Some(&LIMITS_SET), None) => ToInit::LimitsSet,
            (Some(&DELIVERED), None) => ToInit::ListenerDelivered,
            (Some(&SAVED), None) => ToInit::Saved,
            (Some(&START), None) => ToInit::Start,
            (Some(tag), _) => anyhow::bail!("unknown message {tag:#x} from the runtime"),
        };
        Ok(Some(heard))
    }

    /// Another hold on the same end, for another thread.
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

/// Takes a message without content, if it is the one that was expected.
fn exactly(heard: ToInit, expected: &ToInit) -> Result<(), ToInit> {
    if std::mem::discriminant(&heard) == std::mem::discriminant(expected) {
        Ok(())
    } else {
        Err(heard)
    }
}

fn unexpected(heard: &ToInit, expected: &str) -> anyhow::Error {
    anyhow::anyhow!("the runtime said {heard:?} and not {expected}")
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
