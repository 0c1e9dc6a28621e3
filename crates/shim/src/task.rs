//! The task service: the dispatch of requests, and the requests that need no worker.
//! process: daemon

use std::os::fd::AsFd;

use prost::Message;
use rustix::termios::Winsize;

use crate::container::{Container, Process, Reply, Stage};
use crate::daemon::Daemon;
use crate::jobs::{Job, Then};
use crate::lifecycle::{EMPTY, order};
use crate::messages::{
    Any, CheckpointTaskRequest, CloseIoRequest, ConnectResponse, ContainerRequest, KillRequest,
    PidsResponse, ProcessDetails, ProcessInfo, ProcessRequest, Request, ResizePtyRequest,
    StateResponse, StatsResponse, Timestamp, UpdateTaskRequest, WaitResponse,
};
use crate::order::{Checkpoint, Order, Verb};
use crate::status::{Failed, UNIMPLEMENTED};
use crate::{metrics, options};

/// Both versions have the same messages.
const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// containerd.runc.v1.CheckpointOptions.
#[derive(Clone, PartialEq, Eq, Message)]
struct CheckpointOptions {
    #[prost(bool, tag = "1")]
    exit: bool,
    #[prost(bool, tag = "2")]
    open_tcp: bool,
    #[prost(bool, tag = "3")]
    external_unix_sockets: bool,
    #[prost(bool, tag = "4")]
    terminal: bool,
    #[prost(bool, tag = "5")]
    file_locks: bool,
    #[prost(string, repeated, tag = "6")]
    empty_namespaces: Vec<String>,
    #[prost(string, tag = "7")]
    cgroups_mode: String,
    #[prost(string, tag = "8")]
    image_path: String,
    #[prost(string, tag = "9")]
    work_path: String,
    #[prost(string, tag = "10")]
    parent_path: String,
}

fn read<M: Message + Default>(request: &Request) -> Result<M, Failed> {
    M::decode(&*request.payload).map_err(|error| {
        Failed::invalid(format!("{}: the request does not decode: {error}", request.method))
    })
}

impl Daemon {
    /// Carries out a request, or starts a worker for it.
    pub(crate) fn dispatch(&mut self, reply: Reply, request: &Request) {
        log::debug!("{} ({} bytes)", request.method, request.payload.len());
        if let Err(failed) = self.try_dispatch(reply, request) {
            self.refuse(reply, failed);
        }
    }

    fn try_dispatch(&mut self, reply: Reply, request: &Request) -> Result<(), Failed> {
        if !SERVICES.contains(&&*request.service) {
            return Err(Failed::new(UNIMPLEMENTED, format!("service {}", request.service)));
        }
        self.given_up = false;
        match &*request.method {
            "Create" if self.is_closing() => {
                Err(Failed::precondition("the shim ends, as Shutdown asked"))
            }
            "State" => self.state(reply, &read(request)?),
            "Create" => self.create(reply, read(request)?),
            "Start" => self.start(reply, &read(request)?),
            "Delete" => self.delete(reply, &read(request)?),
            "Pids" => self.pids(reply, &read(request)?),
            "Pause" => self.freeze(reply, &read(request)?, Verb::Pause),
            "Resume" => self.freeze(reply, &read(request)?, Verb::Resume),
            "Checkpoint" => self.checkpoint(reply, read(request)?),
            "Kill" => self.kill(reply, &read(request)?),
            "Exec" => self.exec(reply, read(request)?),
            "ResizePty" => self.resize(reply, &read(request)?),
            "CloseIO" => self.close_io(reply, &read(request)?),
            "Update" => self.update(reply, read(request)?),
            "Wait" => self.wait(reply, &read(request)?),
            "Stats" => self.stats(reply, &read(request)?),
            "Connect" => self.connect(reply, &read(request)?),
            "Shutdown" => {
                self.answer(reply, &EMPTY);
                if self.containers.is_empty() {
                    self.close();
                }
                let mut stages = self.containers.values().map(|container| container.init.stage);
                self.given_up = stages.all(|stage| stage == Stage::Creating);
                Ok(())
            }
            method => Err(Failed::new(UNIMPLEMENTED, format!("method {method}"))),
        }
    }

    pub(crate) fn container(&mut self, id: &str) -> Result<&mut Container, Failed> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| Failed::not_found(format!("container not created: {id}")))
    }

    fn state(&mut self, reply: Reply, request: &ProcessRequest) -> Result<(), Failed> {
        let container = self.container(&request.id)?;
        let (paused, pausing) = (container.paused, container.pausing);
        let bundle = container.bundle.to_string_lossy().into_owned();
        let process = container.process(&request.exec_id)?;
        let status = match process.stage {
            Stage::Creating | Stage::Created => 1,
            Stage::Starting | Stage::Running if pausing && !paused => 5,
            Stage::Starting | Stage::Running if paused => 4,
            Stage::Starting if process.pid == 0 => 1,
            Stage::Starting | Stage::Running => 2,
            Stage::Stopped | Stage::Deleting => 3,
        };
        let told = process.exit.filter(|_| status == 3);
        let name = if request.exec_id.is_empty() { &request.id } else { &request.exec_id };
        let answer = StateResponse {
            id: name.clone(),
            bundle,
            pid: process.pid.unsigned_abs(),
            status,
            stdin: process.stdio.stdin.clone(),
            stdout: process.stdio.stdout.clone(),
            stderr: process.stdio.stderr.clone(),
            terminal: process.stdio.terminal,
            exit_status: told.map_or(0, |exit| exit.status),
            exited_at: Some(told.map_or_else(never, |exit| exit.at)),
            exec_id: request.exec_id.clone(),
        };
        self.answer(reply, &answer);
        Ok(())
    }

    fn wait(&mut self, reply: Reply, request: &ProcessRequest) -> Result<(), Failed> {
        let process = self.container(&request.id)?.process(&request.exec_id)?;
        match process.exit.filter(|_| matches!(process.stage, Stage::Stopped | Stage::Deleting)) {
            Some(exit) => {
                self.answer(
                    reply,
                    &WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) },
                );
            }
            None => process.waiters.push(reply),
        }
        Ok(())
    }

    fn connect(&mut self, reply: Reply, request: &ContainerRequest) -> Result<(), Failed> {
        let task = self.containers.get(&request.id).map_or(0, |container| container.init.pid);
        let answer = ConnectResponse {
            shim_pid: std::process::id(),
            task_pid: task.unsigned_abs(),
            version: String::new(),
        };
        self.answer(reply, &answer);
        Ok(())
    }

    fn pids(&mut self, reply: Reply, request: &ContainerRequest) -> Result<(), Failed> {
        let container = self.container(&request.id)?;
        let mut pids =
            container.cgroup().procs().map_err(|error| Failed::unknown(format!("{error:#}")))?;
        if container.cgroups.is_empty() && container.init.is_alive() {
            pids.push(container.init.pid);
        }
        let info = |pid: i32| {
            let (exec_id, _) = container.execs.iter().find(|(_, process)| process.pid == pid)?;
            let value = ProcessDetails { exec_id: exec_id.clone() }.encode_to_vec();
            Some(Any { type_url: "containerd.runc.v1.ProcessDetails".to_owned(), value })
        };
        let processes = pids
            .into_iter()
            .map(|pid| ProcessInfo { pid: pid.unsigned_abs(), info: info(pid) })
            .collect();
        self.answer(reply, &PidsResponse { processes });
        Ok(())
    }

    fn freeze(
        &mut self,
        reply: Reply,
        request: &ContainerRequest,
        verb: Verb,
    ) -> Result<(), Failed> {
        let container = self.container(&request.id)?;
        let pauses = verb == Verb::Pause;
        let word = if pauses { "pause" } else { "resume" };
        if container.pausing || container.paused == pauses || container.init.stage != Stage::Running
        {
            let state = match container.init.stage {
                Stage::Creating | Stage::Created | Stage::Starting => "created",
                Stage::Running if container.paused => "paused",
                Stage::Running => "running",
                Stage::Stopped | Stage::Deleting => "stopped",
            };
            return Err(Failed::precondition(format!(
                "cannot {word} a container in the {state} state"
            )));
        }
        let order = order(verb, container);
        container.pausing = true;
        let then = if pauses { Then::Paused } else { Then::Resumed };
        self.send_out(Job::new(&request.id, Some(reply), then), order).inspect_err(|_| {
            if let Some(container) = self.containers.get_mut(&request.id) {
                container.pausing = false;
            }
        })
    }

    fn kill(&mut self, reply: Reply, request: &KillRequest) -> Result<(), Failed> {
        let signal = i32::try_from(request.signal)
            .ok()
            .filter(|signal| (0..=libc::SIGRTMAX()).contains(signal));
        let signal = signal
            .ok_or_else(|| Failed::invalid(format!("there is no signal {}", request.signal)))?;
        let container = self.container(&request.id)?;
        let is_init = request.exec_id.is_empty();
        let (paused, shared) =
            (container.paused || container.pausing, container.shared_pid_namespace);
        let order = Order { signal, all: request.all, ..order(Verb::Kill, container) };
        let process = container.process(&request.exec_id)?;
        if process.exit.is_some() || matches!(process.stage, Stage::Stopped | Stage::Deleting) {
            return Err(Failed::not_found("process already finished"));
        }
        let Some(pidfd) = &process.pidfd else {
            return Err(Failed::precondition("process not created"));
        };
        if is_init && (request.all || signal == libc::SIGKILL && (paused || shared)) {
            return self.send_out(Job::new(&request.id, Some(reply), Then::Done), order);
        }
        orlop::sys::pidfd::signal(pidfd.as_fd(), signal).map_err(|call| match call.errno() {
            libc::ESRCH => Failed::not_found("process already finished"),
            _ => Failed::unknown(call.to_string()),
        })?;
        self.answer(reply, &EMPTY);
        Ok(())
    }

    fn resize(&mut self, reply: Reply, request: &ResizePtyRequest) -> Result<(), Failed> {
        let process = self.container(&request.id)?.process(&request.exec_id)?;
        let side = |length: u32| {
            u16::try_from(length).map_err(|_| Failed::invalid(format!("{length} is above 65535")))
        };
        let size = Winsize {
            ws_row: side(request.height)?,
            ws_col: side(request.width)?,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // Without a terminal the request has no effect, as in the Go shim.
        if let Some(console) = &process.console {
            rustix::termios::tcsetwinsize(console, size)
                .map_err(|errno| Failed::unknown(format!("ioctl(TIOCSWINSZ): {errno}")))?;
        }
        self.answer(reply, &EMPTY);
        Ok(())
    }

    fn close_io(&mut self, reply: Reply, request: &CloseIoRequest) -> Result<(), Failed> {
        let process = self.container(&request.id)?.process(&request.exec_id)?;
        if request.stdin {
            process.held_input = None;
        }
        self.answer(reply, &EMPTY);
        Ok(())
    }

    fn update(&mut self, reply: Reply, request: UpdateTaskRequest) -> Result<(), Failed> {
        let container = self.container(&request.id)?;
        must_run(&container.init)?;
        let resources =
            request.resources.ok_or_else(|| Failed::invalid("the resources are missing"))?;
        let order = Order { text: resources.value, ..order(Verb::Update, container) };
        self.send_out(Job::new(&request.id, Some(reply), Then::Done), order)
    }

    fn checkpoint(&mut self, reply: Reply, request: CheckpointTaskRequest) -> Result<(), Failed> {
        let container = self.container(&request.id)?;
        must_run(&container.init)?;
        let any = request.options.unwrap_or_default();
        let wanted = CheckpointOptions::decode(&*any.value)
            .map_err(|error| Failed::invalid(format!("the options ({}): {error}", any.type_url)))?;
        let or = |first: &str, second: &str| {
            if first.is_empty() { second.to_owned() } else { first.to_owned() }
        };
        let options::Options { criu_image_path, criu_work_path, .. } = &container.options;
        let checkpoint = Checkpoint {
            images: or(&or(&wanted.image_path, &request.path), criu_image_path),
            work: or(&wanted.work_path, criu_work_path),
            parent: wanted.parent_path,
            exit: wanted.exit,
            open_tcp: wanted.open_tcp,
            external_unix_sockets: wanted.external_unix_sockets,
            terminal: wanted.terminal,
            file_locks: wanted.file_locks,
            empty_namespaces: wanted.empty_namespaces,
            cgroups_mode: wanted.cgroups_mode,
        };
        let path = checkpoint.images.clone();
        let order = Order { checkpoint: Some(checkpoint), ..order(Verb::Checkpoint, container) };
        self.send_out(Job::new(&request.id, Some(reply), Then::Checkpointed(path)), order)
    }

    fn stats(&mut self, reply: Reply, request: &ContainerRequest) -> Result<(), Failed> {
        let container = self.container(&request.id)?;
        if container.cgroups.is_empty() {
            return Err(Failed::not_found("cgroup does not exist"));
        }
        let stats =
            metrics::of(container).map_err(|error| Failed::unknown(format!("{error:#}")))?;
        self.answer(reply, &StatsResponse { stats: Some(stats) });
        Ok(())
    }
}

fn must_run(init: &Process) -> Result<(), Failed> {
    match init.stage {
        Stage::Created | Stage::Starting | Stage::Running => Ok(()),
        _ => Err(Failed::precondition("container not running")),
    }
}

/// The time that Go sends for "no time": the beginning of year 1.
fn never() -> Timestamp {
    Timestamp { seconds: -62_135_596_800, nanos: 0 }
}
