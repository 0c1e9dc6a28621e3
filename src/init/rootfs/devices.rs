//! Fills /dev: nodes and links.
//! config.json: linux.devices[].{path, type, major, minor, fileMode, uid, gid}
//! process: init, before `enter`

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::bail;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, StatxAttributes, StatxFlags, Uid,
};
use rustix::io::Errno;

use super::Rootfs;
use super::destinations::Destinations;
use crate::error::{AtKey, Context, Result};
use crate::plan::devices::{CORE, DevicesPlan, LINKS, Node, NodeKind, NodeMethod};
use crate::plan::mount_options::attr;
use crate::sync::InitEnd;
use crate::sys::device;
use crate::sys::mount::{self, Depth};
use crate::sys::proc::Proc;
use crate::sys::{Call, CallText, Named};

/// Makes the nodes and links, unless the config mounts its own /dev. Each node is made in a
/// directory that we have a handle of, and never through a link (CVE-2026-41579). Nothing is made
/// in a directory of the host.
///
/// # Errors
/// The error of the failed call.
pub fn make(plan: &DevicesPlan, rootfs: &Rootfs<'_>, proc: &Proc, runtime: &InitEnd) -> Result<()> {
    if !plan.populate {
        return Ok(());
    }
    let mut received =
        if plan.method == NodeMethod::Receive { receive(plan, runtime)? } else { Vec::new() }
            .into_iter();
    let mut places = Destinations::new(rootfs, proc);
    for node in &plan.nodes {
        let made = match plan.method {
            NodeMethod::Make => make_node(node, plan.exact, &mut places),
            _ if node.kind == NodeKind::Fifo => make_node(node, plan.exact, &mut places),
            NodeMethod::Receive if node.is_requested() => match received.next() {
                Some(source) => bind(node, &source, &mut places),
                None => bind_node(node, &mut places),
            },
            NodeMethod::Receive | NodeMethod::Bind => bind_node(node, &mut places),
        };
        let made = made.with_context(|| format!("device /{}", node.path));
        if node.is_requested() {
            made.at(&node.key)?;
        } else {
            made?;
        }
    }
    for (name, target) in LINKS {
        link(&mut places, name, target).with_context(|| format!("/{name}"))?;
    }
    let (name, target) = CORE;
    if rustix::fs::access(target, Access::EXISTS).is_ok() {
        link(&mut places, name, target).with_context(|| format!("/{name}"))?;
    }
    Ok(())
}

/// Receives the nodes of the config from the runtime, in their order. Empty if the runtime may not
/// make nodes either.
fn receive(plan: &DevicesPlan, runtime: &InitEnd) -> Result<Vec<OwnedFd>> {
    let Some(nodes) = runtime.request_devices()? else { return Ok(Vec::new()) };
    let names = (0..plan.requested().count()).map(|index| index.to_string());
    Ok(mount::files_of(nodes.as_fd(), names)?)
}

fn id(node: &Node) -> device::Id {
    device::Id::new(node.kind.letter(), node.major, node.minor)
}

fn make_node<'a>(node: &'a Node, exact: bool, places: &mut Destinations<'a>) -> Result<()> {
    let place = places.of(&node.path)?;
    let id = id(node);
    let make = |directory, name: &str| {
        rustix::fs::mknodat(directory, name, id.kind, Mode::from_raw_mode(node.mode), id.number)
            .named(|| {
                format!("mknodat({:?}, {:#o}, {}:{})", node.path, node.mode, node.major, node.minor)
            })
    };
    let made = if place.is_of_host {
        Err(Errno::EXIST).named(String::new)
    } else {
        make(place.directory, place.name)
    };
    match made {
        Ok(()) => {}
        Err(call) if call.is(Errno::EXIST) => {
            let Some(there) = look(place.directory, place.name)? else {
                return Err(places.refusal(&node.path));
            };
            if there.will_do(node, exact && !place.is_of_host) {
                return Ok(());
            }
            if there.id != id {
                bail!("/{} exists in the rootfs and is not this device", node.path);
            }
            // The same device with another mode or owner, for example from an earlier run.
            match rustix::fs::unlinkat(place.directory, place.name, AtFlags::empty()) {
                Err(Errno::ROFS) if !node.is_requested() => return Ok(()),
                result => result.named_on("unlinkat", &node.path)?,
            }
            make(place.directory, place.name)?;
        }
        // The whole machine may be in a user namespace.
        Err(call) if call.is(Errno::PERM) && node.kind != NodeKind::Fifo => {
            return bind_node(node, places);
        }
        Err(call) => return Err(call.into()),
    }
    if node.uid != 0 || node.gid != 0 {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        rustix::fs::chownat(
            place.directory,
            place.name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .named(|| format!("fchownat({:?}, {}, {})", node.path, node.uid, node.gid))?;
    }
    Ok(())
}

/// The file that exists at the path of a node.
#[derive(Debug, Clone, Copy)]
struct ExistingNode {
    is_mount: bool,
    id: device::Id,
    /// The permission bits, the owner and the group.
    metadata: (u32, u32, u32),
}

impl ExistingNode {
    /// Whether this file can be used as the node. A file that `mounts` has mounted there is always
    /// used. A node of the rootfs is used if it is the same device, and, if `exact` is set, has the
    /// same mode and owner. A file that is not this device is not removed.
    fn will_do(&self, node: &Node, exact: bool) -> bool {
        self.is_mount
            || self.id == id(node) && (!exact || self.metadata == (node.mode, node.uid, node.gid))
    }
}

fn look(directory: BorrowedFd<'_>, name: &str) -> Result<Option<ExistingNode>, Call> {
    let stat = match rustix::fs::statx(
        directory,
        name,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::BASIC_STATS,
    ) {
        Err(Errno::NOENT) => return Ok(None),
        result => result.named(|| format!("statx({name:?})"))?,
    };
    let mode = u32::from(stat.stx_mode);
    Ok(Some(ExistingNode {
        is_mount: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        id: device::Id {
            kind: FileType::from_raw_mode(mode),
            number: rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        },
        metadata: (mode & 0o7777, stat.stx_uid, stat.stx_gid),
    }))
}

/// Binds the node of the host, if we may not make one: the node with the same name if it is this
/// device, or else any node of this device.
fn bind_node<'a>(node: &'a Node, places: &mut Destinations<'a>) -> Result<()> {
    let path = format!("/{}", node.path);
    let name = device::find(&path, id(node));
    let source = mount::clone_tree_at(CWD, name.as_deref().unwrap_or(&path), Depth::This)
        .context("a user namespace cannot make device nodes, and the host's could not be bound")?;
    if device::Id::of(source.as_fd())? != id(node) {
        bail!("the host's {path} is not this device");
    }
    bind(node, &source, places)
}

/// Attaches a node to its path. A mount that `mounts` has made there is kept.
fn bind<'a>(node: &'a Node, source: &OwnedFd, places: &mut Destinations<'a>) -> Result<()> {
    mount::make_private(source.as_fd(), attr::NOSUID | attr::NOEXEC)?;
    let is_of_host = places.of(&node.path)?.is_of_host;
    let target = match places.root().open_in(&node.path, OFlags::PATH) {
        Ok(target) if mount::of(target.as_fd())?.is_root => return Ok(()),
        Err(call) if call.is(Errno::NOENT) && is_of_host => return Err(places.refusal(&node.path)),
        Err(call) if call.is(Errno::NOENT) => places.root().create_file(&node.path)?,
        result => result?,
    };
    Ok(mount::attach(source.as_fd(), target.as_fd())?)
}

/// Makes a link if nothing exists there. Only `ptmx` is replaced, since it must lead to the devpts
/// of the container.
fn link<'a>(places: &mut Destinations<'a>, path: &'a str, target: &str) -> Result<()> {
    let place = places.of(path)?;
    let make = || rustix::fs::symlinkat(target, place.directory, place.name);
    let call = || CallText::with_path(format!("symlinkat({target:?}, {path:?})"), target);
    if !place.is_of_host {
        match make() {
            Err(Errno::EXIST) => {}
            // Not an error, since nothing depends on it.
            Err(Errno::ROFS) if (path, target) == CORE => return Ok(()),
            result => return Ok(result.named(call)?),
        }
    }
    let found = rustix::fs::readlinkat(place.directory, place.name, Vec::new());
    let is_right = found.as_ref().is_ok_and(|found| {
        let found = found.to_bytes();
        found == target.as_bytes() || found.strip_prefix(b"/dev/") == Some(target.as_bytes())
    });
    if is_right || place.name != "ptmx" && found.err() != Some(Errno::NOENT) {
        return Ok(());
    }
    if place.is_of_host {
        return Err(places.refusal(path));
    }
    match rustix::fs::unlinkat(place.directory, place.name, AtFlags::empty()) {
        Err(Errno::BUSY) => Ok(()),
        Ok(()) | Err(Errno::NOENT) => Ok(make().named(call)?),
        Err(errno) => Ok(Err(errno).named_on("unlinkat", path)?),
    }
}
