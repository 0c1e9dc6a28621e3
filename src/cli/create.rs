//! `create` and `run`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::flags::{console, non_empty, path, path_or};
use super::{Global, exit_code};
use crate::commands::{create, run};
use crate::error::Result;

/// Create a container, but do not start its program.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The flags.
    #[command(flatten)]
    options: CreateRunArgs,
}

/// Create and run a container.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The flags.
    #[command(flatten)]
    options: CreateRunArgs,
    /// Detach from the container's process
    #[arg(short, long)]
    detach: bool,
    /// Do not delete the container after it exits
    #[arg(long)]
    keep: bool,
    /// Do not adopt orphaned processes of the container
    #[arg(long)]
    no_subreaper: bool,
}

/// The flags that `create` and `run` have in common.
#[derive(Debug, Args)]
struct CreateRunArgs {
    /// Path to the root of the bundle directory
    #[arg(short, long, value_name = "DIR", value_parser = path_or("."), default_value = ".")]
    bundle: PathBuf,
    /// Write the process id of the container's init to this file
    #[arg(long, value_name = "FILE", value_parser = path())]
    pid_file: Option<PathBuf>,
    /// Send the program's terminal to the process that listens on this socket
    #[arg(long, value_name = "SOCKET", value_parser = path())]
    console_socket: Option<PathBuf>,
    /// Do not use pivot_root to jail the process inside the rootfs; for a host that runs from a
    /// ramdisk
    #[arg(long)]
    no_pivot: bool,
    /// Do not create a new session keyring for the container
    #[arg(long)]
    no_new_keyring: bool,
    /// Keep N descriptors open for the program, besides stdio and those of $LISTEN_FDS
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    preserve_fds: u32,
    /// Send a pidfd of the container's init to this socket
    #[arg(long, value_name = "SOCKET", value_parser = path())]
    pidfd_socket: Option<PathBuf>,
    /// The container's id, unique on this host
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl CreateRunArgs {
    fn request(self, global: &Global) -> create::Create {
        create::Create {
            id: self.id,
            bundle: self.bundle,
            pid_file: non_empty(self.pid_file),
            console: console(self.console_socket),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: self.preserve_fds,
            pidfd_socket: non_empty(self.pidfd_socket),
            rootless: global.rootless,
            cgroup_manager: global.cgroup_manager,
        }
    }
}

impl CreateArgs {
    /// Runs the command.
    pub fn run(self, global: &Global, state_root: &Path) -> Result<u8> {
        create::create(&self.options.request(global), state_root)?;
        Ok(0)
    }
}

impl RunArgs {
    /// Runs the command.
    pub fn run(self, global: &Global, state_root: &Path) -> Result<u8> {
        let request = self.options.request(global);
        if self.detach {
            run::run(&request, state_root)?;
            return Ok(0);
        }
        let foreground = run::Foreground { keep: self.keep, adopt_orphans: !self.no_subreaper };
        run::foreground(&request, foreground, state_root).map(exit_code)
    }
}
