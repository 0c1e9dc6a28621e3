//! `ps`: the processes of a container, by their pids on the host.

use std::path::Path;

use super::{cgroup_of, open};
use crate::error::{Context, Result};

/// The pids of a container's processes on the host. A stopped container has none.
///
/// # Errors
/// An error if there is no such container; errors of reading /proc or the cgroup.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::ps::ps;
///
/// println!("{} processes", ps("web", Path::new("/run/orlop"))?.len());
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn ps(id: &str, state_root: &Path) -> Result<Vec<i32>> {
    let container = open(state_root, id)?;
    let mut pids = cgroup_of(&container).procs().context("finding the container's processes")?;
    // Without a cgroup, only init is known.
    if container.saved.cgroup_paths.is_empty() && container.init()?.is_some() {
        pids.push(container.saved.init_process_pid);
    }
    Ok(pids)
}
