//! The OCI runtime that runs the containers: `orlop`, or the program that `--runtime` names. Any
//! runtime with the command line of runc can be used.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::config::ContainerConfig;

/// The name of the default runtime.
const NAME: &str = "orlop";

/// An OCI runtime.
#[derive(Debug, Clone)]
pub struct OciRuntime {
    /// A path, or a name to look up in `PATH`.
    pub program: PathBuf,
}

impl OciRuntime {
    /// The given runtime, else `orlop` in the directory of this program, else `orlop` in `PATH`.
    #[must_use]
    pub fn find(named: Option<&Path>) -> Self {
        let beside = || {
            let program = std::env::current_exe().ok()?.with_file_name(NAME);
            program.is_file().then_some(program)
        };
        Self { program: named.map(Path::to_owned).or_else(beside).unwrap_or_else(|| NAME.into()) }
    }

    /// A command that runs it.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Its name for error messages.
    #[must_use]
    pub fn show(&self) -> String {
        self.program.display().to_string()
    }

    /// An identification of the program file; `None` if it cannot be found.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        let in_path = || {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path)
                .map(|directory| directory.join(&self.program))
                .find(|file| file.is_file())
        };
        let file = if self.program.components().count() > 1 {
            Some(self.program.clone())
        } else {
            in_path()
        };
        fingerprint(&file?)
    }

    /// The output of its `spec` for the current user. The file is written to the directory
    /// `scratch` and removed.
    ///
    /// # Errors
    /// It cannot be run, or fails; its output is not a config.json.
    pub fn spec(&self, scratch: &Path, rootless: bool) -> Result<ContainerConfig> {
        let mut command = self.command();
        command.arg("spec").arg("--bundle").arg(scratch).stdin(Stdio::null()).stdout(Stdio::null());
        if rootless {
            command.arg("--rootless");
        }
        let output = command.output().with_context(|| format!("running {} spec", self.show()))?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} spec failed: {}", self.show(), message.trim());
        let file = scratch.join("config.json");
        let text = fs::read(&file).with_context(|| file.display().to_string())?;
        fs::remove_file(&file).with_context(|| file.display().to_string())?;
        serde_json::from_slice(&text)
            .with_context(|| format!("the config.json of {} spec", self.show()))
    }
}

/// An identification of a file and its version, by device, inode, size and time; `None` if it does
/// not exist.
#[must_use]
pub fn fingerprint(file: &Path) -> Option<String> {
    let status = file.metadata().ok()?;
    Some(format!(
        "{}-{}-{}-{}-{}",
        status.dev(),
        status.ino(),
        status.len(),
        status.mtime(),
        status.mtime_nsec()
    ))
}
