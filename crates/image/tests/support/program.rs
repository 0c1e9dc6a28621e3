//! Runs the program under test.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output as Raw, Stdio};

/// The result of a call.
#[derive(Debug, Clone)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    /// The exit code, or 128 and the signal that ended it.
    pub status: i32,
}

impl From<Raw> for Output {
    fn from(raw: Raw) -> Self {
        use std::os::unix::process::ExitStatusExt;
        Self {
            stdout: String::from_utf8_lossy(&raw.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&raw.stderr).into_owned(),
            status: raw.status.code().unwrap_or_else(|| 128 + raw.status.signal().unwrap()),
        }
    }
}

impl Output {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 0, "expected success: {self:?}");
        self
    }

    /// The call has failed, with one line on stderr and nothing on stdout.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(self.status == 1 && self.stdout.is_empty(), "expected a refusal: {self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "expected one line: {self:?}");
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected {text:?} in {self:?}");
        self
    }
}

/// `orlop-image` with arguments.
pub fn command(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop-image"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs `orlop-image`.
#[track_caller]
pub fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    command(args).output().unwrap().into()
}

/// The runtime: `$ORLOP`, or the one that `cargo build` has made in the directory of the program
/// under test.
pub fn orlop() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_BIN_EXE_orlop-image")).with_file_name("orlop");
    let program = std::env::var_os("ORLOP").map_or_else(beside, PathBuf::from);
    assert!(
        program.is_file(),
        "{}: build orlop first (cargo build), or name one in $ORLOP",
        program.display()
    );
    program
}

/// Runs another tool, which must succeed.
#[track_caller]
pub fn judge(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
