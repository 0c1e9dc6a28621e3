//! `exec`: runs another program in a container.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;

use super::{cgroup_of, hand_over, non_empty, open, path, resctrl_of, status_of, unit_of, warn};
use crate::cgroup::Cgroup;
use crate::container::Container;
use crate::error::{Context, Failure, Result};
use crate::host::Rootless;
use crate::host::cgroups::CgroupLayout;
use crate::log::Phases;
use crate::plan::exec::{ExecPlan, ExecRequest};
use crate::plan::namespaces::TIME;
use crate::plan::terminal::TerminalRequest;
use crate::plan::{Host, delegated_cgroup, sub_cgroup};
use crate::runtime::console::Console;
use crate::runtime::inherited::Inherited;
use crate::runtime::join::{self, ExecTarget};
use crate::runtime::pidfd_socket::{self, PidfdSocket};
use crate::runtime::watch::Watch;
use crate::runtime::{foreground, pid_file};
use crate::state::Status;
use crate::sys::{Named, wait};

/// Run another program in a container.
#[derive(Debug, Args)]
#[command(
    override_usage = "orlop exec [OPTIONS] <CONTAINER-ID> <COMMAND> [ARGUMENT]...\n       orlop exec [OPTIONS] --process <FILE> <CONTAINER-ID>"
)]
pub struct Exec {
    /// What to run, as the `process` object of a config.json has it
    #[arg(short, long, value_name = "FILE", value_parser = path())]
    pub process: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    pub cwd: String,
    /// An environment variable besides those of the container
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Who to run it as
    #[arg(short, long, value_name = "UID[:GID]", allow_hyphen_values = true)]
    pub user: Option<String>,
    /// A supplementary group
    #[arg(short = 'g', long, value_name = "GID", allow_hyphen_values = true)]
    pub additional_gids: Vec<String>,
    /// A capability besides those of the container
    #[arg(short, long, value_name = "CAPABILITY")]
    pub cap: Vec<String>,
    /// Let it gain no privileges
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub no_new_privs: Option<bool>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE", default_value = "", hide_default_value = true)]
    pub apparmor: String,
    /// SELinux label
    #[arg(long, value_name = "LABEL", default_value = "", hide_default_value = true)]
    pub process_label: String,
    /// Run it in this cgroup below the container's, which must be there
    #[arg(long, value_name = "[CONTROLLER[,CONTROLLER]:]PATH")]
    pub cgroup: Vec<String>,
    /// Run it even if the container is paused: when it is resumed
    #[arg(long)]
    pub ignore_paused: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Send its terminal to whoever listens on this socket
    #[arg(long, value_name = "SOCKET", value_parser = path())]
    pub console_socket: Option<PathBuf>,
    /// Do not wait for its end
    #[arg(short, long)]
    pub detach: bool,
    /// Write its process id to this file
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub pid_file: Option<PathBuf>,
    /// Keep N descriptors open for the program, besides stdio
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub preserve_fds: u32,
    /// Send a pidfd of the process to this socket
    #[arg(long, value_name = "SOCKET", value_parser = path())]
    pub pidfd_socket: Option<PathBuf>,
    /// The container's id, then the program and its arguments
    // One list, so that whatever stands behind the id is the program's.
    #[arg(required = true, trailing_var_arg = true, value_name = "CONTAINER-ID COMMAND")]
    pub id_and_program: Vec<OsString>,
}

/// Carries out `exec`; gives the exit code: the program's, or 128 and the signal that ended it.
///
/// # Errors
/// What went wrong; then the program has not run.
pub fn exec(args: &Exec, state_root: &Path) -> Result<u8> {
    let mut phases = Phases::begin();
    let pid_file = non_empty(args.pid_file.as_deref()).map(std::path::absolute).transpose()?;
    let (id, program) = args.id_and_program.split_first().map_or(("", &[][..]), |(id, program)| {
        (id.to_str().unwrap_or_default(), program) // what is not UTF-8 is no id
    });
    let container = open(state_root, id)?;
    let inherited = Inherited::of(args.preserve_fds)?;
    let pidfd_socket =
        non_empty(args.pidfd_socket.as_deref()).map(PidfdSocket::connect).transpose()?;
    check_status(&container, args.ignore_paused)?;
    let Some(init) = container.init()? else { return Err(join::stopped()) };

    let text = container.config()?;
    let process = non_empty(args.process.as_deref()).map(read_process).transpose()?;
    let host = Host::probe(Rootless::default())?;
    let keyring = container.saved.own_keyring();
    let changes = ExecRequest {
        keyring: keyring.as_deref(),
        preserved_fds: &inherited.numbers,
        ..args.changes(program, process.as_deref(), &container)
    };
    let plan = ExecPlan::decide(&text, &changes, &host)?; // every "no" is said here
    warn(&plan.warnings);
    phases.end("plan");
    let mut console = Console::prepare(plan.entry.terminal.as_ref())?;
    let paths = exec_paths(args, &container)?;
    let cgroup = Cgroup::open(&paths).of_unit(unit_of(&container));

    if !args.detach {
        foreground::hold_signals()?;
    }
    let target = ExecTarget {
        init: &init,
        pid: container.saved.init_process_pid,
        cgroup: &cgroup,
        or_cgroup_of_init: match &host.cgroups {
            CgroupLayout::Unified { mount, .. } if args.cgroup.is_empty() => Some(mount),
            _ => None,
        },
    };
    let mut watch =
        if args.ignore_paused { Watch::of_one_that_may_be_paused() } else { Watch::new(&cgroup) };
    let mut exec = join::give_birth(&plan, &target, &mut watch)?; // killed on drop
    log::debug!("{id}: the process is {}", exec.child.pid);
    if let Some(groups) = resctrl_of(&container) {
        groups.add(exec.child.pid)?;
    }
    inherited.close();
    phases.end("birth");
    exec.serve_exec(&plan.entry.process, &mut console, &mut watch)?;
    phases.end("enter");
    let relay = console.relay()?;
    if let Some(socket) = pidfd_socket {
        socket.send(&exec, pidfd_socket::EXEC)?;
    }
    if let Some(path) = &pid_file {
        pid_file::write(path, exec.child.pid)?;
    }
    let tell_agent =
        |listener| hand_over(&container.saved, (Status::Running, exec.child.pid), &listener);
    if let Err(error) = exec.go().and_then(|()| exec.attend_program(&mut watch, tell_agent)) {
        if let Some(path) = &pid_file {
            pid_file::remove(path);
        }
        return Err(error);
    }
    exec.child.release();
    phases.end("program");
    if args.detach {
        return Ok(0);
    }
    let exit = foreground::wait(exec.as_fd(), relay)?;
    Ok(u8::try_from(exit.shell_code()).unwrap_or(u8::MAX))
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
    Err(Failure::WrongStatus(text.to_owned()).into())
}

/// The cgroup to join.
fn exec_paths(args: &Exec, container: &Container) -> Result<Vec<(String, PathBuf)>> {
    let delegated = delegated_cgroup::of_processes(&container.saved.annotations);
    sub_cgroup::decide(&args.cgroup, &container.saved.cgroup_paths, delegated.as_deref())
}

fn read_process(path: &Path) -> Result<Vec<u8>> {
    wait::callers_file(path)
        .named(|| format!("open({path:?})"))
        .context("reading the process (--process)")
}

impl Exec {
    fn changes<'a>(
        &'a self,
        program: &'a [OsString],
        process: Option<&'a [u8]>,
        container: &'a Container,
    ) -> ExecRequest<'a> {
        ExecRequest {
            id: &container.saved.id,
            keyring: None,
            own_time: container.saved.namespace_paths.contains_key(TIME.saved),
            process,
            program,
            cwd: &self.cwd,
            env: &self.env,
            user: self.user.as_deref(),
            additional_gids: &self.additional_gids,
            capabilities: &self.cap,
            no_new_privileges: self.no_new_privs,
            apparmor_profile: &self.apparmor,
            selinux_label: &self.process_label,
            preserved_fds: &[],
            tty: self.tty,
            terminal: TerminalRequest {
                detach: self.detach,
                console_socket: non_empty(self.console_socket.as_deref()),
            },
        }
    }
}
