//! Properties that a process inherits from its parent: its OOM score and its CPUs.
//! config.json: process.oomScoreAdj, process.execCPUAffinity.{initial, final}
//! process: runtime

use crate::error::{AtKey, Context, Result};
use crate::plan::cpu_affinity::CpuAffinity;
use crate::plan::process::ProcessPlan;
use crate::sys::proc::Proc;
use crate::sys::process;

/// Writes oom_score_adj (proc(5)). If the config has no value, nothing is changed.
///
/// # Errors
/// The error of the failed call.
pub fn oom_score_adj(plan: &ProcessPlan, pid: i32) -> Result<()> {
    let Some(score) = plan.oom_score_adj else { return Ok(()) };
    write_oom_score_adj(&pid.to_string(), &score.to_string())
}

fn write_oom_score_adj(process: &str, score: &str) -> Result<()> {
    Proc::open()?
        .write(&format!("{process}/oom_score_adj"), score)
        .context("lowering it needs CAP_SYS_RESOURCE")
        .at("/process/oomScoreAdj")
}

/// Our own values, while we have the values for a process that `exec` creates.
#[derive(Debug)]
pub struct InheritedByExec {
    oom_score_adj: Option<String>,
    cpus: Option<Vec<usize>>,
}

/// Gives us the OOM score and the first CPUs of a process that `exec` creates, because it inherits
/// them. They cannot be set later. The process is never dumpable, so only root may write to its
/// files in /proc. And its first CPUs apply before it is in the cgroup.
///
/// # Errors
/// The error of the failed call.
pub fn lend(plan: &ProcessPlan) -> Result<InheritedByExec> {
    let mut lent = InheritedByExec { oom_score_adj: None, cpus: None };
    if let Some(score) = plan.oom_score_adj {
        lent.oom_score_adj = Some(Proc::open()?.read("self/oom_score_adj")?);
        write_oom_score_adj("self", &score.to_string())?;
    }
    if let Some(cpus) = &plan.exec_cpu_affinity.initial {
        lent.cpus = Some(process::cpus(0)?);
        process::set_cpus(0, cpus.iter().copied()).at("/process/execCPUAffinity/initial")?;
    }
    Ok(lent)
}

impl InheritedByExec {
    /// Restores our own values.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn take_back(self) -> Result<()> {
        if let Some(score) = self.oom_score_adj {
            write_oom_score_adj("self", score.trim_end())?;
        }
        if let Some(cpus) = self.cpus {
            process::set_cpus(0, cpus.into_iter())?;
        }
        Ok(())
    }
}

/// Sets the CPUs of a process of `exec` after it is in the cgroup.
///
/// # Errors
/// Errors of sched_setaffinity(2).
pub fn final_cpus(plan: &CpuAffinity, pid: i32) -> Result<()> {
    match plan {
        CpuAffinity { last: Some(cpus), .. } => {
            process::set_cpus(pid, cpus.iter().copied()).at("/process/execCPUAffinity/final")
        }
        CpuAffinity { initial: None, last: None } => {
            all_cpus(pid);
            Ok(())
        }
        CpuAffinity { initial: Some(_), last: None } => Ok(()),
    }
}

/// Lets a process in the cgroup run on every CPU that the cgroup has or will have. The CPU affinity
/// of our caller is not meant for the container. runc has done this since 1.4, and ignores a
/// failure, too.
pub fn all_cpus(pid: i32) {
    if let Err(call) = process::set_cpus(pid, process::EVERY_CPU) {
        log::debug!("the CPUs of our caller: {call}");
    }
}
