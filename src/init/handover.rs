//! The last page, the same for every process that enters a container: be the user, then become the
//! program. In between is where `create` and `start` meet, and where `exec` writes its pid file.
//! config.json: process.cwd, process.user.umask, linux.personality.{domain, flags}
//! config.json: linux.memoryPolicy.{mode, nodes, flags}
//! process: init, and what `exec` makes, inside the rootfs
//!
//! The order is runc's `standard_init_linux.go`, which has been audited, but for two things. The
//! filter is loaded last, so that a profile need allow nothing but execve (nor leave anything but
//! execve unasked: its listener is handed over by a thread without a filter); and whatever can fail
//! does so in [`prepare`], so that `create` tells it and not `start`.

use std::convert::Infallible;
use std::os::fd::AsFd;

use rustix::fs::Mode;
use rustix::io::Errno;

use super::program::{Home, Program};
use super::{limits, seccomp, user};
use crate::error::{AtKey, Report, Result};
use crate::plan::Entry;
use crate::sync::{FromInit, InitEnd};
use crate::sys::clone::exit_now;
use crate::sys::{Call, Named, fd, process, scheduling, signal};

/// The first descriptor that is not stdio.
const FIRST: u32 = 3;

/// Closes all that are not the program's but `kept`. A number in between that the caller had not
/// opened may be one of ours.
fn close_ours(plan: &Entry, kept: impl AsFd) -> Result<(), Call> {
    fd::close_copies_but(FIRST, &plan.preserved_fds, kept.as_fd())
}

/// Becomes the user, in the working directory, with nothing left to do but the program.
///
/// # Errors
/// Why not.
pub fn prepare(plan: &Entry, home: Home, runtime: &InitEnd) -> Result<Program> {
    if let Some(domain) = plan.process.personality {
        process::set_personality(domain).at("/linux/personality")?;
    }
    if let Some(policy) = &plan.process.memory_policy {
        scheduling::set_memory_policy(policy.mode, &policy.nodes).at("/linux/memoryPolicy")?;
    }
    rustix::process::umask(Mode::from_raw_mode(plan.process.user.umask));
    fd::close_on_exec_from(FIRST)?; // CVE-2024-21626
    let there = change_directory(plan)?;
    if plan.process.has_limits() {
        if plan.keeps_rights {
            limits::set(&plan.process, 0)?;
        } else {
            runtime.limits()?;
        }
    }
    user::become_user(plan)?;
    if !there {
        change_directory(plan)?;
    }
    verify_directory().at("/process/cwd")?;
    Program::find(&plan.process, home)
}

/// Closes all descriptors that are not the program's but `kept`: before the wait for `start`, which
/// may be long, so that nobody waits for the end of a file that only we hold; and before a process
/// is where others may look into it.
///
/// # Errors
/// The call's.
pub fn close_all_but(kept: impl AsFd, plan: &Entry) -> Result<()> {
    Ok(close_ours(plan, kept)?)
}

/// Becomes the program, after `last`. Why not is told on `wire`; there is no way back.
pub fn finish(
    plan: &Entry,
    program: &Program,
    wire: &InitEnd,
    last: impl FnOnce(&InitEnd) -> Result<()>,
) -> ! {
    let Err(error) = become_program(plan, program, wire, last);
    // If nobody hears it, nobody wants to know.
    let _ = wire.send(&FromInit::Failed(Report::of(&error)));
    // Whoever owns a descriptor must not close it again.
    exit_now(1)
}

/// First all of our descriptors are closed but the wire, which execve(2) closes: an image's link to
/// /proc/self/fd would find the host's files by them, and execute them (CVE-2024-21626).
fn become_program(
    plan: &Entry,
    program: &Program,
    wire: &InitEnd,
    last: impl FnOnce(&InitEnd) -> Result<()>,
) -> Result<Infallible> {
    close_ours(plan, wire.as_fd())?;
    last(wire)?;
    for number in &plan.preserved_fds {
        fd::keep_over_exec(*number)?;
    }
    // Not before the hooks: one that does not read its state must not end us.
    signal::end_on_broken_pipes()?;
    if !plan.early_filter {
        seccomp::load(plan.seccomp.as_ref(), wire)?;
    }
    Err(program.execute().into())
}

/// chdir(2), which may need the rights of root or those of the user: true when done, false when it
/// is to be tried again.
fn change_directory(plan: &Entry) -> Result<bool> {
    let cwd = plan.process.cwd.as_str();
    match rustix::process::chdir(cwd) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS) if rustix::process::geteuid().as_raw() != plan.process.user.uid => {
            Ok(false)
        }
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
