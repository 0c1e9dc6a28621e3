//! Makes the rootfs the root of this process.
//! config.json: linux.rootfsPropagation
//! process: init

use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::mount_options::attr;
use crate::plan::rootfs::{Enter, RootfsPlan};
use crate::sys::mount::{self, Depth};
use crate::sys::proc::Proc;
use crate::sys::root::Root;
use crate::sys::{Named, fd};

/// Enters, and gives `/` the propagation that was asked for.
///
/// # Errors
/// The failed call's.
pub fn enter(plan: &RootfsPlan, root: &Root, proc: &Proc) -> Result<()> {
    if plan.enter == Enter::Move {
        hide_host_filesystems(proc).context("hiding the host's procfs and sysfs (--no-pivot)")?;
    }
    rustix::process::fchdir(root).named(|| "fchdir(rootfs)".to_owned())?;
    match plan.enter {
        Enter::Pivot => mount::pivot_to_cwd()?,
        // It is on top of `/` already, where other runtimes move it.
        Enter::Move | Enter::Chroot => mount::chroot_to_cwd()?,
    }
    if let (Some((flag, recursive)), true) = (plan.propagation, plan.enter != Enter::Chroot) {
        let depth = if recursive { Depth::Recursive } else { Depth::This };
        mount::set_propagation(root.as_fd(), flag, depth).at("/linux/rootfsPropagation")?;
    }
    Ok(())
}

/// Without pivot_root the host's mounts are only covered, and the kernel lets who sees a whole procfs or sysfs mount
/// another, without our masks. So those of the host go first. Our own have no path from the host's root.
fn hide_host_filesystems(proc: &Proc) -> Result<()> {
    let mounts = proc.read("self/mountinfo")?;
    // The last first: they may be stacked.
    for path in mounts.lines().rev().filter_map(whole_proc_or_sys) {
        match mount::detach(&path) {
            // Its path leads elsewhere: it is a mount of the container.
            Err(call) if call.is(Errno::NOENT) => {}
            Err(call) if call.is(Errno::INVAL) || call.is(Errno::PERM) => cover(&path)?,
            result => result?,
        }
    }
    Ok(())
}

/// Of a mount that cannot be taken away, as a user namespace holds it.
fn cover(path: &str) -> Result<()> {
    let Ok(place) = fd::open(path.as_ref(), OFlags::PATH | OFlags::DIRECTORY) else { return Ok(()) };
    let tmpfs = mount::new_filesystem("tmpfs", "tmpfs", &[], attr::RDONLY)?;
    Ok(mount::attach(tmpfs.as_fd(), place.as_fd())?)
}

/// The mount point of a line of mountinfo that is a procfs or sysfs from its root on (proc_pid_mountinfo(5)).
fn whole_proc_or_sys(line: &str) -> Option<String> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, path) = (fields.next()?, fields.next()?);
    let kind = filesystem.split(' ').next()?;
    (root == "/" && matches!(kind, "proc" | "sysfs")).then(|| unescape(path))
}

/// `\040` and its like stand for the characters that would break the format.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (escape, character)| path.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::whole_proc_or_sys;

    #[test]
    fn whole_filesystems_are_found() {
        for (line, expected) in [
            ("22 27 0:21 / /proc rw,relatime - proc proc rw", Some("/proc")),
            ("22 27 0:21 / /a\\040b rw shared:1 - sysfs sysfs rw", Some("/a b")),
            ("22 27 0:21 /sys /proc/sys ro - proc proc rw", None),
            ("22 27 0:21 / /tmp rw - tmpfs tmpfs rw", None),
        ] {
            assert_eq!(whole_proc_or_sys(line).as_deref(), expected, "{line}");
        }
    }
}
