//! What flags of several verbs have in common: how their values are read.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::commands::{CgroupManager, ConsoleTarget};
use crate::error::Failure;

/// The value of a flag for a path, which may be empty, as with runc: see [`non_empty`].
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    path_or("")
}

/// The value of a flag for a path that is `default` when it is empty, as with runc.
pub fn path_or(default: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new()
        .map(move |text| if text.is_empty() { default.into() } else { text.into() })
}

/// The path that a flag gives: an empty one is as if the flag were not there.
pub fn non_empty(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// What `--console-socket` says about the program's terminal.
pub fn console(socket: Option<PathBuf>) -> ConsoleTarget {
    non_empty(socket).map_or(ConsoleTarget::Unnamed, ConsoleTarget::Socket)
}

/// What `--cgroup-manager` takes.
pub fn cgroup_manager(text: &str) -> Result<CgroupManager, Failure> {
    match text {
        "cgroupfs" => Ok(CgroupManager::Cgroupfs),
        "systemd" => Ok(CgroupManager::Systemd),
        "disabled" => Ok(CgroupManager::Disabled),
        _ => {
            Err(Failure::Usage("no cgroup manager (known: cgroupfs, systemd, disabled)".to_owned()))
        }
    }
}

/// What `--format` of `list` and `ps` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// Columns with a header.
    Table,
    /// One line.
    Json,
}

/// What `--format` of `list` and `ps` takes.
pub fn format(text: &str) -> Result<ListFormat, Failure> {
    match text {
        "table" => Ok(ListFormat::Table),
        "json" => Ok(ListFormat::Json),
        _ => Err(Failure::Usage("invalid format option (known: table, json)".to_owned())),
    }
}
