//! `exec`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;

use super::exit_code;
use super::flags::{console, non_empty, path};
use crate::commands::{Document, exec};
use crate::error::Result;

/// Run another program in a container.
#[derive(Debug, Args)]
#[command(
    override_usage = "orlop exec [OPTIONS] <CONTAINER-ID> <COMMAND> [ARGUMENT]...\n       orlop exec [OPTIONS] --process <FILE> <CONTAINER-ID>"
)]
pub struct ExecArgs {
    /// File with what to run: an object like `process` of a config.json
    #[arg(short, long, value_name = "FILE", value_parser = path())]
    process: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    cwd: String,
    /// Additional environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// User to run it as
    #[arg(short, long, value_name = "UID[:GID]", allow_hyphen_values = true)]
    user: Option<String>,
    /// Additional supplementary group
    #[arg(short = 'g', long, value_name = "GID", allow_hyphen_values = true)]
    additional_gids: Vec<String>,
    /// Additional capability
    #[arg(short, long, value_name = "CAPABILITY")]
    cap: Vec<String>,
    /// Whether to set no_new_privs, so that it cannot gain privileges
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    no_new_privs: Option<bool>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE", default_value = "", hide_default_value = true)]
    apparmor: String,
    /// SELinux label
    #[arg(long, value_name = "LABEL", default_value = "", hide_default_value = true)]
    process_label: String,
    /// Run it in this cgroup below the container's; the cgroup must exist
    #[arg(long, value_name = "[CONTROLLER[,CONTROLLER]:]PATH")]
    cgroup: Vec<String>,
    /// Create it even if the container is paused; it runs when the container is resumed
    #[arg(long)]
    ignore_paused: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Send its terminal to the process that listens on this socket
    #[arg(long, value_name = "SOCKET", value_parser = path())]
    console_socket: Option<PathBuf>,
    /// Do not wait for its end
    #[arg(short, long)]
    detach: bool,
    /// Write its process id to this file
    #[arg(long, value_name = "FILE", value_parser = path())]
    pid_file: Option<PathBuf>,
    /// Keep N descriptors open for the program, besides stdio
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    preserve_fds: u32,
    /// Send a pidfd of the process to this socket
    #[arg(long, value_name = "SOCKET", value_parser = path())]
    pidfd_socket: Option<PathBuf>,
    /// The container's id, then the program and its arguments
    // One list, so that everything after the id belongs to the program.
    #[arg(required = true, trailing_var_arg = true, value_name = "CONTAINER-ID COMMAND")]
    id_and_program: Vec<OsString>,
}

impl ExecArgs {
    /// Runs the command.
    pub fn run(self, state_root: &Path) -> Result<u8> {
        let detach = self.detach;
        let request = self.request();
        if detach {
            exec::exec(&request, state_root)?;
            return Ok(0);
        }
        exec::foreground(&request, state_root).map(exit_code)
    }

    fn request(self) -> exec::Exec {
        let mut words = self.id_and_program.into_iter();
        // An id that is not UTF-8 is invalid.
        let id = words.next().and_then(|id| id.into_string().ok()).unwrap_or_default();
        exec::Exec {
            id,
            process: non_empty(self.process).map(Document::File),
            program: words.collect(),
            cwd: self.cwd,
            env: self.env,
            user: self.user,
            additional_gids: self.additional_gids,
            capabilities: self.cap,
            no_new_privileges: self.no_new_privs,
            apparmor_profile: self.apparmor,
            selinux_label: self.process_label,
            cgroups: self.cgroup,
            ignore_paused: self.ignore_paused,
            tty: self.tty,
            console: console(self.console_socket),
            pid_file: non_empty(self.pid_file),
            preserve_fds: self.preserve_fds,
            pidfd_socket: non_empty(self.pidfd_socket),
        }
    }
}
