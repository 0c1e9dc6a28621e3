//! Sets the labels and profiles of security modules.
//! config.json: process.apparmorProfile, process.selinuxLabel
//! process: init, and a process of `exec`
//!
//! They are written with a handle of the host's procfs, to files that nothing is mounted on. If a
//! container could replace such a file, it would run unconfined, or redirect the write to another
//! file of the procfs (CVE-2019-16884, CVE-2025-52881).

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::labels::Labels;
use crate::sys::Call;
use crate::sys::proc::Proc;

/// The error if there is no handle. A process that enters a container with labels always has one;
/// without it, the process must not continue unlabelled.
const NO_PROC: &str = "there is no handle of the host's procfs to set labels by";

/// Sets the labels for the next execve(2).
///
/// # Errors
/// The error of the failed call: `ENOENT` for an unknown profile of AppArmor, `EINVAL` for an
/// invalid label of SELinux.
pub fn of_program(labels: &Labels, proc: Option<&Proc>) -> Result<()> {
    if labels.is_empty() {
        return Ok(());
    }
    let proc = proc.context(NO_PROC)?;
    if !labels.apparmor_profile.is_empty() {
        apparmor(&labels.apparmor_profile, proc)
            .context("unable to apply apparmor profile")
            .at("/process/apparmorProfile")?;
    }
    if !labels.selinux_label.is_empty() {
        let written = proc.write("thread-self/attr/exec", &labels.selinux_label);
        written.context("can't set process label").at("/process/selinuxLabel")?;
    }
    Ok(())
}

/// Uses the file of AppArmor (since Linux 5.8), or else the file of all modules.
fn apparmor(profile: &str, proc: &Proc) -> Result<(), Call> {
    const OWN: &str = "thread-self/attr/apparmor/exec";
    let path = match proc.open_in(OWN, OFlags::PATH) {
        Err(call) if call.is(Errno::NOENT) => "thread-self/attr/exec",
        _ => OWN,
    };
    proc.write(path, &format!("exec {profile}"))
}

/// Calls `make`. Keys that it creates get the label of the program.
///
/// # Errors
/// The error of the failed call.
pub fn while_keys_have<T>(
    labels: &Labels,
    proc: Option<&Proc>,
    make: impl FnOnce() -> T,
) -> Result<T> {
    const FILE: &str = "thread-self/attr/keycreate";
    if labels.selinux_label.is_empty() {
        return Ok(make());
    }
    let proc = proc.context(NO_PROC)?;
    let write = |label: &str| {
        proc.write(FILE, label).context("the label of the keyring").at("/process/selinuxLabel")
    };
    write(&labels.selinux_label)?;
    let made = make();
    write("\n")?; // for SELinux this means "none"; an empty text cannot be written
    Ok(made)
}
