//! The limits and the scheduling of a process.
//! config.json: process.rlimits[].{type, soft, hard}
//! config.json: process.scheduler.{policy, nice, priority, flags, runtime, deadline, period}
//! config.json: process.ioPriority.{class, priority}
//! process: init, and a process of `exec`; the runtime for them, if they are in a user namespace,
//! where they may not raise a limit

use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::process::ProcessPlan;
use crate::plan::scheduling::SchedulerPlan;
use crate::sys::process::set_rlimit;
use crate::sys::scheduling::{set_io_priority, set_scheduler};

/// Sets the resource limits and the scheduling of a process that is in its cgroup and leads its own
/// session. `pid` 0 is the caller.
///
/// # Errors
/// The error of the failed call.
pub fn set(plan: &ProcessPlan, pid: i32) -> Result<()> {
    for (resource, soft, hard, index) in &plan.rlimits {
        set_rlimit(pid, *resource, *soft, *hard).at(format_args!("/process/rlimits/{index}"))?;
    }
    if let Some(plan) = &plan.scheduler {
        scheduler(plan, pid).at("/process/scheduler")?;
    }
    if let Some(priority) = plan.io_priority {
        set_io_priority(pid, priority).at("/process/ioPriority")?;
    }
    Ok(())
}

fn scheduler(plan: &SchedulerPlan, pid: i32) -> Result<()> {
    match set_scheduler(pid, &plan.attributes) {
        Err(call) if call.is(Errno::PERM) && plan.pinned => Err(call).context(
            "process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus)",
        ),
        result => Ok(result?),
    }
}
