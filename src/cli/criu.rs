//! `checkpoint` and `restore`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::flags::{console, non_empty, path, path_or};
use super::{Global, exit_code};
use crate::commands::checkpoint::{self, CriuOptions, PageServer};
use crate::commands::restore;
use crate::commands::run::Foreground;
use crate::error::{Failure, Result};

/// Save the processes of a container, for `restore`.
#[derive(Debug, Args)]
pub struct CheckpointArgs {
    /// The flags.
    #[command(flatten)]
    options: CriuArgs,
    /// Directory of the images of an earlier --pre-dump, relative to --image-path
    #[arg(long, value_name = "DIR", value_parser = path())]
    parent_path: Option<PathBuf>,
    /// Leave the container running afterwards
    #[arg(long)]
    leave_running: bool,
    /// Skip TCP connections that are not established yet
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// Save deleted files that have other hard links, by a temporary link
    #[arg(long)]
    link_remap: bool,
    /// Write a zero byte to this descriptor when pages can be requested (--lazy-pages)
    #[arg(long, value_name = "FD", allow_negative_numbers = true)]
    status_fd: Option<u32>,
    /// Send the pages to this server; with --lazy-pages, listen there for requests
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = page_server)]
    page_server: Option<PageServer>,
    /// Save only the memory, and leave the container running
    #[arg(long)]
    pre_dump: bool,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// Restore the processes that `checkpoint` has saved, as a new container.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The flags.
    #[command(flatten)]
    options: CriuArgs,
    /// Path to the root of the bundle directory
    #[arg(short, long, value_name = "DIR", value_parser = path_or("."), default_value = ".")]
    bundle: PathBuf,
    /// Detach from the container's process
    #[arg(short, long)]
    detach: bool,
    /// Write the process id of the container's init to this file
    #[arg(long, value_name = "FILE", value_parser = path())]
    pid_file: Option<PathBuf>,
    /// Send the program's terminal to the process that listens on this socket
    #[arg(long, value_name = "SOCKET", value_parser = path())]
    console_socket: Option<PathBuf>,
    /// Do not adopt orphaned processes of the container
    #[arg(long)]
    no_subreaper: bool,
    /// Refuse what `create` refuses with this flag; criu uses pivot_root(2) anyway
    #[arg(long)]
    no_pivot: bool,
    /// Close the TCP connections that were established
    #[arg(long)]
    tcp_close: bool,
    /// Security profile to use instead of the saved one
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// SELinux context for mounts to use instead of the saved one
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// The flags that `checkpoint` and `restore` have in common.
#[derive(Debug, Args)]
struct CriuArgs {
    /// Directory of the images
    #[arg(long, value_name = "DIR", value_parser = path_or("checkpoint"), default_value = "checkpoint")]
    image_path: PathBuf,
    /// Directory for criu's log and work files [default: that of the images]
    #[arg(long, value_name = "DIR", value_parser = path())]
    work_path: Option<PathBuf>,
    /// Include established TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Allow connected unix sockets whose other end is outside the container
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a terminal that is outside the container
    #[arg(long)]
    shell_job: bool,
    /// Include file locks
    #[arg(long)]
    file_locks: bool,
    /// How criu handles the cgroups below the container's
    #[arg(long, value_name = "MODE")]
    manage_cgroups_mode: Option<CgroupsModeArg>,
    /// Leave out the configuration of this namespace: network, for which this is always so
    #[arg(long, value_name = "NAMESPACE")]
    empty_ns: Vec<EmptyNamespace>,
    /// Remove pages from images if newer images have them, or if they are no longer needed
    #[arg(long)]
    auto_dedup: bool,
    /// Transfer a page when it is first used
    #[arg(long)]
    lazy_pages: bool,
}

/// The values of `--manage-cgroups-mode`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CgroupsModeArg {
    /// Restore the properties of the cgroups that criu makes.
    Soft,
    /// Restore all properties.
    Full,
    /// Restore all cgroups, none of which may exist before.
    Strict,
    /// Leave cgroups as they are.
    Ignore,
}

/// The values of `--empty-ns`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum EmptyNamespace {
    /// Devices, addresses, routes, rules.
    Network,
}

/// Parses the value of `--page-server`.
fn page_server(text: &str) -> Result<PageServer, Failure> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(PageServer { address: address.ip().to_string(), port: address.port() });
    }
    match text.rsplit_once(':').map(|(address, port)| (address, port.parse())) {
        Some((address, Ok(port))) if !address.is_empty() && !address.contains(':') => {
            Ok(PageServer { address: address.to_owned(), port })
        }
        _ => {
            Err(Failure::Usage("Use --page-server ADDRESS:PORT to specify page server".to_owned()))
        }
    }
}

impl CriuArgs {
    fn options(self) -> CriuOptions {
        CriuOptions {
            image_path: self.image_path,
            work_path: non_empty(self.work_path),
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            cgroups: self.manage_cgroups_mode.map(|mode| match mode {
                CgroupsModeArg::Soft => checkpoint::CgroupsMode::Soft,
                CgroupsModeArg::Full => checkpoint::CgroupsMode::Full,
                CgroupsModeArg::Strict => checkpoint::CgroupsMode::Strict,
                CgroupsModeArg::Ignore => checkpoint::CgroupsMode::Ignore,
            }),
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
        }
    }
}

impl CheckpointArgs {
    /// Runs the command.
    pub fn run(self, state_root: &Path) -> Result<u8> {
        let request = checkpoint::Checkpoint {
            id: self.id,
            options: self.options.options(),
            parent_path: non_empty(self.parent_path),
            leave_running: self.leave_running,
            tcp_skip_in_flight: self.tcp_skip_in_flight,
            link_remap: self.link_remap,
            status_fd: self.status_fd,
            page_server: self.page_server,
            pre_dump: self.pre_dump,
        };
        checkpoint::checkpoint(&request, state_root)?;
        Ok(0)
    }
}

impl RestoreArgs {
    /// Runs the command.
    pub fn run(self, global: &Global, state_root: &Path) -> Result<u8> {
        let request = restore::Restore {
            id: self.id,
            options: self.options.options(),
            bundle: self.bundle,
            pid_file: non_empty(self.pid_file),
            console: console(self.console_socket),
            no_pivot: self.no_pivot,
            tcp_close: self.tcp_close,
            lsm_profile: self.lsm_profile,
            lsm_mount_context: self.lsm_mount_context,
            cgroup_manager: global.cgroup_manager,
        };
        if self.detach {
            restore::restore(&request, state_root)?;
            return Ok(0);
        }
        let foreground = Foreground { keep: false, adopt_orphans: !self.no_subreaper };
        restore::foreground(&request, foreground, state_root).map(exit_code)
    }
}

#[cfg(test)]
mod tests {
    use super::page_server;

    #[test]
    fn a_page_server_has_an_address_and_a_port() {
        let read = |text: &str| page_server(text).ok().map(|server| (server.address, server.port));
        assert_eq!(read("0.0.0.0:27277"), Some(("0.0.0.0".to_owned(), 27277)));
        assert_eq!(read("[::1]:7"), Some(("::1".to_owned(), 7)));
        assert_eq!(read("host:7"), Some(("host".to_owned(), 7)));
        for bad in ["", "host", ":7", "host:", "host:70000", "::1:7", "host:x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
