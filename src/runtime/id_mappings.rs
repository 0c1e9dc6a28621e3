//! Writes the id maps of init's new user namespace.
//! config.json: linux.uidMappings[].{containerID, hostID, size}
//! config.json: linux.gidMappings[].{containerID, hostID, size}
//! process: runtime (init may only write a mapping of one id, its own)

use std::process::Command;
use std::time::Duration;

use anyhow::bail;

use crate::error::{AtKey, Context, Result};
use crate::plan::id_mappings::IdMapping;
use crate::plan::id_mappings::{IdMappingsPlan, to_text};
use crate::sys::proc::Proc;
use crate::sys::wait::{self, Bound};

/// How long the programs may take. They read a file or query a directory service.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(60));

/// Writes uid_map and gid_map (user_namespaces(7)). Runs newuidmap(1) and newgidmap(1) if we do not
/// have the permission.
///
/// # Errors
/// The error of the failed call, or the error output of the program.
pub fn write(plan: &IdMappingsPlan, pid: i32) -> Result<()> {
    if plan.uid.is_empty() || plan.joined {
        return Ok(());
    }
    let proc = Proc::open()?;
    if rustix::process::geteuid().is_root() {
        map(&proc, pid, "uid_map", &plan.uid).at("/linux/uidMappings")?;
        return map(&proc, pid, "gid_map", &plan.gid).at("/linux/gidMappings");
    }
    if is_own(&plan.uid, rustix::process::geteuid().as_raw()) {
        map(&proc, pid, "uid_map", &plan.uid).at("/linux/uidMappings")?;
    } else {
        by_program("newuidmap", pid, &plan.uid).at("/linux/uidMappings")?;
    }
    if is_own(&plan.gid, rustix::process::getegid().as_raw()) {
        // The kernel demands this if a user maps only the own group. Otherwise the user could drop
        // groups that deny access.
        proc.write(&format!("{pid}/setgroups"), "deny").at("/linux/gidMappings")?;
        map(&proc, pid, "gid_map", &plan.gid).at("/linux/gidMappings")
    } else {
        by_program("newgidmap", pid, &plan.gid).at("/linux/gidMappings")
    }
}

fn is_own(mappings: &[IdMapping], id: u32) -> bool {
    matches!(mappings, [mapping] if mapping.size == 1 && mapping.host_id == id)
}

/// Writes one file ourselves.
///
/// # Errors
/// The error of the failed call.
pub(super) fn map(proc: &Proc, pid: i32, file: &str, mappings: &[IdMapping]) -> Result<()> {
    Ok(proc.write(&format!("{pid}/{file}"), &to_text(mappings))?)
}

#[allow(
    clippy::disallowed_methods,
    reason = "newuidmap and newgidmap are how an ordinary user gets more than one id"
)]
fn by_program(program: &str, pid: i32, mappings: &[IdMapping]) -> Result<()> {
    let numbers = mappings
        .iter()
        .flat_map(|m| [m.container_id, m.host_id, m.size])
        .map(|number| number.to_string());
    let output = wait::run(Command::new(program).arg(pid.to_string()).args(numbers), PATIENCE)
        .with_context(|| {
            format!("running {program} (package uidmap), which maps more than one's own id")
        })?
        .with_context(|| format!("{program} did not end"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "));
    }
    Ok(())
}
