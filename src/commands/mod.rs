//! One file for each verb: its request, and its flow from top to bottom. This is also the interface
//! for other programs: requests are plain values, results are typed, and nothing is printed.
//! process: runtime
//!
//! Every function takes the state root, the directory of all containers (`--root`), and blocks
//! until it is done. Most functions do not change the calling process. Those that do have a section
//! "In a process of its own". They create children by clone3(2), which needs a process with one
//! thread, and change what belongs to the whole process (the working directory, the signal mask,
//! descriptors). A program that also does other things calls them in a child.
//!
//! Errors are [`anyhow::Error`](crate::error)s in which the cases that a caller may branch on are a
//! [`Failure`](crate::error::Failure). A [`Report`](crate::error::Report) has everything about an
//! error as plain data.
//!
//! # Examples
//! The life of a container, as a program sees it. It runs in the tests, as root.
//!
//! ```standalone_crate
//! use orlop::cgroup::Cgroup;
//! use orlop::commands::create::{Create, create};
//! use orlop::commands::delete::{Delete, delete};
//! use orlop::commands::exec::{Exec, exec};
//! use orlop::commands::kill::{Kill, kill};
//! use orlop::commands::pause::{pause, resume};
//! use orlop::commands::start::start;
//! use orlop::commands::state::state;
//! use orlop::commands::update::{Change, Limits, Update, update};
//! use orlop::commands::{CreatedProcess, Document};
//! use orlop::container::{Container, ContainerId};
//! use orlop::state::Status;
//! use rustix::process::{WaitId, WaitIdOptions, waitid};
//!
//! # fn main() -> anyhow::Result<()> {
//! # let place = tempfile::tempdir()?;
//! # let (bundle, state_root) = (place.path(), place.path().join("state"));
//! # std::fs::create_dir_all(bundle.join("rootfs/bin"))?;
//! # let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| std::fs::metadata(path).is_ok());
//! # std::fs::copy(busybox.expect("busybox-static"), bundle.join("rootfs/bin/busybox"))?;
//! std::fs::write(
//!     bundle.join("config.json"),
//!     r#"{
//!         "ociVersion": "1.3.0",
//!         "root": { "path": "rootfs" },
//!         "process": {
//!             "args": ["/bin/busybox", "sleep", "1000"],
//!             "cwd": "/",
//!             "user": { "uid": 0, "gid": 0 }
//!         },
//!         "linux": {
//!             "namespaces": [{ "type": "pid" }, { "type": "mount" }],
//!             "cgroupsPath": "/orlop-example-web"
//!         }
//!     }"#,
//! )?;
//! let id = "web".to_owned();
//! let request = Create { id: id.clone(), bundle: bundle.to_owned(), ..Create::default() };
//! let init = create(&request, &state_root)?;
//! start(&id, &state_root)?;
//! assert_eq!(state(&id, &state_root)?.status, Status::Running);
//!
//! let process = br#"{ "args": ["/bin/busybox", "true"], "cwd": "/" }"#.to_vec();
//! let request =
//!     Exec { id: id.clone(), process: Some(Document::Bytes(process)), ..Exec::default() };
//! let other = exec(&request, &state_root)?;
//! wait_for_the_end_of(&other)?;
//!
//! let container = Container::open(&state_root, &ContainerId::parse(&id)?)?;
//! let cgroup = Cgroup::open(&container.saved.cgroup_paths);
//! println!("{} processes", cgroup.stats()?.pids.current);
//! println!("the OOM killer can be watched: {}", cgroup.watch_oom()?.is_some());
//!
//! let limits = Limits { pids_limit: Some(50), ..Limits::default() };
//! update(&Update { id: id.clone(), change: Change::Limits(Box::new(limits)) }, &state_root)?;
//! pause(&id, &state_root)?;
//! assert_eq!(state(&id, &state_root)?.status, Status::Paused);
//! resume(&id, &state_root)?;
//!
//! kill(&Kill { id: id.clone(), signal: libc::SIGKILL, all: false }, &state_root)?;
//! wait_for_the_end_of(&init)?;
//! delete(&Delete { id, force: false }, &state_root)?;
//! # assert_eq!(std::fs::read_dir(&state_root)?.count(), 0);
//! # Ok(())
//! # }
//!
//! // A process that has ended and is not reaped keeps the pid namespace, and so the container.
//! fn wait_for_the_end_of(process: &CreatedProcess) -> rustix::io::Result<()> {
//!     waitid(WaitId::PidFd(process.pidfd()), WaitIdOptions::EXITED).map(drop)
//! }
//! ```

pub mod check;
pub mod checkpoint;
pub mod create;
mod creation;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
pub mod image;
pub mod kill;
pub mod list;
pub mod mounts;
pub mod pause;
pub mod ps;
mod request;
pub mod restore;
pub mod run;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;

use std::os::fd::OwnedFd;
use std::path::Path;

pub use request::{CgroupManager, ConsoleTarget, CreatedProcess, Document};

use crate::cgroup::Cgroup;
use crate::container::{Container, ContainerId, StateFile};
use crate::error::{Context, Problem, Result};
use crate::hooks::{self, HookContext, Output};
use crate::plan::Plan;
use crate::plan::hooks::HookPoint;
use crate::plan::systemd::Unit;
use crate::resctrl::Groups;
use crate::runtime::seccomp_listener;
use crate::state::Status;

/// Opens the container `id`.
///
/// # Errors
/// An error if the id is invalid, or if there is no such container.
fn open(state_root: &Path, id: &str) -> Result<Container> {
    Container::open(state_root, &ContainerId::parse(id)?)
}

/// Opens and locks the container `id`; see [`Container::lock`].
///
/// # Errors
/// As [`open`]; an error if another command has the lock for too long.
fn lock(state_root: &Path, id: &str) -> Result<Container> {
    Container::lock(state_root, &ContainerId::parse(id)?, || Ok(()))
}

/// The container's cgroup.
fn cgroup_of(container: &Container) -> Cgroup {
    Cgroup::open(&container.saved.cgroup_paths).of_unit(unit_of(container))
}

/// The unit of the container's cgroup, if systemd made it.
fn unit_of(container: &Container) -> Option<Unit> {
    let StateFile { systemd_unit, systemd_user: user, .. } = &container.saved;
    systemd_unit.as_ref().map(|name| Unit { name: name.clone(), user: *user })
}

/// The container's groups of resctrl, if they still exist.
fn resctrl_of(container: &Container) -> Option<Groups> {
    let saved = &container.saved;
    Groups::open(saved.intel_rdt_path.as_deref()?, saved.intel_rdt_mon_path.as_deref())
}

/// The container's status, with `paused`.
///
/// # Errors
/// Errors of reading /proc or the cgroup.
fn status_of(container: &Container) -> Result<Status> {
    frozen_or_not(container.status()?, &container.saved)
}

/// `status`, or `paused` if the cgroup is frozen.
///
/// # Errors
/// Errors of reading the cgroup.
fn frozen_or_not(status: Status, saved: &StateFile) -> Result<Status> {
    let alive = matches!(status, Status::Created | Status::Running);
    let frozen = alive && Cgroup::by_path(&saved.cgroup_paths).frozen()?;
    Ok(if frozen { Status::Paused } else { status })
}

/// Logs the warnings of a plan.
fn warn(warnings: &[Problem]) {
    for warning in warnings {
        log::warn!("{warning}");
    }
}

/// Checks that the socket of the seccomp agent exists. Warns if the agent gets the listener only at
/// `start`, because callers may wait for it before.
///
/// # Errors
/// An error if there is no socket.
fn look_for_agent(plan: &Plan, starter: creation::Starter) -> Result<()> {
    plan.listener().map(seccomp_listener::look_for).transpose()?;
    if starter == creation::Starter::StartCommand
        && let Some(why) = plan.why_listener_waits()
    {
        log::warn!(
            "linux.seccomp.listenerPath: the agent gets its descriptor at start, not at create: {why}"
        );
    }
    Ok(())
}

/// Sends the listener of the filter of process `pid` to the agent.
///
/// # Errors
/// An error if the agent does not listen, or does not receive it.
fn send_listener(
    saved: &StateFile,
    (status, pid): (Status, i32),
    listener: &OwnedFd,
) -> Result<()> {
    let path = saved.listener_path.as_deref().context("there is no seccomp agent")?;
    seccomp_listener::send(path, &saved.process_state(status, pid)?, listener)
}

/// The files for the output of hooks that run after the container was made. It is too late to
/// refuse files that cannot be opened, so this only logs a warning.
fn hook_output(saved: &StateFile) -> Output {
    Output::open(&saved.annotations)
        .inspect_err(|error| log::warn!("{error:#}"))
        .unwrap_or_default()
}

/// Runs the poststop hooks. Their errors are only logged.
fn run_poststop_hooks(saved: &StateFile) {
    let Ok(state) = saved.hook_state(Status::Stopped) else { return };
    if saved.hooks.poststop.is_empty() {
        return;
    }
    let output = hook_output(saved);
    let around = HookContext { output: Some(&output), ..HookContext::default() };
    for error in hooks::run_all(&saved.hooks, HookPoint::Poststop, &state, &around) {
        log::warn!("{error:#}");
    }
}
