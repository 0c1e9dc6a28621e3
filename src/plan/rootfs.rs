//! The root filesystem, and how the root is changed.
//! config.json: root.path, root.readonly, linux.rootfsPropagation

use std::path::{Component, Path, PathBuf};

use super::Problems;
use super::masked_paths::{self, ListedPath};
use super::mount_options::ms;
use super::namespaces::{MOUNT, NamespacesPlan};
use crate::config;

/// How the root of the process is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnterMethod {
    /// pivot_root(2): the old root is unmounted.
    Pivot,
    /// The mount is moved to `/` (`--no-pivot`, for a host whose root is a ramfs): the old root is
    /// only covered.
    Move,
    /// chroot(2), if the container has no mount namespace of its own.
    Chroot,
}

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub struct RootfsPlan {
    /// The absolute path on the host.
    pub path: PathBuf,
    /// Whether `/` is read-only.
    pub readonly: bool,
    /// How the root is changed.
    pub enter: EnterMethod,
    /// The propagation of all mounts of the host in our copy, so that changes do not propagate
    /// back: `MS_PRIVATE` or `MS_SLAVE`. `None` if the mounts of the container are to be shared:
    /// its bind mounts then stay in the peer group of the host.
    pub host_propagation: Option<u64>,
    /// The propagation of `/`, and whether it is recursive, if the config has one.
    pub propagation: Option<(u64, bool)>,
    /// Paths made unreadable.
    pub masked_paths: Vec<ListedPath>,
    /// Paths made read-only.
    pub readonly_paths: Vec<ListedPath>,
}

impl RootfsPlan {
    /// The part of a host path below the rootfs, if the path leads there without links.
    #[must_use]
    pub fn below<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let below = path.strip_prefix(&self.path).ok()?;
        below.to_str().filter(|_| !below.components().any(|part| part == Component::ParentDir))
    }
}

/// `linux.rootfsPropagation`: name, flag, whether recursive.
static PROPAGATIONS: [(&str, u64, bool); 8] = [
    ("private", ms::PRIVATE, false),
    ("rprivate", ms::PRIVATE, true),
    ("shared", ms::SHARED, false),
    ("rshared", ms::SHARED, true),
    ("slave", ms::SLAVE, false),
    ("rslave", ms::SLAVE, true),
    ("unbindable", ms::UNBINDABLE, false),
    ("runbindable", ms::UNBINDABLE, true),
];

/// The host path of the rootfs, if the config has one. A relative path begins at `bundle`.
pub(super) fn path(config: &config::Config<'_>, bundle: &Path) -> Option<PathBuf> {
    config.root.as_ref().filter(|root| !root.path.is_empty()).map(|root| bundle.join(&*root.path))
}

/// Decides the root filesystem. A relative path begins at `bundle`.
pub fn decide(
    config: &config::Config<'_>,
    bundle: &Path,
    no_pivot: bool,
    namespaces: &NamespacesPlan,
    problems: &mut Problems,
) -> RootfsPlan {
    let linux = &config.linux;
    let (path, readonly) = match &config.root {
        Some(root) if !root.path.is_empty() => (bundle.join(&*root.path), root.readonly),
        Some(_) => {
            problems.add("/root/path", "must not be empty");
            (bundle.to_owned(), false)
        }
        None => {
            problems.add("/root", "root must be specified");
            (bundle.to_owned(), false)
        }
    };
    let propagation = propagation(&linux.rootfs_propagation, no_pivot, problems);
    let (masked_paths, readonly_paths) = masked_paths::decide(linux, namespaces, problems);
    let enter = match (namespaces.has_own(&MOUNT), no_pivot) {
        (true, false) => EnterMethod::Pivot,
        (true, true) => EnterMethod::Move,
        (false, _) => EnterMethod::Chroot,
    };
    if readonly && enter == EnterMethod::Chroot {
        problems.add(
            "/root/readonly",
            "needs a mount namespace of the container's own (linux.namespaces)",
        );
    }
    let host_propagation = match propagation {
        // With `--no-pivot` the mounts of the host stay. Hiding them must not propagate to the
        // host.
        Some((ms::SHARED, _)) if enter == EnterMethod::Pivot => None,
        Some((ms::PRIVATE, _)) => Some(ms::PRIVATE),
        _ => Some(ms::SLAVE),
    };
    RootfsPlan {
        path,
        readonly,
        enter,
        host_propagation,
        propagation,
        masked_paths,
        readonly_paths,
    }
}

fn propagation(name: &str, no_pivot: bool, problems: &mut Problems) -> Option<(u64, bool)> {
    if name.is_empty() {
        return None;
    }
    let Some((_, flag, recursive)) = PROPAGATIONS.iter().find(|(known, ..)| *known == name) else {
        problems
            .add("/linux/rootfsPropagation", format!("rootfsPropagation={name} is not supported"));
        return None;
    };
    if no_pivot && *flag == ms::PRIVATE {
        problems.add("/linux/rootfsPropagation", "[r]private is not safe with --no-pivot");
    }
    Some((*flag, *recursive))
}
