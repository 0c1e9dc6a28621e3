//! Makes the rootfs the root of this process.
//! config.json: linux.rootfsPropagation
//! process: init

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::mount_options::{attr, ms};
use crate::plan::rootfs::{EnterMethod, RootfsPlan};
use crate::sys::mount::{self, Depth};
use crate::sys::proc::Proc;
use crate::sys::root::RootHandle;
use crate::sys::{Named, fd, mountinfo};

/// Changes the root, and sets the propagation of `/`.
///
/// # Errors
/// The error of the failed call.
pub fn enter(plan: &RootfsPlan, root: &RootHandle, proc: &Proc) -> Result<()> {
    if plan.enter == EnterMethod::Move {
        hide_host_filesystems(proc).context("hiding the host's procfs and sysfs (--no-pivot)")?;
    }
    match plan.enter {
        EnterMethod::Pivot => pivot(plan)?,
        EnterMethod::Move => {
            let slash = fd::open("/".as_ref(), OFlags::PATH | OFlags::DIRECTORY)?;
            mount::attach(root.as_fd(), slash.as_fd())?;
            mount::chroot_to_cwd()?;
        }
        EnterMethod::Chroot => mount::chroot_to_cwd()?,
    }
    if let (Some((flag, recursive)), true) = (plan.propagation, plan.enter != EnterMethod::Chroot) {
        let depth = if recursive { Depth::Recursive } else { Depth::This };
        mount::set_propagation(root.as_fd(), flag, depth).at("/linux/rootfsPropagation")?;
    }
    Ok(())
}

fn pivot(plan: &RootfsPlan) -> Result<()> {
    let old = fd::open("/".as_ref(), OFlags::PATH | OFlags::DIRECTORY)?;
    mount::pivot_to_cwd()?;
    if plan.host_propagation.is_none() {
        // Unmounting the mounts of the host must not propagate to the host.
        mount::set_propagation(old.as_fd(), ms::SLAVE, Depth::Recursive)?;
    }
    Ok(mount::leave_old_root()?)
}

/// Hides the host's procfs and sysfs. Without pivot_root, the mounts of the host are only covered,
/// and the kernel allows a process that sees a whole procfs or sysfs to mount another one, without
/// our masks. So these mounts are unmounted first.
fn hide_host_filesystems(proc: &Proc) -> Result<()> {
    let mounts = proc.read_bytes("self/mountinfo")?;
    let ours = rustix::process::getcwd(Vec::new()).named(|| "getcwd()".to_owned())?;
    let ours = [ours.as_bytes(), b"/"].concat();
    // The last one first, since they may be on top of each other.
    for path in mountinfo::mounts(&mounts)
        .rev()
        .filter(is_whole_proc_or_sys)
        .map(|mount| mount.path())
        .filter(|path| !path.as_os_str().as_bytes().starts_with(&ours))
    {
        match mount::detach(&path) {
            // It is below a mount that is already unmounted.
            Err(call) if call.is(Errno::NOENT) => {}
            Err(call) if call.is(Errno::INVAL) || call.is(Errno::PERM) => cover(&path)?,
            result => result?,
        }
    }
    Ok(())
}

fn is_whole_proc_or_sys(mount: &mountinfo::MountInfo<'_>) -> bool {
    matches!(mount.kind.as_bytes(), b"proc" | b"sysfs") && mount.root() == Path::new("/")
}

/// Covers a mount that a user namespace has locked.
fn cover(path: &Path) -> Result<()> {
    let Ok(place) = fd::open(path, OFlags::PATH | OFlags::DIRECTORY) else {
        return Ok(());
    };
    let tmpfs = mount::new_filesystem("tmpfs", "tmpfs", &[], attr::RDONLY)?;
    Ok(mount::attach(tmpfs.as_fd(), place.as_fd())?)
}
