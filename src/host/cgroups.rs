//! The cgroup hierarchies of the machine, their mount points, and our own cgroup in each.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, statfs};

use crate::error::{Context, Result};
use crate::sys::{mountinfo, small_file};

/// The mount point of cgroups in all distributions.
const MOUNT: &str = "/sys/fs/cgroup";

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// The cgroup hierarchies of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupLayout {
    /// cgroup v2 alone.
    Unified {
        /// Its mount point.
        mount: PathBuf,
        /// Our own cgroup, from the root of the hierarchy, as in /proc/self/cgroup.
        own: String,
        /// The available controllers (`cgroup.controllers` of the root).
        controllers: Vec<String>,
    },
    /// cgroup v1: a hierarchy for each controller or pair of controllers. Empty if no cgroups are
    /// mounted.
    Legacy {
        /// The hierarchies that are mounted, in the order of their mounts.
        hierarchies: Vec<Hierarchy>,
        /// A cgroup v2 hierarchy in addition (the hybrid layout), without controllers that we use.
        unified: Option<Hierarchy>,
    },
}

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hierarchy {
    /// Its mount point.
    pub mount: PathBuf,
    /// Its controllers, such as `cpu` and `cpuacct`. Empty for a named or a v2 hierarchy.
    pub controllers: Vec<String>,
    /// Its name, such as `systemd`, or empty.
    pub name: String,
    /// Our own cgroup, from the root of the hierarchy, as in /proc/self/cgroup.
    pub own: String,
    /// The cgroup at the mount point, from the root of the hierarchy. It is `/`, except in a
    /// container that has the host's cgroup namespace.
    pub root: String,
}

impl CgroupLayout {
    /// Reads the hierarchies. On cgroup v2, this is one statfs(2) and two short files. The mounts
    /// are only read on other machines.
    ///
    /// # Errors
    /// Errors of reading /proc/self/cgroup or /proc/self/mountinfo.
    pub fn probe() -> Result<Self> {
        Self::read().context("finding the cgroup hierarchies")
    }

    fn read() -> Result<Self> {
        // f_type is a signed word, whose size depends on the machine. The magic numbers have 32
        // bits.
        let unified =
            statfs(MOUNT).is_ok_and(|found| found.f_type as u64 & 0xffff_ffff == CGROUP2_MAGIC);
        if unified {
            return Self::unified(PathBuf::from(MOUNT), &proc_file("/proc/self/cgroup")?);
        }
        let layout =
            Self::parse(&proc_file("/proc/self/mountinfo")?, &proc_file("/proc/self/cgroup")?);
        match layout {
            // cgroup v2 alone, but not mounted at /sys/fs/cgroup.
            Self::Legacy { hierarchies, unified: Some(Hierarchy { mount, .. }) }
                if hierarchies.is_empty() =>
            {
                Self::unified(mount, &proc_file("/proc/self/cgroup")?)
            }
            layout => Ok(layout),
        }
    }

    /// Whether a cgroup can have `controller`. On v2, `devices` and `freezer` are not controllers,
    /// and are always available.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        match self {
            Self::Unified { controllers, .. } => {
                matches!(controller, "devices" | "freezer")
                    || controllers.iter().any(|name| name == controller)
            }
            Self::Legacy { hierarchies, .. } => hierarchies
                .iter()
                .any(|found| found.controllers.iter().any(|name| name == controller)),
        }
    }

    /// Whether there is only cgroup v2.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        matches!(self, Self::Unified { .. })
    }

    fn unified(mount: PathBuf, cgroup: &[u8]) -> Result<Self> {
        let file = mount.join("cgroup.controllers");
        let controllers = small_file::read_short(CWD, &file, || file.display().to_string())?;
        let controllers = String::from_utf8_lossy(&controllers)
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        let own = own(cgroup, |id, _| id == b"0").unwrap_or_default();
        Ok(Self::Unified { mount, own, controllers })
    }

    /// The hybrid or v1 layout, from the content of the two files. Hierarchies that are not
    /// mounted, or that we are not in, are left out.
    pub(crate) fn parse(mounts: &[u8], cgroup: &[u8]) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        let mut unified: Option<Hierarchy> = None;
        for mount in mountinfo::mounts(mounts) {
            let mut found = match mount.kind.as_bytes() {
                b"cgroup" | b"cgroup2" => Hierarchy::of(&mount),
                _ => continue,
            };
            if mount.kind == "cgroup2" {
                found.own = own(cgroup, |id, _| id == b"0").unwrap_or_default();
                if unified.as_ref().is_none_or(|known| preferred(&found, known)) {
                    unified = Some(found);
                }
                continue;
            }
            // The line of /proc/self/cgroup has the same names as the super options of the mount,
            // in the same order.
            let Some((names, path)) = own_v1(cgroup, mount.super_options) else { continue };
            for name in names.split(',') {
                match name.strip_prefix("name=") {
                    Some(name) => name.clone_into(&mut found.name),
                    None => found.controllers.push(name.to_owned()),
                }
            }
            found.own = path;
            match hierarchies
                .iter_mut()
                .find(|known| known.controllers == found.controllers && known.name == found.name)
            {
                Some(known) if preferred(&found, known) => *known = found,
                Some(_) => {}
                None => hierarchies.push(found),
            }
        }
        Self::Legacy { hierarchies, unified }
    }
}

impl Hierarchy {
    fn of(mount: &mountinfo::MountInfo<'_>) -> Self {
        let root = mount.root().to_string_lossy().into_owned();
        Self { mount: mount.path(), root, ..Self::default() }
    }

    /// The path of our own cgroup below the mount point, without a leading slash. Empty if we are
    /// outside of it.
    #[must_use]
    pub fn own_below_mount(&self) -> &str {
        let root = self.root.trim_end_matches('/');
        match self.own.strip_prefix(root) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            _ => "",
        }
    }
}

/// A hierarchy may be mounted twice. The usual mount point is used, as other programs do.
fn preferred(found: &Hierarchy, known: &Hierarchy) -> bool {
    found.mount.starts_with(MOUNT) && !known.mount.starts_with(MOUNT)
}

fn proc_file(path: &str) -> Result<Vec<u8>> {
    Ok(small_file::read_all(CWD, Path::new(path), || path.to_owned())?)
}

/// The path of the line of /proc/self/cgroup (`4:memory:/a/b`) whose id and names `wanted` accepts.
fn own(cgroup: &[u8], wanted: impl Fn(&[u8], &[u8]) -> bool) -> Option<String> {
    cgroup.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |&byte| byte == b':');
        let (id, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        wanted(id, names).then(|| String::from_utf8_lossy(path).into_owned())
    })
}

/// The names and our path in the v1 hierarchy whose super options are `options`.
fn own_v1(cgroup: &[u8], options: &[u8]) -> Option<(String, String)> {
    cgroup.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |&byte| byte == b':');
        let (names, path) = (fields.nth(1)?, fields.next()?);
        let mounted = |name| options.split(|&byte| byte == b',').any(|option| option == name);
        if names.is_empty() || !names.split(|&byte| byte == b',').all(mounted) {
            return None;
        }
        Some((
            String::from_utf8_lossy(names).into_owned(),
            String::from_utf8_lossy(path).into_owned(),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::{CgroupLayout, Hierarchy};

    const MOUNTINFO: &[u8] = b"\
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755
32 31 0:29 / /mnt/my\\040cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime master:2 - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
37 31 0:34 / /sys/fs/cgroup/rdma rw,relatime - cgroup cgroup rw,rdma
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const CGROUP: &[u8] = b"5:name=systemd:/init.scope\n4:memory:/docker/abc/x\n3:cpuacct,cpu:/a:b\n2:pids:/\n0::/s\n";

    fn hierarchy(mount: &str, controllers: &[&str], own: &str) -> Hierarchy {
        Hierarchy {
            mount: mount.into(),
            controllers: controllers.iter().map(ToString::to_string).collect(),
            own: own.into(),
            root: "/".into(),
            ..Hierarchy::default()
        }
    }

    #[test]
    fn hierarchies_are_those_mounted_and_joined() {
        let CgroupLayout::Legacy { hierarchies, unified } = CgroupLayout::parse(MOUNTINFO, CGROUP)
        else {
            panic!("not unified");
        };
        let mut memory = hierarchy("/sys/fs/cgroup/memory", &["memory"], "/docker/abc/x");
        memory.root = "/docker/abc".into();
        assert_eq!(memory.own_below_mount(), "x");
        let mut systemd = hierarchy("/sys/fs/cgroup/systemd", &[], "/init.scope");
        systemd.name = "systemd".into();
        assert_eq!(systemd.own_below_mount(), "init.scope");
        let cpu = hierarchy("/sys/fs/cgroup/cpu,cpuacct", &["cpuacct", "cpu"], "/a:b");
        assert_eq!(hierarchies, [cpu, memory, systemd]);
        assert_eq!(unified, Some(hierarchy("/sys/fs/cgroup/unified", &[], "/s")));
    }

    #[test]
    fn no_cgroups_at_all_is_a_layout_too() {
        let layout = CgroupLayout::parse(b"23 27 0:22 / /sys rw - sysfs sysfs rw\n", CGROUP);
        assert_eq!(layout, CgroupLayout::Legacy { hierarchies: vec![], unified: None });
        assert!(!layout.has("devices"));
    }

    #[test]
    fn our_own_cgroup_outside_of_the_mount_counts_as_the_mount() {
        let outside = Hierarchy { root: "/a".into(), own: "/ab".into(), ..Hierarchy::default() };
        assert_eq!(outside.own_below_mount(), "");
    }

    #[test]
    fn this_machine_has_a_layout() {
        CgroupLayout::probe().expect("probe");
    }
}
