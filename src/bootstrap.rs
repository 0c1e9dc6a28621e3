//! The bootstrap: a process between the runtime and init (or the process of `exec`). It joins the
//! namespaces, creates the process, and ends. It is needed in three cases: for a container with a
//! user namespace and a joined namespace; for root of a user namespace, who cannot leave joined
//! namespaces again; and for a process of `exec` that could be traced in the container.
//! config.json: linux.namespaces
//! config.json: linux.timeOffsets.{monotonic, boottime}.{secs, nanosecs}
//! process: bootstrap

use std::fs::File;
use std::io::Write;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{AtKey, Context, Failure, Problem, Report, Result};
use crate::init::exec::{self, StartsIn};
use crate::init::handover::close_all_but;
use crate::init::{self, InitSetup, JoinedNamespace};
use crate::plan::id_mappings::{IdMappingsPlan, to_text};
use crate::plan::namespaces::{NamespacesPlan, TIME, USER};
use crate::sync::{FromInit, InitEnd};
use crate::sys::clone::{self, SingleThreaded};
use crate::sys::proc::Proc;
use crate::sys::{CallText, Named, caller, process};

/// Runs the bootstrap, and returns its exit code.
pub fn main(token: SingleThreaded, setup: &InitSetup<'_>, runtime: &InitEnd) -> i32 {
    report(runtime, run(token, setup, runtime))
}

fn report(runtime: &InitEnd, result: Result<i32>) -> i32 {
    let said = match result {
        Ok(pid) => runtime.send(&FromInit::Forked(pid)),
        Err(error) => runtime.send(&FromInit::Failed(Report::of(&error))),
    };
    // If the other end is closed, the runtime does not need the message.
    i32::from(said.is_err())
}

fn run(token: SingleThreaded, setup: &InitSetup<'_>, runtime: &InitEnd) -> Result<i32> {
    caller::erase_and_rename(c"orlop:[boot]")?;
    runtime.wait_for_begin()?;
    let clocks = open_clocks(&setup.plan.namespaces)?;
    if setup.plan.entry.ids.joined {
        // Processes in the namespace have all privileges over us, and over init as soon as it
        // exists (CVE-2016-9962).
        process::set_dumpable(false)?;
    }
    join(setup.joined)?;
    if setup.plan.entry.ids.joined {
        process::set_dumpable(false)?; // where fs.suid_dumpable is not 0
    }
    compare_ids(&setup.plan.entry.ids)?;
    let mut namespaces = setup.plan.namespaces.create;
    if clocks.is_some() && namespaces & USER.flag != 0 {
        // First, since it gives an ordinary user the permission to create the time namespace and to
        // set its clocks.
        clone::unshare(USER.flag)?;
        namespaces &= !USER.flag;
    }
    make_time_namespace(&setup.plan.namespaces, clocks)?;
    // A sibling: the runtime is its parent and waits for it.
    let request = clone::CloneRequest { namespaces, cgroup: None, sibling: true };
    let cloned = clone::clone(token, &request, || init::main(setup, runtime))
        .context("making the container's init")?;
    Ok(cloned.pid)
}

/// As [`main`], for `exec`: joins the namespaces of the container, and then creates the process.
/// The process has no descriptor of the host, because processes in the container see it. With
/// CAP_SYS_PTRACE, they can trace it even though it is not dumpable. Through its descriptors or
/// /proc/PID/root, they could then access the host (CVE-2016-9962).
pub fn main_of_exec(token: SingleThreaded, setup: &exec::ExecSetup<'_>, runtime: &InitEnd) -> i32 {
    let run = || -> Result<i32> {
        caller::erase_and_rename(c"orlop:[boot]")?;
        runtime.wait_for_begin()?;
        exec::go_inside(setup, setup.own)?;
        close_all_but(runtime, setup.entry)?;
        let request = clone::CloneRequest { namespaces: 0, cgroup: None, sibling: true };
        let child = || exec::main(setup, StartsIn::Inside, runtime);
        let cloned = clone::clone(token, &request, child).context("making the process")?;
        Ok(cloned.pid)
    };
    report(runtime, run())
}

/// Joins the user namespace after the others, because then we lose the privileges over the
/// namespaces of the host. Namespaces that are refused are joined after it, because an ordinary
/// user has privileges only inside.
fn join(namespaces: &[JoinedNamespace]) -> Result<()> {
    let mut refused = Vec::new();
    for joined in namespaces.iter().filter(|joined| *joined.kind != USER) {
        match joined.enter() {
            Err(call) if call.is(Errno::PERM) => refused.push(joined),
            result => joined.explain(result)?,
        }
    }
    for joined in namespaces.iter().filter(|joined| *joined.kind == USER).chain(refused) {
        joined.explain(joined.enter())?;
    }
    Ok(())
}

/// Opens the file with the offsets of a new time namespace, if the plan has one. It must be opened
/// while the process of an ordinary user is dumpable: later the file belongs to root.
///
/// # Errors
/// The error of the failed call.
pub(crate) fn open_clocks(plan: &NamespacesPlan) -> Result<Option<File>> {
    if plan.time_offsets.is_empty() {
        return Ok(None);
    }
    let file =
        Proc::open()?.open_in("self/timens_offsets", OFlags::WRONLY).at("/linux/timeOffsets")?;
    Ok(Some(File::from(file)))
}

/// Creates the time namespace of our children, and sets its offsets while no process is in it.
/// (clone3 creates one without offsets.)
///
/// # Errors
/// The error of the failed call.
pub(crate) fn make_time_namespace(plan: &NamespacesPlan, clocks: Option<File>) -> Result<()> {
    const FILE: &str = "/proc/self/timens_offsets";
    let Some(mut clocks) = clocks else { return Ok(()) };
    clone::unshare(TIME.flag).at("/linux/timeOffsets")?;
    let offsets = plan.time_offsets.concat();
    let written = clocks.write_all(offsets.as_bytes());
    written
        .named(|| CallText::with_path(format!("write({FILE:?}, {offsets:?})"), FILE))
        .at("/linux/timeOffsets")
}

/// Checks the mappings of a config that joins a user namespace: they must be equal to the mappings
/// of that namespace.
fn compare_ids(plan: &IdMappingsPlan) -> Result<()> {
    if !plan.joined {
        return Ok(());
    }
    let proc = Proc::open()?;
    for (key, file, mappings) in
        [("uidMappings", "uid_map", &plan.uid), ("gidMappings", "gid_map", &plan.gid)]
    {
        let found = proc.read(&format!("self/{file}"))?;
        let numbers = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if !mappings.is_empty() && numbers(&found) != numbers(&to_text(mappings)) {
            let text =
                "non-matching mapping: the user namespace that is joined has another".to_owned();
            return Err(Failure::BadConfig(Problem::new(format!("/linux/{key}"), text)).into());
        }
    }
    Ok(())
}
