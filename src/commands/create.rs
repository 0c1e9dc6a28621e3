//! `create`: everything up to, but not including, the user's program. The file to read first.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::creation::Creation;
use super::{CgroupManager, ConsoleTarget, Process, hand_over, look_for_agent, warn};
use crate::cgroup::{self, Cgroup};
use crate::container::notify::{self, Notify};
use crate::container::{self, ContainerId, Reserved, StateFile, gate};
use crate::error::{AtKey, Context, Result};
use crate::hooks::{self, HookContext, Output};
use crate::host::Rootless;
use crate::log::Phases;
use crate::plan::annotations::PIDFD_RECEIVER;
use crate::plan::hooks::{HookPoint, Hooks};
use crate::plan::namespaces::{NamespaceKind, PID};
use crate::plan::terminal::TerminalRequest;
use crate::plan::{self, Host, Plan, Request};
use crate::resctrl::Groups;
use crate::runtime;
use crate::runtime::console::Console;
use crate::runtime::inherited::Inherited;
use crate::runtime::net_devices::{self, MovedDevices};
use crate::runtime::pidfd_socket::{self, PidfdSocket};
use crate::runtime::relay::Relay;
use crate::runtime::spawn::{self, Child, Init, InitRequest};
use crate::runtime::watch::Watch;
use crate::state::Status;
use crate::sys::Named;
use crate::sys::root::Root;

/// What `create` and `run` are asked for.
#[derive(Debug, Default)]
pub struct Create {
    /// The container's id, unique below the state root.
    pub id: String,
    /// The bundle.
    pub bundle: PathBuf,
    /// Where the pid of the container's init is written.
    pub pid_file: Option<PathBuf>,
    /// Who gets the master of the program's terminal.
    pub console: ConsoleTarget,
    /// Whether the rootfs is entered without pivot_root(2), on a host that runs from a ramdisk.
    pub no_pivot: bool,
    /// Whether the container keeps the session keyring that we have.
    pub no_new_keyring: bool,
    /// So many of our descriptors stay open for the program, from 3 or those of `LISTEN_FDS` on.
    pub preserve_fds: u32,
    /// Who listens there gets a pidfd of the container's init.
    pub pidfd_socket: Option<PathBuf>,
    /// Whether the cgroups may be out of reach.
    pub rootless: Rootless,
    /// Who makes the cgroup.
    pub cgroup_manager: CgroupManager,
}

/// A container whose init is ready to become the program.
#[derive(Debug)]
pub struct Ready {
    pub(super) creation: Creation<Init>,
    pub(super) notify: Option<Notify>,
    /// In the foreground, between the program's terminal and ours.
    pub(super) relay: Option<Relay>,
    /// The master of the program's terminal, if the caller is to have it.
    pub(super) master: Option<OwnedFd>,
    /// The stopwatch.
    pub(super) phases: Phases,
}

/// Whether init waits for a `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It does.
    Closed,
    /// It goes on when let go.
    Open,
}

/// Makes a container: all but the start of its program, which waits for
/// [`start`](super::start::start).
///
/// # In a process of its own
/// It needs one with a single thread, changes its working directory to the bundle, and closes the
/// descriptors that are for the program. The container has its standard streams, its session
/// keyring if the request says so, and the descriptors of `LISTEN_FDS`. The container's init is its
/// child.
///
/// # Errors
/// What went wrong; then nothing is left behind.
///
/// # Examples
/// ```no_run
/// use std::os::fd::{AsRawFd, OwnedFd};
/// use std::path::Path;
///
/// use orlop::commands::ConsoleTarget;
/// use orlop::commands::create::{Create, create};
///
/// let request = Create {
///     id: "web".to_owned(),
///     bundle: "/srv/web".into(),
///     console: ConsoleTarget::Returned,
///     ..Create::default()
/// };
/// let init = create(&request, Path::new("/run/orlop"))?;
/// let terminal: Option<&OwnedFd> = init.master.as_ref();
/// println!("init is {}, a pidfd of it {}", init.pid, init.pidfd().as_raw_fd());
/// println!("its terminal: {terminal:?}");
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn create(request: &Create, state_root: &Path) -> Result<Process> {
    let pid_file = absolute(request.pid_file.as_deref())?;
    let ready = make_ready(request, state_root, Gate::Closed, true)?;
    // Only then on to the gate: an init that nobody knows of must not wait there, but end with us
    // if we are killed now.
    let Ready { creation, master, mut phases, .. } = ready;
    let (init, _) = creation.keep(pid_file.as_deref())?;
    phases.end("save");
    init.saved()?;
    Ok(Process::new(init.child, master))
}

/// Makes a container up to the point where its init would become the program; `detach` says that we
/// end before it.
pub(super) fn make_ready(
    options: &Create,
    state_root: &Path,
    gate: Gate,
    detach: bool,
) -> Result<Ready> {
    let mut phases = Phases::begin();
    let id = ContainerId::parse(&options.id)?;
    let inherited = Inherited::with_listeners(options.preserve_fds)?;
    let pidfd_socket = options.pidfd_socket.as_deref().map(PidfdSocket::connect).transpose()?;
    let bundle = go_to_bundle(&options.bundle)?;
    let text = plan::read(&bundle)?;
    let host = Host::probe(options.rootless)?;
    let wanted = notify::wanted();
    let notify_directory = wanted.as_ref().map(|_| state_root.join(&*id).join(notify::DIRECTORY));
    let notify_directory = notify_directory.as_ref().map(|path| path.to_string_lossy());
    let mut env = inherited.env.clone();
    env.extend(
        wanted.as_ref().map(|_| format!("NOTIFY_SOCKET={}/{}", plan::NOTIFY, notify::SOCKET)),
    );
    let keyring = StateFile::name_keyring(&id)?;
    let request = Request {
        id: &id,
        bundle: &bundle,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        keyring: &keyring,
        preserved_fds: &inherited.numbers,
        env: &env,
        notify: notify_directory.as_deref(),
        terminal: TerminalRequest { detach, console: &options.console },
        maker: options.cgroup_manager.maker(&host)?,
    };
    let plan = Plan::for_create(&text, &request, &host)?; // every "no" of the config is said here
    warn(&plan.warnings);
    log::debug!("{id}: planned from {}", bundle.display());
    phases.end("plan");
    let receiver = connect_receiver(&plan)?;
    let mut console = Console::prepare(plan.entry.terminal.as_ref())?;
    let rootfs = Root::open(&plan.rootfs.path).at("/root/path")?;
    look_for_agent(&plan, gate)?;

    let reserved = container::reserve(state_root, &id)?; // removed on drop, like all that follows
    let mut saved = describe(&plan);
    reserved.save(&saved)?; // from here on `delete --force` finds what we leave if we are killed
    reserved.keep_config(&text)?;
    let notify = prepare_notify(&reserved, wanted.as_deref(), gate)?;
    let mut cgroup = runtime::cgroup::make(&plan, &host)?;
    let resctrl = make_groups(&plan, &reserved, &mut saved)?;
    let gate = (gate == Gate::Closed).then(|| gate::make(reserved.fd())).transpose()?;
    phases.end("prepare");
    let init = spawn::give_birth(&plan, &mut cgroup, &rootfs, gate)?;
    inherited.close();
    if let Some(owner) = plan.cgroup_owner {
        cgroup.give_to(owner).context("giving the cgroup to the container's user").at("/mounts")?;
    }
    note_birth(&mut saved, &plan, &init.child, &cgroup)?;
    reserved.save(&saved)?; // init has done nothing yet, and would end with us
    if let Some(groups) = &resctrl {
        groups.add(init.child.pid)?;
    }
    init.begin()?;
    phases.end("birth");

    log::debug!("{id}: init is process {}", init.child.pid);
    let mut hooks_began = false;
    let mut net_devices = MovedDevices::default();
    let served = init.serve(&plan, &mut console, &mut Watch::new(&cgroup), |due| {
        if let InitRequest::Listener(listener) = due {
            return hand_over(&saved, (Status::Creating, init.child.pid), &listener);
        }
        phases.end("build");
        net_devices = net_devices::move_in(&plan.net_devices, init.child.pid)?;
        cgroup.set(&plan.resources)?;
        cgroup.delegate(plan.delegated.as_ref(), init.child.pid)?;
        phases.end("resources");
        hooks_began = true;
        run_create_hooks(&plan.hooks, &saved, init.as_fd()).inspect(|()| phases.end("hooks"))
    });
    phases.end("enter");
    let served = served.and_then(|()| {
        let mut sockets = pidfd_socket.iter().chain(&receiver);
        sockets.try_for_each(|socket| socket.send(&init, pidfd_socket::INIT))
    });
    let served = served.and_then(|()| console.relay());
    let creation = Creation { net_devices, init, cgroup, resctrl, reserved, saved };
    match served {
        Ok(relay) => Ok(Ready { creation, notify, relay, master: console.into_master(), phases }),
        Err(error) => Err(creation.give_up(error, hooks_began)),
    }
}

/// The socket of the annotation that asks for a pidfd of init.
fn connect_receiver(plan: &Plan) -> Result<Option<PidfdSocket>> {
    let path = plan.annotations.get(PIDFD_RECEIVER);
    path.map(|path| PidfdSocket::connect(path.as_ref()))
        .transpose()
        .at(format_args!("/annotations/{PIDFD_RECEIVER}"))
}

/// The bundle's absolute path; and goes there, as hooks begin in the bundle with runc.
pub(super) fn go_to_bundle(bundle: &Path) -> Result<PathBuf> {
    let bundle = std::path::absolute(bundle)?;
    rustix::process::chdir(&bundle)
        .named(|| format!("chdir({bundle:?})"))
        .context("the bundle (--bundle)")?;
    Ok(bundle)
}

/// The groups of resctrl, which state.json names before anything can go wrong.
pub(super) fn make_groups(
    plan: &Plan,
    reserved: &Reserved,
    saved: &mut StateFile,
) -> Result<Option<Groups>> {
    let groups = plan.intel_rdt.as_ref().map(Groups::make).transpose()?;
    if let Some(groups) = &groups {
        saved.intel_rdt_made = groups.containers_own();
        reserved.save(saved)?;
    }
    Ok(groups)
}

/// What is known once init is there.
pub(super) fn note_birth(
    saved: &mut StateFile,
    plan: &Plan,
    init: &Child,
    cgroup: &Cgroup,
) -> Result<()> {
    cgroup.paths().clone_into(&mut saved.cgroup_paths);
    if let Some(unit) = cgroup.unit() {
        unit.name.clone_into(&mut saved.systemd_unit);
        saved.systemd_user = unit.user;
    }
    saved.init_process_pid = init.pid;
    saved.init_process_start = init.start_time()?;
    let file = |kind: &NamespaceKind| {
        (kind.saved.to_owned(), format!("/proc/{}/ns/{}", init.pid, kind.file).into())
    };
    saved.namespace_paths = plan.namespaces.own().map(file).collect();
    Ok(())
}

/// Says so if the kernel's OOM killer was at work.
pub(super) fn with_oom(error: anyhow::Error, cgroup: &Cgroup) -> anyhow::Error {
    if cgroup.oom_killed() {
        error.context("container init was OOM-killed (memory limit too low?)")
    } else {
        error
    }
}

/// The notify socket's directory, which the container has mounted; and the socket, if nobody will
/// `start` it.
fn prepare_notify(reserved: &Reserved, host: Option<&OsStr>, gate: Gate) -> Result<Option<Notify>> {
    let Some(host) = host else { return Ok(None) };
    notify::make_directory(reserved.fd())?;
    if gate == Gate::Closed {
        return Ok(None);
    }
    // The container runs just as well if nobody hears of it.
    Ok(Notify::listen(reserved.fd(), host).inspect_err(|error| log::warn!("{error:#}")).ok())
}

/// What is known of the container before it is there.
pub(super) fn describe(plan: &Plan) -> StateFile {
    StateFile {
        id: plan.entry.id.clone(),
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        bundle: plan.bundle.clone(),
        rootfs: plan.rootfs.path.clone(),
        annotations: plan.annotations.clone(),
        shared_pid_namespace: !plan.namespaces.creates(&PID),
        no_new_keyring: plan.entry.keyring.is_none(),
        keyring: plan.entry.keyring.clone().unwrap_or_default(),
        cgroup_paths: cgroup::planned_paths(&plan.cgroup),
        intel_rdt_path: plan.intel_rdt.as_ref().map(|rdt| rdt.group.clone()),
        intel_rdt_mon_path: plan.intel_rdt.as_ref().and_then(|rdt| rdt.monitoring.clone()),
        hooks: Hooks {
            poststart: plan.hooks.poststart.clone(),
            poststop: plan.hooks.poststop.clone(),
            ..Hooks::default()
        },
        listener_path: plan.listener().map(|agent| agent.path.clone()).unwrap_or_default(),
        listener_metadata: plan.listener().map(|agent| agent.metadata.clone()).unwrap_or_default(),
        ..StateFile::default()
    }
}

/// The hooks of the runtime's namespaces.
pub(super) fn run_create_hooks(
    hooks: &Hooks,
    saved: &StateFile,
    init: BorrowedFd<'_>,
) -> Result<()> {
    if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() {
        return Ok(());
    }
    let state = saved.hook_state(Status::Creating)?;
    let output = Output::open(&saved.annotations)?;
    let around = HookContext { init: Some(init), output: Some(&output), ..HookContext::default() };
    hooks::run(hooks, HookPoint::Prestart, &state, &around)?;
    hooks::run(hooks, HookPoint::CreateRuntime, &state, &around)
}

/// A path of the caller's, wherever we go later.
pub(super) fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>> {
    Ok(path.map(std::path::absolute).transpose()?)
}
