//! Makes the container's cgroup before there is a process in it.
//! config.json: linux.cgroupsPath
//! process: runtime

use crate::cgroup::{self, Cgroup};
use crate::error::{AtKey, Context, Failure, Result};
use crate::plan::namespaces::PID;
use crate::plan::{Host, Plan};

/// Makes the cgroup, with the limits that cannot wait; systemd makes its own later. An ordinary
/// user who may make none does without, if nothing asks for one.
///
/// # Errors
/// [`Failure::WrongStatus`] when it is in use or frozen; those of making it.
pub fn make(plan: &Plan, host: &Host) -> Result<Cgroup> {
    if let Some(unit) = &plan.unit {
        let cgroup =
            Cgroup::open(&cgroup::planned_paths(&plan.cgroup)).of_unit(Some(unit.unit.clone()));
        // systemd makes a unit of a cgroup that is frozen, too, and says of one in use only that
        // the unit exists.
        match &unit.above {
            Some(above) => Cgroup::open(&[(String::new(), above.clone())]).refuse_used(),
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
            Err(error.context(Failure::Unsupported(text.to_owned())))
        })
        .context(WHAT)
        .at(KEY)?;
    cgroup.limit_birth(&plan.resources)?;
    Ok(cgroup)
}

/// As [`make`], for processes that say nothing on their way, so that nobody could tell that they
/// are frozen.
///
/// # Errors
/// As there.
pub fn make_unfrozen(plan: &Plan, host: &Host) -> Result<Cgroup> {
    let cgroup = make(plan, host)?;
    cgroup.refuse_frozen_above().context(WHAT).at(KEY)?;
    Ok(cgroup)
}

const WHAT: &str = "unable to apply cgroup configuration";

const KEY: &str = "/linux/cgroupsPath";
