//! `create`: everything up to, but not including, the user's program. The file to read first.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::creation::{self, Creation};
use super::{CgroupManager, ConsoleTarget, Process, hand_over, look_for_agent, warn};
use crate::container::notify::{self, Notify};
use crate::container::{ContainerId, StateFile, gate};
use crate::error::{AtKey, Context, Result};
use crate::host::Rootless;
use crate::log::Phases;
use crate::plan::annotations::PIDFD_RECEIVER;
use crate::plan::terminal::TerminalRequest;
use crate::plan::{self, Host, Plan, Request};
use crate::runtime;
use crate::runtime::console::Console;
use crate::runtime::inherited::Inherited;
use crate::runtime::net_devices;
use crate::runtime::pidfd_socket::{self, PidfdSocket};
use crate::runtime::relay::Relay;
use crate::runtime::spawn::{self, Init, InitRequest};
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
    let (init, _, pid_file) = creation.keep(pid_file.as_deref())?;
    pid_file.keep();
    phases.end("save");
    init.saved()?;
    Ok(Process::new(init.child, master))
}

/// Makes a container up to the point where its init would become the program; `detach` says that we
/// end before it.
pub(super) fn make_ready(
    request: &Create,
    state_root: &Path,
    gate: Gate,
    detach: bool,
) -> Result<Ready> {
    let mut phases = Phases::begin();
    let id = ContainerId::parse(&request.id)?;
    let prepared = Prepared::of(request, &id, state_root, detach)?;
    let Prepared { plan, host, text, inherited, sockets, mut console, notify, .. } = prepared;
    phases.end("plan");
    let rootfs = Root::open(&plan.rootfs.path).at("/root/path")?;
    look_for_agent(&plan, gate)?;

    let mut creation = Creation::reserve(state_root, &id, &plan, &text)?; // undone when dropped
    let notify = creation.prepare_notify(notify.as_deref(), gate == Gate::Open)?;
    creation.cgroup = runtime::cgroup::make(&plan, &host)?;
    creation.make_groups(&plan)?;
    let gate = (gate == Gate::Closed).then(|| gate::make(creation.reserved.fd())).transpose()?;
    phases.end("prepare");
    let init = spawn::make_init(&plan, &mut creation.cgroup, &rootfs, gate)?;
    inherited.close();
    if let Some(owner) = plan.cgroup_owner {
        let given = creation.cgroup.give_to(owner);
        given.context("giving the cgroup to the container's user").at("/mounts")?;
    }
    creation.take_init(&plan, init)?;
    log::debug!("{id}: init is process {}", creation.saved.init_process_pid);
    phases.end("clone");
    let served = serve(&mut creation, &plan, &mut console, &mut phases);
    let shown =
        served.and_then(|()| send_pidfd(&creation, &sockets)).and_then(|()| console.relay());
    phases.end("enter");
    let relay = shown.map_err(|error| creation.explain(error))?;
    Ok(Ready { creation, notify, relay, master: console.into_master(), phases })
}

/// What there is before anything is made.
struct Prepared {
    plan: Plan,
    host: Host,
    /// config.json.
    text: Vec<u8>,
    inherited: Inherited,
    /// Who gets a pidfd of init.
    sockets: Vec<PidfdSocket>,
    console: Console,
    /// The socket of ours on which the container is to say that it is ready.
    notify: Option<OsString>,
}

impl Prepared {
    /// Decides; every "no" of the config is said here.
    fn of(request: &Create, id: &ContainerId, state_root: &Path, detach: bool) -> Result<Self> {
        let inherited = Inherited::with_listeners(request.preserve_fds)?;
        let pidfd_socket = request.pidfd_socket.as_deref().map(PidfdSocket::connect).transpose()?;
        let bundle = go_to_bundle(&request.bundle)?;
        let text = plan::read(&bundle)?;
        let host = Host::probe(request.rootless)?;
        let notify = notify::wanted();
        let directory = notify.as_ref().map(|_| state_root.join(&**id).join(notify::DIRECTORY));
        let directory = directory.as_ref().map(|path| path.to_string_lossy());
        let mut env = inherited.env.clone();
        let variable = || format!("NOTIFY_SOCKET={}/{}", plan::NOTIFY, notify::SOCKET);
        env.extend(notify.as_ref().map(|_| variable()));
        let plan_request = Request {
            id,
            bundle: &bundle,
            no_pivot: request.no_pivot,
            no_new_keyring: request.no_new_keyring,
            keyring: &StateFile::name_keyring(id)?,
            preserved_fds: &inherited.numbers,
            env: &env,
            notify: directory.as_deref(),
            terminal: TerminalRequest { detach, console: &request.console },
            maker: request.cgroup_manager.maker(&host)?,
        };
        let plan = Plan::for_create(&text, &plan_request, &host)?;
        warn(&plan.warnings);
        log::debug!("{id}: planned from {}", bundle.display());
        let sockets = pidfd_socket.into_iter().chain(connect_receiver(&plan)?).collect();
        let console = Console::prepare(plan.entry.terminal.as_ref())?;
        Ok(Self { plan, host, text, inherited, sockets, console, notify })
    }
}

/// Has init begin, and does what it needs until it is ready.
fn serve(
    creation: &mut Creation<Init>,
    plan: &Plan,
    console: &mut Console,
    phases: &mut Phases,
) -> Result<()> {
    let Creation { init, saved, cgroup, net_devices, hooks_began, .. } = creation;
    let init = init.as_ref().context("there is no init")?;
    init.begin()?;
    init.serve(plan, console, &mut Watch::new(cgroup), |due| {
        if let InitRequest::Listener(listener) = due {
            return hand_over(saved, (Status::Creating, init.child.pid), &listener);
        }
        phases.end("build");
        *net_devices = net_devices::move_in(&plan.net_devices, init.child.pid)?;
        cgroup.set(&plan.resources)?;
        cgroup.delegate(plan.delegated.as_ref(), init.child.pid)?;
        phases.end("resources");
        *hooks_began = true;
        creation::run_create_hooks(&plan.hooks, saved, init.as_fd())?;
        phases.end("hooks");
        Ok(())
    })
}

fn send_pidfd(creation: &Creation<Init>, sockets: &[PidfdSocket]) -> Result<()> {
    let Some(init) = &creation.init else { return Ok(()) };
    sockets.iter().try_for_each(|socket| socket.send(init, pidfd_socket::INIT))
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
    rustix::process::chdir(&bundle).named_on("chdir", &bundle).context("the bundle (--bundle)")?;
    Ok(bundle)
}

/// A path of the caller's, wherever we go later.
pub(super) fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>> {
    Ok(path.map(std::path::absolute).transpose()?)
}
