//! Orlop, a low-level container runtime.
pub mod bootstrap;
pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod container;
pub mod error;
pub mod hooks;
pub mod host;
pub mod init;
pub mod log;
pub mod plan;
pub mod runtime;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sync;
pub mod sys;
