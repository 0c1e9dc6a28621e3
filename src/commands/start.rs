//! `start`: starts the program of a created container, whose init waits at the gate.
//!
//! If a startContainer or poststart hook fails, the container is destroyed and its poststop hooks
//! run: the lifecycle continues as after `delete` (runtime.md, steps 7, 9, 12 and 13). Every other
//! failure leaves a stopped container, as in runc.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;

use super::{cgroup_of, delete, hook_output, lock, send_listener, status_of};
use crate::container::notify::{self, Notify};
use crate::container::{Container, gate};
use crate::error::{Failure, Report, Result};
use crate::hooks::{self, HookContext};
use crate::log::Phases;
use crate::plan::hooks::HookPoint;
use crate::runtime::watch::Watch;
use crate::state::Status;
use crate::sync::{FromInit, RuntimeEnd, ToInit};
use crate::sys::wait;
use crate::sys::{Call, pidfd};

/// Starts the program of a container.
///
/// # Errors
/// An error if the container is not `created`; the error that init reports if it cannot execute the
/// program; the error of a poststart hook.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::start::start;
///
/// start("web", Path::new("/run/orlop"))?;
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn start(id: &str, state_root: &Path) -> Result<()> {
    let mut phases = Phases::begin();
    let mut container = lock(state_root, id)?;
    // A connection to a frozen init would succeed, and never get an answer.
    let cgroup = cgroup_of(&container);
    let frozen = cgroup.frozen()?;
    let init = if frozen { None } else { gate::connect(container.fd())? };
    let Some(init) = init else { return Err(no_gate(&container)) };
    cgroup.refuse_frozen_above()?;
    let notify = match notify::wanted() {
        Some(host) => Some(Notify::listen(container.fd(), &host)?).zip(container.init()?),
        None => None,
    };
    phases.end("find");
    init.send(&ToInit::Start)?;
    if let Err(error) = wait_for_program(&init, &container) {
        drop(init); // init ends when the wire ends
        if Report::of(&error).key.starts_with("/hooks/") {
            delete::destroy(&container);
        } else if !matches!(error.downcast_ref(), Some(Failure::WrongStatus(_))) {
            wait_for_end(&container);
        }
        return Err(error);
    }
    phases.end("program");
    gate::remove(container.fd());
    if !container.saved.hooks.poststart.is_empty() || notify.is_some() {
        container.unlock()?; // the hooks and the program may take long
    }
    if let Err(error) = poststart(&container) {
        delete::destroy(&container);
        return Err(error);
    }
    if let Some((notify, init)) = notify {
        notify.forward(init.as_fd(), container.saved.init_process_pid)?;
    }
    Ok(())
}

/// Waits for the end of an init that could not become the program, so that the next command finds
/// the container `stopped`. A timeout is ignored: the reason why there is no program matters more.
fn wait_for_end(container: &Container) {
    if let Ok(Some(init)) = container.init() {
        let _ = wait::readable(init.as_fd(), wait::DEATH);
    }
}

/// The error for a container that cannot be started.
fn no_gate(container: &Container) -> anyhow::Error {
    let text = match status_of(container) {
        Err(error) => return error,
        Ok(Status::Stopped) => "cannot start a container that has stopped".to_owned(),
        Ok(Status::Running | Status::Created) => {
            "cannot start an already running container".to_owned()
        }
        Ok(status) => format!("cannot start a container in the {status} state"),
    };
    Failure::WrongStatus(text.into()).into()
}

/// Waits until init has become the program: execve closes the wire, which then ends without a
/// message. Init may be paused for at most 10 seconds meanwhile (`runtime/watch.rs`).
fn wait_for_program(init: &RuntimeEnd, container: &Container) -> Result<()> {
    let saved = &container.saved;
    let cgroup = cgroup_of(container);
    let mut watch = Watch::for_start(&cgroup);
    let given_up = |_: &anyhow::Error| kill_init(container);
    match init.receive_answer(|| watch.look(saved.init_process_pid).inspect_err(given_up)) {
        Ok(FromInit::Listener(listener)) => {
            send_listener(saved, (Status::Created, saved.init_process_pid), &listener)?;
            init.send(&ToInit::ListenerDelivered)?;
            wait_for_program(init, container)
        }
        Ok(FromInit::End) => Ok(()),
        Ok(FromInit::Failed(report)) => Err(report.into()),
        Ok(other) => anyhow::bail!("unexpected {other:?} from init"),
        // Init did not accept our connection: it died, or another `start` was first.
        Err(error)
            if error.downcast_ref::<Call>().is_some_and(|call| call.is(Errno::CONNRESET)) =>
        {
            Err(Failure::WrongStatus("cannot start a container that has stopped".into()).into())
        }
        Err(error) => Err(error),
    }
}

/// Kills an init that may go on. Otherwise it could become the program later, after `start` has
/// failed.
fn kill_init(container: &Container) {
    if let Ok(Some(init)) = container.init() {
        let _ = pidfd::kill(init.as_fd()); // the caller already returns an error
    }
}

/// Runs the poststart hooks. If one fails, the caller must destroy the container.
pub(super) fn poststart(container: &Container) -> Result<()> {
    let hooks = &container.saved.hooks;
    if hooks.poststart.is_empty() {
        return Ok(());
    }
    let state = container.hook_state(Status::Running)?;
    let output = hook_output(&container.saved);
    let around = HookContext { output: Some(&output), ..HookContext::default() };
    hooks::run(hooks, HookPoint::Poststart, &state, &around)
}
