//! `run`: create and start in one process, so without a gate; and, in the foreground, its end.

use std::os::fd::AsFd;
use std::path::Path;

use clap::Args;

use super::create::{self, CreateOptions, Gate};
use super::{delete, hand_over, start};
use crate::container::Container;
use crate::error::{Context, Result};
use crate::runtime::foreground;
use crate::runtime::spawn::Init;

/// Create and run a container.
#[derive(Debug, Args)]
pub struct Run {
    /// The flags.
    #[command(flatten)]
    pub options: CreateOptions,
    /// Detach from the container's process
    #[arg(short, long)]
    pub detach: bool,
    /// Do not delete the container after it exits
    #[arg(long)]
    pub keep: bool,
}

/// Carries out `run`; gives the exit code: the program's, or 128 and the signal that ended it.
///
/// # Errors
/// What went wrong; then nothing is left behind.
pub fn run(args: &Run, state_root: &Path) -> Result<u8> {
    let pid_file = args.options.absolute_pid_file()?;
    if !args.detach {
        foreground::hold_signals()?;
    }
    let ready = create::make_ready(&args.options, state_root, Gate::Open)?;
    let (init, container) = create::keep(ready, pid_file.as_deref())?;
    if let Err(error) = begin(&init, &container) {
        // The container is kept from here on, so it is deleted as any other.
        delete::stop(&container).and_then(|()| delete::remove(&container)).context("cleaning up")?;
        return Err(error);
    }
    if args.detach {
        return Ok(0);
    }
    let exit = foreground::wait(init.as_fd())?;
    if !args.keep {
        delete::remove(&container)?;
    }
    Ok(u8::try_from(exit.shell_code()).unwrap_or(u8::MAX))
}

fn begin(init: &Init, container: &Container) -> Result<()> {
    init.go()?;
    init.attend_program(|listener| hand_over(&container.saved, init.child.pid, &listener))?;
    start::poststart(container)
}
