//! Create, Start, Exec and Delete: the requests that create, start and delete processes.
//! process: daemon

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use orlop::kernel::CgroupPaths;

use crate::container::{Container, Process, Reply, Stage, Stdio};
use crate::daemon::Daemon;
use crate::events::{self, TaskDelete, TaskExec};
use crate::jobs::{Job, Then};
use crate::messages::{CreateTaskRequest, DeleteResponse, ExecProcessRequest, ProcessRequest};
use crate::options::Options;
use crate::order::{Checkpoint, Order, Verb};
use crate::status::{ALREADY_EXISTS, Failed};
use crate::stdio;

/// How long a Delete waits for the end of the outputs.
const DRAIN: Duration = Duration::from_secs(10);

/// The empty answer.
pub(crate) const EMPTY: () = ();

/// An order for a container. The caller adds the other fields.
pub(crate) fn order(verb: Verb, container: &Container) -> Order {
    Order {
        verb: verb.into(),
        bundle: container.bundle.to_string_lossy().into_owned(),
        options: Some(container.options.clone()),
        ..Order::default()
    }
}

fn is_name(id: &str) -> bool {
    !id.is_empty() && !id.contains('/') && id != "." && id != ".." && !id.contains('\0')
}

impl Daemon {
    pub(crate) fn create(
        &mut self,
        reply: Reply,
        request: CreateTaskRequest,
    ) -> Result<(), Failed> {
        let id = request.id;
        if !is_name(&id) {
            return Err(Failed::invalid(format!("the id {id:?} is not a valid name")));
        }
        if self.containers.contains_key(&id) {
            return Err(Failed::new(ALREADY_EXISTS, format!("container {id} already exists")));
        }
        let options = Options::read(request.options.as_ref())?;
        options.refuse_other_runtimes()?;
        let bundle = checked_bundle(&request.bundle)?;
        let (stdin, stdout, stderr) = (request.stdin, request.stdout, request.stderr);
        let stdio = Stdio { stdin, stdout, stderr, terminal: request.terminal };
        let checkpoint = (!request.checkpoint.is_empty()).then(|| Checkpoint {
            images: request.checkpoint.clone(),
            work: options.criu_work_path.clone(),
            parent: request.parent_checkpoint.clone(),
            open_tcp: true,
            external_unix_sockets: true,
            terminal: request.terminal,
            file_locks: true,
            ..Checkpoint::default()
        });
        // A restored container gets its streams at Start.
        let streams =
            if checkpoint.is_none() { Some(stdio::open(&stdio, &options)?) } else { None };
        let container = Container {
            bundle,
            options,
            rootfs: request.rootfs,
            init: Process::new(Stage::Creating, stdio),
            execs: BTreeMap::new(),
            cgroups: CgroupPaths::default(),
            shared_pid_namespace: false,
            paused: false,
            pausing: false,
            oom: None,
            checkpoint: checkpoint.clone(),
            checkpoint_path: request.checkpoint,
            init_exit_deferred: false,
        };
        let order = Order {
            rootfs: container.rootfs.clone(),
            terminal: request.terminal,
            checkpoint,
            logger: streams.as_ref().map(|streams| streams.logger.clone()).unwrap_or_default(),
            ..order(Verb::Create, &container)
        };
        let job = Job::new(&id, Some(reply), Then::Created).with(streams);
        self.send_out(job, order)?;
        self.containers.insert(id, container);
        Ok(())
    }

    pub(crate) fn start(&mut self, reply: Reply, request: &ProcessRequest) -> Result<(), Failed> {
        if !request.exec_id.is_empty() {
            return self.start_exec(reply, request);
        }
        let container = self.container(&request.id)?;
        match container.init.stage {
            Stage::Created => {}
            Stage::Creating => {
                return Err(Failed::precondition("the container is still being created"));
            }
            Stage::Starting | Stage::Running => {
                return Err(Failed::precondition("cannot start an already running container"));
            }
            Stage::Stopped | Stage::Deleting => {
                return Err(Failed::precondition("cannot start a stopped process"));
            }
        }
        let restored = container.checkpoint.is_some();
        let mut order = order(if restored { Verb::Restore } else { Verb::Start }, container);
        let mut streams = None;
        if restored {
            let opened = stdio::open(&container.init.stdio, &container.options)?;
            order.checkpoint.clone_from(&container.checkpoint);
            order.terminal = container.init.stdio.terminal;
            order.logger.clone_from(&opened.logger);
            streams = Some(opened);
        }
        container.init.stage = Stage::Starting;
        let job = Job::new(&request.id, Some(reply), Then::Started).with(streams);
        self.send_out(job, order).inspect_err(|_| {
            if let Some(container) = self.containers.get_mut(&request.id) {
                container.init.stage = Stage::Created;
            }
        })
    }

    pub(crate) fn exec(&mut self, reply: Reply, request: ExecProcessRequest) -> Result<(), Failed> {
        let container = self.container(&request.id)?;
        match container.init.stage {
            Stage::Created | Stage::Starting | Stage::Running if container.paused => {
                return Err(Failed::precondition("cannot exec in a paused state"));
            }
            Stage::Created | Stage::Starting | Stage::Running if container.init.exit.is_none() => {}
            Stage::Creating => {
                return Err(Failed::precondition("the container is still being created"));
            }
            Stage::Deleting => return Err(Failed::precondition("cannot exec in a deleted state")),
            _ => return Err(Failed::precondition("cannot exec in a stopped state")),
        }
        let exec_id = request.exec_id;
        if !is_name(&exec_id) {
            return Err(Failed::invalid(format!("the exec id {exec_id:?} is not a valid name")));
        }
        if container.execs.contains_key(&exec_id) {
            return Err(Failed::new(ALREADY_EXISTS, format!("id {exec_id} already exists")));
        }
        let spec = request.spec.ok_or_else(|| Failed::invalid("the process (spec) is missing"))?;
        if !spec.value.trim_ascii_start().starts_with(b"{") {
            return Err(Failed::invalid(format!(
                "the process (spec), {:?}, is no JSON object",
                spec.type_url
            )));
        }
        let (stdin, stdout, stderr) = (request.stdin, request.stdout, request.stderr);
        let stdio = Stdio { stdin, stdout, stderr, terminal: request.terminal };
        let process = Process { text: spec.value, ..Process::new(Stage::Created, stdio) };
        container.execs.insert(exec_id.clone(), process);
        self.answer(reply, &EMPTY);
        self.publish(events::EXEC_ADDED, &TaskExec { container_id: request.id, exec_id, pid: 0 });
        Ok(())
    }

    fn start_exec(&mut self, reply: Reply, request: &ProcessRequest) -> Result<(), Failed> {
        let id = &request.id;
        let container = self.container(id)?;
        let over = container.init.exit.is_some()
            || matches!(container.init.stage, Stage::Stopped | Stage::Deleting);
        let options = container.options.clone();
        let mut order = order(Verb::Exec, container);
        let process = container.process(&request.exec_id)?;
        match process.stage {
            Stage::Created if over => {
                let text = format!("container {id} init process is not running");
                return Err(Failed::precondition(text));
            }
            Stage::Created => {}
            Stage::Stopped => return Err(Failed::precondition("cannot start a stopped process")),
            _ => return Err(Failed::precondition("cannot start a running process")),
        }
        let streams = stdio::open(&process.stdio, &options)?;
        order.text.clone_from(&process.text);
        order.terminal = process.stdio.terminal;
        order.logger.clone_from(&streams.logger);
        process.stage = Stage::Starting;
        let mut job = Job::new(id, Some(reply), Then::ExecStarted).with(Some(streams));
        job.exec_id.clone_from(&request.exec_id);
        let sent = self.send_out(job, order);
        if let Some(Ok(process)) =
            self.containers.get_mut(id).map(|container| container.process(&request.exec_id))
        {
            match sent {
                Ok(()) => process.text = Vec::new(), // the worker has it
                Err(_) => process.stage = Stage::Created,
            }
        }
        sent
    }

    pub(crate) fn delete(&mut self, reply: Reply, request: &ProcessRequest) -> Result<(), Failed> {
        let (id, exec_id) = (&*request.id, &*request.exec_id);
        let container = self.container(id)?;
        let process = container.process(exec_id)?;
        match process.stage {
            Stage::Creating => {
                return Err(Failed::precondition("the container is still being created"));
            }
            Stage::Starting | Stage::Running => {
                return Err(Failed::precondition("cannot delete a running process"));
            }
            Stage::Deleting => return Err(Failed::precondition("it is being deleted")),
            Stage::Created | Stage::Stopped if process.draining.is_some() => {
                return Err(Failed::precondition("it is being deleted"));
            }
            Stage::Created | Stage::Stopped => {}
        }
        process.draining = Some((reply, Instant::now() + DRAIN));
        if process.outputs.is_empty() || process.stage == Stage::Created {
            self.drained(id, exec_id);
        }
        Ok(())
    }

    /// Continues each Delete whose time limit has passed.
    pub(crate) fn end_draining(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (id, container) in &self.containers {
            let execs =
                container.execs.iter().map(|(exec_id, process)| (exec_id.as_str(), process));
            for (exec_id, process) in std::iter::once(("", &container.init)).chain(execs) {
                if process.draining.is_some_and(|(_, until)| until <= now) {
                    due.push((id.clone(), exec_id.to_owned()));
                }
            }
        }
        for (id, exec_id) in due {
            log::warn!("{id} {exec_id}: the output did not end in time; the rest is lost");
            self.drained(&id, &exec_id);
        }
    }

    /// Continues a Delete after the end of the outputs or after its time limit.
    pub(crate) fn drained(&mut self, id: &str, exec_id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Ok(process) = container.process(exec_id) else { return };
        let Some((reply, _)) = process.draining.take() else { return };
        if !exec_id.is_empty() {
            let Some(process) = container.execs.remove(exec_id) else { return };
            let answer = deleted(&process);
            self.let_go(process);
            return self.answer(reply, &answer);
        }
        container.init.stage = Stage::Deleting;
        let order = Order { all: true, ..order(Verb::Delete, container) };
        if let Err(failed) = self.send_out(Job::new(id, Some(reply), Then::Deleted), order) {
            self.not_deleted(id, Some(reply), failed);
        }
    }

    /// Handles a failed deletion. The container is kept, so that the client can try again.
    pub(crate) fn not_deleted(&mut self, id: &str, reply: Option<Reply>, failed: Failed) {
        if let Some(container) = self.containers.get_mut(id) {
            container.init.stage = Stage::Stopped;
        }
        if let Some(reply) = reply {
            self.refuse(reply, failed);
        }
    }

    /// Removes our data about a container that has been deleted.
    pub(crate) fn deleted(&mut self, id: &str, reply: Option<Reply>) {
        let Some(mut container) = self.containers.remove(id) else { return };
        let answer = deleted(&container.init);
        if let Some((_, watch)) = container.oom.take() {
            self.poll.remove(watch.fd().0);
        }
        for process in std::mem::take(&mut container.execs).into_values().chain([container.init]) {
            self.let_go(process);
        }
        if let Some(reply) = reply {
            self.answer(reply, &answer);
        }
        let DeleteResponse { pid, exit_status, exited_at } = answer;
        let event = TaskDelete {
            container_id: id.to_owned(),
            pid,
            exit_status,
            exited_at,
            id: String::new(),
        };
        self.publish(events::DELETE, &event);
    }

    /// Ends the pumps, the logger and the waiting requests of a deleted process.
    pub(crate) fn let_go(&mut self, process: Process) {
        let pumps = process.outputs.iter().chain(&process.input).copied().collect::<Vec<u64>>();
        for pump in pumps {
            self.end_pump(pump);
        }
        if let Some(logger) = process.logger {
            self.end_logger(logger);
        }
        let waiters = process.waiters;
        for waiter in waiters {
            self.refuse(waiter, Failed::not_found("the process has been deleted"));
        }
    }
}

fn deleted(process: &Process) -> DeleteResponse {
    let exit = process.exit;
    DeleteResponse {
        pid: process.pid.unsigned_abs(),
        exit_status: exit.map_or(0, |exit| exit.status),
        exited_at: exit.map(|exit| exit.at),
    }
}

/// The bundle of a Create request.
fn checked_bundle(path: &str) -> Result<PathBuf, Failed> {
    let bundle = PathBuf::from(path);
    if !bundle.is_absolute() {
        return Err(Failed::invalid(format!("the bundle {path:?} is not an absolute path")));
    }
    let config = bundle.join("config.json");
    match std::fs::metadata(&config) {
        Ok(_) => Ok(bundle),
        Err(error) => Err(Failed::not_found(format!("open({config:?}): {error}"))),
    }
}
