//! `image`: hands over to `orlop-image`, a program of its own, so that none of what talks to
//! registries is in this one.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use crate::error::{Context, Failure, Result};

const PROGRAM: &str = "orlop-image";

/// Carries out `image`: this process becomes `orlop-image`, the one beside our own binary or else
/// the one in `PATH`. Returns only to say why not.
///
/// # Errors
/// It is not there; execve(2)'s.
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

/// The one that was installed with us. Unlike those that enter containers, this verb runs from the
/// file itself, so its path is known.
fn beside_us() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    program.is_file().then_some(program)
}
