//! Sets the user and the capabilities.
//! config.json: process.user.{uid, gid, additionalGids}, process.noNewPrivileges
//! config.json: process.capabilities.{bounding, effective, inheritable, permitted, ambient}
//! process: init, and a process of `exec`

use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::error::{AtKey, Result};
use crate::plan::EntryPlan;
use crate::plan::capabilities::{self, CapabilitySets};
use crate::sys::{ids, process};

/// Sets the ids and the capabilities of the config. Without `noNewPrivileges`, the filter can only
/// be loaded with CAP_SYS_ADMIN, so that capability is kept until execve(2). It is neither in the
/// bounding nor in the ambient set, so execve(2) clears it.
///
/// # Errors
/// The error of the failed call.
pub fn become_user(plan: &EntryPlan) -> Result<()> {
    let user = &plan.process.user;
    let sets = &plan.process.capabilities;
    drop_bounding(sets.bounding).at("/process/capabilities/bounding")?;
    process::set_keep_caps(true)?;
    set_groups(plan)?;
    ids::become_user(user.uid, user.gid).at("/process/user")?;
    if (user.uid, user.gid) != (0, 0) {
        process::set_dumpable(false)?; // where fs.suid_dumpable is not 0
    }
    process::set_keep_caps(false)?;
    let kept = if plan.seccomp.is_some() && !plan.process.no_new_privileges {
        capabilities::SYS_ADMIN
    } else {
        0
    };
    set_capabilities(sets, kept).at("/process/capabilities")?;
    if plan.process.no_new_privileges {
        process::set_no_new_privs().at("/process/noNewPrivileges")?;
    }
    Ok(())
}

/// Sets the supplementary groups. In a user namespace in which setgroups(2) is denied
/// (user_namespaces(7)), they cannot be dropped and are kept. If we have the capability and the
/// call fails, it is denied.
fn set_groups(plan: &EntryPlan) -> Result<()> {
    let Some(groups) = &plan.process.user.additional_gids else { return Ok(()) };
    match ids::set_groups(groups) {
        Err(call) if call.is(Errno::PERM) && groups.is_empty() && may_set_groups() => Ok(()),
        result => result.at("/process/user/additionalGids"),
    }
}

fn may_set_groups() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SETGID))
}

fn drop_bounding(keep: u64) -> Result<()> {
    for capability in 0..64 {
        if keep & 1 << capability != 0 {
            continue;
        }
        match process::drop_bounding(capability) {
            // The first capability that this kernel does not have.
            Err(call) if call.is(Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

fn set_capabilities(sets: &CapabilitySets, kept: u64) -> Result<()> {
    process::capset(sets.effective | kept, sets.permitted | kept, sets.inheritable)?;
    process::clear_ambient()?;
    for capability in (0..64).filter(|capability| sets.ambient & 1 << capability != 0) {
        match process::raise_ambient(capability) {
            // Our securebits may forbid this. The specification demands no error in that case.
            Err(call) if call.is(Errno::PERM) => {}
            result => result?,
        }
    }
    Ok(())
}
