//! Makes the device nodes of the config for a container with a user namespace, which may not make
//! nodes itself. The nodes are on a tmpfs, with their owners and modes, and init binds them from
//! there.
//! config.json: linux.devices
//! process: runtime

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;

use crate::error::{AtKey, Result};
use crate::kernel::FsOption;
use crate::plan::Plan;
use crate::plan::mount_options::attr;
use crate::sys::{Named, device, mount};

/// A detached tmpfs with a node for each requested device, named by its index. `None` if we may not
/// make nodes, or if we do not know the owners' ids on the host. Then init binds the nodes of the
/// host.
///
/// # Errors
/// The error of the failed call.
pub fn make(plan: &Plan) -> Result<Option<OwnedFd>> {
    let ids = &plan.entry.ids;
    let options = [FsOption::new("mode", "0755")];
    let tmpfs = mount::new_filesystem("tmpfs", "tmpfs", &options, attr::NOSUID | attr::NOEXEC)?;
    for (index, node) in plan.devices.requested().enumerate() {
        let (Some(uid), Some(gid)) = (ids.uid_on_host(node.uid), ids.gid_on_host(node.gid)) else {
            return Ok(None);
        };
        let (name, mode) = (index.to_string(), Mode::from_raw_mode(node.mode));
        let id = device::Id::new(node.kind.letter(), node.major, node.minor);
        match rustix::fs::mknodat(&tmpfs, name.as_str(), id.kind, mode, id.number) {
            Err(Errno::PERM) => return Ok(None),
            result => result.named_on("mknodat", &node.path).at(&node.key)?,
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(&tmpfs, name.as_str(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .named_on("fchownat", &node.path)
            .at(&node.key)?;
        // After chown, which can clear bits of the mode. Our umask does not apply here.
        rustix::fs::chmodat(&tmpfs, name.as_str(), mode, AtFlags::empty())
            .named_on("fchmodat", &node.path)
            .at(&node.key)?;
    }
    Ok(Some(tmpfs))
}
