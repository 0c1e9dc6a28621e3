//! We are a process that `exec` made: born in the container's pid and time namespaces and in its cgroup. Our job: join
//! what else there is of it, and become the program.
//! process: exec
//!
//! There is no process in between, as a rule. What other runtimes need one for is done by the kernel in one call each:
//! clone3(2) puts us into the cgroup, and setns(2) on a pidfd joins all namespaces together, rights over all of them
//! being checked before any is changed. Only an ordinary user needs the bootstrap, to whom the kernel gives a pid
//! namespace to make children in only from within the user namespace that owns it, where the runtime cannot go
//! ([`crate::bootstrap::main_of_exec`]).

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use super::{handover, keyring, terminal};
use crate::error::{Context, Result};
use crate::plan::Entry;
use crate::plan::namespaces::USER;
use crate::sync::{FromInit, InitEnd};
use crate::sys::proc::Proc;
use crate::sys::{Named, clone, ids, mount, process as this, signal};

/// What the process is born with besides the wire: its copy of the runtime's memory.
#[derive(Debug)]
pub struct Setup<'a> {
    /// What to do.
    pub entry: Entry<'a>,
    /// The container's init.
    pub init: &'a OwnedFd,
    /// The namespaces that are the container's own: `CLONE_NEW…` flags.
    pub own: u32,
    /// Those of them that we are born in.
    pub born_in: u32,
    /// The root directory, where the container has no mount namespace that brings it along.
    pub root: Option<OwnedFd>,
}

/// Runs until it is the program; gives an exit code when it could not be.
pub fn main(setup: &Setup<'_>, runtime: &InitEnd) -> i32 {
    let Err(error) = run(setup, runtime);
    super::fail(&error, runtime)
}

fn run(setup: &Setup<'_>, runtime: &InitEnd) -> Result<Infallible> {
    this::set_name(c"orlop:[exec]")?;
    runtime.wait()?; // our cgroup is as it should be

    signal::restore()?;
    // The container's may be anything (CVE-2025-52881).
    let host_proc = if setup.entry.process.labels.is_empty() { None } else { Some(Proc::open()?) };
    join(setup)?;
    rustix::process::setsid().named(|| "setsid()".to_owned())?;
    keyring::join(&setup.entry, host_proc.as_ref())?;
    terminal::give_exec(&setup.entry, runtime)?;

    let program = handover::prepare(&setup.entry, host_proc.as_ref(), runtime)?;
    runtime.ask(&FromInit::Ready)?; // the pid file is written
    handover::finish(&setup.entry, &program, runtime, || Ok(()))
}

/// From the host into the container. We were born non-dumpable, so that nobody in there can trace us or reach our
/// descriptors (CVE-2016-9962); changing ids may undo that.
fn join(setup: &Setup<'_>) -> Result<()> {
    let rest = setup.own & !setup.born_in;
    if rest != 0 {
        clone::setns(setup.init.as_fd(), rest).context("joining the container's namespaces")?;
    }
    if setup.own & USER.flag != 0 {
        ids::become_user(0, 0).context("becoming root of the user namespace")?;
        this::set_dumpable(false)?;
    }
    if let Some(root) = &setup.root {
        rustix::process::fchdir(root).named(|| "fchdir(root)".to_owned())?;
        mount::chroot_to_cwd()?;
    }
    Ok(())
}
