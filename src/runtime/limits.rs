//! What only a privileged parent may set: inside a user namespace the right to raise a limit is lost.
//! config.json: process.rlimits, process.oomScoreAdj
//! process: runtime

use crate::error::{AtKey, Context, Result};
use crate::plan::Plan;
use crate::sys::proc::Proc;
use crate::sys::process::set_rlimit;

/// Writes oom_score_adj (proc(5)); left as it is when the config does not say.
///
/// # Errors
/// The failed call's.
pub fn oom_score_adj(plan: &Plan, pid: i32) -> Result<()> {
    let Some(score) = plan.process.oom_score_adj else { return Ok(()) };
    Proc::open()?
        .write(&format!("{pid}/oom_score_adj"), &score.to_string())
        .context("lowering it needs CAP_SYS_RESOURCE")
        .at("/process/oomScoreAdj")
}

/// Sets the resource limits of init.
///
/// # Errors
/// The failed call's.
pub fn rlimits(plan: &Plan, pid: i32) -> Result<()> {
    for (resource, soft, hard, index) in &plan.process.rlimits {
        set_rlimit(pid, *resource, *soft, *hard).at(format_args!("/process/rlimits/{index}"))?;
    }
    Ok(())
}
