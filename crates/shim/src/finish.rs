//! Handles the answers of workers.
//! process: daemon

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::event::epoll::EventFlags;

use crate::container::{Exit, Process, Reply, Stage};
use crate::daemon::Daemon;
use crate::events::{self, TaskCheckpointed, TaskCreate, TaskExec, TaskIo, TaskOnly, TaskStart};
use crate::jobs::{Job, Then};
use crate::lifecycle::EMPTY;
use crate::messages::{PidResponse, Timestamp, WaitResponse};
use crate::order::Answer;
use crate::poll::Token;
use crate::pump::{Owner, Pump};
use crate::status::Failed;
use crate::stdio::{self, Sink, Streams};

impl Daemon {
    /// Handles the answer or the end of a worker.
    pub(crate) fn finish(
        &mut self,
        job: Job,
        result: Result<Answer, Failed>,
        console: Option<OwnedFd>,
    ) {
        let Job { id, exec_id, reply, then, mut streams, .. } = job;
        self.close_theirs(streams.as_mut());
        match then {
            Then::Created => self.created(&id, reply, result, (streams, console)),
            Then::Started => self.started(&id, reply, result, (streams, console)),
            Then::ExecStarted => {
                self.exec_started((&id, &exec_id), reply, result, (streams, console))
            }
            Then::Deleted => match result {
                Ok(_) => self.deleted(&id, reply),
                Err(failed) => self.not_deleted(&id, reply, failed),
            },
            Then::RestKilled => {
                if let Err(failed) = result {
                    log::warn!("killing the rest of {id}: {failed}");
                }
                self.notify_deferred_exit(&id);
            }
            Then::Paused | Then::Resumed => {
                let paused = matches!(then, Then::Paused);
                if let Some(container) = self.containers.get_mut(&id) {
                    container.pausing = false;
                    container.paused = if result.is_ok() { paused } else { container.paused };
                }
                let kind = if paused { events::PAUSED } else { events::RESUMED };
                if self.done(reply, result) {
                    self.publish(kind, &TaskOnly { container_id: id });
                }
            }
            Then::Checkpointed(checkpoint) => {
                if self.done(reply, result) {
                    self.publish(
                        events::CHECKPOINTED,
                        &TaskCheckpointed { container_id: id, checkpoint },
                    );
                }
            }
            Then::Done => drop(self.done(reply, result)),
        }
    }

    /// Answers a request whose answer has no content. Returns whether the worker succeeded.
    fn done(&mut self, reply: Option<Reply>, result: Result<Answer, Failed>) -> bool {
        let good = result.is_ok();
        match (reply, result) {
            (Some(reply), Ok(_)) => self.answer(reply, &EMPTY),
            (Some(reply), Err(failed)) => self.refuse(reply, failed),
            (None, _) => {}
        }
        good
    }

    fn created(
        &mut self,
        id: &str,
        reply: Option<Reply>,
        result: Result<Answer, Failed>,
        (streams, console): (Option<Streams>, Option<OwnedFd>),
    ) {
        let answer = match result {
            Ok(answer) => answer,
            Err(failed) => {
                self.containers.remove(id);
                return reply.into_iter().for_each(|reply| self.refuse(reply, failed.clone()));
            }
        };
        self.take_made(id, &answer);
        self.claim(id, "", answer.pid);
        self.attach((id, ""), streams, console, answer.logger);
        let Some(container) = self.containers.get_mut(id) else { return };
        container.init.stage = Stage::Created;
        let stdio = container.init.stdio.clone();
        let event = TaskCreate {
            container_id: id.to_owned(),
            bundle: container.bundle.to_string_lossy().into_owned(),
            rootfs: container.rootfs.clone(),
            io: Some(TaskIo {
                stdin: stdio.stdin,
                stdout: stdio.stdout,
                stderr: stdio.stderr,
                terminal: stdio.terminal,
            }),
            checkpoint: container.checkpoint_path.clone(),
            pid: answer.pid.unsigned_abs(),
        };
        if let Some(reply) = reply {
            self.answer(reply, &PidResponse { pid: answer.pid.unsigned_abs() });
        }
        self.publish(events::CREATE, &event);
        self.notify_exit(id, "");
    }

    /// Records a worker's data about a new container, and begins to watch for the OOM killer.
    fn take_made(&mut self, id: &str, answer: &Answer) {
        let (Some(new), Some(container)) = (&answer.container, self.containers.get_mut(id)) else {
            return;
        };
        container.take_cgroups(&new.cgroups);
        container.shared_pid_namespace = new.shared_pid_namespace;
        match container.cgroup().watch_oom() {
            Ok(Some(watch)) => {
                let number = self.poll.number();
                let (fd, flags) = watch.fd();
                let flags =
                    if flags.contains(PollFlags::PRI) { EventFlags::PRI } else { EventFlags::IN };
                if let Err(errno) = self.poll.add(fd, Token::Oom(number), flags) {
                    log::warn!("watching for the OOM killer in {id}: epoll_ctl(): {errno}");
                }
                container.oom = Some((number, watch));
            }
            Ok(None) => {}
            Err(error) => log::warn!("watching for the OOM killer in {id}: {error:#}"),
        }
    }

    fn started(
        &mut self,
        id: &str,
        reply: Option<Reply>,
        result: Result<Answer, Failed>,
        (streams, console): (Option<Streams>, Option<OwnedFd>),
    ) {
        if let Ok(answer) = &result
            && answer.container.is_some()
        {
            self.take_made(id, answer); // it has been restored
            self.claim(id, "", answer.pid);
            self.attach((id, ""), streams, console, answer.logger);
        }
        let Some(container) = self.containers.get_mut(id) else { return };
        let good = result.is_ok();
        container.init.stage = if good { Stage::Running } else { Stage::Created };
        let pid = container.init.pid.unsigned_abs();
        match (reply, result) {
            (Some(reply), Ok(_)) => self.answer(reply, &PidResponse { pid }),
            (Some(reply), Err(failed)) => self.refuse(reply, failed),
            (None, _) => {}
        }
        if good {
            self.publish(events::START, &TaskStart { container_id: id.to_owned(), pid });
        }
        self.notify_exit(id, "");
    }

    fn exec_started(
        &mut self,
        (id, exec_id): (&str, &str),
        reply: Option<Reply>,
        result: Result<Answer, Failed>,
        (streams, console): (Option<Streams>, Option<OwnedFd>),
    ) {
        let answer = match result {
            Ok(answer) => answer,
            Err(failed) => {
                self.exec_failed((id, exec_id));
                return reply.into_iter().for_each(|reply| self.refuse(reply, failed.clone()));
            }
        };
        self.claim(id, exec_id, answer.pid);
        self.attach((id, exec_id), streams, console, answer.logger);
        let Some(Ok(process)) =
            self.containers.get_mut(id).map(|container| container.process(exec_id))
        else {
            return;
        };
        process.stage = Stage::Running;
        let pid = answer.pid.unsigned_abs();
        if let Some(reply) = reply {
            self.answer(reply, &PidResponse { pid });
        }
        let event = TaskExec { container_id: id.to_owned(), exec_id: exec_id.to_owned(), pid };
        self.publish(events::EXEC_STARTED, &event);
        self.notify_exit(id, exec_id);
        self.notify_deferred_exit(id);
    }

    /// Ends a process that could not be started. Clients that wait for it are notified.
    fn exec_failed(&mut self, (id, exec_id): (&str, &str)) {
        let Some(Ok(process)) =
            self.containers.get_mut(id).map(|container| container.process(exec_id))
        else {
            return;
        };
        let exit = Exit { status: 255, at: Timestamp::now() };
        process.stage = Stage::Stopped;
        process.exit = Some(exit);
        for waiter in std::mem::take(&mut process.waiters) {
            self.answer(
                waiter,
                &WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) },
            );
        }
        self.notify_deferred_exit(id);
    }

    /// Creates the pumps of a new process.
    fn attach(
        &mut self,
        (id, exec_id): (&str, &str),
        streams: Option<Streams>,
        console: Option<OwnedFd>,
        logger: i32,
    ) {
        let Some(streams) = streams else { return };
        let Streams { outputs, input, .. } = streams;
        let owner = |is_input| Owner { id: id.to_owned(), exec_id: exec_id.to_owned(), is_input };
        let mut pumps = Vec::new();
        let console = console.map(Arc::new);
        for (source, sink) in outputs {
            let number = self.poll.number();
            pumps.push(match (sink, &console) {
                (Sink::Fifo(sink), None) => Pump::splicing(number, owner(false), source, sink),
                (Sink::File(sink), None) => {
                    Pump::copying(number, owner(false), Arc::new(source), sink)
                }
                (Sink::Fifo(sink) | Sink::File(sink), Some(console)) => {
                    Pump::copying(number, owner(false), Arc::clone(console), sink)
                }
            });
        }
        let Some(Ok(process)) =
            self.containers.get_mut(id).map(|container| container.process(exec_id))
        else {
            return;
        };
        process.logger = orlop::sys::pidfd::open(logger).ok().filter(|_| logger > 0);
        if let Some(console) = &console {
            let _ = orlop::sys::fd::set_nonblocking(console); // this applies to its duplicate, too
        }
        // A duplicate: epoll(7) watches a descriptor only once.
        let master = console.as_ref().and_then(|console| console.try_clone().ok());
        let inner = if console.is_some() { master } else { input };
        if let Some(inner) = inner.filter(|_| !process.stdio.stdin.is_empty()) {
            match stdio::open_input(&process.stdio.stdin) {
                Ok((reader, held)) => {
                    process.held_input = Some(held);
                    let number = self.poll.number();
                    pumps.push(if console.is_some() {
                        Pump::copying(number, owner(true), Arc::new(reader), inner)
                    } else {
                        Pump::splicing(number, owner(true), reader, inner)
                    });
                }
                Err(errno) => log::warn!("opening the stream {:?}: {errno}", process.stdio.stdin),
            }
        }
        process.console = console;
        self.begin_pumps(pumps);
    }

    fn begin_pumps(&mut self, pumps: Vec<Pump>) {
        for pump in pumps {
            let number = pump.number();
            let owner = pump.owner.clone();
            match self.pump_thread() {
                Ok(thread) => thread.begin(pump),
                Err(error) => {
                    log::warn!("moving bytes for {} {}: {error}", owner.id, owner.exec_id);
                    continue;
                }
            }
            let Some(container) = self.containers.get_mut(&owner.id) else { return };
            let Ok(process) = container.process(&owner.exec_id) else { return };
            note(process, number, owner.is_input);
            self.pumps.insert(number, owner);
        }
    }

    /// Closes our copies of the process's streams. The process may run already.
    fn close_theirs(&mut self, streams: Option<&mut Streams>) {
        let Some(theirs) = streams.map(Streams::take_theirs).filter(|fds| !fds.is_empty()) else {
            return;
        };
        match self.pump_thread() {
            Ok(thread) => thread.close(theirs),
            Err(error) => log::warn!("closing streams: {error}"), // they are closed here
        }
    }
}

fn note(process: &mut Process, number: u64, is_input: bool) {
    if is_input {
        process.input = Some(number);
    } else {
        process.outputs.push(number);
    }
}
