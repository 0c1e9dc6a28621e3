//! `restore`: restores with criu what `checkpoint` has saved, as a new container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::checkpoint::CriuOptions;
use super::create;
use super::creation::{self, Creation};
use super::run::Foreground;
use super::{CgroupManager, ConsoleTarget, CreatedProcess, delete, warn};
use crate::container::notify;
use crate::container::{self, Container, ContainerId, StateFile};
use crate::criu::external::{self, View};
use crate::criu::images::Images;
use crate::criu::message::{self, CriuMessage, RequestType, option};
use crate::criu::{CriuProgram, Notification, refused};
use crate::error::{Context, Result};
use crate::host::Rootless;
use crate::host::cgroups::CgroupLayout;
use crate::log::Phases;
use crate::plan::namespaces::{NETWORK, TIME};
use crate::plan::terminal::TerminalRequest;
use crate::plan::{self, Host, Plan, Request};
use crate::runtime;
use crate::runtime::child::Child;
use crate::runtime::console::Console;
use crate::runtime::net_devices;
use crate::runtime::relay::Relay;
use crate::runtime::restore::MountPoint;
use crate::runtime::{foreground, restore};
use crate::sys::fd::FileId;
use crate::sys::pidfd::Exit;

/// A `restore` request.
#[derive(Debug, Default)]
pub struct Restore {
    /// The container's id.
    pub id: String,
    /// The options that `checkpoint` has, too.
    pub options: CriuOptions,
    /// The bundle.
    pub bundle: PathBuf,
    /// The file to which the pid of the container's init is written.
    pub pid_file: Option<PathBuf>,
    /// The receiver of the master of the program's terminal.
    pub console: ConsoleTarget,
    /// Refuse what `create` refuses with this flag. criu uses pivot_root(2) anyway.
    pub no_pivot: bool,
    /// Close the TCP connections that were established.
    pub tcp_close: bool,
    /// The security profile to use instead of the saved one, `TYPE:NAME`.
    pub lsm_profile: Option<String>,
    /// The SELinux context for mounts to use instead of the saved one.
    pub lsm_mount_context: Option<String>,
    /// How the cgroup is made.
    pub cgroup_manager: CgroupManager,
}

/// The name of criu's log file.
const LOG: &str = "restore.log";

/// Restores the processes of a container, as a new container.
///
/// # In a process of its own
/// As [`create`](create::create()): the process must have one thread, its working directory is
/// changed, and the container may get its standard streams. The container's init is its child.
///
/// # Errors
/// An invalid config.json or request; the error of criu or of the failed call. Everything is then
/// undone.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::checkpoint::CriuOptions;
/// use orlop::commands::restore::{Restore, restore};
///
/// let request = Restore {
///     id: "web".to_owned(),
///     bundle: "/srv/web".into(),
///     options: CriuOptions { image_path: "/var/images/web".into(), ..CriuOptions::default() },
///     ..Restore::default()
/// };
/// let init = restore(&request, Path::new("/run/orlop"))?;
/// println!("process {} is back", init.pid);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn restore(request: &Restore, state_root: &Path) -> Result<CreatedProcess> {
    let RestoredContainer { init, master, .. } = bring_back(request, None, state_root)?;
    Ok(CreatedProcess::new(init, master))
}

/// As [`restore()`], but waits for the end of the program. Signals that we get are passed to the
/// container, and its terminal is shown on ours. Then the container is deleted, unless `how` says
/// that it is kept.
///
/// # In a process of its own
/// As [`restore()`]. The process can only be used for this container, and its signals are blocked.
///
/// # Errors
/// As [`restore()`].
pub fn foreground(request: &Restore, how: Foreground, state_root: &Path) -> Result<Exit> {
    let RestoredContainer { init, container, relay, .. } =
        bring_back(request, Some(how), state_root)?;
    let exit = foreground::wait(init.pidfd.as_fd(), relay)?;
    if !how.keep {
        delete::destroy(&container);
    }
    Ok(exit)
}

/// A container that was restored.
struct RestoredContainer {
    init: Child,
    container: Container,
    relay: Option<Relay>,
    master: Option<OwnedFd>,
}

fn bring_back(
    request: &Restore,
    foreground: Option<Foreground>,
    state_root: &Path,
) -> Result<RestoredContainer> {
    let mut phases = Phases::begin();
    let id = ContainerId::parse(&request.id)?;
    let pid_file = create::absolute(request.pid_file.as_deref())?;
    let images = request.options.images(LOG, false)?;
    let streams = images.descriptors()?;
    foreground.map_or(Ok(()), Foreground::begin)?;
    let (plan, host, text) = request.plan(&id, foreground.is_none())?;
    let program = CriuProgram::find()?;
    let mut console = Console::prepare(plan.entry.terminal.as_ref())?;
    phases.end("plan");

    let mut creation = Creation::reserve(state_root, &id, &plan, &text)?; // undone when dropped
    notify::make_directory(creation.reserved.fd())?;
    creation.cgroup = runtime::cgroup::make_unfrozen(&plan, &host)?;
    creation.make_groups(&plan)?;
    let directory = state_root.join(&*id);
    creation.mount_point = Some(MountPoint::make(&plan, directory.join(container::CRIU_ROOT))?);
    let mut options = request.criu_options(&plan, &images, &directory)?;
    external::inherit_streams(&streams, &mut options);
    phases.end("prepare");
    let restored = run_criu(&mut creation, &plan, &program, options, &mut console);
    let restored = restored.map_err(|error| images.explain(error)).and_then(|()| console.relay());
    phases.end("criu");
    let relay = restored.map_err(|error| creation.explain(error))?;
    let (init, container, pid_file) = creation.keep(pid_file.as_deref())?;
    pid_file.keep();
    phases.end("save");
    Ok(RestoredContainer { init, container, relay, master: console.into_master() })
}

impl Restore {
    /// Makes the plan, or refuses the config. Also returns the host and the config.json.
    fn plan(&self, id: &ContainerId, detach: bool) -> Result<(Plan, Host, Vec<u8>)> {
        let bundle = create::go_to_bundle(&self.bundle)?;
        let text = plan::read(&bundle)?;
        let host = Host::probe(Rootless::default())?;
        let request = Request {
            id,
            keyring: &StateFile::name_keyring(id)?,
            bundle: &bundle,
            no_pivot: self.no_pivot,
            terminal: TerminalRequest { detach, console: &self.console },
            maker: self.cgroup_manager.maker(&host)?,
            ..Request::default()
        };
        let plan = Plan::for_create(&text, &request, &host, &CgroupLayout::probe()?)?;
        external::refuse_namespaces(&plan)?;
        external::refuse_links(&plan)?;
        refused::refuse_delegated(&plan)?;
        refused::refuse_stand_ins(&plan)?;
        plan::criu::config_file(&plan.annotations)?;
        warn(&plan.warnings);
        if self.no_pivot {
            log::warn!("--no-pivot: criu enters the rootfs by pivot_root(2) all the same");
        }
        Ok((plan, host, text))
    }

    /// The options for criu. `directory` is that of the container.
    fn criu_options(&self, plan: &Plan, images: &Images, directory: &Path) -> Result<CriuMessage> {
        let mut options = images.options();
        let settings = plan::criu::config_file(&plan.annotations)?;
        self.options.set_criu_options(settings, &mut options);
        options.switch(option::EVASIVE_DEVICES, true); // /dev/null by another path is /dev/null
        options.switch(option::RESTORE_SIBLING, true); // so that init is our child and not criu's
        options.switch(option::TCP_CLOSE, self.tcp_close);
        if let Some(profile) = &self.lsm_profile {
            options.text(option::LSM_PROFILE, profile);
        }
        if let Some(context) = &self.lsm_mount_context {
            options.text(option::LSM_MOUNT_CONTEXT, context);
        }
        external::mounts_of_host(plan, &directory.join(notify::DIRECTORY), &mut options);
        Ok(options)
    }
}

fn run_criu(
    creation: &mut Creation<Child>,
    plan: &Plan,
    program: &CriuProgram,
    mut options: CriuMessage,
    console: &mut Console,
) -> Result<()> {
    // criu kills the processes that it has made, unless it is killed itself.
    creation.outlives_init = true;
    let joined: Vec<OwnedFd> = external::join_namespaces(plan, &mut options)?;
    let criu = restore::start(program, plan, &mut creation.cgroup, &joined)?;
    // Until the container's init exists, criu is the process to kill.
    creation.saved.init_process_pid = criu.pid;
    creation.saved.init_process_start = crate::sys::proc::stat(criu.pid)?.start;
    creation.save()?;
    if let Some(place) = &creation.mount_point {
        options.text(option::ROOT, &place.path().to_string_lossy());
    }
    for (controllers, path) in criu.cgroups()? {
        options.pair(option::CGROUP_ROOT, &controllers, &path);
    }
    criu.ask(&message::request(RequestType::Restore, &options), |event| {
        on_event(creation, plan, console, event)
    })?;
    match criu.finish()? {
        Exit::Code(0) => Ok(()),
        exit => anyhow::bail!("criu failed: it ended with {}", exit.shell_code()),
    }
}

/// Handles a notification of criu.
fn on_event(
    creation: &mut Creation<Child>,
    plan: &Plan,
    console: &mut Console,
    event: Notification<'_>,
) -> Result<()> {
    log::debug!("{}: criu: {}", creation.saved.id, event.name);
    match event.name {
        // The processes have their namespaces, which are still empty.
        "setup-namespaces" => {
            note_init(creation, plan, event.pid)?;
            creation.net_devices = if plan.namespaces.creates(&NETWORK) {
                restore::loopback_up(event.pid)?;
                net_devices::move_in(&plan.net_devices, event.pid)?
            } else {
                net_devices::move_in_missing(&plan.net_devices, event.pid)?
            };
            creation.runs_poststop = true;
            let init = creation.init.as_ref();
            let init = init.context("criu has not told of the container's init")?;
            creation::run_runtime_hooks(&plan.hooks, &creation.saved, init.pidfd.as_fd())
        }
        "orphan-pts-master" => console.take(event.descriptor.context("criu sent no terminal")?),
        // The processes are restored, but do not run yet.
        "post-restore" => {
            note_init(creation, plan, event.pid)?;
            restore::protect(plan, event.pid)?;
            let view = View::of(event.pid)?;
            view.check(plan)?;
            view.check_sources(plan)
        }
        _ => Ok(()),
    }
}

/// Saves the container's init.
fn note_init(creation: &mut Creation<Child>, plan: &Plan, pid: i32) -> Result<()> {
    let known = creation.init.take_if(|init| init.pid == pid);
    let init = known.map_or_else(|| Child::open(pid), Ok)?;
    creation.take_init(plan, init)?;
    // criu restores processes in a time namespace, so that their clocks continue where they
    // stopped.
    if !plan.namespaces.has_own(&TIME) && is_elsewhere(pid, TIME.file) {
        let file = format!("/proc/{pid}/ns/{}", TIME.file).into();
        creation.saved.namespace_paths.insert(TIME.saved.to_owned(), file);
        creation.save()?;
    }
    Ok(())
}

/// Whether a process has another namespace of a kind than we have. False if the kernel does not
/// have the kind.
fn is_elsewhere(pid: i32, file: &str) -> bool {
    let of = |process: &str| {
        let stat = rustix::fs::stat(format!("/proc/{process}/ns/{file}")).ok()?;
        Some(FileId::from(stat))
    };
    of(&pid.to_string()) != of("self")
}
