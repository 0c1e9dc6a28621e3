//! `exec`: runs another program in a container.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{
    ConsoleTarget, CreatedProcess, Document, cgroup_of, create, open, resctrl_of, send_listener,
    status_of, unit_of, warn,
};
use crate::cgroup::Cgroup;
use crate::container::Container;
use crate::error::{Failure, Result};
use crate::host::Rootless;
use crate::kernel::CgroupPaths;
use crate::log::Phases;
use crate::plan::exec::{ExecPlan, ExecRequest};
use crate::plan::namespaces::TIME;
use crate::plan::terminal::TerminalRequest;
use crate::plan::{Host, delegated_cgroup, sub_cgroup};
use crate::runtime::console::Console;
use crate::runtime::inherited::Inherited;
use crate::runtime::join::{self, ExecTarget};
use crate::runtime::pid_file::PidFile;
use crate::runtime::pidfd_socket::{self, PidfdSocket};
use crate::runtime::relay::Relay;
use crate::runtime::spawn::Init;
use crate::runtime::watch::Watch;
use crate::runtime::{foreground, signals};
use crate::state::Status;
use crate::sys::pidfd::Exit;

/// An `exec` request: the `process` of the container's config with changes, or another one.
#[derive(Debug, Default)]
pub struct Exec {
    /// The container's id.
    pub id: String,
    /// What to run, as a `process` object of config.json.
    pub process: Option<Document>,
    /// The program and its arguments, if they are not in `process`.
    pub program: Vec<OsString>,
    /// The working directory in the container; empty for that of the config.
    pub cwd: String,
    /// Environment variables besides those of the config, `NAME=VALUE`.
    pub env: Vec<String>,
    /// The user to run it as, `UID[:GID]`.
    pub user: Option<String>,
    /// Supplementary groups besides those of the config.
    pub additional_gids: Vec<String>,
    /// Capabilities besides those of the config.
    pub capabilities: Vec<String>,
    /// Whether to set no_new_privs. `None` for the value of the config.
    pub no_new_privileges: Option<bool>,
    /// The AppArmor profile; empty for that of the config.
    pub apparmor_profile: String,
    /// The SELinux label; empty for that of the config.
    pub selinux_label: String,
    /// The cgroup below the container's to run it in, which must exist:
    /// `[CONTROLLER[,CONTROLLER]:]PATH`.
    pub cgroups: Vec<String>,
    /// Whether it is created even if the container is paused. It runs when the container is
    /// resumed.
    pub ignore_paused: bool,
    /// Whether it gets a terminal, even if `process` does not say so.
    pub tty: bool,
    /// The receiver of the master of its terminal.
    pub console: ConsoleTarget,
    /// The file to which its pid is written.
    pub pid_file: Option<PathBuf>,
    /// How many of our descriptors stay open for the program, from 3 on.
    pub preserve_fds: u32,
    /// The socket to which a pidfd of it is sent.
    pub pidfd_socket: Option<PathBuf>,
}

/// Runs another program in a container.
///
/// # In a process of its own
/// The process must have one thread. Descriptors for the program are closed. The program gets its
/// standard streams and is its child.
///
/// # Errors
/// An invalid request; an error if the container does not run; the error of the failed call. The
/// program has then not run.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::Document;
/// use orlop::commands::exec::{Exec, exec};
///
/// let process = br#"{ "args": ["/bin/date"], "cwd": "/" }"#;
/// let request = Exec {
///     id: "web".to_owned(),
///     process: Some(Document::Bytes(process.to_vec())),
///     ..Exec::default()
/// };
/// let date = exec(&request, Path::new("/run/orlop"))?;
/// println!("process {} in the container runs it", date.pid);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn exec(request: &Exec, state_root: &Path) -> Result<CreatedProcess> {
    let StartedExec { exec, master, .. } = begin(request, state_root, true)?;
    Ok(CreatedProcess::new(exec.child, master))
}

/// As [`exec`], but waits for the end of the program. Signals that we get are passed to it, and its
/// terminal is shown on ours.
///
/// # In a process of its own
/// As [`exec`]. The process can only be used for this program, and its signals are blocked.
///
/// # Errors
/// As [`exec`].
pub fn foreground(request: &Exec, state_root: &Path) -> Result<Exit> {
    let StartedExec { exec, relay, .. } = begin(request, state_root, false)?;
    foreground::wait(exec.as_fd(), relay)
}

/// A process that was started.
struct StartedExec {
    exec: Init,
    relay: Option<Relay>,
    master: Option<OwnedFd>,
}

fn begin(args: &Exec, state_root: &Path, detach: bool) -> Result<StartedExec> {
    let mut phases = Phases::begin();
    let pid_file = create::absolute(args.pid_file.as_deref())?;
    let id = &args.id;
    let container = open(state_root, id)?;
    let inherited = Inherited::of(args.preserve_fds)?;
    let pidfd_socket = args.pidfd_socket.as_deref().map(PidfdSocket::connect).transpose()?;
    check_status(&container, args.ignore_paused)?;
    let Some(init) = container.init()? else { return Err(join::stopped()) };

    let plan = args.plan(&container, &inherited, detach)?; // may refuse the request
    phases.end("plan");
    let mut console = Console::prepare(plan.entry.terminal.as_ref())?;
    let paths = exec_paths(args, &container)?;
    let cgroup = Cgroup::open(&paths).of_unit(unit_of(&container));

    if !detach {
        signals::hold()?;
    }
    let target = ExecTarget {
        init: &init,
        pid: container.saved.init_process_pid,
        cgroup: &cgroup,
        or_cgroup_of_init: args.cgroups.is_empty(),
    };
    let mut watch = if args.ignore_paused { Watch::pausable() } else { Watch::new(&cgroup) };
    let mut exec = join::make_process(&plan, &target, &mut watch)?; // killed on drop
    log::debug!("{id}: the process is {}", exec.child.pid);
    if let Some(groups) = resctrl_of(&container) {
        groups.add(exec.child.pid)?;
    }
    inherited.close();
    phases.end("clone");
    exec.serve_exec(&plan.entry.process, &mut console, &mut watch)?;
    phases.end("enter");
    let relay = console.relay()?;
    if let Some(socket) = pidfd_socket {
        socket.send(&exec, pidfd_socket::EXEC)?;
    }
    let pid_file = PidFile::write(pid_file.as_deref(), exec.child.pid)?; // removed on drop
    let send_listener =
        |listener| send_listener(&container.saved, (Status::Running, exec.child.pid), &listener);
    exec.saved()?;
    exec.serve_program(&mut watch, send_listener)?;
    pid_file.keep();
    exec.child.release();
    phases.end("program");
    Ok(StartedExec { exec, relay, master: console.into_master() })
}

fn check_status(container: &Container, ignore_paused: bool) -> Result<()> {
    let text = match status_of(container)? {
        Status::Created | Status::Running if ignore_paused => return Ok(()),
        Status::Created | Status::Running => return cgroup_of(container).refuse_frozen_on_v1(),
        Status::Paused if ignore_paused => return Ok(()),
        Status::Paused => "cannot exec in a paused container (use --ignore-paused to override)",
        Status::Stopped => return Err(join::stopped()),
        Status::Creating => "cannot exec in a container that is still being created",
    };
    Err(Failure::WrongStatus(text.into()).into())
}

/// The cgroup to join.
fn exec_paths(args: &Exec, container: &Container) -> Result<CgroupPaths> {
    let delegated = delegated_cgroup::of_processes(&container.saved.annotations);
    sub_cgroup::decide(&args.cgroups, &container.saved.cgroup_paths, delegated.as_deref())
}

impl Exec {
    /// Makes the plan.
    fn plan(&self, container: &Container, inherited: &Inherited, detach: bool) -> Result<ExecPlan> {
        let text = container.config()?;
        let reading = "reading the process (--process)";
        let process = self.process.as_ref().map(|process| process.read(reading)).transpose()?;
        let host = Host::probe(Rootless::default())?;
        let keyring = container.saved.own_keyring();
        let changes = ExecRequest {
            keyring: keyring.as_deref(),
            preserved_fds: &inherited.numbers,
            ..self.changes(process.as_deref(), detach, container)
        };
        let plan = ExecPlan::decide(&text, &changes, &host)?;
        warn(&plan.warnings);
        Ok(plan)
    }

    fn changes<'a>(
        &'a self,
        process: Option<&'a [u8]>,
        detach: bool,
        container: &Container,
    ) -> ExecRequest<'a> {
        ExecRequest {
            id: &self.id,
            keyring: None,
            own_time: container.saved.namespace_paths.contains_key(TIME.saved),
            process,
            program: &self.program,
            cwd: &self.cwd,
            env: &self.env,
            user: self.user.as_deref(),
            additional_gids: &self.additional_gids,
            capabilities: &self.capabilities,
            no_new_privileges: self.no_new_privileges,
            apparmor_profile: &self.apparmor_profile,
            selinux_label: &self.selinux_label,
            preserved_fds: &[],
            tty: self.tty,
            terminal: TerminalRequest { detach, console: &self.console },
        }
    }
}
