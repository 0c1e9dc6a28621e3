//! Unix sockets that can also send descriptors (unix(7), SCM_RIGHTS): packet sockets between our
//! own processes, and the kinds of sockets that other programs use.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer,
    SendAncillaryMessage, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use super::wait::{self, Bound};
use super::{Call, CallText, Named};

/// How long a receiver may take until it can receive more.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pair of connected sockets. A packet that is sent on one arrives whole on the other.
///
/// # Errors
/// Errors of socketpair(2).
pub fn pair() -> Result<(OwnedFd, OwnedFd), Call> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .named(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned())
}

/// A socket that listens as the file `name` in `directory`. The address goes through /proc/self/fd,
/// so that it fits into 108 bytes even if the directory has a long path.
///
/// # Errors
/// The error of the failed call.
pub fn listen(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Call> {
    let (socket, address) = prepare(directory, name, SocketType::SEQPACKET, SocketFlags::empty())?;
    rustix::net::bind(&socket, &address).named(|| format!("bind({name:?})"))?;
    rustix::net::listen(&socket, 8).named(|| format!("listen({name:?})"))?;
    Ok(socket)
}

/// Connects to the socket that listens as the file `name` in `directory`. Neither this nor later
/// calls on the socket wait.
///
/// # Errors
/// The error of the failed call: `ENOENT` if there is no such file, `ECONNREFUSED` if no process
/// listens any more, `EAGAIN` if the queue of connections is full.
pub fn connect(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Call> {
    let (socket, address) = prepare(directory, name, SocketType::SEQPACKET, SocketFlags::NONBLOCK)?;
    wait::connect_now(socket.as_fd(), &address).named(|| format!("connect({name:?})"))?;
    Ok(socket)
}

/// Connects to the stream socket at `path`, which may have any length. Neither this nor later calls
/// on the socket wait.
///
/// # Errors
/// The error of the failed call; `EAGAIN` if the queue of connections is full.
pub fn connect_stream(path: &Path) -> Result<OwnedFd, Call> {
    let call = || CallText::on("connect", path);
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory =
        rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .named(call)?;
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let (socket, address) =
        prepare(directory.as_fd(), &name, SocketType::STREAM, SocketFlags::NONBLOCK)?;
    wait::connect_now(socket.as_fd(), &address).named(call)?;
    Ok(socket)
}

/// A datagram socket that is connected to `address`: a path, or a name in the abstract namespace
/// after an `@`.
///
/// # Errors
/// The error of the failed call.
pub fn connect_datagrams(address: &OsStr) -> Result<OwnedFd, Call> {
    let name = || CallText::on("connect", address);
    let socket = new(SocketType::DGRAM, SocketFlags::NONBLOCK)?;
    wait::connect_now(socket.as_fd(), &named_address(address).named(name)?).named(name)?;
    Ok(socket)
}

/// A datagram socket as the file `name` in `directory`. Every user may send to it.
///
/// # Errors
/// The error of the failed call.
pub fn bind_datagrams(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Call> {
    let (socket, address) = prepare(directory, name, SocketType::DGRAM, SocketFlags::empty())?;
    // umask(2) and not chmod(2), which would follow a link that another process puts there.
    let mask = rustix::process::umask(Mode::empty());
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(mask);
    bound.named(|| format!("bind({name:?})"))?;
    Ok(socket)
}

fn new(kind: SocketType, flags: SocketFlags) -> Result<OwnedFd, Call> {
    rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | flags, None)
        .named(|| format!("socket(AF_UNIX, {kind:?})"))
}

fn prepare(
    directory: BorrowedFd<'_>,
    name: &str,
    kind: SocketType,
    flags: SocketFlags,
) -> Result<(OwnedFd, SocketAddrUnix), Call> {
    let socket = new(kind, flags)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
        .named(|| format!("the socket address of {name:?}"))?;
    Ok((socket, address))
}

/// Connects to a stream socket within `patience`. The address is a path, or a name in the abstract
/// namespace after an `@`.
///
/// # Errors
/// The error of the failed call: `ENOENT`, `ECONNREFUSED` if no process listens, `EAGAIN` if the
/// connection is not accepted in time.
pub fn call(address: &OsStr, patience: Duration) -> Result<OwnedFd, Call> {
    let name = || CallText::on("connect", address);
    let socket = new(SocketType::STREAM, SocketFlags::empty())?;
    wait::connect(socket.as_fd(), &named_address(address).named(name)?, patience).named(name)?;
    Ok(socket)
}

/// A path, or a name in the abstract namespace after an `@`.
fn named_address(text: &OsStr) -> Result<SocketAddrUnix, Errno> {
    match text.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        path => SocketAddrUnix::new(path),
    }
}

/// Sends one packet, with a descriptor if there is one. Never raises SIGPIPE. Waits for a while if
/// the receiver is slow.
///
/// # Errors
/// Errors of sendmsg(2): `EPIPE` if the other end is closed, `EAGAIN` if the receiver receives
/// nothing in time.
pub fn send(
    socket: impl AsFd,
    packet: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), Call> {
    send_some(socket, packet, descriptor, Bound::Within(PATIENCE)).map(|_| ())
}

/// Sends all of `text` on a stream. The descriptor, if there is one, goes with the first bytes.
///
/// # Errors
/// Errors of sendmsg(2): `EAGAIN` if the bound was reached.
pub fn send_all(
    socket: impl AsFd,
    text: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    bound: Bound,
) -> Result<(), Call> {
    let bound = bound.fixed();
    let mut sent = send_some(&socket, text, descriptor, bound)?;
    while let Some(rest) = text.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += send_some(&socket, rest, None, bound)?;
    }
    Ok(())
}

fn send_some(
    socket: impl AsFd,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    bound: Bound,
) -> Result<usize, Call> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|fd| [fd]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    wait::send(socket.as_fd(), bytes, &mut control, bound)
}

/// Receives one packet without descriptors into `buffer`, if there is one. Returns its length.
///
/// # Errors
/// Errors of recv(2).
pub fn receive_now(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<usize>, Call> {
    match wait::receive_plain(socket.as_fd(), buffer, Bound::NOW) {
        Err(Errno::AGAIN) => Ok(None),
        other => other.map(Some).named(|| "recv()".to_owned()),
    }
}

/// Ends a connection, even if other processes have a copy of our end (shutdown(2)).
///
/// # Errors
/// The error of the call.
pub fn shut_down(socket: impl AsFd) -> Result<(), Call> {
    rustix::net::shutdown(socket, Shutdown::Both).named(|| "shutdown()".to_owned())
}

/// Receives one packet into `buffer`, and the descriptor that came with it. A length of 0 means
/// that the other end is closed.
///
/// # Errors
/// Errors of recvmsg(2): `ETIMEDOUT` if the bound was reached.
pub fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    bound: Bound,
) -> Result<(usize, Option<OwnedFd>), Call> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length = wait::receive(socket.as_fd(), buffer, &mut control, bound)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((length, descriptor))
}
