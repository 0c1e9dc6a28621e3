//! Makes the rootfs the root of this process.
//! config.json: linux.rootfsPropagation
//! process: init

use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::mount_options::{attr, ms};
use crate::plan::rootfs::{EnterMethod, RootfsPlan};
use crate::sys::mount::{self, Depth};
use crate::sys::proc::Proc;
use crate::sys::root::Root;
use crate::sys::{Named, fd, mountinfo};

/// Enters, and gives `/` the propagation that was asked for.
///
/// # Errors
/// The failed call's.
pub fn enter(plan: &RootfsPlan, root: &Root, proc: &Proc) -> Result<()> {
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
        // That we take the host's mounts away is no news for the host.
        mount::set_propagation(old.as_fd(), ms::SLAVE, Depth::Recursive)?;
    }
    Ok(mount::leave_old_root()?)
}

/// Without pivot_root the host's mounts are only covered, and the kernel lets who sees a whole
/// procfs or sysfs mount another, without our masks. So those of the host go first.
fn hide_host_filesystems(proc: &Proc) -> Result<()> {
    let mounts = proc.read("self/mountinfo")?;
    let ours = rustix::process::getcwd(Vec::new()).named(|| "getcwd()".to_owned())?;
    let ours = format!("{}/", ours.to_string_lossy());
    // The last first: they may be stacked.
    for path in mounts
        .lines()
        .rev()
        .filter_map(mountinfo::whole_proc_or_sys)
        .filter(|path| !path.starts_with(&ours))
    {
        match mount::detach(&path) {
            // Below one that is gone already.
            Err(call) if call.is(Errno::NOENT) => {}
            Err(call) if call.is(Errno::INVAL) || call.is(Errno::PERM) => cover(&path)?,
            result => result?,
        }
    }
    Ok(())
}

/// Of a mount that cannot be taken away, as a user namespace holds it.
fn cover(path: &str) -> Result<()> {
    let Ok(place) = fd::open(path.as_ref(), OFlags::PATH | OFlags::DIRECTORY) else {
        return Ok(());
    };
    let tmpfs = mount::new_filesystem("tmpfs", "tmpfs", &[], attr::RDONLY)?;
    Ok(mount::attach(tmpfs.as_fd(), place.as_fd())?)
}
