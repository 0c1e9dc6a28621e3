//! A user namespace for the mapping of an id-mapped mount. No process of a container is in it.
//! config.json: mounts[].uidMappings, mounts[].gidMappings
//! process: runtime

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;

use super::child::{Child, close_runtime_end};
use super::id_mappings;
use super::watch::Watch;
use crate::error::{Context, Result};
use crate::plan::id_mappings::IdMapping;
use crate::plan::namespaces::USER;
use crate::sync::{self, FromInit, RuntimeEnd};
use crate::sys::clone::{self, CloneRequest, SingleThreaded};
use crate::sys::fd;
use crate::sys::proc::Proc;

/// Creates a user namespace with these mappings. It exists as long as the descriptor is open or a
/// mount uses it.
///
/// # Errors
/// The error of the failed call: `EINVAL` or `EPERM` if the kernel refuses a mapping.
pub fn with_mappings(uid: &[IdMapping], gid: &[IdMapping]) -> Result<OwnedFd> {
    let (holder, wire) = hold_user_namespace()?;
    let proc = Proc::open()?;
    id_mappings::map(&proc, holder.pid, "uid_map", uid).context("uidMappings")?;
    id_mappings::map(&proc, holder.pid, "gid_map", gid).context("gidMappings")?;
    let mut watch = Watch::of_helper();
    match wire.receive_watched(|| watch.look(holder.pid))? {
        FromInit::UserNamespace(namespace) => Ok(namespace),
        other => anyhow::bail!("unexpected {other:?} from the process with the user namespace"),
    }
}

/// Starts a process that only holds a new user namespace, since no call creates one without a
/// process. The process sends us the descriptor, because we may not be allowed to open its files in
/// /proc. It is ended when this is dropped, and it ends when the wire ends, so also with us.
fn hold_user_namespace() -> Result<(Child, RuntimeEnd)> {
    let (ours, theirs) = sync::pair()?;
    let request = CloneRequest { namespaces: USER.flag, ..CloneRequest::default() };
    let cloned = clone::clone(SingleThreaded::prove()?, &request, || {
        close_runtime_end(&ours);
        let own = fd::open("/proc/self/ns/user".as_ref(), OFlags::RDONLY).map_err(Into::into);
        let handed = own.and_then(|own| theirs.send(&FromInit::UserNamespace(own)));
        i32::from(handed.and_then(|()| theirs.wait_for_end()).is_err())
    });
    Ok((Child::adopt(cloned.context("making a user namespace for the mapping")?), ours))
}
