//! The delegated cgroup: a cgroup below that of the container, in which its processes are and which
//! they manage.
//! config.json: annotations

use super::{Cgroup, CreatedDirs, owner, v2};
use crate::error::{AtKey, Context, Result};
use crate::plan::annotations::DELEGATE_CGROUP;
use crate::plan::delegated_cgroup::Delegated;

impl Cgroup {
    /// Creates it and moves the process `pid` there. The root of its cgroup namespace is already
    /// the cgroup of the container. The delegated cgroup is removed with that of the container.
    ///
    /// # Errors
    /// Errors of mkdir(2); errors of write(2) to `cgroup.procs`; errors of chown(2).
    pub fn delegate(&self, plan: Option<&Delegated>, pid: i32) -> Result<()> {
        let Some(plan) = plan else { return Ok(()) };
        let mut made = CreatedDirs::default();
        let moved = v2::move_below(&plan.dir, &plan.controllers, pid, &mut made);
        made.keep(); // with the process in it, it cannot be removed before
        let given = moved
            .and_then(|()| plan.owner.map_or(Ok(()), |owner| owner::give(&plan.dir.full(), owner)));
        given
            .context("unable to delegate a cgroup")
            .at(format_args!("/annotations/{DELEGATE_CGROUP}"))
    }
}
