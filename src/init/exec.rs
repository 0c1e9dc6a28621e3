//! The process of `exec`, before it executes the program. It was created in the container's cgroup.
//! In the usual case ([`StartsIn::Inside`]), the bootstrap has created it in all namespaces of the
//! container. Otherwise ([`StartsIn::Outside`]), the runtime has created it in the pid and time
//! namespaces, and it joins the others itself.
//! process: exec
//!
//! All namespaces are joined by one setns(2) on a pidfd, which checks the permission for all of
//! them before it changes any. If a process in the container could trace us with CAP_SYS_PTRACE,
//! the bootstrap joins the namespaces before this process is created
//! ([`crate::bootstrap::main_of_exec`]). So no process in the container ever sees a process that is
//! not fully inside. Otherwise, this process joins them itself.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use super::program::Home;
use super::{handover, keyring, labels, terminal};
use crate::error::{Context, Result};
use crate::plan::EntryPlan;
use crate::plan::namespaces::USER;
use crate::sync::InitEnd;
use crate::sys::proc::Proc;
use crate::sys::{Named, caller, clone, ids, mount, process, signal};

/// The data of the process besides its socket, in its copy of the runtime's memory.
#[derive(Debug)]
pub struct ExecSetup<'a> {
    /// The plan.
    pub entry: &'a EntryPlan,
    /// The init of the container.
    pub init: &'a OwnedFd,
    /// The namespaces of the container: `CLONE_NEW…` flags.
    pub own: u32,
    /// The namespaces among these in which this process was created, if there is no bootstrap.
    pub created_in: u32,
    /// The root directory, if the container has no mount namespace.
    pub root: Option<OwnedFd>,
}

/// Where the process is when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartsIn {
    /// On the host, except for namespaces that can only be entered at creation.
    Outside,
    /// In the container, where the bootstrap has created it.
    Inside,
}

/// Runs until it executes the program. Returns an exit code if that fails.
pub fn main(setup: &ExecSetup<'_>, place: StartsIn, runtime: &InitEnd) -> i32 {
    let Err(error) = run(setup, place, runtime);
    super::fail(&error, runtime)
}

fn run(setup: &ExecSetup<'_>, place: StartsIn, runtime: &InitEnd) -> Result<Infallible> {
    caller::erase_and_rename(c"orlop:[exec]")?;
    runtime.wait_for_begin()?; // the runtime has set up our cgroup

    signal::reset_to_default()?;
    if place == StartsIn::Outside {
        go_inside(setup, setup.own & !setup.created_in)?;
    }
    rustix::process::setsid().named(|| "setsid()".to_owned())?;
    terminal::give_exec(setup.entry, runtime)?;

    let program =
        handover::prepare(setup.entry, Home::look_up_inside(&setup.entry.process), runtime)?;
    runtime.report_ready()?; // returns after the pid file is written
    handover::finish(setup.entry, &program, runtime, |_| Ok(()))
}

/// Moves from the host into the container by joining `namespaces`. Before that, it opens the files
/// of the host that it needs.
///
/// # Errors
/// The error of the failed call.
pub fn go_inside(setup: &ExecSetup<'_>, namespaces: u32) -> Result<()> {
    // The procfs of the container cannot be trusted (CVE-2025-52881).
    let host_proc = if setup.entry.process.labels.is_empty() { None } else { Some(Proc::open()?) };
    join(setup, namespaces)?;
    keyring::join(setup.entry, host_proc.as_ref())?;
    labels::of_program(&setup.entry.process.labels, host_proc.as_ref())
}

/// Joins the namespaces and then clears the dumpable flag again. The process was created
/// non-dumpable, so that processes in the container cannot trace it or open its descriptors
/// (CVE-2016-9962), but a change of ids may set the flag.
fn join(setup: &ExecSetup<'_>, namespaces: u32) -> Result<()> {
    if namespaces != 0 {
        clone::setns(setup.init.as_fd(), namespaces)
            .context("joining the container's namespaces")?;
    }
    if setup.own & USER.flag != 0 {
        ids::become_user(0, 0).context("becoming root of the user namespace")?;
        process::set_dumpable(false)?;
    }
    if let Some(root) = &setup.root {
        rustix::process::fchdir(root).named(|| "fchdir(root)".to_owned())?;
        mount::chroot_to_cwd()?;
    }
    Ok(())
}
