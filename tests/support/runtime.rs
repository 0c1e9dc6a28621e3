//! The runtime under test: its program, its calls, and their results.
//!
//! Output goes to files, never to pipes: a created container keeps the runtime's stdio, and a pipe
//! would stay open (and its reader wait) as long as the container runs.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{differences, eventually};

/// The environment variable that distinguishes the processes of one test from all others.
pub const MARKER: &str = "ORLOP_TEST_BUNDLE";

/// `$RUNTIME`, a path or a name, or else the program that this package builds.
pub fn program() -> PathBuf {
    std::env::var_os("RUNTIME").map_or_else(|| env!("CARGO_BIN_EXE_orlop").into(), PathBuf::from)
}

/// The file of that program.
pub fn program_file() -> PathBuf {
    let program = program();
    if program.components().count() > 1 {
        return program;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|dir| dir.join(&program));
    files.find(|file| file.is_file()).unwrap_or_else(|| panic!("no {} in PATH", program.display()))
}

/// How long one call of the runtime may take. Emulated machines need more.
pub fn time_limit() -> Duration {
    let seconds = std::env::var("ORLOP_TIME_LIMIT").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

/// The result of a call: its output, and its exit status or 128 + the signal that ended it.
#[derive(Debug, Clone)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
}

impl Output {
    /// Checks that the call succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 0, "expected success: {self:?}");
        self
    }

    /// Checks that the call succeeded and printed nothing.
    #[track_caller]
    pub fn silent(self) -> Self {
        let said = format!("{}{}", self.stdout, self.stderr);
        assert!(self.status == 0 && said.is_empty(), "expected silent success: {self:?}");
        self
    }

    /// Checks that the call failed: status 1, nothing on stdout, and one line on stderr.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert_eq!(self.status, 1, "expected a refusal: {self:?}");
        assert_eq!(self.stdout, "", "a refusal prints nothing on stdout");
        if differences::refuses_in_one_line() {
            assert_eq!(self.stderr.lines().count(), 1, "expected one line: {self:?}");
        }
        assert!(!self.stderr.trim().is_empty(), "expected a reason: {self:?}");
        self
    }

    /// Checks that `exec` failed before the program ran: status 255, nothing on stdout, and one
    /// line on stderr.
    #[track_caller]
    pub fn exec_refused(self) -> Self {
        assert_eq!(self.status, 255, "expected a refusal: {self:?}");
        assert_eq!(self.stdout, "", "a refusal prints nothing on stdout");
        if differences::refuses_in_one_line() {
            assert_eq!(self.stderr.lines().count(), 1, "expected one line: {self:?}");
        }
        self.says("exec failed: ")
    }

    /// Checks that the text is part of stderr. `\"` counts as `"`, for runtimes that log quoted
    /// messages.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let stderr = self.stderr.replace("\\\"", "\"");
        assert!(stderr.contains(text), "expected {text:?} in {self:?}");
        self
    }

    /// Checks for the text of a kernel error, which some runtimes write with a capital letter.
    #[track_caller]
    pub fn because(self, text: &str) -> Self {
        assert!(self.stderr.to_lowercase().contains(text), "expected {text:?} in {self:?}");
        self
    }

    /// Checks that the error names the wrong key or path of the configuration.
    #[track_caller]
    pub fn names(self, key: &str) -> Self {
        if differences::refusals_name_the_key() {
            assert!(self.stderr.contains(key), "expected the key {key:?} in {self:?}");
        }
        self
    }

    /// The lines of stdout.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// All of stdout without the last newline.
    pub fn line(&self) -> &str {
        self.stdout.trim_end()
    }
}

/// The files for the output of one call.
#[derive(Debug, Clone)]
pub struct Files {
    pub stdout: PathBuf,
    pub stderr: PathBuf,
}

impl Files {
    /// Two new files in `dir`.
    fn fresh(dir: &Path) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Files { stdout: dir.join(format!("stdout.{n}")), stderr: dir.join(format!("stderr.{n}")) }
    }

    fn output(&self, status: ExitStatus) -> Output {
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        Output { stdout: read(&self.stdout), stderr: read(&self.stderr), status }
    }
}

/// A file as text; bytes that are not UTF-8 are replaced.
pub fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A call of the runtime that has not ended yet. Dropping it kills the runtime.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pub files: Files,
}

impl Running {
    /// Starts `command` with its output in new files in `dir`.
    #[track_caller]
    pub fn start(command: &mut Command, dir: &Path) -> Self {
        let files = Files::fresh(dir);
        command
            .stdout(File::create(&files.stdout).unwrap())
            .stderr(File::create(&files.stderr).unwrap());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Running { child, files }
    }

    /// The runtime's own process id, not the container's.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends a signal to the runtime.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits until the call's stdout contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let seen = eventually(time_limit(), || read(&self.files.stdout).contains(text));
        assert!(
            seen,
            "no {text:?} in {:?}, stderr {:?}",
            read(&self.files.stdout),
            read(&self.files.stderr)
        );
    }

    /// Whether the call has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether the call ends within the time limit.
    pub fn ends(&mut self) -> bool {
        eventually(time_limit(), || self.child.try_wait().unwrap().is_some())
    }

    /// Waits for the end of the call. It must end within the time limit.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let mut status = None;
        eventually(time_limit(), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let Some(status) = status else {
            panic!("still running after {:?}, stderr {:?}", time_limit(), read(&self.files.stderr));
        };
        self.files.output(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A command that runs the runtime with `args`, after the shell script `prelude` in a new mount
/// namespace if there is one. The process id is that of the runtime in both cases.
pub fn command(
    program: &Path,
    prelude: Option<&str>,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut command;
    if let Some(prelude) = prelude {
        command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg(format!("set -e\n{prelude}\nexec \"$@\"")).arg("sh").arg(program);
    } else {
        command = Command::new(program);
    }
    command.args(args).stdin(Stdio::null());
    command
}
