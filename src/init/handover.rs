//! The last page, the same for every process that enters a container: be the user, stop at the gate, become the program.
//! config.json: process.cwd, process.user.umask, linux.personality
//! process: init, inside the rootfs
//!
//! The order is runc's `standard_init_linux.go`, which has been audited, but for two things. The filter is always loaded
//! last, so that a profile need allow nothing but execve; and whatever can fail does so before [`FromInit::Ready`], so
//! that `create` tells it and not `start`.

use std::convert::Infallible;

use rustix::fs::Mode;
use rustix::io::Errno;

use super::program::{Home, Program};
use super::{Setup, run_hooks, seccomp, user};
use crate::error::{AtKey, Context, Report, Result};
use crate::plan::Plan;
use crate::plan::hooks::Moment;
use crate::state::Status;
use crate::sync::{FromInit, InitEnd, ToInit};
use crate::sys::{Named, fd, process, signal, socket};

/// The first descriptor that is not the program's.
const FIRST_OF_OURS: u32 = 3;

/// Becomes the program.
///
/// # Errors
/// Why not.
pub fn to_program(setup: &Setup<'_>, runtime: &InitEnd) -> Result<Infallible> {
    let plan = setup.plan;
    if let Some(domain) = plan.process.personality {
        process::set_personality(domain).at("/linux/personality")?;
    }
    rustix::process::umask(Mode::from_raw_mode(plan.process.user.umask));
    fd::close_on_exec_from(FIRST_OF_OURS)?; // CVE-2024-21626
    let there = change_directory(plan)?;
    let home = Home::look_up(&plan.process);
    if !plan.process.rlimits.is_empty() {
        runtime.ask(&FromInit::Limits)?;
    }
    user::become_user(plan)?;
    if !there {
        change_directory(plan)?;
    }
    verify_directory().at("/process/cwd")?;
    let program = Program::find(&plan.process, home)?;

    runtime.ask(&FromInit::Ready)?; // `create` returns
    match &setup.gate {
        None => finish(plan, &program),
        Some(gate) => {
            let start = wait_at(gate)?; // `start` goes on here
            let Err(error) = finish(plan, &program);
            // If nobody hears it, nobody wants to know.
            let _ = start.tell(&FromInit::Failed(Report::of(&error)));
            Err(error)
        }
    }
}

fn finish(plan: &Plan, program: &Program) -> Result<Infallible> {
    run_hooks(plan, Moment::StartContainer, Status::Created)?;
    seccomp::load(plan)?;
    Err(program.execute().into())
}

/// chdir(2), which may need the rights of root or those of the user: true when done, false when it is to be tried again.
fn change_directory(plan: &Plan) -> Result<bool> {
    let cwd = plan.process.cwd.as_str();
    match rustix::process::chdir(cwd) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS) if rustix::process::geteuid().as_raw() != plan.process.user.uid => Ok(false),
        Err(errno) => Err(errno).named(|| format!("chdir({cwd:?})")).at("/process/cwd"),
    }
}

/// A working directory outside the root has no path, and the kernel says so (CVE-2024-21626).
fn verify_directory() -> Result<()> {
    let path = rustix::process::getcwd(Vec::new()).named(|| "getcwd()".to_owned())?;
    if !path.as_bytes().starts_with(b"/") {
        anyhow::bail!("the working directory is outside of the container");
    }
    Ok(())
}

/// Waits for a `start` that means it: one that goes away again, killed, has not opened the gate.
fn wait_at(gate: &std::os::fd::OwnedFd) -> Result<InitEnd> {
    signal::end_on_usual_signals()?;
    loop {
        let start = InitEnd::from_fd(socket::accept(gate).context("waiting for start")?);
        if let Some(ToInit::Go) = start.next()? {
            return Ok(start);
        }
    }
}
