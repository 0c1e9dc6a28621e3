//! Makes the mounts, one step after the other.
//! config.json: mounts[].{destination, source, type, options}, linux.mountLabel
//! process: init, before `enter`

use std::os::fd::{AsFd, OwnedFd};

use anyhow::bail;
use rustix::fs::{AtFlags, CWD, FileType, Mode};
use rustix::io::Errno;

use super::attributes::{self, CopiedBy};
use super::{Rootfs, cgroup_mount, copy_up};
use crate::error::{AtKey, Context, Result};
use crate::kernel::FsOption;
use crate::plan::mount_options::{SourceLink, attr, ms};
use crate::plan::mounts::{MountSource, MountStep, OverProc, host_stand_in, mount_data};
use crate::plan::namespaces::USER;
use crate::plan::{Plan, masked_paths};
use crate::sync::InitEnd;
use crate::sys::mount::{self, Depth, LastLink};
use crate::sys::proc::is_proc;
use crate::sys::root::{RootHandle, file_type, link_target};
use crate::sys::{Call, CallText, Named};

/// Makes one mount.
///
/// # Errors
/// The error of the failed call.
pub fn make<'a>(
    plan: &Plan,
    step: &'a MountStep,
    rootfs: &mut Rootfs<'a>,
    runtime: &InitEnd,
) -> Result<()> {
    let root = &rootfs.root;
    let mut copied = CopiedBy::Init;
    let (mount, target) = match &step.source {
        MountSource::Bind { link, .. } => {
            let source = bind_source(plan, step, root, runtime, &mut copied).context("source")?;
            if *link == SourceLink::Copy && file_type(source.as_fd())? == FileType::Symlink {
                return root
                    .symlink(&step.destination, &link_target(source.as_fd())?)
                    .context("destination");
            }
            let target = bind_target(root, step, &source)?;
            (source, target)
        }
        MountSource::Filesystem { .. } => filesystem(root, step, runtime)?,
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
    rootfs.seen.note(mount.as_fd(), matches!(step.source, MountSource::Bind { .. }))?;
    attributes::set_propagation(step, &mount)?;
    if step.read_only_late || masked_paths::is_of_the_kernel(step) {
        rootfs.kept.push((RootHandle::from_fd(mount), step));
    }
    Ok(())
}

/// Makes a detached copy of the source, as it is after the earlier mounts. If a user namespace has
/// no access to the source, the runtime makes the copy and maps its ids.
fn bind_source(
    plan: &Plan,
    step: &MountStep,
    root: &RootHandle,
    runtime: &InitEnd,
    copied: &mut CopiedBy,
) -> Result<OwnedFd> {
    let MountSource::Bind { path, recursive, link } = &step.source else {
        bail!("not a bind mount")
    };
    let depth = if *recursive { Depth::Recursive } else { Depth::This };
    let last = if *link == SourceLink::Follow { LastLink::Follow } else { LastLink::Keep };
    if let Some(below) = plan.rootfs.below(path) {
        // The runtime does not see our mounts. And we may have no access to the rootfs except with
        // its handle.
        let place = if *link == SourceLink::Follow {
            root.resolve(below)?
        } else {
            root.resolve_link(below)?
        };
        let source = mount::clone_tree(place.as_fd(), depth)?;
        return if step.idmap.is_some() {
            from_runtime(step, Some(source), runtime)
        } else {
            Ok(source)
        };
    }
    if step.idmap.is_none() {
        match mount::clone_source(&path.to_string_lossy(), depth, last) {
            Err(call) if call.is(Errno::ACCESS) || call.is(Errno::PERM) => {}
            result => return Ok(result?),
        }
    }
    if plan.namespaces.has_own(&USER) {
        *copied = CopiedBy::Runtime;
    }
    from_runtime(step, None, runtime)
}

pub(super) fn from_runtime(
    step: &MountStep,
    copy: Option<OwnedFd>,
    runtime: &InitEnd,
) -> Result<OwnedFd> {
    runtime.request_mount_source(step.index, copy)
}

pub(super) fn bind_target(
    root: &RootHandle,
    step: &MountStep,
    source: &OwnedFd,
) -> Result<OwnedFd> {
    let target = match file_type(source.as_fd())? {
        kind if step.keep_destination => root.make_itself(&step.destination, kind),
        FileType::Directory => root.mkdir_all(&step.destination),
        _ => root.create_file(&step.destination),
    };
    target.context("destination")
}

/// Makes a new filesystem, with its destination.
fn filesystem(
    root: &RootHandle,
    step: &MountStep,
    runtime: &InitEnd,
) -> Result<(OwnedFd, OwnedFd)> {
    let MountSource::Filesystem { kind, source, options, by_mount, ordinary_directory } =
        &step.source
    else {
        bail!("not a filesystem")
    };
    let mut options = options.clone();
    if takes_mode(step) {
        // The mode of the covered directory decides which users may use it.
        options.extend(
            mode_of(root, &step.destination)
                .map(|mode| FsOption::new("mode", &format!("{mode:04o}"))),
        );
    }
    let target = if *ordinary_directory {
        ordinary_target(root, kind, &step.destination)?
    } else {
        root.mkdir_all(&step.destination).context("destination")?
    };
    if step.idmap.is_some() {
        let mount = from_runtime(step, None, runtime)?;
        if takes_mode(step) {
            give_mode(&mount, &target)?;
        }
        return Ok((mount, target));
    }
    let mount = match by_mount {
        None => match mount::new_filesystem(kind, source, &options, step.first_attributes()) {
            Err(call) if call.is(Errno::PERM) && host_stand_in(kind).is_some() => {
                of_host(step, kind)?
            }
            result => result?,
        },
        Some(flags) => {
            let (more, data) = mount_data(&options);
            mount::new_filesystem_by_mount(kind, source, &data, flags | more)?
        }
    };
    Ok((mount, target))
}

/// Whether the mount is a tmpfs without a mode in its options. It then gets the mode of the covered
/// directory.
pub(super) fn takes_mode(step: &MountStep) -> bool {
    let MountSource::Filesystem { kind, options, .. } = &step.source else { return false };
    kind == "tmpfs" && !options.iter().any(|option| option.name == "mode")
}

/// Gives the root directory of `mount` the mode of the directory that it covers.
pub(super) fn give_mode(mount: &OwnedFd, covered: &OwnedFd) -> Result<(), Call> {
    let stat = rustix::fs::fstat(covered).named(|| "fstat()".to_owned())?;
    let mode = stat.st_mode & 0o7777;
    rustix::fs::chmodat(mount, ".", Mode::from_raw_mode(mode), AtFlags::empty())
        .named(|| format!("chmod(mount, {mode:#o})"))
}

/// Bind-mounts the host's filesystem, with all mounts on it, in place of a filesystem that we may
/// not mount. Its masks and read-only parts are kept. It is all read-only if the config says so.
fn of_host(step: &MountStep, kind: &str) -> Result<OwnedFd> {
    const BITS: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let mount =
        mount::clone_tree_at(CWD, host_stand_in(kind).unwrap_or_default(), Depth::Recursive)?;
    mount::set_attributes(mount.as_fd(), step.attributes.set & BITS, 0, Depth::Recursive)?;
    mount::set_propagation(mount.as_fd(), ms::PRIVATE, Depth::Recursive)?;
    Ok(mount)
}

fn mode_of(root: &RootHandle, path: &str) -> Option<u32> {
    let stat = rustix::fs::fstat(root.resolve(path).ok()?).ok()?;
    Some(stat.st_mode & 0o7777)
}

/// Looks up a directory without following links. Otherwise, the image could decide where /proc is
/// (CVE-2023-27561).
fn ordinary_target(root: &RootHandle, kind: &str, path: &str) -> Result<OwnedFd> {
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
        return Err(Errno::NOTDIR)
            .named(|| CallText::with_path(format!("openat2(rootfs, {path:?})"), path))
            .with_context(context);
    }
    Ok(target)
}

/// Refuses a mount that covers a part of a procfs, because it could forge the files that we read
/// and write there.
pub(super) fn allowed_over_proc(step: &MountStep, mount: &OwnedFd, target: &OwnedFd) -> Result<()> {
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

/// Sets the attributes of a detached mount. For a new filesystem, fsmount(2) has already set them.
pub(super) fn set_attributes(step: &MountStep, mount: &OwnedFd, copied: CopiedBy) -> Result<()> {
    let made_so = matches!(step.source, MountSource::Filesystem { by_mount: None, .. });
    if !made_so && (!step.attributes.is_empty() || step.unnamed != 0) {
        attributes::change(step, step.first_attributes(), mount, copied)?;
    }
    if !step.recursive.is_empty() {
        attributes::change_all(step, mount)?;
    }
    Ok(())
}

fn remount(root: &RootHandle, step: &MountStep, flags: u64, data: &str) -> Result<()> {
    let target = root.resolve(&step.destination).context("destination")?;
    if is_proc(&target)? && step.over_proc == OverProc::Never {
        bail!("/{} cannot be mounted because it is inside /proc", step.destination);
    }
    attributes::remount(step, &target, flags, data)?;
    Ok(attributes::set_propagation(step, &target)?)
}
