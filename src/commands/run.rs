//! `run`: creates and starts a container in one process, without a gate, and may wait for its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;

use super::create::{self, Create, Ready};
use super::creation::Starter;
use super::{CreatedProcess, delete, send_listener};
use crate::container::Container;
use crate::container::notify::Notify;
use crate::error::Result;
use crate::log::Phases;
use crate::runtime::relay::Relay;
use crate::runtime::spawn::Init;
use crate::runtime::watch::Watch;
use crate::runtime::{foreground, signals};
use crate::state::Status;
use crate::sys::pidfd::Exit;
use crate::sys::signal;

/// Options for a container in the foreground.
#[derive(Debug, Default, Clone, Copy)]
pub struct Foreground {
    /// Whether it is kept after its end. Otherwise it is deleted.
    pub keep: bool,
    /// Whether we adopt orphans among its processes, if it has no pid namespace of its own.
    pub adopt_orphans: bool,
}

impl Foreground {
    /// Blocks the signals of this process, and makes it adopt orphans if that is wanted.
    pub(super) fn begin(self) -> Result<()> {
        signals::hold()?;
        if self.adopt_orphans { foreground::adopt_orphans() } else { Ok(()) }
    }
}

/// Makes a container and runs its program.
///
/// # In a process of its own
/// As [`create`](create::create()).
///
/// # Errors
/// As [`create`](create::create()).
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::create::Create;
/// use orlop::commands::run::run;
///
/// let request = Create { id: "web".to_owned(), bundle: "/srv/web".into(), ..Create::default() };
/// let init = run(&request, Path::new("/run/orlop"))?;
/// println!("process {} runs the program", init.pid);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn run(request: &Create, state_root: &Path) -> Result<CreatedProcess> {
    let StartedInit { init, notify, master, .. } = begin(request, state_root, true)?;
    if let Some(notify) = notify {
        forward(&notify, init.as_fd(), init.child.pid);
    }
    Ok(CreatedProcess::new(init.child, master))
}

/// As [`run`], but waits for the end of the program. Signals that we get are passed to the
/// container, and its terminal is shown on ours.
///
/// # In a process of its own
/// As [`run`]. The process can only be used for this container, and its signals are blocked.
///
/// # Errors
/// As [`run`].
pub fn foreground(request: &Create, how: Foreground, state_root: &Path) -> Result<Exit> {
    how.begin()?;
    let StartedInit { init, container, notify, relay, mut phases, .. } =
        begin(request, state_root, false)?;
    let forwarding = notify.map(|notify| forward_meanwhile(notify, &init)).transpose()?;
    let exit = foreground::wait(init.as_fd(), relay)?;
    phases.end("life");
    if !how.keep {
        delete::destroy(&container);
        phases.end("remove");
    }
    if let Some(thread) = forwarding {
        // It ends with the container, or after its last message was processed.
        let _ = thread.join();
    }
    Ok(exit)
}

/// A container whose program runs.
struct StartedInit {
    init: Init,
    container: Container,
    notify: Option<Notify>,
    relay: Option<Relay>,
    master: Option<OwnedFd>,
    phases: Phases,
}

fn begin(request: &Create, state_root: &Path, detach: bool) -> Result<StartedInit> {
    let pid_file = create::absolute(request.pid_file.as_deref())?;
    let ready = create::make_ready(request, state_root, Starter::SameCommand, detach)?;
    let Ready { creation, notify, relay, master, mut phases } = ready;
    let (init, container, pid_file) = creation.keep(pid_file.as_deref())?;
    phases.end("save");
    if let Err(error) = start(&init, &container) {
        // The container was kept, so it is deleted as any other.
        delete::destroy(&container);
        return Err(error);
    }
    pid_file.keep();
    phases.end("program");
    Ok(StartedInit { init, container, notify, relay, master, phases })
}

/// Waits in a thread of its own until the program reports that it is ready: meanwhile, signals are
/// passed to the container, and it may end without a report. The process to watch is this one.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing is forked from here on; hooks are started by posix_spawn"
)]
fn forward_meanwhile(notify: Notify, init: &Init) -> Result<JoinHandle<()>> {
    let init = init.as_fd().try_clone_to_owned()?;
    let own = std::process::id().cast_signed();
    Ok(std::thread::spawn(move || forward(&notify, init.as_fd(), own)))
}

/// Passes on that the program is ready. Without that, the container runs, too.
fn forward(notify: &Notify, init: BorrowedFd<'_>, main_pid: i32) {
    if let Err(error) = notify.forward(init, main_pid) {
        log::warn!("{error:#}");
    }
}

fn start(init: &Init, container: &Container) -> Result<()> {
    init.saved()?;
    // It may be paused from now on.
    let mut watch = Watch::pausable();
    init.serve_program(&mut watch, |listener| {
        send_listener(&container.saved, (Status::Created, init.child.pid), &listener)
    })?;
    signal::stop_ending_waits(); // from here on, signals are for the program
    super::start::poststart(container)
}
