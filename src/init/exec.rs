//! We are a process that `exec` made: born in the container's pid and time namespaces and in its
//! cgroup. Our job: join what else there is of it, and become the program.
//! process: exec
//!
//! Everything is joined by one setns(2) on a pidfd, rights over all being checked before any is
//! changed. Where somebody in the container could trace us by CAP_SYS_PTRACE, the bootstrap does
//! that before we are born ([`crate::bootstrap::main_of_exec`]): nobody in there sees a process
//! that is not all inside. Else we do it ourselves.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use super::program::Home;
use super::{handover, keyring, labels, terminal};
use crate::error::{Context, Result};
use crate::plan::Entry;
use crate::plan::namespaces::USER;
use crate::sync::InitEnd;
use crate::sys::proc::Proc;
use crate::sys::{Named, caller, clone, ids, mount, process, signal};

/// What the process is born with besides the wire: its copy of the runtime's memory.
#[derive(Debug)]
pub struct ExecSetup<'a> {
    /// What to do.
    pub entry: &'a Entry,
    /// The container's init.
    pub init: &'a OwnedFd,
    /// The namespaces that are the container's own: `CLONE_NEW…` flags.
    pub own: u32,
    /// Those of them that we are born in, where there is no bootstrap.
    pub born_in: u32,
    /// The root directory, where the container has no mount namespace that brings it along.
    pub root: Option<OwnedFd>,
}

/// Where the process is when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartsIn {
    /// On the host, but for namespaces that one must be born in.
    Outside,
    /// In the container, where the bootstrap has made it.
    Inside,
}

/// Runs until it is the program; gives an exit code when it could not be.
pub fn main(setup: &ExecSetup<'_>, place: StartsIn, runtime: &InitEnd) -> i32 {
    let Err(error) = run(setup, place, runtime);
    super::fail(&error, runtime)
}

fn run(setup: &ExecSetup<'_>, place: StartsIn, runtime: &InitEnd) -> Result<Infallible> {
    caller::forget(c"orlop:[exec]")?;
    runtime.begin()?; // our cgroup is as it should be

    signal::begin_afresh()?;
    if place == StartsIn::Outside {
        go_inside(setup, setup.own & !setup.born_in)?;
    }
    rustix::process::setsid().named(|| "setsid()".to_owned())?;
    terminal::give_exec(setup.entry, runtime)?;

    let program =
        handover::prepare(setup.entry, Home::look_up_inside(&setup.entry.process), runtime)?;
    runtime.ready()?; // the pid file is written
    handover::finish(setup.entry, &program, runtime, |_| Ok(()))
}

/// From the host into the container, by joining `namespaces`, with all that needs the host: it is
/// out of reach then.
///
/// # Errors
/// The failed call's.
pub fn go_inside(setup: &ExecSetup<'_>, namespaces: u32) -> Result<()> {
    // The container's may be anything (CVE-2025-52881).
    let host_proc = if setup.entry.process.labels.is_empty() { None } else { Some(Proc::open()?) };
    join(setup, namespaces)?;
    keyring::join(setup.entry, host_proc.as_ref())?;
    labels::of_program(&setup.entry.process.labels, host_proc.as_ref())
}

/// We were born non-dumpable, so that nobody in there can trace us or reach our descriptors
/// (CVE-2016-9962); changing ids may undo that.
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
