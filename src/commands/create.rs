//! `create`: everything up to, but not including, the user's program. The file to read first.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;

use crate::cgroup::{self, Cgroup};
use crate::container::notify::{self, Notify};
use crate::container::{self, ContainerId, Reserved, Saved, gate};
use crate::error::{AtKey, Context, Result};
use crate::hooks;
use crate::host::Rootless;
use crate::plan::hooks::Moment;
use crate::plan::namespaces::Kind;
use crate::plan::{self, Host, Plan, Request};
use crate::runtime::inherited::Inherited;
use crate::runtime::pid_file;
use crate::runtime::pidfd_socket::{self, PidfdSocket};
use crate::runtime::spawn::{self, Init};
use crate::spec::Hooks;
use crate::state::Status;
use crate::sys::Named;
use crate::sys::root::Root;
use crate::sys::signal;

/// Create a container: all but the start of its program.
#[derive(Debug, Args)]
pub struct Create {
    /// The flags.
    #[command(flatten)]
    pub options: CreateOptions,
}

/// What `create` and `run` have in common.
#[derive(Debug, Args)]
pub struct CreateOptions {
    /// Path to the root of the bundle directory
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Write the process id of the container's init to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Do not use pivot_root to jail the process inside the rootfs; for a host that runs from a ramdisk
    #[arg(long)]
    pub no_pivot: bool,
    /// Do not create a new session keyring for the container
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Keep N descriptors open for the program, besides stdio and those of $LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    pub preserve_fds: u32,
    /// Send a pidfd of the container's init to this socket
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// The global flag of this name.
    #[arg(skip)]
    pub rootless: Rootless,
    /// The container's id, unique on this host
    #[arg(value_name = "CONTAINER-ID")]
    pub id: String,
}

/// A container whose init is ready to become the program. Undone when dropped: the process, the cgroup, the directory.
#[derive(Debug)]
pub struct Ready {
    // In the order of undoing: a cgroup with a process cannot be removed.
    pub(super) init: Init,
    pub(super) cgroup: Cgroup,
    pub(super) reserved: Reserved,
    pub(super) saved: Saved,
    pub(super) notify: Option<Notify>,
}

/// Whether init waits for a `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It does.
    Closed,
    /// It goes on when let go.
    Open,
}

/// Carries out `create`.
///
/// # Errors
/// What went wrong; then nothing is left behind.
pub fn create(args: &Create, state_root: &Path) -> Result<()> {
    let pid_file = args.options.absolute_pid_file()?;
    let ready = make_ready(&args.options, state_root, Gate::Closed)?;
    // Only then on to the gate: an init that nobody knows of must not wait there, but end with us if we are killed now.
    let (init, _) = keep(ready, pid_file.as_deref())?;
    init.go()
}

/// Makes a container up to the point where its init would become the program.
pub(super) fn make_ready(options: &CreateOptions, state_root: &Path, gate: Gate) -> Result<Ready> {
    signal::expect_children()?;
    let id = ContainerId::parse(&options.id)?;
    let inherited = Inherited::with_listeners(options.preserve_fds)?;
    let pidfd_socket = options.pidfd_socket.as_deref().map(PidfdSocket::connect).transpose()?;
    let bundle = std::path::absolute(&options.bundle)?;
    // Hooks begin in the bundle, as with runc.
    rustix::process::chdir(&bundle).named(|| format!("chdir({bundle:?})")).context("the bundle (--bundle)")?;
    let text = plan::read(&bundle)?;
    let host = Host::probe(options.rootless)?;
    let wanted = notify::wanted();
    let notify_directory = wanted.as_ref().map(|_| state_root.join(&*id).join(notify::DIRECTORY));
    let notify_directory = notify_directory.as_ref().map(|path| path.to_string_lossy());
    let mut env = inherited.env.clone();
    env.extend(wanted.as_ref().map(|_| format!("NOTIFY_SOCKET={}/{}", plan::NOTIFY, notify::SOCKET)));
    let request = Request {
        id: &id,
        bundle: &bundle,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserved_fds: inherited.count,
        env: &env,
        notify: notify_directory.as_deref(),
    };
    let plan = Plan::for_create(&text, &request, &host)?; // every "no" of the config is said here
    for warning in &plan.warnings {
        log::warn!("{warning}");
    }
    log::debug!("{id}: planned from {}", bundle.display());
    let rootfs = Root::open(&plan.rootfs.path).at("/root/path")?;

    let reserved = container::reserve(state_root, &id)?; // removed on drop, like all that follows
    let mut saved = describe(&plan);
    reserved.save(&saved)?; // from here on `delete --force` finds what we leave if we are killed
    reserved.keep_config(&text)?;
    let notify = match &wanted {
        Some(host) => prepare_notify(&reserved, host, gate)?,
        None => None,
    };
    let cgroup =
        Cgroup::create(&plan.cgroup).context("unable to apply cgroup configuration").at("/linux/cgroupsPath")?;
    let gate = match gate {
        Gate::Closed => Some(gate::make(reserved.fd())?),
        Gate::Open => None,
    };
    let init = spawn::give_birth(&plan, &cgroup, &rootfs, gate)?;
    inherited.close()?;
    saved.init_process_pid = init.child.pid;
    saved.init_process_start = init.child.start_time()?;
    let file = |kind: &Kind| (kind.saved.to_owned(), format!("/proc/{}/ns/{}", init.child.pid, kind.file).into());
    saved.namespace_paths = plan.namespaces.own().map(file).collect();
    reserved.save(&saved)?; // init has done nothing yet, and would end with us
    init.go()?;

    let mut hooks_began = false;
    log::debug!("{id}: init is process {}", init.child.pid);
    let attended = init.attend(&plan, || {
        cgroup.set(&plan.resources)?;
        hooks_began = true;
        run_create_hooks(&plan.hooks, &saved)
    });
    let attended = attended.and_then(|()| pidfd_socket.map_or(Ok(()), |socket| socket.send(&init, pidfd_socket::INIT)));
    if let Err(error) = attended {
        let error =
            if cgroup.oom_killed() { error.context("init was OOM-killed (memory limit too low?)") } else { error };
        drop((init, cgroup, reserved));
        if hooks_began {
            run_poststop_hooks(&saved);
        }
        return Err(error);
    }
    Ok(Ready { init, cgroup, reserved, saved, notify })
}

/// The notify socket's directory, which the container has mounted; and the socket, if nobody will `start` it.
fn prepare_notify(reserved: &Reserved, host: &OsStr, gate: Gate) -> Result<Option<Notify>> {
    notify::make_directory(reserved.fd())?;
    if gate == Gate::Closed {
        return Ok(None);
    }
    // The container runs just as well if nobody hears of it.
    Ok(Notify::listen(reserved.fd(), host).inspect_err(|error| log::warn!("{error:#}")).ok())
}

/// What is known of the container before it is there.
fn describe(plan: &Plan) -> Saved {
    Saved {
        id: plan.id.clone(),
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        bundle: plan.bundle.clone(),
        rootfs: plan.rootfs.path.clone(),
        annotations: plan.annotations.clone(),
        no_new_keyring: !plan.new_keyring,
        cgroup_paths: cgroup::planned_paths(&plan.cgroup),
        hooks: Hooks {
            poststart: plan.hooks.poststart.clone(),
            poststop: plan.hooks.poststop.clone(),
            ..Hooks::default()
        },
        ..Saved::default()
    }
}

/// The hooks of the runtime's namespaces.
fn run_create_hooks(hooks: &Hooks, saved: &Saved) -> Result<()> {
    if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() {
        return Ok(());
    }
    let state = saved.hook_state(Status::Creating)?;
    hooks::run(hooks, Moment::Prestart, &state, &[])?;
    hooks::run(hooks, Moment::CreateRuntime, &state, &[])
}

/// Runs the hooks of the last moment; their failures are told and stop nothing.
pub(super) fn run_poststop_hooks(saved: &Saved) {
    let Ok(state) = saved.hook_state(Status::Stopped) else { return };
    for error in hooks::run_all(&saved.hooks, Moment::Poststop, &state) {
        log::warn!("{error:#}");
    }
}

/// Makes it last: writes the pid file and the final state, and lets go of what would be undone.
pub(super) fn keep(ready: Ready, pid_file: Option<&Path>) -> Result<(Init, container::Container)> {
    if let Some(path) = pid_file {
        pid_file::write(path, ready.init.child.pid)?;
    }
    let Ready { mut init, mut cgroup, reserved, mut saved, .. } = ready;
    saved.complete = true;
    match reserved.commit(saved) {
        Ok(container) => {
            init.child.release();
            cgroup.keep();
            Ok((init, container))
        }
        Err(error) => {
            // A cgroup with a process in it cannot be removed.
            drop(init);
            if let Some(path) = pid_file {
                pid_file::remove(path);
            }
            Err(error)
        }
    }
}

impl CreateOptions {
    /// The pid file's path, wherever we go later.
    pub(super) fn absolute_pid_file(&self) -> Result<Option<PathBuf>> {
        Ok(self.pid_file.as_ref().map(std::path::absolute).transpose()?)
    }
}
