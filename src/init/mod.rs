//! Init, the first process of the container, before it executes the program. It builds the
//! container: first with the host visible, and then inside the new root.
//! process: init

pub mod exec;
pub mod handover;
mod hostname;
mod keyring;
mod labels;
pub mod limits;
mod network;
mod null;
mod program;
mod rootfs;
mod seccomp;
mod sysctl;
mod terminal;
mod user;

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

pub use program::locate;
use program::{Home, Program};
pub use rootfs::inside;
use rustix::fs::Mode;

use crate::error::{AtKey, Context, Report, Result};
use crate::hooks::{self, Confine, HookContext, Output};
use crate::plan::Plan;
use crate::plan::hooks::HookPoint;
use crate::plan::namespaces::{CGROUP, CloneMethod, NamespaceKind, PID, TIME, USER};
use crate::state::{State, Status, VERSION};
use crate::sync::{FromInit, INIT_NAME, InitEnd};
use crate::sys::clone::SingleThreaded;
use crate::sys::proc::Proc;
use crate::sys::wait::{self, Unbounded};
use crate::sys::{Call, caller, clone, ids, process, signal};

/// A namespace to join, opened by the runtime.
#[derive(Debug)]
pub struct JoinedNamespace {
    /// Its kind.
    pub kind: &'static NamespaceKind,
    /// Its index in `linux.namespaces`.
    pub index: usize,
    /// Its path, for messages.
    pub path: PathBuf,
    /// The file.
    pub file: OwnedFd,
}

impl JoinedNamespace {
    /// setns(2).
    ///
    /// # Errors
    /// The error of the call.
    pub fn enter(&self) -> Result<(), Call> {
        clone::setns(self.file.as_fd(), self.kind.flag)
    }

    /// Adds the namespace to an error of [`Self::enter`].
    ///
    /// # Errors
    /// The error, with the namespace.
    pub fn explain(&self, result: Result<(), Call>) -> Result<()> {
        result
            .with_context(|| {
                format!("joining the {} namespace {}", self.kind.name, self.path.display())
            })
            .at(format_args!("/linux/namespaces/{}/path", self.index))
    }
}

/// The data of init besides its socket, in its copy of the runtime's memory.
#[derive(Debug)]
pub struct InitSetup<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Namespaces to join.
    pub joined: &'a [JoinedNamespace],
    /// The socket where init waits for `start`. `None` for `run`.
    pub gate: Option<OwnedFd>,
    /// The output of the `createContainer` hooks.
    pub hook_output: Output,
    /// Proof that this process has one thread.
    pub alone: SingleThreaded,
}

/// Opens the files for the output of the `createContainer` hooks. This is done on the host, since
/// these hooks run with the host visible. `startContainer` hooks are programs of the image and get
/// no descriptor of the host.
///
/// # Errors
/// As [`Output::open`].
pub fn open_hook_output(plan: &Plan) -> Result<Output> {
    if plan.hooks.create_container.is_empty() {
        Ok(Output::default())
    } else {
        Output::open(&plan.annotations)
    }
}

/// Runs until it executes the program. Returns an exit code if that fails.
pub fn main(setup: &InitSetup<'_>, runtime: &InitEnd) -> i32 {
    let Err(error) = run(setup, runtime);
    fail(&error, runtime)
}

/// Sends the error to the runtime. Returns the exit code.
fn fail(error: &anyhow::Error, runtime: &InitEnd) -> i32 {
    // If the other end is closed, the runtime does not need the error.
    let _ = runtime.send(&FromInit::Failed(Report::of(error)));
    1
}

fn run(setup: &InitSetup<'_>, runtime: &InitEnd) -> Result<Infallible> {
    let plan = setup.plan;
    caller::erase_and_rename(INIT_NAME)?;
    runtime.wait_for_begin()?; // the runtime has set up our cgroup and ids

    signal::reset_to_default()?;
    if plan.namespaces.has_own(&USER) {
        ids::become_user(0, 0).context("becoming root of the user namespace")?;
    }
    // Processes in a joined namespace must not trace this one (CVE-2016-9962), so this is done
    // before one is joined. If the runtime is root, init was created non-dumpable, but the change
    // of its ids may have undone that.
    process::set_dumpable(false)?;
    join_namespaces(setup)?;
    rustix::process::setsid().context("setsid()")?;
    let proc = Proc::open()?;
    keyring::join(&plan.entry, Some(&proc))?;
    network::loopback_up(plan)?;

    let callers_mask = rustix::process::umask(Mode::empty());
    // ── the host is still visible ──
    let rootfs = rootfs::build(plan, &proc, runtime)?;
    runtime.send(&FromInit::Built)?; // the runtime sets the limits, runs prestart and createRuntime
    if plan.init_waits() {
        runtime.wait_for_continue()?;
    }
    run_create_container_hooks(setup, callers_mask)?;
    hostname::set(plan)?;
    sysctl::write(plan, &proc)?;
    terminal::give_init(plan, &rootfs.root, runtime)?;
    rootfs::protect(plan, &rootfs)?;
    let home = Home::look_up(&plan.entry.process, &rootfs.root, &proc);
    rootfs::enter(plan, &rootfs, &proc)?; // ── the host is no longer visible ──

    labels::of_program(&plan.entry.process.labels, Some(&proc))?;
    let program = handover::prepare(&plan.entry, home, runtime)?;
    if plan.entry.early_filter {
        seccomp::load(plan.entry.seccomp.as_ref(), runtime)?;
    }
    runtime.report_ready()?; // `create` returns
    let start = setup.gate.as_ref().map(|gate| wait_at(gate, plan)); // `start` continues here
    let wire = start.as_ref().unwrap_or(runtime);
    handover::finish(&plan.entry, &program, wire, |wire| {
        run_start_container_hooks(setup, &program, wire)
    })
}

/// Waits for `start`. A `start` that is killed before it sends the message does not count. Errors
/// cannot be reported any more: `create` has ended, and our descriptors are closed.
fn wait_at(gate: &OwnedFd, plan: &Plan) -> InitEnd {
    let wait = || -> Result<InitEnd> {
        handover::close_all_but(gate, &plan.entry)?;
        if plan.dumpable_at_gate {
            process::set_dumpable(true)?; // we have nothing of the host any more
        }
        signal::exit_on_ending_signals()?;
        loop {
            let start = InitEnd::from_fd(wait::accept(gate.as_fd(), Unbounded::NotStartedYet)?);
            if start.wait_for_start()? {
                return Ok(start);
            }
        }
    };
    wait().unwrap_or_else(|_| clone::exit_now(1))
}

/// Joins the namespaces that the bootstrap has not joined, and the cgroup namespace, whose root is
/// our current cgroup.
fn join_namespaces(setup: &InitSetup<'_>) -> Result<()> {
    let namespaces = &setup.plan.namespaces;
    if namespaces.clone_method == CloneMethod::Direct {
        for joined in setup.joined.iter().filter(|joined| ![&PID, &TIME].contains(&joined.kind)) {
            joined.explain(joined.enter())?;
        }
    }
    if namespaces.create_cgroup_namespace {
        clone::unshare(CGROUP.flag)?;
    }
    Ok(())
}

/// Runs the createContainer hooks. They are programs of the host, so they create files with the
/// umask of the caller.
fn run_create_container_hooks(setup: &InitSetup<'_>, callers_mask: Mode) -> Result<()> {
    let plan = setup.plan;
    if plan.hooks.create_container.is_empty() {
        return Ok(());
    }
    let ours = rustix::process::umask(callers_mask);
    let (env, output) = (Some(&plan.entry.process.env[..]), Some(&setup.hook_output));
    let around = HookContext { env, output, ..HookContext::default() };
    run_hooks(plan, HookPoint::CreateContainer, Status::Creating, &around)?;
    rustix::process::umask(ours);
    Ok(())
}

/// Runs the startContainer hooks. They are programs of the container, with its filter and its
/// environment. Each loads the filter itself, since it must not apply to our own calls.
fn run_start_container_hooks(
    setup: &InitSetup<'_>,
    program: &Program,
    wire: &InitEnd,
) -> Result<()> {
    let plan = setup.plan;
    let filter = plan.entry.seccomp.as_ref();
    let load = || seccomp::load(filter, wire);
    let confine = filter.map(|_| Confine { alone: setup.alone, last: &load });
    let around = HookContext { env: Some(program.env()), confine, ..HookContext::default() };
    run_hooks(plan, HookPoint::StartContainer, Status::Created, &around)
}

/// Runs hooks in the namespaces of the container. Their state has the pid in the container.
fn run_hooks(
    plan: &Plan,
    point: HookPoint,
    status: Status,
    around: &HookContext<'_>,
) -> Result<()> {
    if point.of(&plan.hooks).is_empty() {
        return Ok(());
    }
    let state = State {
        oci_version: VERSION,
        id: &plan.entry.id,
        status,
        pid: rustix::process::getpid().as_raw_pid(),
        bundle: &plan.bundle.to_string_lossy(),
        annotations: &plan.annotations,
    };
    let state = state.to_json()?;
    hooks::run(&plan.hooks, point, &state, around)
}
