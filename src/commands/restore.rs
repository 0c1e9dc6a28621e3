//! `restore`: brings back what `checkpoint` has saved, by criu, as a new container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::checkpoint::CriuOptions;
use super::create;
use super::creation::{self, Creation};
use super::run::Foreground;
use super::{CgroupManager, ConsoleTarget, Process, delete, warn};
use crate::container::notify;
use crate::container::{self, Container, ContainerId, StateFile};
use crate::criu::external::{self, View};
use crate::criu::images::Images;
use crate::criu::message::{self, CriuMessage, RequestType, option};
use crate::criu::{CriuProgram, Notification, refused};
use crate::error::{Context, Result};
use crate::host::Rootless;
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

/// What `restore` is asked for.
#[derive(Debug, Default)]
pub struct Restore {
    /// The container's id.
    pub id: String,
    /// What `checkpoint` can be asked for, too.
    pub options: CriuOptions,
    /// The bundle.
    pub bundle: PathBuf,
    /// Where the pid of the container's init is written.
    pub pid_file: Option<PathBuf>,
    /// Who gets the master of the program's terminal.
    pub console: ConsoleTarget,
    /// Refuse what `create` refuses with this flag; criu enters the rootfs by pivot_root(2) all the
    /// same.
    pub no_pivot: bool,
    /// Close the TCP connections that were established.
    pub tcp_close: bool,
    /// Another security profile than the one that was saved, `TYPE:NAME`.
    pub lsm_profile: Option<String>,
    /// Another SELinux context for mounts than the one that was saved.
    pub lsm_mount_context: Option<String>,
    /// Who makes the cgroup.
    pub cgroup_manager: CgroupManager,
}

/// The name of the file with criu's account of it.
const LOG: &str = "restore.log";

/// Brings a container's processes back, as a new container.
///
/// # In a process of its own
/// As [`create`](create::create()): it needs one with a single thread, whose working directory it
/// changes and whose standard streams the container may have. The container's init is its child.
///
/// # Errors
/// What went wrong; then nothing is left behind.
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
pub fn restore(request: &Restore, state_root: &Path) -> Result<Process> {
    let RestoredContainer { init, master, .. } = bring_back(request, None, state_root)?;
    Ok(Process::new(init, master))
}

/// As [`restore()`], and waits for the program's end: signals that we get are for the container,
/// and its terminal is shown on ours. The container is deleted then, unless `how` says that it is
/// kept.
///
/// # In a process of its own
/// As [`restore()`]; and the process is there for the container alone, whose signals it holds back.
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

/// A container that is back.
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
    /// Decides, and gives the host and the config.json with it; every "no" is said here.
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
        let plan = Plan::for_create(&text, &request, &host)?;
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

    /// What criu is told; `directory` is that of the container.
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
    // criu kills what it has made, unless it is killed itself.
    creation.outlives_init = true;
    let joined: Vec<OwnedFd> = external::join_namespaces(plan, &mut options)?;
    let criu = restore::start(program, plan, &mut creation.cgroup, &joined)?;
    // Until the container's init is there, criu is what is to be killed.
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

/// Does what is due at a moment of the restore.
fn on_event(
    creation: &mut Creation<Child>,
    plan: &Plan,
    console: &mut Console,
    event: Notification<'_>,
) -> Result<()> {
    log::debug!("{}: criu: {}", creation.saved.id, event.name);
    match event.name {
        // The processes have namespaces, in which there is nothing yet.
        "setup-namespaces" => {
            note_init(creation, plan, event.pid)?;
            creation.net_devices = if plan.namespaces.creates(&NETWORK) {
                restore::loopback_up(event.pid)?;
                net_devices::move_in(&plan.net_devices, event.pid)?
            } else {
                net_devices::move_in_missing(&plan.net_devices, event.pid)?
            };
            creation.hooks_began = true;
            let init = creation.init.as_ref();
            let init = init.context("criu has not told of the container's init")?;
            creation::run_create_hooks(&plan.hooks, &creation.saved, init.pidfd.as_fd())
        }
        "orphan-pts-master" => console.take(event.descriptor.context("criu sent no terminal")?),
        // They are as they were, but for that they do not run yet.
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

/// Notes the container's init.
fn note_init(creation: &mut Creation<Child>, plan: &Plan, pid: i32) -> Result<()> {
    let known = creation.init.take_if(|init| init.pid == pid);
    let init = known.map_or_else(|| Child::open(pid), Ok)?;
    creation.take_init(plan, init)?;
    // criu brings processes back in a time namespace, so that their clocks go on from where they
    // stood.
    if !plan.namespaces.has_own(&TIME) && is_elsewhere(pid, TIME.file) {
        let file = format!("/proc/{pid}/ns/{}", TIME.file).into();
        creation.saved.namespace_paths.insert(TIME.saved.to_owned(), file);
        creation.save()?;
    }
    Ok(())
}

/// Whether a process has another namespace of a kind than we; what the kernel does not know it has
/// not.
fn is_elsewhere(pid: i32, file: &str) -> bool {
    let of = |process: &str| {
        let stat = rustix::fs::stat(format!("/proc/{process}/ns/{file}")).ok()?;
        Some(FileId::from(stat))
    };
    of(&pid.to_string()) != of("self")
}
