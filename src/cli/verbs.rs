//! The verbs with few flags or none.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use nix::sys::signal::Signal;
use serde::Serialize;

use super::flags::{path, path_or};
use super::print;
use crate::commands::mounts::{self, MountsAction};
use crate::commands::{Document, delete, features, image, kill, pause, spec, start};
use crate::error::{Failure, Result};

/// Start the program of a created container.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// Send a signal to a container's init.
#[derive(Debug, Args)]
pub struct KillArgs {
    /// Send the signal to all processes of the container
    #[arg(short, long, hide = true)]
    all: bool,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// The signal, by name (with or without SIG) or by number
    #[arg(value_name = "SIGNAL", default_value = "SIGTERM")]
    signal: String,
}

/// Delete a container: its cgroup and its state.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Kill the container if it still runs; no error if there is none
    #[arg(short, long)]
    force: bool,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// Stop all processes of a container until it is resumed.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// Continue the processes of a paused container.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// Add mounts to a running container, or remove them.
#[derive(Debug, Args)]
pub struct MountsArgs {
    /// What to do: add or remove
    #[arg(value_name = "ACTION", value_parser = action)]
    action: MountsAction,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// File with a list like `mounts` of a config.json; for remove, only the destinations count
    #[arg(value_name = "FILE", value_parser = path())]
    file: PathBuf,
}

/// Write a default config.json into a bundle.
#[derive(Debug, Args)]
pub struct SpecArgs {
    /// Path to the root of the bundle directory
    #[arg(short, long, value_name = "DIR", value_parser = path_or("."), default_value = ".")]
    bundle: PathBuf,
    /// For a container that an ordinary user runs
    #[arg(long)]
    rootless: bool,
}

/// Show the features that this program supports.
#[derive(Debug, Args)]
pub struct FeaturesArgs {}

/// Copy, unpack and run OCI images; all arguments go to orlop-image, --help too
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct ImageArgs {
    /// The arguments of orlop-image
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl StartArgs {
    /// Runs the command.
    pub fn run(&self, state_root: &Path) -> Result<u8> {
        start::start(&self.id, state_root).map(|()| 0)
    }
}

impl KillArgs {
    /// Runs the command.
    pub fn run(self, state_root: &Path) -> Result<u8> {
        let signal = signal(&self.signal)?;
        kill::kill(&kill::Kill { id: self.id, signal, all: self.all }, state_root).map(|()| 0)
    }
}

impl DeleteArgs {
    /// Runs the command.
    pub fn run(self, state_root: &Path) -> Result<u8> {
        delete::delete(&delete::Delete { id: self.id, force: self.force }, state_root).map(|()| 0)
    }
}

impl PauseArgs {
    /// Runs the command.
    pub fn run(&self, state_root: &Path) -> Result<u8> {
        pause::pause(&self.id, state_root).map(|()| 0)
    }
}

impl ResumeArgs {
    /// Runs the command.
    pub fn run(&self, state_root: &Path) -> Result<u8> {
        pause::resume(&self.id, state_root).map(|()| 0)
    }
}

impl MountsArgs {
    /// Runs the command.
    pub fn run(self, state_root: &Path) -> Result<u8> {
        let request =
            mounts::Mounts { id: self.id, action: self.action, mounts: Document::File(self.file) };
        mounts::mounts(&request, state_root).map(|()| 0)
    }
}

impl SpecArgs {
    /// Runs the command.
    pub fn run(self) -> Result<u8> {
        spec::spec(&spec::Spec { bundle: self.bundle, rootless: self.rootless }).map(|()| 0)
    }
}

impl FeaturesArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<u8> {
        let mut text = Vec::new();
        let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        features::features()
            .serialize(&mut serde_json::Serializer::with_formatter(&mut text, form))?;
        print(&(String::from_utf8(text)? + "\n")).map(|()| 0)
    }
}

impl ImageArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<u8> {
        let Err(error) = image::image(&self.arguments);
        Err(error)
    }
}

/// Parses the action of `mounts`.
fn action(text: &str) -> Result<MountsAction, Failure> {
    match text {
        "add" => Ok(MountsAction::Add),
        "remove" => Ok(MountsAction::Remove),
        _ => Err(Failure::Usage("unknown action (known: add, remove)".to_owned())),
    }
}

/// `15`, `TERM`, `SIGTERM`, `term`, `RTMIN+1`.
fn signal(text: &str) -> Result<i32> {
    let unknown = || Failure::Usage(format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<i32>() {
        // 0 only checks whether there is a process.
        return if (0..=libc::SIGRTMAX()).contains(&number) {
            Ok(number)
        } else {
            Err(unknown().into())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    for (prefix, base, sign) in [("RTMIN", libc::SIGRTMIN(), '+'), ("RTMAX", libc::SIGRTMAX(), '-')]
    {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let offset: Option<i32> = if rest.is_empty() {
            Some(0)
        } else {
            rest.strip_prefix(sign).and_then(|n| n.parse().ok())
        };
        let number = offset.map(|offset| if sign == '+' { base + offset } else { base - offset });
        return number
            .filter(|number| (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(number))
            .ok_or_else(|| unknown().into());
    }
    Signal::from_str(&format!("SIG{name}")).map(|found| found as i32).map_err(|_| unknown().into())
}

#[cfg(test)]
mod tests {
    use super::signal;

    #[test]
    fn signals_go_by_name_and_number() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("KILL", 9),
            ("hup", 1),
            ("10", 10),
            ("0", 0),
            ("RTMIN+1", libc::SIGRTMIN() + 1),
        ] {
            assert_eq!(signal(text).ok(), Some(number), "{text}");
        }
        for text in ["", "SIG", "MOON", "-1", "65", "RTMIN+99", "9 ", "RTMIN-1"] {
            assert!(signal(text).is_err(), "{text}");
        }
    }
}
