//! `ps`: the processes of a container, as the host sees them.

use std::path::Path;

use super::{cgroup_of, open};
use crate::error::{Context, Result};

/// The pids of a container's processes, as the host sees them. A stopped container has none.
///
/// # Errors
/// No such container; errors of looking.
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
    // Where there is no cgroup, init is all that is known.
    if container.saved.cgroup_paths.is_empty() && container.init()?.is_some() {
        pids.push(container.saved.init_process_pid);
    }
    Ok(pids)
}
