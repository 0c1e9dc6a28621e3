//! Opens the source of a bind mount for an init that may not reach it: a user namespace has no rights over directories
//! of the host's root.
//! config.json: mounts[].source
//! process: runtime

use std::os::fd::OwnedFd;

use rustix::fs::CWD;

use crate::error::{AtKey, Result};
use crate::plan::Plan;
use crate::plan::mounts::MountSource;
use crate::sys::mount::{self, Depth};

/// A detached copy of the mount that the source of `mounts[index]` is on, rooted there.
///
/// # Errors
/// open_tree(2)'s.
pub fn open(plan: &Plan, index: usize) -> Result<OwnedFd> {
    let source = plan.mounts.iter().find(|step| step.index == index).map(|step| &step.source);
    let Some(MountSource::Bind { path, recursive }) = source else {
        anyhow::bail!("init asked for the source of a mount that has none");
    };
    let depth = if *recursive { Depth::Recursive } else { Depth::This };
    mount::clone_tree_at(CWD, &path.to_string_lossy(), depth).at(format_args!("/mounts/{index}/source"))
}
