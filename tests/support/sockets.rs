//! Unix sockets of the tests, on which runtimes send descriptors.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::runtime::time_limit;

/// The next message and the descriptors that came with it.
#[track_caller]
pub fn receive(socket: impl AsFd) -> (String, Vec<OwnedFd>) {
    assert!(readable(&socket, time_limit()), "no message");
    let mut text = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut text)];
    let length =
        recvmsg(&socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
    let descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    let descriptors = descriptors.collect();
    (String::from_utf8_lossy(&text[..length]).into_owned(), descriptors)
}

/// Waits for a message, a connection, or the end of the connection.
pub fn readable(socket: impl AsFd, limit: std::time::Duration) -> bool {
    let limit = Timespec {
        tv_sec: limit.as_secs().try_into().unwrap(),
        tv_nsec: limit.subsec_nanos().into(),
    };
    poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&limit)).unwrap() > 0
}
