//! `events`: the resource usage of a container at intervals, and kills of the OOM killer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use serde::Serialize;

use super::{cgroup_of, open, resctrl_of, status_of};
use crate::cgroup::Cgroup;
pub use crate::cgroup::oom::OomWatch;
use crate::cgroup::stats::Stats;
use crate::container::Container;
use crate::error::{Context, Failure, Result};
use crate::resctrl;
use crate::state::Status;
use crate::sys::wait::{self, Bound};

/// The resource usage of a container.
#[derive(Debug, Serialize)]
pub struct Statistics {
    /// The statistics of its cgroup.
    #[serde(flatten)]
    pub cgroup: Stats,
    /// The statistics of its resctrl groups.
    pub intel_rdt: resctrl::stats::IntelRdtStats,
}

/// An event of a container.
#[derive(Debug)]
pub enum Event {
    /// The OOM killer has killed.
    Oom,
    /// The statistics of an interval.
    Statistics(Box<Statistics>),
}

/// A container to watch.
#[derive(Debug)]
pub struct Watched(Container);

/// A running container that is watched.
#[derive(Debug)]
pub struct Monitor {
    container: Container,
    init: OwnedFd,
    cgroup: Cgroup,
}

/// Opens a container to watch.
///
/// # Errors
/// An error if the id is invalid, or if there is no such container.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::events;
///
/// let container = events::watch("web", Path::new("/run/orlop"))?.running()?;
/// println!("{} bytes of memory", container.statistics()?.cgroup.memory.usage.usage);
/// if let Some(mut oom) = container.oom()? {
///     // A loop of the caller's polls this descriptor, for these events of poll(2) or epoll(7), …
///     let (_descriptor, _events) = oom.fd();
///     // … and then asks for what happened. That does not wait.
///     println!("the OOM killer was at work {} times", oom.take()?);
/// }
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn watch(id: &str, state_root: &Path) -> Result<Watched> {
    open(state_root, id).map(Watched)
}

impl Watched {
    /// Begins to watch the container, if it runs.
    ///
    /// # Errors
    /// An error if it does not run; errors of reading /proc or the cgroup.
    pub fn running(self) -> Result<Monitor> {
        let Self(container) = self;
        let init = match status_of(&container)? {
            Status::Creating | Status::Stopped => None,
            _ => container.init()?,
        };
        let id = &container.saved.id;
        let not_running =
            || Failure::WrongStatus(format!("container with id {id} is not running").into());
        let init = init.ok_or_else(not_running)?;
        let cgroup = cgroup_of(&container);
        Ok(Monitor { container, init, cgroup })
    }
}

impl Monitor {
    /// Its resource usage now.
    ///
    /// # Errors
    /// Errors of reading the cgroup or resctrl.
    pub fn statistics(&self) -> Result<Statistics> {
        let reading = "reading the container's share of resctrl";
        let groups = resctrl_of(&self.container).map(|groups| groups.stats().context(reading));
        let intel_rdt = groups.transpose()?.unwrap_or_default();
        Ok(Statistics { cgroup: self.cgroup_statistics()?, intel_rdt })
    }

    /// Whether its cgroup is on cgroup v2, which has other statistics than v1.
    #[must_use]
    pub fn is_cgroup_v2(&self) -> bool {
        self.cgroup.is_v2()
    }

    /// Only the statistics of its cgroup.
    ///
    /// # Errors
    /// Errors of reading the cgroup.
    pub fn cgroup_statistics(&self) -> Result<Stats> {
        self.cgroup.stats().context("reading the container's statistics")
    }

    /// Reports kills of the OOM killer, by a descriptor for a poll loop of the caller. `None`
    /// without a memory controller.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn oom(&self) -> Result<Option<OomWatch>> {
        self.cgroup.watch_oom().context("watching for the OOM killer")
    }

    /// Calls `on_event` for each event, with statistics every `interval`, until the container ends.
    ///
    /// # Errors
    /// Errors of reading the cgroup or resctrl; errors of `on_event`.
    pub fn follow(
        &self,
        interval: Duration,
        mut on_event: impl FnMut(Event) -> Result<()>,
    ) -> Result<()> {
        let mut oom = self.oom()?;
        let mut next = Instant::now() + interval;
        loop {
            let ended = wait(self.init.as_fd(), oom.as_ref(), next)?;
            for _ in 0..oom.as_mut().map_or(Ok(0), OomWatch::take)? {
                on_event(Event::Oom)?;
            }
            if ended {
                return Ok(());
            }
            if Instant::now() >= next {
                match self.statistics() {
                    Ok(statistics) => on_event(Event::Statistics(Box::new(statistics)))?,
                    // The cgroup was removed while we read it: the container has ended, which is
                    // not an error.
                    Err(_) if self.container.init()?.is_none() => return Ok(()),
                    Err(error) => return Err(error),
                }
                next = (next + interval).max(Instant::now());
            }
        }
    }
}

/// Waits for the end of init, for the OOM killer, or until `next`. Returns whether init has ended.
fn wait(init: BorrowedFd<'_>, watch: Option<&OomWatch>, next: Instant) -> Result<bool> {
    let mut watched = vec![PollFd::from_borrowed_fd(init, PollFlags::IN)];
    watched.extend(watch.map(OomWatch::fd).map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
    wait::any(&mut watched, Bound::Until(next))?;
    Ok(watched.first().is_some_and(|init| !init.revents().is_empty()))
}
