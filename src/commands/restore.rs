//! `restore`: brings back what `checkpoint` has saved, by criu, as a new container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::checkpoint::CriuOptions;
use super::create;
use super::creation::Creation;
use super::run::Foreground;
use super::{CgroupManager, ConsoleTarget, Process, delete, warn};
use crate::cgroup::Cgroup;
use crate::container::notify;
use crate::container::{self, Container, ContainerId, Reserved, StateFile};
use crate::criu::external::{self, View};
use crate::criu::message::{self, CriuMessage, RequestType, option};
use crate::criu::{CriuProgram, Notification, refused};
use crate::error::{Context, Result};
use crate::host::Rootless;
use crate::log::Phases;
use crate::plan::namespaces::{NETWORK, TIME};
use crate::plan::terminal::TerminalRequest;
use crate::plan::{self, Host, Plan, Request};
use crate::resctrl::Groups;
use crate::runtime;
use crate::runtime::console::Console;
use crate::runtime::net_devices::{self, MovedDevices};
use crate::runtime::relay::Relay;
use crate::runtime::restore::MountPoint;
use crate::runtime::spawn::Child;
use crate::runtime::{foreground, restore};
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

/// A container that is coming back. Undone when dropped: the process, the cgroup, the directory.
struct Restored {
    // In the order of undoing: a cgroup with a process cannot be removed.
    net_devices: MovedDevices,
    init: Option<Child>,
    cgroup: Cgroup,
    resctrl: Option<Groups>,
    place: MountPoint,
    reserved: Reserved,
    saved: StateFile,
    hooks_began: bool,
}

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

/// As [`restore`], and waits for the program's end: signals that we get are for the container, and
/// its terminal is shown on ours. The container is deleted then, unless `how` says that it is kept.
///
/// # In a process of its own
/// As [`restore`]; and the process is there for the container alone, whose signals it holds back.
///
/// # Errors
/// As [`restore`].
pub fn foreground(request: &Restore, how: Foreground, state_root: &Path) -> Result<Exit> {
    let RestoredContainer { init, container, relay, .. } =
        bring_back(request, Some(how), state_root)?;
    let exit = foreground::wait(init.pidfd.as_fd(), relay)?;
    if !how.keep {
        delete::clean_up(&container);
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
    args: &Restore,
    foreground: Option<Foreground>,
    state_root: &Path,
) -> Result<RestoredContainer> {
    let mut phases = Phases::begin();
    let id = ContainerId::parse(&args.id)?;
    let pid_file = create::absolute(args.pid_file.as_deref())?;
    let images = args.options.images(LOG, false)?;
    let streams = images.descriptors()?;
    if let Some(how) = foreground {
        foreground::hold_signals()?;
        if how.adopt_orphans {
            foreground::adopt_orphans()?;
        }
    }
    let bundle = create::go_to_bundle(&args.bundle)?;
    let text = plan::read(&bundle)?;
    let host = Host::probe(Rootless::default())?;
    let keyring = StateFile::name_keyring(&id)?;
    let request = Request {
        id: &id,
        keyring: &keyring,
        bundle: &bundle,
        no_pivot: args.no_pivot,
        terminal: TerminalRequest { detach: foreground.is_none(), console: &args.console },
        maker: args.cgroup_manager.maker(&host)?,
        ..Request::default()
    };
    let plan = Plan::for_create(&text, &request, &host)?; // every "no" of the config is said here
    external::refuse_namespaces(&plan)?;
    external::refuse_links(&plan)?;
    refused::refuse_delegated(&plan)?;
    refused::refuse_stand_ins(&plan)?;
    let settings = plan::criu::config_file(&plan.annotations)?;
    warn(&plan.warnings);
    if args.no_pivot {
        log::warn!("--no-pivot: criu enters the rootfs by pivot_root(2) all the same");
    }
    let program = CriuProgram::find()?;
    let mut console = Console::prepare(plan.entry.terminal.as_ref())?;
    phases.end("plan");

    let reserved = container::reserve(state_root, &id)?; // removed on drop, like all that follows
    let mut saved = create::describe(&plan);
    reserved.save(&saved)?; // from here on `delete --force` finds what we leave if we are killed
    reserved.keep_config(&text)?;
    notify::make_directory(reserved.fd())?;
    let directory = state_root.join(&*id);
    let cgroup = runtime::cgroup::make_unfrozen(&plan, &host)?;
    let resctrl = create::make_groups(&plan, &reserved, &mut saved)?;
    let place = MountPoint::make(&plan, directory.join(container::CRIU_ROOT))?;
    let mut restored = Restored {
        net_devices: MovedDevices::default(),
        init: None,
        cgroup,
        resctrl,
        place,
        reserved,
        saved,
        hooks_began: false,
    };
    let mut options = images.options();
    args.set_criu_options(settings, &mut options);
    external::mounts_of_host(&plan, &directory.join(notify::DIRECTORY), &mut options);
    external::inherit_streams(&streams, &mut options);
    phases.end("prepare");
    if let Err(error) = restored.bring_back(&plan, &program, options, &mut console) {
        return Err(restored.undo(images.explain(error)));
    }
    phases.end("criu");
    let relay = console.relay().map_err(|error| restored.undo(error));
    let (relay, restored) = match relay {
        Ok(relay) => (relay, restored),
        Err(error) => return Err(error),
    };
    let (init, container) = restored.keep(pid_file.as_deref())?;
    phases.end("save");
    Ok(RestoredContainer { init, container, relay, master: console.into_master() })
}

impl Restore {
    fn set_criu_options(&self, settings: Option<&str>, options: &mut CriuMessage) {
        self.options.set_criu_options(settings, options);
        options.switch(option::EVASIVE_DEVICES, true); // /dev/null by another path is /dev/null
        options.switch(option::RESTORE_SIBLING, true); // so that init is our child and not criu's
        options.switch(option::TCP_CLOSE, self.tcp_close);
        if let Some(profile) = &self.lsm_profile {
            options.text(option::LSM_PROFILE, profile);
        }
        if let Some(context) = &self.lsm_mount_context {
            options.text(option::LSM_MOUNT_CONTEXT, context);
        }
    }
}

impl Restored {
    fn bring_back(
        &mut self,
        plan: &Plan,
        program: &CriuProgram,
        mut options: CriuMessage,
        console: &mut Console,
    ) -> Result<()> {
        let joined: Vec<OwnedFd> = external::join_namespaces(plan, &mut options)?;
        let criu = restore::start(program, plan, &mut self.cgroup, &joined)?;
        // Until the container's init is there, criu is what is to be killed.
        self.saved.init_process_pid = criu.pid;
        self.saved.init_process_start = crate::sys::proc::stat(criu.pid)?.start;
        self.reserved.save(&self.saved)?;
        options.text(option::ROOT, &self.place.path().to_string_lossy());
        for (controllers, path) in criu.cgroups()? {
            options.pair(option::CGROUP_ROOT, &controllers, &path);
        }
        criu.ask(&message::request(RequestType::Restore, &options), |event| {
            self.on_event(plan, console, event)
        })?;
        match criu.finish()? {
            Exit::Code(0) => Ok(()),
            exit => anyhow::bail!("criu failed: it ended with {}", exit.shell_code()),
        }
    }

    /// Does what is due at a moment of the restore.
    fn on_event(
        &mut self,
        plan: &Plan,
        console: &mut Console,
        event: Notification<'_>,
    ) -> Result<()> {
        log::debug!("{}: criu: {}", self.saved.id, event.name);
        match event.name {
            // The processes have namespaces, in which there is nothing yet.
            "setup-namespaces" => {
                self.take(plan, event.pid)?;
                self.net_devices = if plan.namespaces.creates(&NETWORK) {
                    restore::loopback_up(event.pid)?;
                    net_devices::move_in(&plan.net_devices, event.pid)?
                } else {
                    net_devices::move_in_missing(&plan.net_devices, event.pid)?
                };
                self.hooks_began = true;
                let init =
                    self.init.as_ref().context("criu has not told of the container's init")?;
                create::run_create_hooks(&plan.hooks, &self.saved, init.pidfd.as_fd())
            }
            "orphan-pts-master" => console.take(event.descriptor.context("criu sent no terminal")?),
            // They are as they were, but for that they do not run yet.
            "post-restore" => {
                self.take(plan, event.pid)?;
                restore::protect(plan, event.pid)?;
                let view = View::of(event.pid)?;
                view.check(plan)?;
                view.check_sources(plan)
            }
            _ => Ok(()),
        }
    }

    /// Notes the container's init.
    fn take(&mut self, plan: &Plan, pid: i32) -> Result<()> {
        if self.init.as_ref().is_none_or(|init| init.pid != pid) {
            self.init = Some(Child::restored(pid)?);
        }
        let Some(init) = &self.init else { return Ok(()) };
        create::note_birth(&mut self.saved, plan, init, &self.cgroup)?;
        // criu brings processes back in a time namespace, so that their clocks go on from where
        // they stood.
        if !plan.namespaces.has_own(&TIME) && is_elsewhere(pid, TIME.file) {
            self.saved
                .namespace_paths
                .insert(TIME.saved.to_owned(), format!("/proc/{pid}/ns/{}", TIME.file).into());
        }
        if let Some(groups) = &self.resctrl {
            groups.add(pid)?;
        }
        self.reserved.save(&self.saved)
    }

    /// Takes all away, and says why.
    fn undo(&mut self, error: anyhow::Error) -> anyhow::Error {
        // criu has killed what it made, unless it was killed itself.
        let _ = self.cgroup.kill();
        self.init = None;
        let error = create::with_oom(error, &self.cgroup);
        if self.hooks_began {
            super::run_poststop_hooks(&self.saved);
        }
        error
    }

    /// Makes it last.
    fn keep(self, pid_file: Option<&Path>) -> Result<(Child, Container)> {
        let Self { net_devices, init, cgroup, resctrl, place, reserved, saved, .. } = self;
        let init = init.context("criu has not told of the container's init")?;
        drop(place);
        Creation { net_devices, init, cgroup, resctrl, reserved, saved }.keep(pid_file)
    }
}

/// Whether a process has another namespace of a kind than we; what the kernel does not know it has
/// not.
fn is_elsewhere(pid: i32, file: &str) -> bool {
    let of = |process: &str| {
        let stat = rustix::fs::stat(format!("/proc/{process}/ns/{file}")).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    of(&pid.to_string()) != of("self")
}
