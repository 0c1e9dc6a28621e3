//! The last steps of each process that enters a container: it becomes the user, and executes the
//! program. In between, init waits for `start`, and `exec` writes its pid file.
//! config.json: process.cwd, process.user.umask, linux.personality.{domain, flags}
//! config.json: linux.memoryPolicy.{mode, nodes, flags}
//! process: init, and a process of `exec`, inside the rootfs
//!
//! The order is the same as in `standard_init_linux.go` of runc, which has been audited, with two
//! differences. The filter is loaded last, so that a profile only has to allow execve, except with
//! `early_filter`: init then loads it before it waits for `start`. It may notify an agent of all
//! calls except execve, because a thread without the filter sends the listener. And everything that
//! can fail is done in [`prepare`], so that `create` reports the error and not `start`.

use std::convert::Infallible;
use std::os::fd::AsFd;

use rustix::fs::Mode;
use rustix::io::Errno;

use super::program::{Home, Program};
use super::{limits, null, seccomp, user};
use crate::error::{AtKey, Report, Result};
use crate::plan::EntryPlan;
use crate::sync::{FromInit, InitEnd};
use crate::sys::clone::exit_now;
use crate::sys::{Named, fd, process, scheduling, signal};

/// The first descriptor after stdio.
const FIRST: u32 = 3;

/// Becomes the user and changes to the working directory. After that, only the startContainer
/// hooks, the filter and execve(2) of the program are left.
///
/// # Errors
/// The error of the failed call; the errors of looking up the program (`init/program.rs`).
pub fn prepare(plan: &EntryPlan, home: Home, runtime: &InitEnd) -> Result<Program> {
    if let Some(domain) = plan.process.personality {
        process::set_personality(domain).at("/linux/personality")?;
    }
    if let Some(policy) = &plan.process.memory_policy {
        scheduling::set_memory_policy(policy.mode, &policy.nodes).at("/linux/memoryPolicy")?;
    }
    null::replace()?;
    rustix::process::umask(Mode::from_raw_mode(plan.process.user.umask));
    fd::close_on_exec_from(FIRST)?; // CVE-2024-21626
    let there = change_directory(plan)?;
    if plan.process.has_limits() {
        if plan.keeps_rights {
            limits::set(&plan.process, 0)?;
        } else {
            runtime.request_limits()?;
        }
    }
    user::become_user(plan)?;
    if !there {
        change_directory(plan)?;
    }
    verify_directory().at("/process/cwd")?;
    Program::find(&plan.process, home)
}

/// Closes all descriptors except the program's and `kept`. A number that the caller had not opened
/// may be one of our own. This is done before the wait for `start`, which may be long, so that no
/// process waits for the end of a file that only we have open. It is also done before other
/// processes can examine this one.
///
/// # Errors
/// Errors of close_range(2).
pub fn close_all_but(kept: impl AsFd, plan: &EntryPlan) -> Result<()> {
    Ok(fd::close_copies_but(FIRST, &plan.preserved_fds, kept.as_fd())?)
}

/// Runs `last` and executes the program. Errors are sent on `wire`.
pub fn finish(
    plan: &EntryPlan,
    program: &Program,
    wire: &InitEnd,
    last: impl FnOnce(&InitEnd) -> Result<()>,
) -> ! {
    let Err(error) = become_program(plan, program, wire, last);
    // If the other end is closed, the runtime does not need the error.
    let _ = wire.send(&FromInit::Failed(Report::of(&error)));
    // This exits without dropping anything, since an owned descriptor must not be closed twice.
    exit_now(1)
}

/// Closes all descriptors that are not the program's, runs `last`, loads the filter and executes
/// the program. If a descriptor of ours stayed open, a link of the image to /proc/self/fd could
/// name files of the host and execute them (CVE-2024-21626). execve(2) closes the socket.
fn become_program(
    plan: &EntryPlan,
    program: &Program,
    wire: &InitEnd,
    last: impl FnOnce(&InitEnd) -> Result<()>,
) -> Result<Infallible> {
    close_all_but(wire.as_fd(), plan)?;
    last(wire)?;
    for number in &plan.preserved_fds {
        fd::keep_over_exec(*number)?;
    }
    // After the hooks: SIGPIPE of a hook that does not read its state must not end us.
    signal::reset_sigpipe()?;
    if !plan.early_filter {
        seccomp::load(plan.seccomp.as_ref(), wire)?;
    }
    Err(program.execute().into())
}

/// chdir(2), which may need the privileges of root or of the user. Returns false if it must be
/// tried again.
fn change_directory(plan: &EntryPlan) -> Result<bool> {
    let cwd = plan.process.cwd.as_str();
    match rustix::process::chdir(cwd) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS) if rustix::process::geteuid().as_raw() != plan.process.user.uid => {
            Ok(false)
        }
        Err(errno) => Err(errno).named_on("chdir", cwd).at("/process/cwd"),
    }
}

/// Checks the working directory. A directory outside of the root has no path, and getcwd(2) reports
/// that (CVE-2024-21626).
fn verify_directory() -> Result<()> {
    let path = rustix::process::getcwd(Vec::new()).named(|| "getcwd()".to_owned())?;
    if !path.as_bytes().starts_with(b"/") {
        anyhow::bail!("the working directory is outside of the container");
    }
    Ok(())
}
