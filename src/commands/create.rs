//! `create`: does everything before the execve of the user's program. Read this file first.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::creation::{self, Creation, Starter};
use super::{CgroupManager, ConsoleTarget, CreatedProcess, look_for_agent, send_listener, warn};
use crate::container::notify::{self, Notify};
use crate::container::{ContainerId, StateFile, gate};
use crate::error::{AtKey, Context, Result};
use crate::host::Rootless;
use crate::host::cgroups::CgroupLayout;
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
use crate::sys::root::RootHandle;

/// A `create` or `run` request.
#[derive(Debug, Default)]
pub struct Create {
    /// The container's id, unique below the state root.
    pub id: String,
    /// The bundle.
    pub bundle: PathBuf,
    /// The file to which the pid of the container's init is written.
    pub pid_file: Option<PathBuf>,
    /// The receiver of the master of the program's terminal.
    pub console: ConsoleTarget,
    /// Whether the rootfs is entered without pivot_root(2), on a host that runs from a ramdisk.
    pub no_pivot: bool,
    /// Whether the container keeps our session keyring.
    pub no_new_keyring: bool,
    /// How many of our descriptors stay open for the program, from 3 or after `LISTEN_FDS` on.
    pub preserve_fds: u32,
    /// The socket to which a pidfd of the container's init is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// Whether we may have no permission for cgroups.
    pub rootless: Rootless,
    /// How the cgroup is made.
    pub cgroup_manager: CgroupManager,
}

/// A container whose init is ready to become the program.
#[derive(Debug)]
pub struct Ready {
    pub(super) creation: Creation<Init>,
    pub(super) notify: Option<Notify>,
    /// In the foreground, the relay between the program's terminal and ours.
    pub(super) relay: Option<Relay>,
    /// The master of the program's terminal, if the caller gets it.
    pub(super) master: Option<OwnedFd>,
    /// Measures the phases.
    pub(super) phases: Phases,
}

/// Makes a container. [`start`](super::start::start) starts its program.
///
/// # In a process of its own
/// The process must have one thread. Its working directory is changed to the bundle, and
/// descriptors for the program are closed. The container gets its standard streams, its session
/// keyring if the request says so, and the descriptors of `LISTEN_FDS`. The container's init is its
/// child.
///
/// # Errors
/// An invalid config.json or request; the error of the failed call. Everything is then undone.
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
pub fn create(request: &Create, state_root: &Path) -> Result<CreatedProcess> {
    let pid_file = absolute(request.pid_file.as_deref())?;
    let ready = make_ready(request, state_root, Starter::StartCommand, true)?;
    // Init goes to the gate only after the state was saved. If we are killed before, it must end
    // with us, because no other process knows of it.
    let Ready { creation, master, mut phases, .. } = ready;
    let (init, _, pid_file) = creation.keep(pid_file.as_deref())?;
    pid_file.keep();
    phases.end("save");
    init.saved()?;
    Ok(CreatedProcess::new(init.child, master))
}

/// Makes a container until its init is ready to become the program. With `detach`, we end before
/// the program.
pub(super) fn make_ready(
    request: &Create,
    state_root: &Path,
    starter: Starter,
    detach: bool,
) -> Result<Ready> {
    let mut phases = Phases::begin();
    let id = ContainerId::parse(&request.id)?;
    let prepared = Prepared::of(request, &id, state_root, detach)?;
    let Prepared { plan, host, text, inherited, sockets, mut console, notify, .. } = prepared;
    phases.end("plan");
    let rootfs = RootHandle::open(&plan.rootfs.path).at("/root/path")?;
    look_for_agent(&plan, starter)?;

    let mut creation = Creation::reserve(state_root, &id, &plan, &text)?; // undone when dropped
    let notify = creation.prepare_notify(notify.as_deref(), starter)?;
    creation.cgroup = runtime::cgroup::make(&plan, &host)?;
    creation.make_groups(&plan)?;
    let gate = (starter == Starter::StartCommand)
        .then(|| gate::make(creation.reserved.fd()))
        .transpose()?;
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

/// What is prepared before anything is made.
struct Prepared {
    plan: Plan,
    host: Host,
    /// config.json.
    text: Vec<u8>,
    inherited: Inherited,
    /// The receivers of a pidfd of init.
    sockets: Vec<PidfdSocket>,
    console: Console,
    /// Our `NOTIFY_SOCKET`, to which the report that the container is ready is sent.
    notify: Option<OsString>,
}

impl Prepared {
    /// Makes the plan. A config that cannot be honoured is refused here.
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
        let plan = Plan::for_create(&text, &plan_request, &host, &CgroupLayout::probe()?)?;
        warn(&plan.warnings);
        log::debug!("{id}: planned from {}", bundle.display());
        let sockets = pidfd_socket.into_iter().chain(connect_receiver(&plan)?).collect();
        let console = Console::prepare(plan.entry.terminal.as_ref())?;
        Ok(Self { plan, host, text, inherited, sockets, console, notify })
    }
}

/// Lets init begin, and answers its requests until it is ready.
fn serve(
    creation: &mut Creation<Init>,
    plan: &Plan,
    console: &mut Console,
    phases: &mut Phases,
) -> Result<()> {
    let Creation { init, saved, cgroup, net_devices, runs_poststop, .. } = creation;
    let init = init.as_ref().context("there is no init")?;
    init.begin()?;
    init.serve(plan, console, &mut Watch::new(cgroup), |due| {
        if let InitRequest::Listener(listener) = due {
            return send_listener(saved, (Status::Creating, init.child.pid), &listener);
        }
        phases.end("build");
        *net_devices = net_devices::move_in(&plan.net_devices, init.child.pid)?;
        cgroup.set(&plan.resources)?;
        cgroup.delegate(plan.delegated.as_ref(), init.child.pid)?;
        phases.end("resources");
        *runs_poststop = true;
        creation::run_runtime_hooks(&plan.hooks, saved, init.as_fd())?;
        phases.end("hooks");
        Ok(())
    })
}

fn send_pidfd(creation: &Creation<Init>, sockets: &[PidfdSocket]) -> Result<()> {
    let Some(init) = &creation.init else { return Ok(()) };
    sockets.iter().try_for_each(|socket| socket.send(init, pidfd_socket::INIT))
}

/// Connects to the socket of the annotation that requests a pidfd of init.
fn connect_receiver(plan: &Plan) -> Result<Option<PidfdSocket>> {
    let path = plan.annotations.get(PIDFD_RECEIVER);
    path.map(|path| PidfdSocket::connect(path.as_ref()))
        .transpose()
        .at(format_args!("/annotations/{PIDFD_RECEIVER}"))
}

/// Changes to the bundle, where hooks begin in runc, too. Returns its absolute path.
pub(super) fn go_to_bundle(bundle: &Path) -> Result<PathBuf> {
    let bundle = std::path::absolute(bundle)?;
    rustix::process::chdir(&bundle).named_on("chdir", &bundle).context("the bundle (--bundle)")?;
    Ok(bundle)
}

/// An absolute path of the caller, because the working directory changes later.
pub(super) fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>> {
    Ok(path.map(std::path::absolute).transpose()?)
}
