//! Makes the mounts, one step after the other.
//! config.json: mounts[].{destination, source, type, options}, linux.mountLabel
//! process: init, before `enter`

use std::os::fd::{AsFd, OwnedFd};

use anyhow::bail;
use rustix::fs::{CWD, FileType};
use rustix::io::Errno;

use super::attributes::{self, CopiedBy};
use super::{Rootfs, cgroup_mount, copy_up};
use crate::error::{AtKey, Context, Result};
use crate::plan::mount_options::attr;
use crate::plan::mount_options::{fs_flag, is_negation};
use crate::plan::mounts::{MountSource, MountStep, OverProc, join_data};
use crate::plan::namespaces::USER;
use crate::plan::{Plan, masked_paths};
use crate::sync::{FromInit, InitEnd, ToInit};
use crate::sys::mount::{self, Depth};
use crate::sys::proc::is_proc;
use crate::sys::root::{Root, file_type};
use crate::sys::{Call, Named};

/// Makes one mount.
///
/// # Errors
/// The failed call's.
pub fn make<'a>(plan: &Plan, step: &'a MountStep, rootfs: &mut Rootfs<'a>, runtime: &InitEnd) -> Result<()> {
    let root = &rootfs.root;
    let mut copied = CopiedBy::Init;
    let (mount, target) = match &step.source {
        MountSource::Bind { .. } => {
            let source = bind_source(plan, step, root, runtime, &mut copied).context("source")?;
            let target = bind_target(root, step, &source)?;
            (source, target)
        }
        MountSource::Filesystem { .. } => filesystem(root, step)?,
        MountSource::Cgroup { options } => return cgroup_mount::make(plan, step, options, root),
        MountSource::Remount { flags, data } => return remount(root, step, *flags, data),
    };
    allowed_over_proc(step, &mount, &target)?;
    if step.copy_up {
        copy_up::copy(&target, &mount).context("tmpcopyup")?;
    }
    if let (Some(label), MountSource::Filesystem { kind, .. }) = (&plan.mount_label, &step.source)
        && kind == "mqueue"
    {
        mount::set_label(mount.as_fd(), label).at("/linux/mountLabel")?;
    }
    set_attributes(step, &mount, copied)?;
    mount::attach(mount.as_fd(), target.as_fd())?;
    set_propagation(step, &mount)?;
    if step.read_only_late || masked_paths::is_of_the_kernel(step) {
        rootfs.kept.push((Root::from_fd(mount), step));
    }
    Ok(())
}

/// A detached copy of the source: what it is now, after the mounts before it. The runtime makes it where a user namespace
/// keeps us from it, and maps its ids.
fn bind_source(
    plan: &Plan,
    step: &MountStep,
    root: &Root,
    runtime: &InitEnd,
    copied: &mut CopiedBy,
) -> Result<OwnedFd> {
    let MountSource::Bind { path, recursive } = &step.source else { bail!("not a bind mount") };
    let depth = if *recursive { Depth::Recursive } else { Depth::This };
    if let Some(below) = plan.rootfs.below(path) {
        // The runtime does not see our mounts, and we may have no way to the rootfs but its handle.
        let source = mount::clone_tree(root.resolve(below)?.as_fd(), depth)?;
        return if step.idmap.is_some() { from_runtime(step, Some(source), runtime) } else { Ok(source) };
    }
    if step.idmap.is_none() {
        match mount::clone_tree_at(CWD, &path.to_string_lossy(), depth) {
            Err(call) if call.is(Errno::ACCESS) || call.is(Errno::PERM) => {}
            result => return Ok(result?),
        }
    }
    if plan.namespaces.has_own(&USER) {
        *copied = CopiedBy::Host;
    }
    from_runtime(step, None, runtime)
}

fn from_runtime(step: &MountStep, copy: Option<OwnedFd>, runtime: &InitEnd) -> Result<OwnedFd> {
    match runtime.ask(&FromInit::MountSource(step.index, copy))? {
        ToInit::Descriptor(source) => Ok(source),
        ToInit::Go => bail!("the runtime sent no source"),
    }
}

fn bind_target(root: &Root, step: &MountStep, source: &OwnedFd) -> Result<OwnedFd> {
    let target = if file_type(source.as_fd())? == FileType::Directory {
        root.mkdir_all(&step.destination)
    } else {
        root.create_file(&step.destination)
    };
    target.context("destination")
}

/// A new filesystem, and where it goes.
fn filesystem(root: &Root, step: &MountStep) -> Result<(OwnedFd, OwnedFd)> {
    let MountSource::Filesystem { kind, source, options, by_mount, ordinary_directory } = &step.source else {
        bail!("not a filesystem")
    };
    let mut options = options.clone();
    if kind == "tmpfs" && !options.iter().any(|(name, _)| name == "mode") {
        // The directory that it covers says who may do what there.
        options.extend(mode_of(root, &step.destination).map(|mode| ("mode".to_owned(), Some(format!("{mode:04o}")))));
    }
    let target = if *ordinary_directory {
        ordinary_target(root, kind, &step.destination)?
    } else {
        root.mkdir_all(&step.destination).context("destination")?
    };
    let mount = match by_mount {
        None => mount::new_filesystem(kind, source, &options, first_attributes(step))?,
        Some(flags) => {
            let own = options.iter().filter(|(name, _)| fs_flag(name) == 0 && !is_negation(name));
            let flags = options.iter().fold(*flags, |flags, (name, _)| flags | fs_flag(name));
            mount::new_filesystem_by_mount(kind, source, &join_data(own), flags)?
        }
    };
    Ok((mount, target))
}

fn mode_of(root: &Root, path: &str) -> Option<u32> {
    let stat = rustix::fs::fstat(root.resolve(path).ok()?).ok()?;
    Some(stat.st_mode & 0o7777)
}

/// A directory that no symbolic link leads to: else the image decides where /proc is (CVE-2023-27561).
fn ordinary_target(root: &Root, kind: &str, path: &str) -> Result<OwnedFd> {
    let context = || format!("filesystem {kind:?} must be mounted on ordinary directory");
    let target = match root.resolve_without_links(path) {
        Err(call) if call.is(Errno::NOENT) => {
            root.mkdir_all(path).context("destination")?;
            root.resolve_without_links(path)
        }
        result => result,
    };
    let target = target.with_context(context)?;
    if file_type(target.as_fd())? != FileType::Directory {
        return Err(Errno::NOTDIR).named(|| format!("openat2(rootfs, {path:?})")).with_context(context);
    }
    Ok(target)
}

/// What covers a part of a procfs could fake what we write and read there.
fn allowed_over_proc(step: &MountStep, mount: &OwnedFd, target: &OwnedFd) -> Result<()> {
    let refused = match step.over_proc {
        OverProc::Listed => false,
        OverProc::Itself => !is_proc(mount)?,
        OverProc::Never => is_proc(target)?,
    };
    if refused {
        bail!("/{} cannot be mounted because it is inside /proc", step.destination);
    }
    Ok(())
}

/// Attributes that can be there from the beginning.
fn first_attributes(step: &MountStep) -> u64 {
    if step.read_only_late || step.copy_up { step.attributes.set & !attr::RDONLY } else { step.attributes.set }
}

/// Sets the attributes of a mount that is not yet attached. A filesystem that was made by fsmount(2) has them already.
fn set_attributes(step: &MountStep, mount: &OwnedFd, copied: CopiedBy) -> Result<()> {
    let made_so = matches!(step.source, MountSource::Filesystem { by_mount: None, .. });
    if !made_so && (!step.attributes.is_empty() || step.unnamed != 0) {
        attributes::change(step, first_attributes(step), mount, copied)?;
    }
    if !step.recursive.is_empty() {
        attributes::change_all(step, mount)?;
    }
    Ok(())
}

/// In the order given, once attached: a mount that is attached below a shared one becomes shared.
///
/// # Errors
/// The failed call's.
pub fn set_propagation(step: &MountStep, mount: &OwnedFd) -> Result<(), Call> {
    for (flag, recursive) in &step.propagation {
        let depth = if *recursive { Depth::Recursive } else { Depth::This };
        mount::set_propagation(mount.as_fd(), *flag, depth)?;
    }
    Ok(())
}

fn remount(root: &Root, step: &MountStep, flags: u64, data: &str) -> Result<()> {
    let target = root.resolve(&step.destination).context("destination")?;
    if is_proc(&target)? && step.over_proc == OverProc::Never {
        bail!("/{} cannot be mounted because it is inside /proc", step.destination);
    }
    attributes::remount(step, &target, flags, data)?;
    Ok(set_propagation(step, &target)?)
}
