//! The system call filter.
//! config.json: linux.seccomp
//! process: init, as the very last before execve

use crate::error::{AtKey, Result};
use crate::plan::seccomp::SeccompPlan;
use crate::seccomp::Insn;
use crate::sys::seccomp::{Instruction, load as load_filter};

/// Loads it. From here on only execve, and on failure the wire, has to get past it.
///
/// # Errors
/// seccomp(2)'s.
pub fn load(plan: Option<&SeccompPlan>) -> Result<()> {
    let Some(seccomp) = plan else { return Ok(()) };
    let instruction = |insn: &Insn| Instruction { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k };
    let program: Vec<Instruction> = seccomp.filter.program.iter().map(instruction).collect();
    load_filter(&program, seccomp.flags.into()).at("/linux/seccomp")?;
    Ok(())
}
