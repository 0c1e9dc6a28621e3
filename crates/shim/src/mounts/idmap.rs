//! Id-mapped mounts (mount_setattr(2), MOUNT_ATTR_IDMAP). Of an overlay, the lower layers are
//! mapped, since overlay itself cannot be.
//! process: worker

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use orlop::config::IdMapping;
use orlop::plan::namespaces::MOUNT;
use orlop::runtime::user_namespace;
use orlop::sys::mount::{self, Depth};
use orlop::sys::{Call, clone, fd};
use rustix::fs::{CWD, OFlags};
use rustix::mount::MountPropagationFlags;

use crate::status::Failed;

/// The options `uidmap=` and `gidmap=`.
#[derive(Debug)]
pub struct Mappings {
    pub uid: Vec<IdMapping>,
    pub gid: Vec<IdMapping>,
}

/// Reads mappings: `CONTAINER:HOST:SIZE`, several with commas between them.
///
/// # Errors
/// Another form.
pub fn parse(text: &str) -> Result<Vec<IdMapping>, Failed> {
    let one = |mapping: &str| {
        let numbers: Vec<u32> =
            mapping.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [container_id, host_id, size] = *numbers.as_slice() else { return None };
        Some(IdMapping { container_id, host_id, size })
    };
    text.split(',').map(one).collect::<Option<_>>().ok_or_else(|| {
        Failed::invalid(format!("a mapping of ids is CONTAINER:HOST:SIZE, not {text:?}"))
    })
}

/// Lets `mount` make a mount in a private mount namespace, and returns a detached copy of it with
/// mapped ids: those of the lower layers if it is an overlay, else its own. `mount` returns the
/// target.
///
/// The private namespace has two reasons: the mapped layers of an overlay must be attached
/// somewhere when it is mounted, and no mount is left if we are killed.
///
/// # Errors
/// Those of `mount` and of the calls.
pub fn make(
    ids: &Mappings,
    layers: &[String],
    recursive: bool,
    mount: impl FnOnce() -> Result<(Option<OwnedFd>, PathBuf), Failed>,
) -> Result<OwnedFd, Failed> {
    let users = user_namespace::with_mappings(&ids.uid, &ids.gid)
        .map_err(|error| Failed::unknown(format!("an id-mapped mount: {error:#}")))?;
    let depth = if recursive { Depth::Recursive } else { Depth::This };
    in_private_namespace(|| {
        for layer in layers {
            let mapped = mount::clone_tree_at(CWD, layer, Depth::This).map_err(failed)?;
            mount::map_ids(mapped.as_fd(), users.as_fd(), Depth::This).map_err(failed)?;
            attach(&mapped, Path::new(layer))?;
        }
        let (_place, target) = mount()?;
        let target = mount::open_attached(CWD, &target).map_err(failed)?;
        let tree = mount::clone_tree(target.as_fd(), depth).map_err(failed)?;
        if layers.is_empty() {
            mount::map_ids(tree.as_fd(), users.as_fd(), depth).map_err(failed)?;
        }
        Ok(tree)
    })
}

/// Attaches `tree` on top of `target`.
///
/// # Errors
/// Those of the calls.
pub fn attach(tree: &OwnedFd, target: &Path) -> Result<(), Failed> {
    let target = mount::open_attached(CWD, target).map_err(failed)?;
    mount::attach(tree.as_fd(), target.as_fd()).map_err(failed)
}

/// Runs `there` in a new mount namespace and returns to ours. Mounts made there do not propagate.
fn in_private_namespace<T>(there: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    let own = fd::open("/proc/self/ns/mnt".as_ref(), OFlags::RDONLY).map_err(failed)?;
    clone::unshare(MOUNT.flag).map_err(failed)?;
    let result = mount::set_namespace_propagation(MountPropagationFlags::PRIVATE)
        .map_err(failed)
        .and_then(|()| there());
    clone::setns(own.as_fd(), MOUNT.flag).map_err(failed)?;
    result
}

fn failed(call: Call) -> Failed {
    Failed::unknown(format!("failed to mount rootfs component: an id-mapped mount: {call}"))
}
