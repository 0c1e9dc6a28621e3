//! Network devices and their addresses, with netlink(7) and rtnetlink(7).
//!
//! No library is used: there are four types of requests with few attributes. From the answers we
//! use two numbers, and the bytes of addresses, which we pass on unchanged. The maintained library
//! that needs no asynchronous runtime is netlink-packet-route. It made a program with one such
//! request 772 KB larger, with parsers for all types of links.

mod device_changes;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub use device_changes::DeviceChanges;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::wait::{self, Bound};
use super::{Call, Named};

/// The number of bytes that the kernel writes at once.
const LONGEST_ANSWER: usize = 32 << 10;

/// How long we wait for an answer. The kernel answers during the request, so no answer arrives
/// later.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(10));

/// How many times a list is requested again because it changed while it was read.
const TRIES: usize = 16;

/// `NLM_F_DUMP_INTR`: the list changed while it was read.
const INTERRUPTED: u16 = 0x10;

/// `IFLA_NEW_IFINDEX` (Linux 5.13).
const NEW_INDEX: u16 = 49;

/// A socket of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

/// A network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Its number in its namespace.
    pub index: i32,
    /// Whether it is up.
    pub up: bool,
}

/// An address of a device, with all of its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Whether it was configured by a user (`IFA_F_PERMANENT`).
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.flags & libc::IFA_F_PERMANENT != 0
    }

    /// Whether it is valid everywhere (`RT_SCOPE_UNIVERSE`).
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.scope == libc::RT_SCOPE_UNIVERSE
    }
}

/// A socket for requests about links and addresses.
fn socket() -> Result<OwnedFd, Call> {
    // Protocol 0 is NETLINK_ROUTE.
    rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .named(|| "socket(AF_NETLINK)".to_owned())
}

impl Netlink {
    /// Opens a socket in the network namespace of this thread. It is connected to the kernel: other
    /// sockets receive messages of all processes in the namespace.
    ///
    /// # Errors
    /// Errors of socket(2), connect(2).
    pub fn open() -> Result<Self, Call> {
        let socket = socket()?;
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::connect(&socket, &kernel).named(|| "connect(AF_NETLINK)".to_owned())?; // no wait: there is no handshake
        Ok(Self(socket))
    }

    /// The device of this name.
    ///
    /// # Errors
    /// The error of the failed call. It is not an error if there is no such device: the result is
    /// then `None`.
    pub fn device(&self, name: &str) -> Result<Option<Interface>, Call> {
        let message = NetlinkRequest::link(libc::RTM_GETLINK, 0, 0, 0)
            .attribute(libc::IFLA_IFNAME, &c_name(name));
        match self.ask(&message) {
            Ok(answers) => Ok(answers.iter().find_map(|answer| read_link(answer))),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno).named(|| format!("RTM_GETLINK({name:?})")),
        }
    }

    /// Brings a device up or down.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn set_up(&self, device: i32, up: bool) -> Result<(), Call> {
        let bit = libc::IFF_UP.cast_unsigned();
        let message =
            NetlinkRequest::link(libc::RTM_NEWLINK, device, if up { bit } else { 0 }, bit);
        self.ask(&message)
            .map(|_| ())
            .named(|| format!("RTM_NEWLINK({device}, {})", if up { "up" } else { "down" }))
    }

    /// Moves a device to another network namespace, and gives it a name and an index there.
    ///
    /// # Errors
    /// The error of the failed call: `EEXIST` if the name is in use, `EBUSY` if the index is in
    /// use, `EINVAL` for a device that cannot be moved (loopback).
    pub fn move_to(
        &self,
        device: i32,
        namespace: BorrowedFd<'_>,
        name: &str,
        index: i32,
    ) -> Result<(), Call> {
        let message = NetlinkRequest::link(libc::RTM_NEWLINK, device, 0, 0)
            .attribute(libc::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())
            .attribute(libc::IFLA_IFNAME, &c_name(name))
            .attribute(NEW_INDEX, &index.to_ne_bytes());
        self.ask(&message).map(|_| ()).named(|| {
            format!("RTM_NEWLINK({device}, to another namespace as {name:?}, index {index})")
        })
    }

    /// The addresses of a device, in the order in which they were added.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn addresses(&self, device: i32) -> Result<Vec<Address>, Call> {
        let message = NetlinkRequest::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; 8]);
        let answers = self.ask(&message).named(|| "RTM_GETADDR".to_owned())?;
        Ok(answers.iter().filter_map(|answer| read_address(answer, device)).collect())
    }

    /// Adds an address to a device, which may have it already.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn add_address(&self, device: i32, address: &Address) -> Result<(), Call> {
        match self.ask(&write_address(address, device)) {
            Ok(_) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno).named(|| format!("RTM_NEWADDR({device})")),
        }
    }

    /// Sends a request and returns the answers without their headers.
    fn ask(&self, message: &NetlinkRequest) -> Result<Vec<Vec<u8>>, Errno> {
        for _ in 0..TRIES {
            let bytes = message.finish();
            rustix::net::send(&self.0, &bytes, SendFlags::empty())?; // no wait: the kernel
            if let Some(answers) = self.receive()? {
                return Ok(answers);
            }
        }
        Err(Errno::AGAIN)
    }

    /// Returns `None` if a list changed while it was read.
    fn receive(&self) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let mut answers = Vec::new();
        let mut whole = true;
        let mut buffer = vec![0; LONGEST_ANSWER];
        loop {
            let length = wait::receive_plain(self.0.as_fd(), buffer.as_mut_slice(), PATIENCE)?;
            let mut packet = buffer.get(..length).unwrap_or_default();
            while let Some(answer) = Reply::split_off(&mut packet) {
                whole &= answer.flags & INTERRUPTED == 0;
                match i32::from(answer.kind) {
                    libc::NLMSG_DONE => return Ok(whole.then_some(answers)),
                    // The end of a request with NLM_F_ACK: an errno, or 0.
                    libc::NLMSG_ERROR => match number(answer.body, 0).unwrap_or(0) {
                        0 => return Ok(Some(answers)),
                        error => return Err(Errno::from_raw_os_error(error.wrapping_neg())),
                    },
                    _ => answers.push(answer.body.to_vec()),
                }
            }
        }
    }
}

/// A message of the kernel.
struct Reply<'a> {
    kind: u16,
    flags: u16,
    body: &'a [u8],
}

impl<'a> Reply<'a> {
    /// Splits off the first message of a packet.
    fn split_off(packet: &mut &'a [u8]) -> Option<Self> {
        const HEADER: usize = 16;
        let length = usize::try_from(number(packet, 0)?).ok()?;
        let short = |at: usize| {
            packet.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes)
        };
        let answer = Self { kind: short(4)?, flags: short(6)?, body: packet.get(HEADER..length)? };
        *packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    }
}

/// A request: header, body of its kind, attributes.
struct NetlinkRequest(Vec<u8>);

impl NetlinkRequest {
    fn new(kind: u16, flags: i32, body: &[u8]) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK).unwrap_or(0);
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(body);
        Self(bytes)
    }

    /// Adds a struct ifinfomsg: the device, the flags, and the mask of flags to change.
    fn link(kind: u16, device: i32, flags: u32, change: u32) -> Self {
        let body =
            [[0; 4], device.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()].concat();
        Self::new(kind, 0, &body)
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }
}

fn c_name(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes)
}

/// struct ifinfomsg.
fn read_link(body: &[u8]) -> Option<Interface> {
    Some(Interface { index: number(body, 4)?, up: number(body, 8)? & libc::IFF_UP != 0 })
}

/// struct ifaddrmsg and its attributes, if it is about `device`.
fn read_address(body: &[u8], device: i32) -> Option<Address> {
    /// The attributes that define an address, besides its flags. Its label contains the name of the
    /// device.
    const KEPT: [u16; 6] = [
        libc::IFA_ADDRESS,
        libc::IFA_LOCAL,
        libc::IFA_BROADCAST,
        libc::IFA_CACHEINFO,
        9,  // IFA_RT_PRIORITY
        11, // IFA_PROTO
    ];
    let [family, prefix, flags, scope] = *body.first_chunk()?;
    if number(body, 4)? != device {
        return None;
    }
    let mut address =
        Address { family, prefix, scope, flags: flags.into(), attributes: Vec::new() };
    let mut rest = body.get(8..)?;
    while let [a, b, c, d, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let kind = u16::from_ne_bytes([c, d]);
        let value = rest.get(4..length)?;
        if kind == libc::IFA_FLAGS {
            address.flags = number(value, 0)?.cast_unsigned();
        } else if KEPT.contains(&kind) {
            address.attributes.push((kind, value.to_vec()));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(address)
}

fn write_address(address: &Address, device: i32) -> NetlinkRequest {
    /// The attributes that only the kernel sets.
    const ITS_OWN: u32 = libc::IFA_F_PERMANENT
        | libc::IFA_F_SECONDARY
        | libc::IFA_F_TENTATIVE
        | libc::IFA_F_DEPRECATED
        | libc::IFA_F_DADFAILED;
    let body = [[address.family, address.prefix, 0, address.scope], device.to_ne_bytes()].concat();
    let message =
        NetlinkRequest::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body)
            .attribute(libc::IFA_FLAGS, &(address.flags & !ITS_OWN).to_ne_bytes());
    address
        .attributes
        .iter()
        .fold(message, |message, (kind, value)| message.attribute(*kind, value))
}

/// Parses a packet of the kernel.
#[cfg(fuzzing)]
pub(crate) fn fuzz(mut packet: &[u8]) {
    while let Some(answer) = Reply::split_off(&mut packet) {
        read_link(answer.body);
        if let Some(address) = read_address(answer.body, 5) {
            write_address(&address, 7).finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::io::Errno;
    use rustix::net::SendFlags;
    use rustix::net::netlink::SocketAddrNetlink;

    use super::{Netlink, NetlinkRequest, Reply, read_address, socket, write_address};

    #[test]
    fn loopback_is_found() {
        let netlink = Netlink::open().expect("a socket");
        let device = netlink.device("lo").expect("an answer").expect("every namespace has one");
        assert_eq!(device.index, 1);
        assert_eq!(netlink.device("no-such-device").expect("an answer"), None);
        let addresses = netlink.addresses(device.index).expect("a list");
        assert!(
            addresses
                .iter()
                .all(|address| !device.up || address.prefix == 8 || address.prefix == 128)
        );
    }

    #[test]
    fn nobody_but_the_kernel_answers() {
        let netlink = Netlink::open().expect("a socket");
        let own = rustix::net::getsockname(netlink.0.as_fd()).expect("a name");
        let own = SocketAddrNetlink::try_from(own).expect("one of netlink");
        let forged = NetlinkRequest::new(2, 0, &[0; 4]).finish();
        let forger = socket().expect("a socket");
        let flags = SendFlags::DONTWAIT;
        let sent = rustix::net::sendto(forger, &forged, flags, &own); // no wait: DONTWAIT
        assert_eq!(sent, Err(Errno::CONNREFUSED));
        assert!(netlink.device("lo").expect("an answer").is_some());
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        // 192.0.2.7/24, secondary and permanent, with noprefixroute; label "x" at the end.
        let attribute = |length: u16, kind: u16, content: [u8; 4]| {
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &content].concat()
        };
        let body = [
            vec![2, 24, 0x81, 0],
            5_u32.to_ne_bytes().to_vec(),
            attribute(8, 1, [192, 0, 2, 7]),
            attribute(8, 2, [192, 0, 2, 7]),
            attribute(8, 8, 0x281_u32.to_ne_bytes()),
            attribute(6, 3, [b'x', 0, 0, 0]),
        ]
        .concat();
        assert_eq!(read_address(&body, 6), None);
        let address = read_address(&body, 5).expect("an address");
        assert!(address.is_permanent() && address.is_global());
        let written = write_address(&address, 9).finish();
        let mut packet = &written[..];
        let message = Reply::split_off(&mut packet).expect("a message");
        assert!(packet.is_empty());
        let again = read_address(message.body, 9).expect("an address");
        assert_eq!((again.flags, again.attributes), (0x200, address.attributes));
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        let whole = NetlinkRequest::new(1, 0, &[1, 2, 3, 4]).finish();
        for end in 0..whole.len() {
            assert!(Reply::split_off(&mut &whole[..end]).is_none(), "{end}");
        }
        assert_eq!(read_address(&[2, 24, 0, 0, 5, 0, 0, 0, 9, 0, 1, 0], 5), None);
    }
}
