//! The runtime that containers are handed to: `orlop`, or what `--runtime` names. A program like
//! any other to us.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::config::ContainerConfig;

/// Its name.
const NAME: &str = "orlop";

/// A runtime's program.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// A path, or a name to be found in `PATH`.
    pub program: PathBuf,
}

impl Runtime {
    /// The one that was asked for, the one that was installed beside us, or the one in `PATH`.
    #[must_use]
    pub fn find(asked: Option<&Path>) -> Self {
        let beside = || {
            let program = std::env::current_exe().ok()?.with_file_name(NAME);
            program.is_file().then_some(program)
        };
        Self { program: asked.map(Path::to_owned).or_else(beside).unwrap_or_else(|| NAME.into()) }
    }

    /// A call of it.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// What it says of itself when it fails to start.
    #[must_use]
    pub fn show(&self) -> String {
        self.program.display().to_string()
    }

    /// Tells one program from another; nothing when there is none, or it is not where we can see
    /// it.
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

    /// What its `spec` gives for the user that we are. It is written into the directory `scratch`
    /// and removed again.
    ///
    /// # Errors
    /// It cannot be run, or fails; what it writes is no config.json.
    pub fn spec(&self, scratch: &Path, rootless: bool) -> Result<ContainerConfig> {
        let mut command = self.command();
        command.arg("spec").arg("--bundle").arg(scratch).stdin(Stdio::null()).stdout(Stdio::null());
        if rootless {
            command.arg("--rootless");
        }
        let output = command.output().with_context(|| format!("running {} spec", self.show()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} spec failed: {}", self.show(), said.trim());
        let file = scratch.join("config.json");
        let text = fs::read(&file).with_context(|| file.display().to_string())?;
        fs::remove_file(&file).with_context(|| file.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| format!("what {} spec wrote", self.show()))
    }
}

/// Tells a file from another one, and from itself after a change; nothing when there is none.
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
