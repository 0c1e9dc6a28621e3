//! Creates a process in an existing container, for `exec`.
//! config.json: process.execCPUAffinity.final
//! process: runtime
//!
//! One clone3(2) creates a child in the cgroup. Usually, this child joins the namespaces and
//! creates the process inside the container ([`bootstrap::main_of_exec`]). If the container has its
//! own user namespace, its processes have no privileges over ours, and the child becomes the
//! process itself. The pid and time namespaces only apply to new children, so in that case we join
//! them for the time of the clone. The child joins all other namespaces itself
//! ([`crate::init::exec`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::child::{Child, close_runtime_end};
use super::spawn::{Init, adopt_init, with_namespaces_restored};
use super::watch::Watch;
use super::{limits, stdio};
use crate::bootstrap;
use crate::cgroup::{Cgroup, CgroupMembership};
use crate::error::{Context, Failure, Result};
use crate::init::exec::{self, ExecSetup, StartsIn};
use crate::plan::CgroupLayout;
use crate::plan::exec::ExecPlan;
use crate::plan::namespaces::{CloneMethod, KINDS, MOUNT, PID, TIME};
use crate::sync::{self, ToInit};
use crate::sys::clone::{self, NewProcess, SingleThreaded};
use crate::sys::wait::{self, Bound};
use crate::sys::{Call, fd, process};

/// The container in which the process is created.
#[derive(Debug)]
pub struct ExecTarget<'a> {
    /// The container's init.
    pub init: &'a OwnedFd,
    /// Its pid.
    pub pid: i32,
    /// The cgroup.
    pub cgroup: &'a Cgroup,
    /// Whether the process may use the cgroup of init, on cgroup v2, if it cannot join `cgroup`.
    pub or_cgroup_of_init: bool,
}

impl ExecTarget<'_> {
    /// # Errors
    /// [`Failure::WrongStatus`] if init has ended. Then its pid may belong to another process, and
    /// its namespaces are not usable.
    fn check_alive(&self) -> Result<()> {
        if wait::readable(self.init.as_fd(), Bound::NOW)? {
            return Err(stopped());
        }
        Ok(())
    }
}

/// The error for a container that has stopped.
#[must_use]
pub fn stopped() -> anyhow::Error {
    Failure::WrongStatus("cannot exec in a stopped container".into()).into()
}

/// Creates the process, adds it to the cgroup, and sends it [`ToInit::Begin`].
///
/// # Errors
/// The error of the failed call, or the error that the process reports.
pub fn make_process(
    plan: &ExecPlan,
    target: &ExecTarget<'_>,
    watch: &mut Watch<'_>,
) -> Result<Init> {
    let token = SingleThreaded::prove()?;
    let (wire, exec_end) = sync::pair()?;
    let method = plan.clone_method;
    let inherited = plan.own & (PID.flag | TIME.flag);
    let setup = ExecSetup {
        entry: &plan.entry,
        init: target.init,
        own: plan.own,
        created_in: inherited,
        root: root(plan, target)?,
    };
    let make = |cgroup: Option<BorrowedFd<'_>>| {
        let place = clone::CloneRequest { namespaces: 0, cgroup, sibling: false };
        clone::clone(token, &place, || {
            close_runtime_end(&wire);
            match method {
                CloneMethod::Direct => exec::main(&setup, StartsIn::Outside, &exec_end),
                CloneMethod::ViaBootstrap => bootstrap::main_of_exec(token, &setup, &exec_end),
            }
        })
    };
    let lent = limits::lend(&plan.entry.process)?;
    if plan.dumpable {
        // The container's processes can see the child as soon as it exists (CVE-2016-9962).
        process::set_dumpable(false)?;
    }
    let made = match method {
        CloneMethod::Direct => {
            in_children_namespaces(target, inherited, || into_cgroup(target, make))
        }
        CloneMethod::ViaBootstrap => into_cgroup(target, make),
    };
    if plan.dumpable {
        process::set_dumpable(true)?;
    }
    lent.take_back()?;
    let (cloned, membership) = made?;
    drop(exec_end); // so that the wire ends when the bootstrap ends
    let child = Child::adopt(cloned);
    add(target, child.pid, membership)?;
    let exec = match method {
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

/// The root directory of a container without its own mount namespace. (Otherwise, joining the mount
/// namespace sets the root directory.)
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
    clone: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if flags == 0 {
        return clone();
    }
    with_namespaces_restored(KINDS.iter().copied().filter(|kind| kind.flag & flags != 0), || {
        match clone::setns(target.init.as_fd(), flags) {
            Err(call) if call.is(Errno::SRCH) => return Err(stopped()),
            result => result.context("joining the container's namespaces")?,
        }
        clone()
    })
}

/// Creates the process in the cgroup if the kernel allows that, and otherwise in our own.
fn into_cgroup(
    target: &ExecTarget<'_>,
    make: impl Fn(Option<BorrowedFd<'_>>) -> Result<NewProcess, Call>,
) -> Result<(NewProcess, CgroupMembership)> {
    let cgroup = target.cgroup.fd_for_clone3();
    let made = match make(cgroup) {
        // The cgroup has sub-cgroups with controllers, or is being removed, or only the user's
        // systemd can move processes into it.
        Err(call)
            if cgroup.is_some()
                && [Errno::BUSY, Errno::NODEV, Errno::ACCESS].iter().any(|no| call.is(*no)) =>
        {
            return Ok((make(None).context("making the process")?, CgroupMembership::Outside));
        }
        // The init of the pid namespace has ended.
        Err(call) if call.is(Errno::NOMEM) => {
            target.check_alive()?;
            Err(call)
        }
        made => made,
    };
    let membership =
        if cgroup.is_some() { CgroupMembership::Inside } else { CgroupMembership::Outside };
    Ok((made.context("making the process")?, membership))
}

/// Adds the process to the cgroup, or else to the cgroup of init. Init may have moved itself into a
/// cgroup below, and then the container's own cgroup may not contain processes.
fn add(target: &ExecTarget<'_>, pid: i32, membership: CgroupMembership) -> Result<()> {
    let mut added = target.cgroup.add(pid, membership);
    if added.is_err()
        && target.or_cgroup_of_init
        && let CgroupLayout::Unified { mount, .. } = CgroupLayout::probe()?
        && let Some(cgroup) = Cgroup::of_process(target.pid, &mount)?
    {
        target.check_alive()?;
        added = cgroup.of_unit(target.cgroup.unit().cloned()).add(pid, membership);
    }
    added.with_context(|| format!("error adding pid {pid} to cgroups"))
}
