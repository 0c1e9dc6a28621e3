//! The calls of orlop's library that need a process of their own. Only this file of the worker uses
//! the library's verbs.
//! process: worker

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use orlop::cgroup::Cgroup;
use orlop::commands::checkpoint::{self, CgroupsMode, CriuOptions};
use orlop::commands::update::Change;
use orlop::commands::{
    CgroupManager, ConsoleTarget, CreatedProcess, Document, create as make, delete as remove,
    exec as run, kill as signal, pause as freezer, restore as bring, start as gate,
    update as limits,
};
use orlop::container::{Container, ContainerId};
use orlop::error::{Failure, Report};
use orlop::kernel::HierarchyName;
use orlop::log::Log;
use orlop::sys::wait::{self, Bound};

use crate::order::{Answer, CgroupPath, Checkpoint, NewContainer, Order};
use crate::status::{
    ALREADY_EXISTS, FAILED_PRECONDITION, Failed, INVALID_ARGUMENT, NOT_FOUND, UNKNOWN,
};

/// The file with the pid of init. Other programs read it, too.
pub const PID_FILE: &str = "init.pid";

/// Converts an error of the library to a failure with runc's texts, which callers match.
pub fn failed(error: &anyhow::Error, what: &str, log: &Log) -> Failed {
    let mut report = Report::of(error);
    let hint = report.hint();
    if !hint.is_empty() {
        report.text = format!("{} ({hint})", report.text);
    }
    let _ = log.error(&report);
    let text = report.text;
    let code = match error.downcast_ref() {
        Some(Failure::NoSuchContainer) => NOT_FOUND,
        Some(Failure::ContainerExists) => ALREADY_EXISTS,
        Some(Failure::InvalidId) => INVALID_ARGUMENT,
        Some(Failure::WrongStatus(_)) => FAILED_PRECONDITION,
        _ => UNKNOWN,
    };
    match what {
        // Only `kill` names nothing. Its one wrong status is that the process has ended.
        "" if code == FAILED_PRECONDITION => Failed::not_found("process already finished"),
        "" => Failed::new(code, text),
        "exec failed: exec" => {
            Failed::new(code, format!("OCI runtime exec failed: exec failed: {text}"))
        }
        what => Failed::new(code, format!("OCI runtime {what} failed: {text}")),
    }
}

fn state_root(order: &Order) -> PathBuf {
    order
        .options
        .as_ref()
        .map(|options| options.state_root(&order.namespace))
        .unwrap_or_default()
        .into()
}

fn cgroup_manager(order: &Order) -> CgroupManager {
    match &order.options {
        Some(options) if options.systemd_cgroup => CgroupManager::Systemd,
        _ => CgroupManager::Cgroupfs,
    }
}

/// The target of the terminal's master: the daemon, by our answer.
fn console(order: &Order) -> ConsoleTarget {
    if order.terminal { ConsoleTarget::Returned } else { ConsoleTarget::Unnamed }
}

/// `create`.
pub fn create(order: &Order, master: &mut Option<OwnedFd>) -> Result<Answer> {
    let bundle = Path::new(&order.bundle);
    let options = order.options.clone().unwrap_or_default();
    let request = make::Create {
        id: order.id.clone(),
        bundle: bundle.to_owned(),
        pid_file: Some(bundle.join(PID_FILE)),
        console: console(order),
        no_pivot: options.no_pivot_root,
        no_new_keyring: options.no_new_keyring,
        cgroup_manager: cgroup_manager(order),
        ..make::Create::default()
    };
    let init = make::create(&request, &state_root(order))?;
    made(order, init, master)
}

/// The data that the daemon needs about a new container.
fn made(order: &Order, init: CreatedProcess, master: &mut Option<OwnedFd>) -> Result<Answer> {
    let container = Container::open(&state_root(order), &ContainerId::parse(&order.id)?)?;
    let saved = container.saved;
    let path = |(name, path): (&HierarchyName, &Path)| CgroupPath {
        controller: name.clone().into(),
        path: path.to_string_lossy().into_owned(),
    };
    let cgroups = saved.cgroup_paths.iter().map(path).collect();
    let container = NewContainer { cgroups, shared_pid_namespace: saved.shared_pid_namespace };
    *master = init.master;
    Ok(Answer { pid: init.pid, container: Some(container), ..Answer::default() })
}

/// The process of an exec, as JSON. Whether it has a terminal is said by the request alone, as in
/// containerd's shim: a client need not say so in the process.
fn process_of(order: &Order) -> Result<Vec<u8>> {
    let names_terminal = || order.text.windows(10).any(|word| word == br#""terminal""#);
    if order.terminal || !names_terminal() {
        return Ok(order.text.clone());
    }
    let mut process: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&order.text).context("reading the process (spec)")?;
    process.remove("terminal");
    Ok(serde_json::to_vec(&process)?)
}

/// `exec`; returns the pid.
pub fn exec(order: &Order, master: &mut Option<OwnedFd>) -> Result<i32> {
    let request = run::Exec {
        id: order.id.clone(),
        process: Some(Document::Bytes(process_of(order)?)),
        tty: order.terminal,
        console: console(order),
        ..run::Exec::default()
    };
    let process = run::exec(&request, &state_root(order))?;
    *master = process.master;
    Ok(process.pid)
}

/// `start`.
pub fn start(order: &Order) -> Result<()> {
    gate::start(&order.id, &state_root(order))
}

/// `kill`.
pub fn kill(order: &Order) -> Result<()> {
    let request = signal::Kill { all: order.all, id: order.id.clone(), signal: order.signal };
    signal::kill(&request, &state_root(order))
}

/// The time for killed processes to end.
const DEATH: Bound = Bound::Within(Duration::from_secs(10));
/// The times between two checks: the first and the longest.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(10)];

/// `kill --all` of a container whose init has ended. Returns when all its processes have ended.
pub fn kill_rest(order: &Order) -> Result<()> {
    let id = order.id.clone();
    signal::kill(&signal::Kill { all: true, id, signal: libc::SIGKILL }, &state_root(order))?;
    let container = Container::open(&state_root(order), &ContainerId::parse(&order.id)?)?;
    let cgroup = Cgroup::open(&container.saved.cgroup_paths);
    let dead = wait::retry(DEATH, PAUSES, || anyhow::Ok(cgroup.procs()?.is_empty().then_some(())))?;
    dead.context("processes of the container do not die of SIGKILL")
}

/// `delete`. `--force` is set only by the daemon and by `delete`, which know the state of the
/// container.
pub fn delete(order: &Order) -> Result<()> {
    let request = remove::Delete { force: order.all, id: order.id.clone() };
    remove::delete(&request, &state_root(order))
}

/// `pause`.
pub fn pause(order: &Order) -> Result<()> {
    freezer::pause(&order.id, &state_root(order))
}

/// `resume`.
pub fn resume(order: &Order) -> Result<()> {
    freezer::resume(&order.id, &state_root(order))
}

/// `update`.
pub fn update(order: &Order) -> Result<()> {
    let change = Change::Resources(Document::Bytes(order.text.clone()));
    limits::update(&limits::Update { id: order.id.clone(), change }, &state_root(order))
}

/// The options that checkpoint and restore have in common.
fn criu(order: &Order, wanted: &Checkpoint) -> Result<CriuOptions> {
    let bundle = Path::new(&order.bundle);
    let or = |path: &str, default: &str| {
        if path.is_empty() { bundle.join(default) } else { path.into() }
    };
    if let Some(name) = wanted.empty_namespaces.iter().find(|name| *name != "network") {
        anyhow::bail!("empty namespaces can only be of network, not {name:?}");
    }
    let cgroups = match &*wanted.cgroups_mode {
        "" => None,
        "soft" => Some(CgroupsMode::Soft),
        "full" => Some(CgroupsMode::Full),
        "strict" => Some(CgroupsMode::Strict),
        "ignore" => Some(CgroupsMode::Ignore),
        other => anyhow::bail!("unknown cgroups mode {other:?}"),
    };
    let work_path = or(&wanted.work, "work");
    std::fs::create_dir_all(&work_path)?;
    Ok(CriuOptions {
        image_path: or(&wanted.images, "checkpoint"),
        work_path: Some(work_path),
        tcp_established: wanted.open_tcp,
        ext_unix_sk: wanted.external_unix_sockets,
        shell_job: wanted.terminal,
        file_locks: wanted.file_locks,
        cgroups,
        ..CriuOptions::default()
    })
}

/// `checkpoint`. If it fails, criu's log is copied to the bundle, where users look for it.
pub fn checkpoint(order: &Order) -> Result<()> {
    let wanted = order.checkpoint.clone().unwrap_or_default();
    let options = criu(order, &wanted)?;
    let log = options.work_path.clone().unwrap_or_default().join("dump.log");
    let request = checkpoint::Checkpoint {
        id: order.id.clone(),
        options,
        parent_path: Some(wanted.parent).filter(|path| !path.is_empty()).map(PathBuf::from),
        leave_running: !wanted.exit,
        ..checkpoint::Checkpoint::default()
    };
    checkpoint::checkpoint(&request, &state_root(order)).inspect_err(|_| {
        if let Ok(text) = std::fs::read(&log) {
            let _ = crate::options::replace(Path::new(&order.bundle), "criu-dump.log", &text);
        }
    })
}

/// `restore`.
pub fn restore(order: &Order, master: &mut Option<OwnedFd>) -> Result<Answer> {
    let wanted = order.checkpoint.clone().unwrap_or_default();
    let bundle = Path::new(&order.bundle);
    let request = bring::Restore {
        id: order.id.clone(),
        options: criu(order, &wanted)?,
        bundle: bundle.to_owned(),
        pid_file: Some(bundle.join(PID_FILE)),
        console: console(order),
        no_pivot: order.options.as_ref().is_some_and(|options| options.no_pivot_root),
        cgroup_manager: cgroup_manager(order),
        ..bring::Restore::default()
    };
    let init = bring::restore(&request, &state_root(order))?;
    made(order, init, master)
}
