//! Fills /dev: nodes and links.
//! config.json: linux.devices[].{path, type, major, minor, fileMode, uid, gid}
//! process: init, before `enter`

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::bail;
use rustix::fs::{Access, AtFlags, CWD, FileType, Gid, Mode, Stat, Uid, makedev};
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::devices::{CORE, DevicesPlan, LINKS, Method, Node, NodeKind};
use crate::sys::mount::{self, Depth};
use crate::sys::root::{self, Root};
use crate::sys::{Call, Named};

/// Makes them, unless the config brings a /dev of its own. Every node is made in a directory held by handle, and never
/// through a link (CVE-2026-41579).
///
/// # Errors
/// The failed call's.
pub fn make(plan: &DevicesPlan, root: &Root) -> Result<()> {
    if !plan.populate {
        return Ok(());
    }
    let mut places = Places { root, last: None };
    for node in &plan.nodes {
        let made = match plan.method {
            Method::Make => make_node(node, &mut places),
            Method::Bind => bind_node(node, root),
        };
        let made = made.with_context(|| format!("device /{}", node.path));
        if node.key.is_empty() {
            made?;
        } else {
            made.at(&node.key)?;
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

/// The directories of nodes and links. Nearly all are in the same one, which is looked up once.
#[derive(Debug)]
struct Places<'a> {
    root: &'a Root,
    last: Option<(&'a str, OwnedFd)>,
}

impl<'a> Places<'a> {
    /// As [`Root::parent_of`].
    fn of(&mut self, path: &'a str) -> Result<(BorrowedFd<'_>, &'a str), Call> {
        let (parent, name) = root::parent_and_name(path)?;
        let last = match self.last.take() {
            Some(last) if last.0 == parent => last,
            _ => (parent, self.root.mkdir_all(parent)?),
        };
        Ok((self.last.insert(last).1.as_fd(), name))
    }
}

fn make_node<'a>(node: &'a Node, places: &mut Places<'a>) -> Result<()> {
    let root = places.root;
    let (directory, name) = places.of(&node.path)?;
    let (kind, device) = kind_and_number(node);
    let mode = Mode::from_raw_mode(node.mode);
    match rustix::fs::mknodat(directory, name, kind, mode, device) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            if is_as_it_should_be(node, directory, name)? {
                return Ok(());
            }
            // The same device with another mode or owner, as an earlier run may have left it.
            rustix::fs::unlinkat(directory, name, AtFlags::empty()).named(|| format!("unlinkat({:?})", node.path))?;
            rustix::fs::mknodat(directory, name, kind, mode, device).named(|| format!("mknodat({:?})", node.path))?;
        }
        // The machine is in a user namespace itself.
        Err(Errno::PERM) if node.kind != NodeKind::Fifo => return bind_node(node, root),
        Err(errno) => {
            let call = || format!("mknodat({:?}, {:#o}, {}:{})", node.path, node.mode, node.major, node.minor);
            return Err(errno).named(call).map_err(Into::into);
        }
    }
    if node.uid != 0 || node.gid != 0 {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .named(|| format!("fchownat({:?}, {}, {})", node.path, node.uid, node.gid))?;
    }
    Ok(())
}

fn kind_and_number(node: &Node) -> (FileType, u64) {
    match node.kind {
        NodeKind::Character => (FileType::CharacterDevice, makedev(node.major, node.minor)),
        NodeKind::Block => (FileType::BlockDevice, makedev(node.major, node.minor)),
        NodeKind::Fifo => (FileType::Fifo, 0),
    }
}

/// A node that the rootfs brings will do if it is the same device with the same mode and owner; what is no such device
/// is not ours to take away.
fn is_as_it_should_be(node: &Node, directory: BorrowedFd<'_>, name: &str) -> Result<bool> {
    let stat =
        rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).named(|| format!("stat({:?})", node.path))?;
    if !is_same(node, &stat) {
        bail!("/{} exists in the rootfs and is not this device", node.path);
    }
    Ok((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (node.mode, node.uid, node.gid))
}

fn is_same(node: &Node, stat: &Stat) -> bool {
    let (kind, device) = kind_and_number(node);
    FileType::from_raw_mode(stat.st_mode) == kind && (node.kind == NodeKind::Fifo || stat.st_rdev == device)
}

/// The host's node, where we may not make one: checked to be the device that was asked for. A fifo is no device.
fn bind_node(node: &Node, root: &Root) -> Result<()> {
    if node.kind == NodeKind::Fifo {
        return make_node(node, &mut Places { root, last: None });
    }
    let path = format!("/{}", node.path);
    let source = mount::clone_tree_at(CWD, &path, Depth::This)
        .context("a user namespace cannot make device nodes, and the host's could not be bound")?;
    let stat = rustix::fs::fstat(&source).named(|| format!("stat({path:?})"))?;
    if !is_same(node, &stat) {
        bail!("the host's {path} is not this device");
    }
    let target = root.create_file(&node.path)?;
    Ok(mount::attach(source.as_fd(), target.as_fd())?)
}

/// A link is only made where nothing is, except that `ptmx` must lead to the container's own devpts.
fn link<'a>(places: &mut Places<'a>, path: &'a str, target: &str) -> Result<(), Call> {
    let (directory, name) = places.of(path)?;
    if name == "ptmx" {
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).named(|| format!("unlinkat({path:?})")),
        }
    }
    match rustix::fs::symlinkat(target, directory, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).named(|| format!("symlinkat({target:?}, {path:?})")),
    }
}
