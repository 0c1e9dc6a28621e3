//! The daemon's data about a container and its processes.
//! process: daemon
#![allow(
    missing_docs,
    reason = "the fields are what their names say; those that are not have a comment"
)]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use orlop::cgroup::Cgroup;
use orlop::cgroup::oom::OomWatch;
use orlop::kernel::CgroupPaths;

use crate::messages::{Mount, Timestamp};
use crate::options::Options;
use crate::order::{CgroupPath, Checkpoint};
use crate::status::Failed;

/// The receiver of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The connection.
    pub connection: u64,
    /// The stream of the request.
    pub stream: u32,
}

/// The stage of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A worker creates init.
    Creating,
    /// It waits for the request Start.
    Created,
    /// A worker starts it.
    Starting,
    /// Its program runs.
    Running,
    /// It has ended.
    Stopped,
    /// A worker deletes it.
    Deleting,
}

/// The exit status of a process, and the time of its exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, or 128 plus the number of the signal.
    pub status: u32,
    /// When the daemon has reaped it.
    pub at: Timestamp,
}

/// The paths of the streams of a process, as in the request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stdio {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

/// Init or an exec process.
#[derive(Debug)]
pub struct Process {
    pub stage: Stage,
    pub pid: i32,
    pub pidfd: Option<OwnedFd>,
    /// Set when it is reaped. Clients may be notified later.
    pub exit: Option<Exit>,
    pub stdio: Stdio,
    /// The `process` of an exec process, as JSON.
    pub text: Vec<u8>,
    /// The clients that wait for its end.
    pub waiters: Vec<Reply>,
    /// The pumps of its outputs that still run.
    pub outputs: Vec<u64>,
    /// The pump of its input.
    pub input: Option<u64>,
    /// The writer that keeps its input open until the request CloseIO.
    pub held_input: Option<OwnedFd>,
    /// The master of its terminal.
    pub console: Option<Arc<OwnedFd>>,
    pub logger: Option<OwnedFd>,
    /// A Delete that waits for the end of the outputs, and its time limit.
    pub draining: Option<(Reply, Instant)>,
}

impl Process {
    /// A process with only its streams.
    #[must_use]
    pub fn new(stage: Stage, stdio: Stdio) -> Self {
        Self {
            stage,
            pid: 0,
            pidfd: None,
            exit: None,
            stdio,
            text: Vec::new(),
            waiters: Vec::new(),
            outputs: Vec::new(),
            input: None,
            held_input: None,
            console: None,
            logger: None,
            draining: None,
        }
    }

    /// Whether it counts as running.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Running)
    }
}

/// A container.
#[derive(Debug)]
pub struct Container {
    pub bundle: PathBuf,
    pub options: Options,
    pub rootfs: Vec<Mount>,
    pub init: Process,
    pub execs: BTreeMap<String, Process>,
    pub cgroups: CgroupPaths,
    pub shared_pid_namespace: bool,
    pub paused: bool,
    /// Whether a worker is pausing or resuming it.
    pub pausing: bool,
    pub oom: Option<(u64, OomWatch)>,
    /// The checkpoint that it is to be restored from.
    pub checkpoint: Option<Checkpoint>,
    /// The checkpoint in the request, for the event.
    pub checkpoint_path: String,
    /// Whether init has been reaped, and its exit is deferred because other processes of the
    /// container still run.
    pub init_exit_deferred: bool,
}

impl Container {
    /// Init for an empty id, else the exec process with this id.
    ///
    /// # Errors
    /// An error if there is no such process.
    pub fn process(&mut self, exec_id: &str) -> Result<&mut Process, Failed> {
        if exec_id.is_empty() {
            return Ok(&mut self.init);
        }
        self.execs
            .get_mut(exec_id)
            .ok_or_else(|| Failed::not_found(format!("process does not exist {exec_id}")))
    }

    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::open(&self.cgroups)
    }

    /// Sets its cgroups to those in a worker's answer.
    pub fn take_cgroups(&mut self, cgroups: &[CgroupPath]) {
        let path = |one: &CgroupPath| (one.controller.clone().into(), one.path.clone().into());
        self.cgroups = cgroups.iter().map(path).collect();
    }
}
