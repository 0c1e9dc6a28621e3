//! The messages between the daemon and a worker: one order with descriptors, and one answer.
//! process: daemon, worker
//!
//! The worker's standard input is a stream socket. The daemon sends one byte with descriptors: a
//! file in memory with the order, then the three streams of the new process. The answer is its
//! length, in four bytes, and the message. The master of a terminal is sent with it as a
//! descriptor.
#![allow(
    missing_docs,
    reason = "the fields of the two messages are those of the requests of `messages`"
)]

use std::io::{IoSlice, IoSliceMut, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orlop::sys::fd;
use prost::Message;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::messages::Mount;
use crate::options::Options;
use crate::status::Failed;

/// The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Verb {
    /// No operation; the default of the encoding.
    Nothing = 0,
    /// Mount the rootfs and create the container.
    Create = 1,
    /// Run its program.
    Start = 2,
    /// Run another program in the container.
    Exec = 3,
    /// Send a signal to init, or to all processes.
    Kill = 4,
    /// Delete the container, and unmount the rootfs.
    Delete = 5,
    /// Pause it.
    Pause = 6,
    /// Resume it.
    Resume = 7,
    /// Change its limits.
    Update = 8,
    /// Save its processes.
    Checkpoint = 9,
    /// Restore them.
    Restore = 10,
    /// Kill the remaining processes after the end of init, and wait until they have ended.
    KillRest = 11,
}

/// An order.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Order {
    #[prost(enumeration = "Verb", tag = "1")]
    pub verb: i32,
    #[prost(string, tag = "2")]
    pub id: String,
    #[prost(string, tag = "3")]
    pub exec_id: String,
    #[prost(string, tag = "4")]
    pub bundle: String,
    #[prost(string, tag = "5")]
    pub namespace: String,
    #[prost(message, optional, tag = "6")]
    pub options: Option<Options>,
    #[prost(message, repeated, tag = "7")]
    pub rootfs: Vec<Mount>,
    #[prost(bool, tag = "8")]
    pub terminal: bool,
    /// JSON: the process of an exec, or the limits of an update.
    #[prost(bytes = "vec", tag = "9")]
    pub text: Vec<u8>,
    #[prost(int32, tag = "10")]
    pub signal: i32,
    #[prost(bool, tag = "11")]
    pub all: bool,
    /// The URI of the logger, if there is one.
    #[prost(string, tag = "12")]
    pub logger: String,
    #[prost(bool, tag = "13")]
    pub debug: bool,
    #[prost(message, optional, tag = "14")]
    pub checkpoint: Option<Checkpoint>,
    /// The soft limit on descriptors at the daemon's start, for its children; 0 for none.
    #[prost(uint64, tag = "15")]
    pub descriptors: u64,
    /// The pid of the daemon.
    #[prost(int32, tag = "16")]
    pub daemon: i32,
}

/// The options of a checkpoint or of restoring one.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Checkpoint {
    #[prost(string, tag = "1")]
    pub images: String,
    #[prost(string, tag = "2")]
    pub work: String,
    #[prost(string, tag = "3")]
    pub parent: String,
    #[prost(bool, tag = "4")]
    pub exit: bool,
    #[prost(bool, tag = "5")]
    pub open_tcp: bool,
    #[prost(bool, tag = "6")]
    pub external_unix_sockets: bool,
    #[prost(bool, tag = "7")]
    pub terminal: bool,
    #[prost(bool, tag = "8")]
    pub file_locks: bool,
    #[prost(string, repeated, tag = "9")]
    pub empty_namespaces: Vec<String>,
    #[prost(string, tag = "10")]
    pub cgroups_mode: String,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Answer {
    /// 0, or one of [`crate::status`].
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub text: String,
    /// The pid of the new process.
    #[prost(int32, tag = "3")]
    pub pid: i32,
    /// The data about a new container.
    #[prost(message, optional, tag = "4")]
    pub container: Option<NewContainer>,
    /// The pid of the logger.
    #[prost(int32, tag = "5")]
    pub logger: i32,
}

/// The data about a new container.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct NewContainer {
    #[prost(message, repeated, tag = "1")]
    pub cgroups: Vec<CgroupPath>,
    #[prost(bool, tag = "2")]
    pub shared_pid_namespace: bool,
}

/// The cgroup of a controller (v1), or the only one (v2).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CgroupPath {
    #[prost(string, tag = "1")]
    pub controller: String,
    #[prost(string, tag = "2")]
    pub path: String,
}

impl Answer {
    /// The result.
    ///
    /// # Errors
    /// The failure of the worker.
    pub fn result(self) -> Result<Self, Failed> {
        if self.code == 0 { Ok(self) } else { Err(Failed::new(self.code, self.text)) }
    }
}

/// The maximum number of descriptors in a message: the order, three streams, two pipe ends for a
/// logger.
const MOST: usize = 6;

/// Sends an order, with the streams of a new process.
///
/// # Errors
/// Errors of the calls.
pub fn send(socket: impl AsFd, order: &Order, streams: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut text =
        fd::memory_file("order").map_err(|call| Errno::from_raw_os_error(call.errno()))?;
    text.write_all(&order.encode_to_vec()).map_err(io)?;
    text.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut all = vec![text.as_fd()];
    all.extend(streams);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&all)) {
        return Err(Errno::TOOBIG);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Receives the byte of an order with its descriptors, or a part of an answer.
///
/// # Errors
/// Errors of recvmsg(2).
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            descriptors.extend(some);
        }
    }
    Ok((received.bytes, descriptors))
}

/// Sends an answer, with the master of a terminal if there is one.
///
/// # Errors
/// Errors of the calls.
pub fn answer(
    socket: impl AsFd,
    answer: &Answer,
    console: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let body = answer.encode_to_vec();
    let mut text = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    text.extend(body);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let console: Vec<BorrowedFd<'_>> = console.into_iter().collect();
    if !console.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&console));
    }
    let mut sent =
        rustix::net::sendmsg(&socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    while let Some(rest) = text.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += rustix::net::send(&socket, rest, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// The answer in the received bytes, if it is complete.
#[must_use]
pub fn whole(bytes: &[u8]) -> Option<Answer> {
    let length = usize::try_from(u32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    Answer::decode(bytes.get(4..4 + length)?).ok()
}
