//! Watches a cgroup for kills of the OOM killer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fs::OFlags;
use rustix::io::{Errno, pread};

use super::dir::Dir;
use super::{Cgroup, Version};
use crate::error::Result;
use crate::sys::Named;

/// A descriptor for poll(2), and what is read from it.
#[derive(Debug)]
pub struct OomWatch {
    wakes: OwnedFd,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// `memory.oom_control`, which must stay open, and a file that does not exist any more when the
    /// cgroup is removed.
    V1 { _control: OwnedFd, dir: Dir },
    /// `memory.events`, and the number of kills so far.
    V2 { kills: u64 },
}

impl Cgroup {
    /// Begins to watch. `None` if there is no memory controller.
    ///
    /// # Errors
    /// Errors of open(2), eventfd(2), write(2) to `cgroup.event_control`.
    ///
    /// # Examples
    /// ```no_run
    /// use orlop::cgroup::Cgroup;
    /// use orlop::kernel::CgroupPaths;
    /// use rustix::event::{PollFd, poll};
    ///
    /// let cgroup = Cgroup::open(&CgroupPaths::v2("/sys/fs/cgroup/web".into()));
    /// if let Some(mut watch) = cgroup.watch_oom()? {
    ///     let (fd, flags) = watch.fd();
    ///     poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None)?;
    ///     println!("the OOM killer has killed {} times", watch.take()?);
    /// }
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        match &self.version {
            Version::V1(v1) => v1.dir("memory").map(watch_v1).transpose(),
            Version::V2(v2) => watch_v2(v2.dir()),
        }
    }
}

fn watch_v1(dir: &Dir) -> Result<OomWatch> {
    let control = dir.open_file("memory.oom_control", OFlags::RDONLY)?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let wakes = eventfd(0, flags).named(|| "eventfd()".to_owned())?;
    dir.write("cgroup.event_control", &format!("{} {}", wakes.as_raw_fd(), control.as_raw_fd()))?;
    let source = Source::V1 { _control: control, dir: Dir::by_path(dir.path().to_owned()) };
    Ok(OomWatch { wakes, source })
}

fn watch_v2(dir: &Dir) -> Result<Option<OomWatch>> {
    let wakes = match dir.open_file("memory.events", OFlags::RDONLY) {
        Err(call) if call.is(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let kills = kills(&wakes).named(|| "read(memory.events)".to_owned())?;
    Ok(Some(OomWatch { wakes, source: Source::V2 { kills } }))
}

/// The number of `oom_kill` in `memory.events`. Reading it also resets the notification.
fn kills(events: &OwnedFd) -> Result<u64, Errno> {
    let mut buffer = [0; 512];
    let length = pread(events, &mut buffer, 0)?;
    Ok(parse_kills(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default())))
}

pub(super) fn parse_kills(text: &str) -> u64 {
    let mut counts =
        text.lines().filter_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    counts.next().unwrap_or_default()
}

impl OomWatch {
    /// The descriptor for poll(2).
    #[must_use]
    pub fn fd(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = match self.source {
            Source::V1 { .. } => PollFlags::IN,
            Source::V2 { .. } => PollFlags::PRI,
        };
        (self.wakes.as_fd(), flags)
    }

    /// How often the OOM killer has killed since the last call. Does not wait. If the cgroup is
    /// removed: 0.
    ///
    /// # Errors
    /// Errors of read(2).
    pub fn take(&mut self) -> Result<u64> {
        match &mut self.source {
            Source::V1 { dir, .. } => {
                let mut count = [0; 8];
                match rustix::io::read(&self.wakes, &mut count) {
                    Err(Errno::AGAIN) => Ok(0),
                    // The removal of the cgroup also wakes poll(2).
                    Ok(_) if dir.read("memory.oom_control").is_err() => Ok(0),
                    other => Ok(other
                        .map(|_| u64::from_ne_bytes(count))
                        .named(|| "read(eventfd)".to_owned())?),
                }
            }
            Source::V2 { kills: seen } => match kills(&self.wakes) {
                Err(Errno::NODEV) => Ok(0),
                other => {
                    let now = other.named(|| "read(memory.events)".to_owned())?;
                    Ok(now.saturating_sub(std::mem::replace(seen, now)))
                }
            },
        }
    }
}
