//! The device nodes of the container.
//! config.json: linux.devices[].{path, type, major, minor, fileMode, uid, gid}

use super::mounts::clean;
use super::namespaces::{MOUNT, NamespacesPlan, USER};
use super::{Host, Problems};
use crate::config;

/// The type of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// `c` or `u`.
    Character,
    /// `b`.
    Block,
    /// `p`.
    Fifo,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// JSON pointer; empty for a default device.
    pub key: String,
    /// The path below the root of the container.
    pub path: String,
    /// The type.
    pub kind: NodeKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// The owner, if it is not root of the container.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// How nodes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeMethod {
    /// mknod(2).
    Make,
    /// The node of the host with the same name or number is bind-mounted. In a user namespace no
    /// nodes can be made.
    Bind,
    /// The runtime makes the nodes of the config and sends them to init. Init bind-mounts these,
    /// and the nodes of the host for the default devices.
    Receive,
}

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub struct DevicesPlan {
    /// The nodes, the default ones first.
    pub nodes: Vec<Node>,
    /// How they are made.
    pub method: NodeMethod,
    /// Whether an existing node must have the right mode and owner too. In a user namespace the
    /// owners look different, and the node cannot be made again.
    pub exact: bool,
    /// Whether init fills /dev. Not if the config bind-mounts a directory there.
    pub populate: bool,
}

impl NodeKind {
    /// The letter of mknod(1).
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Character => 'c',
            Self::Block => 'b',
            Self::Fifo => 'p',
        }
    }
}

impl Node {
    /// Whether the config has it. All containers have the others.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        !self.key.is_empty()
    }
}

impl DevicesPlan {
    /// The devices of the config, without fifos.
    pub fn requested(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_requested() && node.kind != NodeKind::Fifo)
    }
}

/// The largest numbers in the kernel (12 and 20 bits).
const MAX_MAJOR: u32 = 0xfff;
const MAX_MINOR: u32 = 0xf_ffff;

/// The devices that every container has (runtime-spec, config-linux.md, "Default Devices").
static DEFAULTS: [(&str, u32, u32); 6] = [
    ("dev/null", 1, 3),
    ("dev/zero", 1, 5),
    ("dev/full", 1, 7),
    ("dev/random", 1, 8),
    ("dev/urandom", 1, 9),
    ("dev/tty", 5, 0),
];

/// Links in /dev: name and target.
pub static LINKS: [(&str, &str); 5] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
    (PTMX, "pts/ptmx"),
];

/// /dev/ptmx of the host would open terminals of the host. So it is always the link above, as in
/// runc.
const PTMX: &str = "dev/ptmx";

/// A link that a container has if its target exists on the host.
pub static CORE: (&str, &str) = ("dev/core", "/proc/kcore");

/// Decides the nodes.
pub fn decide(
    config: &config::Config<'_>,
    namespaces: &NamespacesPlan,
    host: &Host,
    problems: &mut Problems,
) -> DevicesPlan {
    let mut nodes: Vec<Node> = DEFAULTS
        .iter()
        .map(|(path, major, minor)| Node {
            key: String::new(),
            path: (*path).to_owned(),
            kind: NodeKind::Character,
            major: *major,
            minor: *minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for (index, device) in config.linux.devices.iter().enumerate() {
        let node = node(device, format!("/linux/devices/{index}"), problems);
        if let Some(node) = node.filter(|node| node.path != PTMX) {
            // The config may give mode and owner of a default device.
            nodes.retain(|other| other.path != node.path);
            nodes.push(node);
        }
    }
    let bound = |mount: &config::Mount<'_>| {
        let is_bind = &*mount.kind == "bind"
            || mount.options.iter().any(|o| matches!(&**o, "bind" | "rbind"));
        is_bind && clean(&mount.destination) == "dev"
    };
    let some_requested =
        nodes.iter().any(|node| node.is_requested() && node.kind != NodeKind::Fifo);
    let method = if !namespaces.has_own(&USER) {
        NodeMethod::Make
    } else if some_requested && !host.rootless && !namespaces.joins(&MOUNT) {
        NodeMethod::Receive
    } else {
        NodeMethod::Bind
    };
    DevicesPlan { nodes, method, exact: !host.rootless, populate: !config.mounts.iter().any(bound) }
}

fn node(device: &config::Device<'_>, key: String, problems: &mut Problems) -> Option<Node> {
    let kind = match &*device.kind {
        "c" | "u" => NodeKind::Character,
        "b" => NodeKind::Block,
        "p" => NodeKind::Fifo,
        other => {
            problems.add(
                format_args!("{key}/type"),
                format!("invalid device type {other:?} (known: c, b, u, p)"),
            );
            return None;
        }
    };
    let path = clean(&device.path);
    if path.is_empty() || device.path.contains('\0') {
        problems.add(format_args!("{key}/path"), "must be an absolute path");
        return None;
    }
    // mknod(2) would cut larger numbers and make another device.
    let number =
        |number: i64, largest: u32| u32::try_from(number).ok().filter(|number| *number <= largest);
    let (Some(major), Some(minor)) =
        (number(device.major, MAX_MAJOR), number(device.minor, MAX_MINOR))
    else {
        let text = format!("device numbers must be between 0:0 and {MAX_MAJOR}:{MAX_MINOR}");
        problems.add(&key, text);
        return None;
    };
    for (name, id) in [("uid", device.uid), ("gid", device.gid)] {
        if id == Some(u32::MAX) {
            problems.add(format_args!("{key}/{name}"), format!("{} is not an id", u32::MAX));
        }
    }
    let mode = device.file_mode.unwrap_or(0o666);
    Some(Node {
        key,
        path,
        kind,
        major,
        minor,
        mode: mode & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}
