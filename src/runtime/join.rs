//! Makes a process in a container that is there already, for `exec`.
//! config.json: process.execCPUAffinity.final
//! process: runtime
//!
//! One clone3(2) into the cgroup. What it makes goes inside and makes the process there
//! ([`bootstrap::main_of_exec`]); or, where the container has a user namespace of its own and so no
//! rights to look at us, it is the process: then we visit the pid and time namespaces for its
//! birth, which count for children only, and it joins all others itself ([`crate::init::exec`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::spawn::{Child, Init, adopt_init, close_runtime_end, with_namespaces_restored};
use super::watch::Watch;
use super::{limits, stdio};
use crate::bootstrap;
use crate::cgroup::{Cgroup, CgroupMembership};
use crate::error::{Context, Failure, Result};
use crate::init::exec::{self, ExecSetup, StartsIn};
use crate::plan::exec::ExecPlan;
use crate::plan::namespaces::{CloneMethod, KINDS, MOUNT, PID, TIME};
use crate::sync::{self, ToInit};
use crate::sys::clone::{self, NewProcess, SingleThreaded};
use crate::sys::wait::{self, Bound};
use crate::sys::{Call, fd, process};

/// Where the process goes.
#[derive(Debug)]
pub struct ExecTarget<'a> {
    /// The container's init.
    pub init: &'a OwnedFd,
    /// Its pid.
    pub pid: i32,
    /// The cgroup.
    pub cgroup: &'a Cgroup,
    /// Where cgroup v2 is mounted, if init's cgroup will do when this one cannot be joined.
    pub or_cgroup_of_init: Option<&'a Path>,
}

impl ExecTarget<'_> {
    /// # Errors
    /// [`Failure::WrongStatus`] when init has ended: then its pid may be somebody else's, and the
    /// namespaces are dead.
    fn check_alive(&self) -> Result<()> {
        if wait::readable(self.init.as_fd(), Bound::NOW)? {
            return Err(stopped());
        }
        Ok(())
    }
}

/// There is nothing to join.
#[must_use]
pub fn stopped() -> anyhow::Error {
    Failure::WrongStatus("cannot exec in a stopped container".to_owned()).into()
}

/// Gives birth to the process, in the cgroup; it waits for nothing more to begin its work.
///
/// # Errors
/// What went wrong on either side.
pub fn give_birth(plan: &ExecPlan, target: &ExecTarget<'_>, watch: &mut Watch<'_>) -> Result<Init> {
    let token = SingleThreaded::prove()?;
    let (wire, exec_end) = sync::pair()?;
    let birth = plan.birth;
    let inherited = plan.own & (PID.flag | TIME.flag);
    let setup = ExecSetup {
        entry: &plan.entry,
        init: target.init,
        own: plan.own,
        born_in: inherited,
        root: root(plan, target)?,
    };
    let make = |cgroup: Option<BorrowedFd<'_>>| {
        let place = clone::CloneRequest { namespaces: 0, cgroup, sibling: false };
        clone::clone(token, &place, || {
            close_runtime_end(&wire);
            match birth {
                CloneMethod::Direct => exec::main(&setup, StartsIn::Outside, &exec_end),
                CloneMethod::ViaBootstrap => bootstrap::main_of_exec(token, &setup, &exec_end),
            }
        })
    };
    let lent = limits::lend(&plan.entry.process)?;
    if plan.dumpable {
        // From its first moment the child is seen by the container's processes (CVE-2016-9962).
        process::set_dumpable(false)?;
    }
    let born = match birth {
        CloneMethod::Direct => {
            in_children_namespaces(target, inherited, || into_cgroup(target, make))
        }
        CloneMethod::ViaBootstrap => into_cgroup(target, make),
    };
    if plan.dumpable {
        process::set_dumpable(true)?;
    }
    lent.take_back()?;
    let (newborn, born) = born?;
    drop(exec_end); // else the wire would not end with the process in between
    let child = Child::adopt(newborn);
    add(target, child.pid, born)?;
    let exec = match birth {
        CloneMethod::Direct => Init { child, wire },
        CloneMethod::ViaBootstrap => {
            wire.send(&ToInit::Begin)?;
            adopt_init(child, wire, watch)?
        }
    };
    limits::final_cpus(&plan.entry.process.exec_cpu_affinity, exec.child.pid)?;
    stdio::give(&plan.entry)?;
    target.check_alive()?;
    exec.begin()?;
    Ok(exec)
}

/// The root directory of a container without a mount namespace of its own, which joining would
/// bring along.
fn root(plan: &ExecPlan, target: &ExecTarget<'_>) -> Result<Option<OwnedFd>> {
    if plan.own & MOUNT.flag != 0 {
        return Ok(None);
    }
    let root =
        fd::open(format!("/proc/{}/root", target.pid).as_ref(), OFlags::PATH | OFlags::DIRECTORY)?;
    target.check_alive()?;
    Ok(Some(root))
}

fn in_children_namespaces<T>(
    target: &ExecTarget<'_>,
    flags: u32,
    birth: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if flags == 0 {
        return birth();
    }
    with_namespaces_restored(KINDS.iter().copied().filter(|kind| kind.flag & flags != 0), || {
        match clone::setns(target.init.as_fd(), flags) {
            Err(call) if call.is(Errno::SRCH) => return Err(stopped()),
            result => result.context("joining the container's namespaces")?,
        }
        birth()
    })
}

/// Makes it in the cgroup, where the kernel lets us.
fn into_cgroup(
    target: &ExecTarget<'_>,
    make: impl Fn(Option<BorrowedFd<'_>>) -> Result<NewProcess, Call>,
) -> Result<(NewProcess, CgroupMembership)> {
    let cgroup = target.cgroup.clone_into();
    let made = match make(cgroup) {
        // It has sub-cgroups with controllers, or is being removed, or only the user's systemd can
        // move processes there.
        Err(call)
            if cgroup.is_some()
                && [Errno::BUSY, Errno::NODEV, Errno::ACCESS].iter().any(|no| call.is(*no)) =>
        {
            return Ok((make(None).context("making the process")?, CgroupMembership::Outside));
        }
        // The pid namespace has lost its init.
        Err(call) if call.is(Errno::NOMEM) => {
            target.check_alive()?;
            Err(call)
        }
        made => made,
    };
    let born = if cgroup.is_some() { CgroupMembership::Inside } else { CgroupMembership::Outside };
    Ok((made.context("making the process")?, born))
}

/// Adds it to the cgroup, or to that of init, which may have moved itself below, so that the
/// container's own can hold no processes any more.
fn add(target: &ExecTarget<'_>, pid: i32, born: CgroupMembership) -> Result<()> {
    let mut added = target.cgroup.add(pid, born);
    if let (Err(_), Some(mount)) = (&added, target.or_cgroup_of_init)
        && let Some(cgroup) = Cgroup::of_process(target.pid, mount)?
    {
        target.check_alive()?;
        added = cgroup.of_unit(target.cgroup.unit().cloned()).add(pid, born);
    }
    added.with_context(|| format!("error adding pid {pid} to cgroups"))
}
