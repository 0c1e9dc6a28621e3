//! The exits of processes, and the order in which clients are notified of them.
//! process: daemon
//!
//! containerd gets the start of a process before its exit, and the exit of init after the exits of
//! all other processes of the container.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{WaitOptions, WaitStatus, wait};

use crate::container::{Exit, Stage};
use crate::daemon::Daemon;
use crate::events::{self, TaskExit};
use crate::jobs::{Job, Then};
use crate::messages::{Timestamp, WaitResponse};
use crate::order::{Order, Verb};
use crate::poll::is_readable;

/// The time for a logger to end after SIGTERM.
const LOGGER: Duration = Duration::from_secs(12);

impl Daemon {
    /// Reaps the processes that have ended.
    pub(crate) fn reap(&mut self) {
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let exit = Exit { status: shell_code(status), at: Timestamp::now() };
            ended.push((pid.as_raw_nonzero().get(), exit));
        }
        for (pid, exit) in ended {
            if self.is_worker(pid) {
                continue; // `job_happened` handles its end
            }
            match self.find(pid) {
                Some((id, exec_id)) => self.ended(&id, &exec_id, exit),
                None if !self.jobs.is_empty() => drop(self.unclaimed.insert(pid, exit)),
                // A logger, or an orphan of a container without a pid namespace of its own.
                None => {}
            }
        }
    }

    /// The process with this pid.
    fn find(&self, pid: i32) -> Option<(String, String)> {
        self.containers.iter().find_map(|(id, container)| {
            let execs =
                container.execs.iter().map(|(exec_id, process)| (exec_id.as_str(), process));
            let mut all = std::iter::once(("", &container.init)).chain(execs);
            let found = all.find(|(_, process)| process.pid == pid && process.exit.is_none());
            found.map(|(exec_id, _)| (id.clone(), exec_id.to_owned()))
        })
    }

    /// Records the exit of a process. Clients are notified now, unless they have not been notified
    /// of its start yet.
    fn ended(&mut self, id: &str, exec_id: &str, exit: Exit) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Ok(process) = container.process(exec_id) else { return };
        process.exit = Some(exit);
        if !matches!(process.stage, Stage::Starting | Stage::Creating) {
            self.notify_exit(id, exec_id);
        }
    }

    /// Records the pid of a process from a worker's answer, and its exit if it has been reaped
    /// already.
    pub(crate) fn claim(&mut self, id: &str, exec_id: &str, pid: i32) {
        let exit = self.unclaimed.remove(&pid);
        let Some(container) = self.containers.get_mut(id) else { return };
        let Ok(process) = container.process(exec_id) else { return };
        process.pid = pid;
        process.pidfd = orlop::sys::pidfd::open(pid).ok();
        // If the process runs, the exit was that of an earlier process with this pid.
        let runs = process.pidfd.as_ref().is_some_and(|pidfd| !is_readable(pidfd));
        process.exit = process.exit.or(exit.filter(|_| !runs));
    }

    /// Notifies clients of the exit of a process, by answers to Wait and by an event. For init this
    /// is deferred until all other processes of the container have ended.
    pub(crate) fn notify_exit(&mut self, id: &str, exec_id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let alive = container.execs.values().any(crate::container::Process::is_alive);
        let shared = container.shared_pid_namespace;
        let Ok(process) = container.process(exec_id) else { return };
        let Some(exit) = process.exit else { return };
        if exec_id.is_empty() && (alive || shared) && !container.init_exit_deferred {
            container.init_exit_deferred = true;
            if shared {
                return self.kill_rest(id);
            }
        }
        if exec_id.is_empty() && alive {
            return; // deferred until they have ended
        }
        self.send_exit(id, exec_id, exit);
        if !exec_id.is_empty()
            && self.containers.get(id).is_some_and(|container| container.init_exit_deferred)
        {
            self.notify_deferred_exit(id);
        }
    }

    /// Notifies clients of init's exit, if it was deferred and no other process delays it any more.
    pub(crate) fn notify_deferred_exit(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let alive = container.execs.values().any(crate::container::Process::is_alive);
        let killing =
            self.jobs.values().any(|job| job.id == id && matches!(job.then, Then::RestKilled));
        if let Some(exit) =
            container.init.exit.filter(|_| container.init_exit_deferred && !alive && !killing)
        {
            if let Some(container) = self.containers.get_mut(id) {
                container.init_exit_deferred = false;
            }
            self.send_exit(id, "", exit);
        }
    }

    fn send_exit(&mut self, id: &str, exec_id: &str, exit: Exit) {
        if exec_id.is_empty()
            && let Some((number, _)) =
                self.containers.get(id).and_then(|container| container.oom.as_ref())
        {
            self.oom_happened(*number); // an OOM kill may be the reason: its event comes first
        }
        let Some(container) = self.containers.get_mut(id) else { return };
        let Ok(process) = container.process(exec_id) else { return };
        if process.stage != Stage::Deleting {
            process.stage = Stage::Stopped;
        }
        process.pidfd = None;
        process.held_input = None;
        let waiters = std::mem::take(&mut process.waiters);
        let (pid, input) = (process.pid.unsigned_abs(), process.input.take());
        if exec_id.is_empty() {
            container.paused = false;
            if let Some((_, watch)) = container.oom.take() {
                self.poll.remove(watch.fd().0);
            }
        }
        if let Some(input) = input {
            self.end_pump(input);
        }
        for waiter in waiters {
            self.answer(
                waiter,
                &WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) },
            );
        }
        let event = TaskExit {
            container_id: id.to_owned(),
            id: if exec_id.is_empty() { id.to_owned() } else { exec_id.to_owned() },
            pid,
            exit_status: exit.status,
            exited_at: Some(exit.at),
        };
        self.publish(events::EXIT, &event);
    }

    /// Kills the other processes of a container without a pid namespace of its own. They survive
    /// the end of init.
    fn kill_rest(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let order = Order {
            verb: Verb::KillRest.into(),
            bundle: container.bundle.to_string_lossy().into_owned(),
            options: Some(container.options.clone()),
            ..Order::default()
        };
        if let Err(failed) = self.send_out(Job::new(id, None, Then::RestKilled), order) {
            log::warn!("killing the rest of {id}: {failed}");
            self.notify_deferred_exit(id);
        }
    }

    /// Sends SIGTERM to a logger.
    pub(crate) fn end_logger(&mut self, logger: OwnedFd) {
        if orlop::sys::pidfd::signal(logger.as_fd(), libc::SIGTERM).is_ok() {
            self.loggers.push((logger, Instant::now() + LOGGER));
        }
    }
}

/// The exit status as in shells and containerd.
fn shell_code(status: WaitStatus) -> u32 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    };
    code.unsigned_abs()
}
