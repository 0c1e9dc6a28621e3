//! `image`: executes `orlop-image`, a program of its own, so that this one has no code for
//! registries.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use crate::error::{Context, Failure, Result};

const PROGRAM: &str = "orlop-image";

/// Executes `orlop-image` in this process: the one beside our own binary, or else the one in
/// `PATH`. Returns only an error.
///
/// # Errors
/// [`Failure::Unsupported`] if it does not exist; errors of execve(2).
pub fn image(arguments: &[OsString]) -> Result<Infallible> {
    let program = beside_us().unwrap_or_else(|| PROGRAM.into());
    #[expect(
        clippy::disallowed_methods,
        reason = "no child: nothing of ours is left to be shared with the program"
    )]
    let error = std::process::Command::new(&program).args(arguments).exec();
    if error.kind() == ErrorKind::NotFound {
        let text = "orlop-image is neither beside orlop nor in PATH: install it (`make install` of orlop does)";
        return Err(Failure::Unsupported(text.into()).into());
    }
    Err(error).with_context(|| format!("execve({program:?})"))
}

/// The one that was installed with us. This verb runs from our binary's own file, so the path is
/// known. (Verbs that enter containers do not.)
fn beside_us() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    program.is_file().then_some(program)
}
