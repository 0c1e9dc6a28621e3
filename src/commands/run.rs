//! `run`: create and start in one process, so without a gate; and, in the foreground, its end.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread::JoinHandle;

use clap::Args;

use super::create::{self, CreateOptions, Driver, Gate, Ready};
use super::{delete, hand_over, start};
use crate::container::Container;
use crate::container::notify::Notify;
use crate::error::Result;
use crate::runtime::foreground;
use crate::runtime::pid_file;
use crate::runtime::spawn::Init;
use crate::runtime::watch::Watch;
use crate::state::Status;
use crate::sys::signal;

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
    /// Leave orphans of the container's processes to the host
    #[arg(long)]
    pub no_subreaper: bool,
}

/// Carries out `run`; gives the exit code: the program's, or 128 and the signal that ended it.
///
/// # Errors
/// What went wrong; then nothing is left behind.
pub fn run(args: &Run, state_root: &Path, driver: Driver) -> Result<u8> {
    let pid_file = args.options.absolute_pid_file()?;
    if !args.detach {
        foreground::hold_signals()?;
        if !args.no_subreaper {
            foreground::adopt_orphans()?;
        }
    }
    let ready = create::make_ready(&args.options, state_root, driver, Gate::Open, args.detach)?;
    let Ready { creation, notify, relay, mut phases } = ready;
    let (init, container) = creation.keep(pid_file.as_deref())?;
    phases.end("save");
    if let Err(error) = begin(&init, &container) {
        // The container is kept from here on, so it is deleted as any other.
        delete::clean_up(&container);
        pid_file.as_deref().map(pid_file::remove);
        return Err(error);
    }
    phases.end("program");
    if args.detach {
        if let Some(notify) = notify {
            forward(&notify, init.as_fd(), init.child.pid);
        }
        return Ok(0);
    }
    let forwarding = notify.map(|notify| forward_meanwhile(notify, &init)).transpose()?;
    let exit = foreground::wait(init.as_fd(), relay)?;
    phases.end("life");
    if !args.keep {
        delete::clean_up(&container);
        phases.end("remove");
    }
    if let Some(thread) = forwarding {
        // It ends with the container, or when what was said last has been heard.
        let _ = thread.join();
    }
    Ok(u8::try_from(exit.shell_code()).unwrap_or(u8::MAX))
}

/// Waits for the program's word in a thread of its own: meanwhile signals go to the container, and
/// it may end without one. The process to be watched are we.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing is forked from here on; hooks are started by posix_spawn"
)]
fn forward_meanwhile(notify: Notify, init: &Init) -> Result<JoinHandle<()>> {
    let init = init.as_fd().try_clone_to_owned()?;
    let own = std::process::id().cast_signed();
    Ok(std::thread::spawn(move || forward(&notify, init.as_fd(), own)))
}

/// The container runs just as well if nobody hears of it.
fn forward(notify: &Notify, init: BorrowedFd<'_>, main_pid: i32) {
    if let Err(error) = notify.forward(init, main_pid) {
        log::warn!("{error:#}");
    }
}

fn begin(init: &Init, container: &Container) -> Result<()> {
    init.go()?;
    // It may be paused from now on.
    let mut watch = Watch::of_one_that_may_be_paused();
    init.attend_program(&mut watch, |listener| {
        hand_over(&container.saved, (Status::Created, init.child.pid), &listener)
    })?;
    signal::end_waits_no_more(); // from here on they are the program's
    start::poststart(container)
}
