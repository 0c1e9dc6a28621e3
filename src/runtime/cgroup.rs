//! Makes the container's cgroup before it contains a process.
//! config.json: linux.cgroupsPath
//! process: runtime

use crate::cgroup::{self, Cgroup};
use crate::error::{AtKey, Cause, Context, Failure, Result};
use crate::kernel::CgroupPaths;
use crate::plan::namespaces::PID;
use crate::plan::{Host, Plan};

/// Makes the cgroup, with the limits that must be set before there are processes. If systemd
/// manages the cgroup, systemd makes it later. An ordinary user without the permission to make a
/// cgroup gets none, if config and flags do not ask for one.
///
/// # Errors
/// [`Failure::WrongStatus`] if the cgroup is in use or frozen; errors of making it.
pub fn make(plan: &Plan, host: &Host) -> Result<Cgroup> {
    if let Some(unit) = &plan.unit {
        let cgroup =
            Cgroup::open(&cgroup::planned_paths(&plan.cgroup)).of_unit(Some(unit.unit.clone()));
        // systemd also makes a unit in a frozen cgroup. For a cgroup in use, it only reports that
        // the unit exists.
        match &unit.above {
            Some(above) => Cgroup::open(&CgroupPaths::v2(above.clone())).refuse_used(),
            None => cgroup.refuse_used(),
        }
        .context(WHAT)
        .at(KEY)?;
        return Ok(cgroup);
    }
    let mut cgroup = Cgroup::create(&plan.cgroup, &plan.resources)
        .or_else(|error| {
            if !cgroup::is_denied(&error) || !host.rootless {
                return Err(error);
            }
            if plan.cgroup_optional {
                log::debug!("{}: no cgroup: {error:#}", plan.entry.id);
                if !plan.namespaces.creates(&PID) {
                    log::warn!("{}", cgroup::ONLY_INIT_IS_KNOWN);
                }
                return Ok(Cgroup::none());
            }
            let text = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
            Err(error.context(Failure::Unsupported(Cause::CgroupDenied.reason(text))))
        })
        .context(WHAT)
        .at(KEY)?;
    cgroup.set_early_limits(&plan.resources)?;
    Ok(cgroup)
}

/// As [`make`], for processes that send no message while they are made, so that we would not notice
/// that they are frozen.
///
/// # Errors
/// As [`make`].
pub fn make_unfrozen(plan: &Plan, host: &Host) -> Result<Cgroup> {
    let cgroup = make(plan, host)?;
    cgroup.refuse_frozen_above().context(WHAT).at(KEY)?;
    Ok(cgroup)
}

const WHAT: &str = "unable to apply cgroup configuration";

const KEY: &str = "/linux/cgroupsPath";
