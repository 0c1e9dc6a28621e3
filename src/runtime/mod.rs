//! The parent's part of creating a process. Here we are the runtime: privileged, on the host, and
//! with one thread.

pub mod cgroup;
pub mod child;
pub mod console;
pub mod devices;
pub mod foreground;
mod id_mappings;
pub mod inherited;
pub mod join;
mod limits;
mod mount_sources;
pub mod net_devices;
pub mod pid_file;
pub mod pidfd_socket;
pub mod relay;
pub mod restore;
pub mod running_mounts;
pub mod seccomp_listener;
pub mod signals;
pub mod spawn;
mod stdio;
pub mod user_namespace;
pub mod watch;
