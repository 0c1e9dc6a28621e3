//! What the daemon knows of a container and its processes.
//! process: daemon
#![allow(
    missing_docs,
    reason = "the fields are what their names say; those that are not have a comment"
)]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use orlop::cgroup::Cgroup;
use orlop::cgroup::oom::OomWatch;

use crate::messages::{Mount, Timestamp};
use crate::options::Options;
use crate::order::{CgroupPath, Checkpoint};
use crate::status::Failed;

/// Whom an answer goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The connection.
    pub connection: u64,
    /// The stream of the request.
    pub stream: u32,
}

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A worker makes init.
    Creating,
    /// It waits for Start.
    Created,
    /// A worker starts it.
    Starting,
    /// It runs.
    Running,
    /// It has ended.
    Stopped,
    /// A worker removes it.
    Deleting,
}

/// How a process has ended, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, or 128 and the signal.
    pub status: u32,
    /// When we were told.
    pub at: Timestamp,
}

/// Where a process reads and writes, as the request has it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stdio {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

/// Init, or what Exec has made.
#[derive(Debug)]
pub struct Process {
    pub stage: Stage,
    pub pid: i32,
    pub pidfd: Option<OwnedFd>,
    /// Set when it has ended, which may be before anybody is told.
    pub exit: Option<Exit>,
    pub stdio: Stdio,
    /// The process of an exec, as JSON.
    pub text: Vec<u8>,
    /// Who waits for its end.
    pub waiters: Vec<Reply>,
    /// The pumps of its outputs that have not come to an end.
    pub outputs: Vec<u64>,
    /// The pump of its input.
    pub input: Option<u64>,
    /// The writer that keeps its input open until CloseIO.
    pub held_input: Option<OwnedFd>,
    /// The master of its terminal.
    pub console: Option<OwnedFd>,
    pub logger: Option<OwnedFd>,
    /// A Delete that waits until the outputs have come to an end, and for how long.
    pub draining: Option<(Reply, Instant)>,
}

impl Process {
    /// One that nothing is known of but its streams.
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

    /// Whether it counts as one that runs.
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
    pub cgroups: Vec<(String, PathBuf)>,
    pub shared_pid_namespace: bool,
    pub paused: bool,
    /// A worker pauses or resumes it.
    pub pausing: bool,
    pub oom: Option<(u64, OomWatch)>,
    /// What it is to be restored from.
    pub checkpoint: Option<Checkpoint>,
    /// The request named one, which events tell.
    pub checkpoint_path: String,
    /// Init has been reaped, but what Exec has made is still there.
    pub init_held: bool,
}

impl Container {
    /// Init for an empty id, else what Exec has made.
    ///
    /// # Errors
    /// There is no such process.
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

    /// Takes what the worker says of its cgroups.
    pub fn take_cgroups(&mut self, cgroups: &[CgroupPath]) {
        self.cgroups =
            cgroups.iter().map(|one| (one.controller.clone(), one.path.clone().into())).collect();
    }
}
