//! Facts that few configs need. They are read when they are first needed.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags, stat, statfs, statvfs};

use crate::sys::proc::Proc;
use crate::sys::{mountinfo, small_file};

/// `SELINUX_MAGIC` and `RDTGROUP_SUPER_MAGIC` of linux/magic.h.
const SELINUX_MAGIC: u64 = 0xf97c_ff8c;
const RESCTRL_MAGIC: u64 = 0x0765_5821;

/// The facts that have been read.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    apparmor: OnceCell<bool>,
    selinux: OnceCell<bool>,
    resctrl: OnceCell<Option<Resctrl>>,
}

/// The resctrl filesystem (Documentation/filesystems/resctrl.rst of the kernel).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resctrl {
    /// Its mount point.
    pub mount: PathBuf,
    /// Whether it allocates L3 cache.
    pub l3: bool,
    /// Whether it allocates memory bandwidth.
    pub mb: bool,
}

impl Extras {
    /// Whether AppArmor is enabled and its interface is mounted.
    pub fn apparmor(&self) -> bool {
        let look = || {
            let enabled = read("/sys/module/apparmor/parameters/enabled");
            enabled.starts_with(b"Y") && stat("/sys/kernel/security/apparmor").is_ok()
        };
        *self.apparmor.get_or_init(look)
    }

    /// Whether SELinux is enabled and has a policy. Without a policy each process has the label
    /// `kernel`.
    pub fn selinux(&self) -> bool {
        let look = || {
            let mount = mount_of("/sys/fs/selinux", SELINUX_MAGIC, "selinuxfs");
            let writable = |mount: &PathBuf| {
                statvfs(mount).is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::RDONLY))
            };
            let label = || Proc::open()?.read("thread-self/attr/current");
            mount.as_ref().is_some_and(writable)
                && label().is_ok_and(|label| label.trim_end_matches('\0') != "kernel")
        };
        *self.selinux.get_or_init(look)
    }

    /// The resctrl filesystem, if one is mounted.
    pub fn resctrl(&self) -> Option<&Resctrl> {
        let look = || {
            let mount = mount_of("/sys/fs/resctrl", RESCTRL_MAGIC, "resctrl")?;
            let has = |name: &str| stat(mount.join("info").join(name)).is_ok();
            Some(Resctrl { l3: has("L3"), mb: has("MB"), mount })
        };
        self.resctrl.get_or_init(look).as_ref()
    }

    /// A host for tests.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn known(modules: &[&str], resctrl: Option<Resctrl>) -> Self {
        let has = |name| OnceCell::from(modules.contains(&name));
        Self { apparmor: has("apparmor"), selinux: has("selinux"), resctrl: resctrl.into() }
    }
}

fn read(path: &str) -> Vec<u8> {
    small_file::read_short(CWD, path, || path.to_owned()).unwrap_or_default()
}

/// The mount point of a filesystem: the usual one, or else the first one in mountinfo. If the
/// kernel has the filesystem, the usual mount point exists at least as an empty directory.
fn mount_of(usual: &str, magic: u64, kind: &str) -> Option<PathBuf> {
    // f_type is a signed word, whose size depends on the machine. The magic numbers have 32 bits.
    if statfs(usual).ok()?.f_type as u64 & 0xffff_ffff == magic {
        return Some(usual.into());
    }
    let mounts = small_file::read_all(CWD, Path::new("/proc/self/mountinfo"), || {
        "/proc/self/mountinfo".to_owned()
    });
    mount_point(&mounts.ok()?, kind)
}

/// The first mount point of a filesystem of this type in a mountinfo (proc(5)).
pub(crate) fn mount_point(text: &[u8], kind: &str) -> Option<PathBuf> {
    mountinfo::mounts(text).find(|mount| mount.kind == kind).map(|mount| mount.path())
}

#[cfg(test)]
mod tests {
    use super::mount_point;

    #[test]
    fn a_filesystem_is_found_by_its_type() {
        let mountinfo: &[u8] = b"\
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
24 23 0:23 / /sys/resctrl rw - tmpfs resctrl rw
25 23 0:24 / /mnt/my\\040rdt rw,relatime shared:9 - resctrl none rw
26 23 0:25 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw
";
        assert_eq!(mount_point(mountinfo, "resctrl"), Some("/mnt/my rdt".into()));
        assert_eq!(mount_point(mountinfo, "selinuxfs"), None);
    }
}
