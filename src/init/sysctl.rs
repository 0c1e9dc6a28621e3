//! Kernel parameters of the container's namespaces.
//! config.json: linux.sysctl
//! process: init

use crate::error::{AtKey, Result};
use crate::plan::Plan;
use crate::sys::proc::Proc;

/// Writes the parameters through the host's procfs, which shows each process the parameters of its
/// own namespaces. So no mount of the container can redirect the write (CVE-2025-52881).
///
/// # Errors
/// The error of the failed call.
pub fn write(plan: &Plan, proc: &Proc) -> Result<()> {
    for sysctl in &plan.sysctl {
        proc.write(&sysctl.file, &sysctl.value)
            .at(format_args!("/linux/sysctl/{}", sysctl.name.replace('/', "~1")))?;
    }
    Ok(())
}
