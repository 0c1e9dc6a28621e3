//! Unix sockets, with descriptors on what they send (unix(7), SCM_RIGHTS): of packets, which are ours, and of the kinds
//! that others wait at.

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::time::Duration;

use rustix::net::sockopt::Timeout;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use super::{Call, Named, fd};

/// A pair of connected ends; a packet sent on one arrives whole on the other.
///
/// # Errors
/// socketpair(2)'s.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Call> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .named(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned())
}

/// A socket that listens as the file `name` in `directory`. The path goes through /proc/self/fd, so that it fits into
/// the 108 bytes of an address however deep the directory is.
///
/// # Errors
/// The failed call's.
pub fn listen(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Call> {
    let (socket, address) = prepare(directory, name, SocketType::SEQPACKET)?;
    rustix::net::bind(&socket, &address).named(|| format!("bind({name:?})"))?;
    rustix::net::listen(&socket, 8).named(|| format!("listen({name:?})"))?;
    Ok(socket)
}

/// Connects to the socket that listens as the file `name` in `directory`.
///
/// # Errors
/// The failed call's: `ENOENT` when there is no such file, `ECONNREFUSED` when nobody listens any more.
pub fn connect(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Call> {
    let (socket, address) = prepare(directory, name, SocketType::SEQPACKET)?;
    rustix::net::connect(&socket, &address).named(|| format!("connect({name:?})"))?;
    Ok(socket)
}

/// Connects to the stream socket at `path`, however long that is. Neither here nor later does it wait.
///
/// # Errors
/// The failed call's; `EAGAIN` when too many others are waiting there.
pub fn connect_stream(path: &Path) -> Result<OwnedFd, Call> {
    let call = || format!("connect({path:?})");
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory =
        rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).named(call)?;
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let (socket, address) = prepare(directory.as_fd(), &name, SocketType::STREAM)?;
    fd::set_nonblocking(&socket)?;
    rustix::net::connect(&socket, &address).named(call)?;
    Ok(socket)
}

/// A datagram socket, connected to `address`: a path, or behind an `@` a name that is none (an abstract address).
///
/// # Errors
/// The failed call's.
pub fn connect_datagrams(address: &OsStr) -> Result<OwnedFd, Call> {
    let name = || format!("connect({address:?})");
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        path => SocketAddrUnix::new(path),
    };
    let socket = new(SocketType::DGRAM)?;
    rustix::net::connect(&socket, &address.named(name)?).named(name)?;
    Ok(socket)
}

/// A datagram socket as the file `name` in `directory`, which everybody may send to.
///
/// # Errors
/// The failed call's.
pub fn bind_datagrams(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Call> {
    let (socket, address) = prepare(directory, name, SocketType::DGRAM)?;
    // Not by chmod(2), which would follow a link that somebody puts there.
    let mask = rustix::process::umask(Mode::empty());
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(mask);
    bound.named(|| format!("bind({name:?})"))?;
    Ok(socket)
}

fn new(kind: SocketType) -> Result<OwnedFd, Call> {
    rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .named(|| format!("socket(AF_UNIX, {kind:?})"))
}

fn prepare(directory: BorrowedFd<'_>, name: &str, kind: SocketType) -> Result<(OwnedFd, SocketAddrUnix), Call> {
    let socket = new(kind)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
        .named(|| format!("the socket address of {name:?}"))?;
    Ok((socket, address))
}

/// Connects to a socket of a stream of bytes: at `path`, or, after an `@`, of that name in the abstract namespace. No
/// call on it waits longer than `patience` for the other side.
///
/// # Errors
/// The failed call's: `ENOENT`, `ECONNREFUSED` when nobody listens, `EAGAIN` when nobody takes the connection.
pub fn call(path: &str, patience: Duration) -> Result<OwnedFd, Call> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        None => SocketAddrUnix::new(path),
    };
    let address = address.named(|| format!("the socket address {path:?}"))?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .named(|| "socket(AF_UNIX, SOCK_STREAM)".to_owned())?;
    rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Send, Some(patience))
        .named(|| "setsockopt(SO_SNDTIMEO)".to_owned())?;
    rustix::net::connect(&socket, &address).named(|| format!("connect({path:?})"))?;
    Ok(socket)
}

/// Waits for a connection.
///
/// # Errors
/// accept4(2)'s.
pub fn accept(listener: impl AsFd) -> Result<OwnedFd, Call> {
    loop {
        match rustix::net::accept_with(&listener, SocketFlags::CLOEXEC) {
            Err(Errno::INTR) => {}
            other => return other.named(|| "accept4()".to_owned()),
        }
    }
}

/// Sends one packet, with a descriptor if there is one. Never raises SIGPIPE.
///
/// # Errors
/// sendmsg(2)'s: `EPIPE` when the other end is gone.
pub fn send(socket: impl AsFd, packet: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<(), Call> {
    send_some(socket, packet, descriptor).map(|_| ())
}

/// Sends all of `text` on a stream, the descriptor with its beginning.
///
/// # Errors
/// sendmsg(2)'s.
pub fn send_all(socket: impl AsFd, text: &[u8], descriptor: impl AsFd) -> Result<(), Call> {
    let mut sent = send_some(&socket, text, Some(descriptor.as_fd()))?;
    while let Some(rest) = text.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += send_some(&socket, rest, None)?;
    }
    Ok(())
}

fn send_some(socket: impl AsFd, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<usize, Call> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|fd| [fd]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.named(|| "sendmsg()".to_owned()),
        }
    }
}

/// Receives one packet into `buffer`, if there is one, and no descriptors; its length.
///
/// # Errors
/// recv(2)'s.
pub fn receive_now(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<usize>, Call> {
    loop {
        match rustix::net::recv(&socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            other => return other.map(|(length, _)| Some(length)).named(|| "recv()".to_owned()),
        }
    }
}

/// Ends a connection, whoever else has our end (shutdown(2)).
///
/// # Errors
/// The call's.
pub fn shut_down(socket: impl AsFd) -> Result<(), Call> {
    rustix::net::shutdown(socket, Shutdown::Both).named(|| "shutdown()".to_owned())
}

/// Receives one packet into `buffer`, and the descriptor that came with it; length 0 means that the other end is gone.
///
/// # Errors
/// recvmsg(2)'s.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Call> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other.named(|| "recvmsg()".to_owned())?.bytes,
        }
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((length, descriptor))
}
