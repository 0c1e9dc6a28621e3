//! Checks that the sources of mounts exist and that the kernel has their filesystems.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use super::Reports;
use crate::error::{AtKey, Cause, Context, Result};
use crate::plan::Plan;
use crate::plan::devices::{Node, NodeMethod};
use crate::plan::mount_options::SourceLink;
use crate::plan::mounts::MountSource;
use crate::plan::namespaces::MOUNT;
use crate::sys::mount::{self, Depth, LastLink};
use crate::sys::{Named, device, fd, small_file};

pub fn look(plan: &Plan, findings: &mut Reports) {
    if plan.namespaces.joins(&MOUNT) {
        return; // the paths may lead to other files there
    }
    for step in &plan.mounts {
        let (part, found) = match &step.source {
            // `create` looks this source up in the rootfs, after the earlier mounts were made.
            MountSource::Bind { path, .. } if plan.rootfs.below(path).is_some() => continue,
            MountSource::Bind { path, recursive, link } => {
                let depth = if *recursive { Depth::Recursive } else { Depth::This };
                let last =
                    if *link == SourceLink::Follow { LastLink::Follow } else { LastLink::Keep };
                ("source", mount::reach(&path.to_string_lossy(), depth, last).context("source"))
            }
            MountSource::Filesystem { kind, .. } => ("type", filesystem(kind)),
            MountSource::Cgroup { .. } | MountSource::Remount { .. } => continue,
        };
        let found = found.with_context(|| format!("mounting {step}"));
        findings.note(found.at(format_args!("/mounts/{}/{part}", step.index)));
    }
    if plan.devices.populate && plan.devices.method == NodeMethod::Bind {
        for node in plan.devices.requested() {
            findings
                .note(device(node).with_context(|| format!("device /{}", node.path)).at(&node.key));
        }
    }
}

/// Checks that the kernel has the filesystem, or a module for it. The kernel loads the module only
/// when the filesystem is used, and a check must not load it.
fn filesystem(kind: &str) -> Result<()> {
    let known = small_file::read_all(CWD, "/proc/filesystems", || "/proc/filesystems".to_owned())?;
    // The part after the dot (`fuse.sshfs`) is interpreted by the filesystem itself.
    let name = kind.split('.').next().unwrap_or(kind);
    let known = String::from_utf8_lossy(&known);
    if known.lines().any(|line| line.split_whitespace().last() == Some(name)) || has_module(name) {
        return Ok(());
    }
    Ok(Err(Errno::NODEV).named(|| format!("fsopen({kind:?})"))?)
}

/// Looks for the module in the list of aliases that depmod(8) writes.
fn has_module(filesystem: &str) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let directory = Path::new("/lib/modules").join(release);
    let aliases = small_file::read_all(CWD, directory.join("modules.alias"), String::new);
    let alias = format!("alias fs-{filesystem} ");
    aliases.is_ok_and(|aliases| {
        String::from_utf8_lossy(&aliases).lines().any(|line| line.starts_with(&alias))
    })
}

/// The error text of `create`.
const NO_NODE: &str =
    "a user namespace cannot make device nodes, and the host's could not be bound";

/// Checks that the host has the node, which is bound in a user namespace.
fn device(node: &Node) -> Result<()> {
    let path = format!("/{}", node.path);
    let id = device::Id::new(node.kind.letter(), node.major, node.minor);
    let found = device::find(&path, id).unwrap_or_else(|| path.clone());
    mount::reach(&found, Depth::This, LastLink::Follow)
        .with_context(|| Cause::NoHostDevice.reason(NO_NODE))?;
    let source = fd::open(found.as_ref(), OFlags::PATH)?;
    if device::Id::of(source.as_fd())? != id {
        let text = format!("the host's {path} is not this device");
        anyhow::bail!(Cause::NoHostDevice.reason(text));
    }
    Ok(())
}
