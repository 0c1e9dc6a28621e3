//! Parsers for flags that several verbs have.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::commands::{CgroupManager, ConsoleTarget};
use crate::error::Failure;

/// The value of a flag for a path, which may be empty, as in runc: see [`non_empty`].
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    path_or("")
}

/// The value of a flag for a path, which is `default` if it is empty, as in runc.
pub fn path_or(default: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new()
        .map(move |text| if text.is_empty() { default.into() } else { text.into() })
}

/// The path of a flag. An empty path is the same as no flag.
pub fn non_empty(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// The receiver of the program's terminal, by the value of `--console-socket`.
pub fn console(socket: Option<PathBuf>) -> ConsoleTarget {
    non_empty(socket).map_or(ConsoleTarget::Unnamed, ConsoleTarget::Socket)
}

/// Parses the value of `--cgroup-manager`.
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

/// The values of `--format` of `list` and `ps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// Columns with a header.
    Table,
    /// One line.
    Json,
}

/// Parses the value of `--format` of `list` and `ps`.
pub fn format(text: &str) -> Result<ListFormat, Failure> {
    match text {
        "table" => Ok(ListFormat::Table),
        "json" => Ok(ListFormat::Json),
        _ => Err(Failure::Usage("invalid format option (known: table, json)".to_owned())),
    }
}
