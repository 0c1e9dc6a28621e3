//! Watches for devices that leave a network namespace: they are moved to another one, or deleted
//! (rtnetlink(7), `RTM_DELLINK`).
//!
//! The index of a device is unique in its namespace. But root in that namespace can delete a device
//! and make another one with the same index. These messages show that: the kernel queues them in
//! order, while it makes the change.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;

use super::{LONGEST_ANSWER, Reply, number, socket};
use crate::sys::wait::{self, Bound};
use crate::sys::{Call, Named};

/// A socket on which the kernel reports every change of a device.
#[derive(Debug)]
pub struct DeviceChanges(OwnedFd);

impl DeviceChanges {
    /// Watches the network namespace of this thread from now on.
    ///
    /// # Errors
    /// Errors of socket(2), bind(2).
    pub fn watch() -> Result<Self, Call> {
        let links = 1 << (libc::RTNLGRP_LINK - 1);
        let socket = socket()?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, links))
            .named(|| "bind(RTNLGRP_LINK)".to_owned())?;
        Ok(Self(socket))
    }

    /// How many devices with each index have left so far. A second call counts only what happened
    /// after the first.
    ///
    /// # Errors
    /// Errors of recv(2): `ENOBUFS` if the kernel could not queue all changes, so that some were
    /// lost.
    pub fn count(&self) -> Result<BTreeMap<i32, usize>, Call> {
        let mut count = BTreeMap::new();
        let mut buffer = vec![0; LONGEST_ANSWER];
        loop {
            let length =
                match wait::receive_plain(self.0.as_fd(), buffer.as_mut_slice(), Bound::NOW) {
                    Err(Errno::AGAIN) => return Ok(count),
                    other => other.named(|| "recv(RTNLGRP_LINK)".to_owned())?,
                };
            let mut packet = buffer.get(..length).unwrap_or_default();
            while let Some(message) = Reply::split_off(&mut packet) {
                if let Some(index) = departed(&message) {
                    *count.entry(index).or_insert(0) += 1;
                }
            }
        }
    }
}

/// The index of the device that has left. A message with a family only means that the device left a
/// bridge.
fn departed(message: &Reply<'_>) -> Option<i32> {
    let family = *message.body.first()?;
    let left = message.kind == libc::RTM_DELLINK && i32::from(family) == libc::AF_UNSPEC;
    left.then(|| number(message.body, 4)).flatten()
}
