//! The `process` object.

use serde::Deserialize;

use super::{Text, maybe_object, nullable, object};

/// `process`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process<'a> {
    /// Whether the program gets a terminal.
    #[serde(deserialize_with = "nullable")]
    pub terminal: bool,
    /// Size of the terminal.
    #[serde(default, deserialize_with = "maybe_object")]
    pub console_size: Option<ConsoleSize>,
    /// User and groups of the program.
    #[serde(borrow, deserialize_with = "object")]
    pub user: User<'a>,
    /// The program and its arguments.
    #[serde(deserialize_with = "nullable")]
    pub args: Vec<Text<'a>>,
    /// Its environment.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<Text<'a>>,
    /// Its working directory.
    #[serde(deserialize_with = "nullable")]
    pub cwd: Text<'a>,
    /// The five capability sets.
    #[serde(default, deserialize_with = "maybe_object")]
    pub capabilities: Option<Capabilities<'a>>,
    /// Resource limits.
    #[serde(deserialize_with = "nullable")]
    pub rlimits: Vec<Rlimit<'a>>,
    /// Whether execve(2) may gain privileges.
    #[serde(deserialize_with = "nullable")]
    pub no_new_privileges: bool,
    /// AppArmor profile.
    #[serde(deserialize_with = "nullable")]
    pub apparmor_profile: Text<'a>,
    /// Adjustment for the OOM killer.
    pub oom_score_adj: Option<i32>,
    /// CPU scheduling.
    #[serde(default, deserialize_with = "maybe_object")]
    pub scheduler: Option<Scheduler<'a>>,
    /// SELinux label.
    #[serde(deserialize_with = "nullable")]
    pub selinux_label: Text<'a>,
    /// I/O scheduling.
    #[serde(default, deserialize_with = "maybe_object")]
    pub io_priority: Option<IoPriority<'a>>,
    /// CPUs for a process that `exec` adds to the container.
    #[serde(rename = "execCPUAffinity", default, deserialize_with = "maybe_object")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity<'a>>,
}

/// `process.consoleSize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u64,
    /// Columns.
    pub width: u64,
}

/// `process.user`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User<'a> {
    /// User id.
    #[serde(deserialize_with = "nullable")]
    pub uid: u32,
    /// Group id.
    #[serde(deserialize_with = "nullable")]
    pub gid: u32,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(deserialize_with = "nullable")]
    pub additional_gids: Vec<u32>,
    /// Windows only; ignored.
    #[serde(borrow, deserialize_with = "nullable")]
    pub username: Text<'a>,
}

/// `process.capabilities`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Capabilities<'a> {
    /// Capabilities that the process can ever gain.
    #[serde(borrow, deserialize_with = "nullable")]
    pub bounding: Vec<Text<'a>>,
    /// Capabilities that the kernel checks.
    #[serde(deserialize_with = "nullable")]
    pub effective: Vec<Text<'a>>,
    /// Capabilities that remain after execve(2) of a file that has them in its inheritable set.
    #[serde(deserialize_with = "nullable")]
    pub inheritable: Vec<Text<'a>>,
    /// Capabilities that the process can make effective.
    #[serde(deserialize_with = "nullable")]
    pub permitted: Vec<Text<'a>>,
    /// Capabilities that remain after execve(2) of any file.
    #[serde(deserialize_with = "nullable")]
    pub ambient: Vec<Text<'a>>,
}

/// One of `process.rlimits`.
#[derive(Debug, Deserialize)]
pub struct Rlimit<'a> {
    /// `RLIMIT_…`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// Highest value that the soft limit can have.
    pub hard: u64,
    /// The limit that the kernel enforces.
    pub soft: u64,
}

/// `process.scheduler`.
#[derive(Debug, Deserialize)]
pub struct Scheduler<'a> {
    /// `SCHED_…`.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub policy: Text<'a>,
    /// Nice value.
    #[serde(default, deserialize_with = "nullable")]
    pub nice: i32,
    /// Static priority.
    #[serde(default, deserialize_with = "nullable")]
    pub priority: i32,
    /// `SCHED_FLAG_…`.
    #[serde(default, deserialize_with = "nullable")]
    pub flags: Vec<Text<'a>>,
    /// Deadline scheduling: CPU time in each period, in nanoseconds.
    #[serde(default, deserialize_with = "nullable")]
    pub runtime: u64,
    /// Deadline scheduling: the time in which that CPU time is given, in nanoseconds.
    #[serde(default, deserialize_with = "nullable")]
    pub deadline: u64,
    /// Deadline scheduling: length of a period, in nanoseconds.
    #[serde(default, deserialize_with = "nullable")]
    pub period: u64,
}

/// `process.ioPriority`.
#[derive(Debug, Deserialize)]
pub struct IoPriority<'a> {
    /// `IOPRIO_CLASS_…`.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub class: Text<'a>,
    /// 0 (highest) to 7.
    #[serde(default, deserialize_with = "nullable")]
    pub priority: i64,
}

/// `process.execCPUAffinity`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExecCpuAffinity<'a> {
    /// CPUs until the process is in the container's cgroup.
    #[serde(borrow, deserialize_with = "nullable")]
    pub initial: Text<'a>,
    /// CPUs after that.
    #[serde(rename = "final", deserialize_with = "nullable")]
    pub last: Text<'a>,
}
