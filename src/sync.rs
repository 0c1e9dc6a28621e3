//! The one wire: what bootstrap and init say to the runtime, and what they hear.
//!
//! ```text
//!      bootstrap / init                      runtime
//!   ─────────────────────────────────────────────────────────────────────────────────
//!   Forked(pid)                     ──▶     only by the bootstrap, its last message
//!                                   ◀── Go                id maps written, cgroup joined
//!   MountSource(n)        (0..k×)   ──▶     a source that only the runtime may open, or a copy of
//!     + perhaps a descriptor                it whose ids it maps
//!                                   ◀── Descriptor
//!   Devices               (0..1×)   ──▶     nodes that only the host side may make
//!                                   ◀── Descriptor, or Go if it may not either
//!   Built                           ──▶     cgroup limits, prestart, createRuntime
//!                                   ◀── Go                only if init waits: there are hooks
//!   Terminal + descriptor           ──▶     its master, when the program has one; no answer
//!   Limits                          ──▶     rlimits, scheduling, if init is in a user namespace
//!                                   ◀── Go
//!   Ready                           ──▶     all that can fail has not
//!                                   ◀── Go                state.json = created; `create` returns
//!   Failed(report)        (any time)──▶     becomes the command's error, kind intact
//! ```
//! A filter with a listener adds a step: before `Ready` of `create` and `run`, if it judges no call
//! of ours; else after the last `Go`, of `run` and `start`, and for each startContainer hook as
//! well. With `exec` it is always after that.
//!
//! ```text
//!   Listener, with the descriptor   ──▶     handed to the agent of linux.seccomp.listenerPath
//!                                   ◀── Go                it is there: the program may run
//! ```
//! What `exec` makes says `Terminal`, `Limits`, `Ready` and `Failed` alike; its first `Go` means
//! that it is in the cgroup, its last that the pid file is written.
//!
//! The end of the wire without a `Failed` means, before `Ready`, that init died; after it, that
//! init became the program: the descriptor is close-on-exec. `start` speaks to init on a second
//! wire of the same form, which it gets by connecting to the gate ([`crate::container::gate`]):
//! `Go` opens it, and then `Failed` or the end, as above.
//!
//! Packets of SOCK_SEQPACKET: a tag, eight bytes of number, then text. Only [`RuntimeEnd`] can send
//! [`ToInit`], only [`InitEnd`] can send [`FromInit`].

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
    /// Go on.
    Go,
    /// Here is what you asked for.
    Descriptor(OwnedFd),
}

const GO: u8 = b'g';
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
/// socketpair(2)'s.
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

    /// Tells init to go on. That init is dead is no error here: the next [`Self::receive`] says so.
    ///
    /// # Errors
    /// sendmsg(2)'s.
    pub fn go(&self) -> Result<()> {
        self.send(&[GO], None)
    }

    /// Answers [`FromInit::MountSource`] and [`FromInit::Devices`].
    ///
    /// # Errors
    /// sendmsg(2)'s.
    pub fn descriptor(&self, fd: BorrowedFd<'_>) -> Result<()> {
        self.send(&[GO], Some(fd))
    }

    fn send(&self, packet: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        match socket::send(&self.0, packet, fd) {
            Err(call) if !is_gone(&call) => Err(call).context("speaking to the container's init"),
            _ => Ok(()),
        }
    }

    /// What init says next; waits for it as long as it is at work.
    ///
    /// # Errors
    /// recvmsg(2)'s; a packet that is none of ours.
    pub fn receive(&self) -> Result<FromInit> {
        match self.read(Bound::Endless(Unbounded::PeerAtWork)) {
            Err(error) if is(&error, Errno::CONNRESET) => Ok(FromInit::End),
            said => said.context("listening to the container's init"),
        }
    }

    /// As [`Self::receive`]. Each time init has been silent for a moment, `look` looks after it;
    /// its error ends the wait.
    ///
    /// # Errors
    /// As [`Self::receive`]; those of `look`.
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
    /// recvmsg(2)'s; those of `look`.
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

    /// Says something and waits for the answer.
    ///
    /// # Errors
    /// sendmsg(2)'s, recvmsg(2)'s; that the runtime is gone.
    pub fn ask(&self, message: &FromInit) -> Result<ToInit> {
        self.send(message)?;
        self.wait()
    }

    /// Says something that needs no answer.
    ///
    /// # Errors
    /// sendmsg(2)'s; that the runtime is gone.
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

    /// Waits to be told to go on. The runtime's death ends us, too: nobody would ever start or
    /// delete us.
    ///
    /// # Errors
    /// recvmsg(2)'s; that the runtime is gone.
    pub fn wait(&self) -> Result<ToInit> {
        self.next()?.context("the runtime is gone")
    }

    /// As [`Self::wait`], but `None` when the other end is gone.
    ///
    /// # Errors
    /// recvmsg(2)'s.
    pub fn next(&self) -> Result<Option<ToInit>> {
        let mut buffer = [0; 16];
        match socket::receive(&self.0, &mut buffer, Bound::Endless(Unbounded::PeerAtWork)) {
            Ok((0, _)) => Ok(None),
            Err(call) if call.is(Errno::CONNRESET) => Ok(None),
            Ok((_, None)) => Ok(Some(ToInit::Go)),
            Ok((_, Some(fd))) => Ok(Some(ToInit::Descriptor(fd))),
            Err(call) => Err(call).context("listening to the runtime"),
        }
    }
}

impl InitEnd {
    /// Another hold on the same end, for another thread.
    ///
    /// # Errors
    /// dup(2)'s.
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

#[cfg(test)]
mod tests {
    use super::{FromInit, decode, encode};
    use crate::error::Report;

    #[test]
    fn what_is_said_is_heard() {
        let report = Report {
            text: "mounts[0]: mount_setattr(): permission denied".into(),
            code: "internal".into(),
            key: "/mounts/0".into(),
            call: "mount_setattr()".into(),
            errno: 13,
        };
        let messages = [
            FromInit::Forked(77),
            FromInit::MountSource(3, None),
            FromInit::Devices,
            FromInit::Built,
            FromInit::Limits,
            FromInit::Ready,
            FromInit::Failed(report),
            FromInit::End,
        ];
        for message in messages {
            let heard = decode(&encode(&message), None).expect("a message");
            assert_eq!(format!("{heard:?}"), format!("{message:?}"));
        }
        decode(b"?", None).expect_err("none of ours");
        decode(&[super::FORKED, 255, 255, 255, 255, 255, 255, 255, 255], None)
            .expect_err("not a pid");
        decode(&[super::TERMINAL], None).expect_err("no terminal");
        decode(&[super::LISTENER], None).expect_err("no descriptor");
    }
}
