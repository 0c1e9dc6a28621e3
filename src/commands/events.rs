//! `events`: what a container uses, again and again, and when the OOM killer is at work in it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags};
use serde::Serialize;

use super::{cgroup_of, open, resctrl_of, status_of};
use crate::cgroup::Cgroup;
use crate::cgroup::oom::OomWatch;
use crate::cgroup::stats::Stats;
use crate::container::Container;
use crate::error::{Context, Failure, Result};
use crate::resctrl;
use crate::state::Status;
use crate::sys::wait::{self, Bound};

/// Show what a container uses, one JSON object a line, until it stops; or once, for a scrape.
#[derive(Debug, Args)]
pub struct Events {
    /// Time between two statistics: 5s, 1m30s, 500ms
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, allow_hyphen_values = true)]
    pub interval: Duration,
    /// Show the statistics once
    #[arg(long)]
    pub stats: bool,
    /// Form of what is shown: json, or openmetrics, the statistics once as text to be scraped
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub format: EventsFormat,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub id: String,
}

/// What `--format` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsFormat {
    /// runc's, an object a line.
    Json,
    /// The text of OpenMetrics 1.0, which is complete and has an end: there is no stream of it.
    OpenMetrics,
}

impl FromStr for EventsFormat {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "json" => Ok(Self::Json),
            "openmetrics" => Ok(Self::OpenMetrics),
            _ => Err(Failure::Usage("invalid format option (known: json, openmetrics)".to_owned())),
        }
    }
}

/// A line.
#[derive(Debug, Serialize)]
struct EventLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<EventData>,
}

/// The statistics.
#[derive(Debug, Serialize)]
struct EventData {
    #[serde(flatten)]
    cgroup: Stats,
    intel_rdt: resctrl::stats::IntelRdtStats,
    /// Only a network that the runtime itself had made would stand here: always `null`.
    network_interfaces: Option<()>,
}

/// Carries out `events`; each line goes to `say`. Ends when the container does.
///
/// # Errors
/// An interval of nothing; a container that does not run; errors of reading, and those of `say`.
pub fn events(
    args: &Events,
    state_root: &Path,
    mut say: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let container = open(state_root, &args.id)?;
    if args.interval.is_zero() {
        return Err(Failure::Usage("duration interval must be greater than 0".to_owned()).into());
    }
    let init = match status_of(&container)? {
        Status::Creating | Status::Stopped => None,
        _ => container.init()?,
    };
    let not_running =
        || Failure::WrongStatus(format!("container with id {} is not running", args.id));
    let init = init.ok_or_else(not_running)?;
    let cgroup = cgroup_of(&container);
    if args.format == EventsFormat::OpenMetrics {
        return say(&read(&cgroup)?.openmetrics(&args.id));
    }
    if args.stats {
        return say(&statistics(&args.id, &container, &cgroup)?);
    }
    let mut watch = cgroup.watch_oom().context("watching for the OOM killer")?;
    let mut next = Instant::now() + args.interval;
    loop {
        let ended = wait(init.as_fd(), watch.as_ref(), next)?;
        for _ in 0..watch.as_mut().map_or(Ok(0), OomWatch::take)? {
            say(&line(&EventLine { kind: "oom", id: &args.id, data: None })?)?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            match statistics(&args.id, &container, &cgroup) {
                Ok(line) => say(&line)?,
                Err(error) => return unless_gone(error, &container),
            }
            next = (next + args.interval).max(Instant::now());
        }
    }
}

fn statistics(id: &str, container: &Container, cgroup: &Cgroup) -> Result<String> {
    let groups = resctrl_of(container)
        .map(|groups| groups.stats().context("reading the container's share of resctrl"));
    let intel_rdt = groups.transpose()?.unwrap_or_default();
    let data = EventData { cgroup: read(cgroup)?, intel_rdt, network_interfaces: None };
    line(&EventLine { kind: "stats", id, data: Some(data) })
}

fn read(cgroup: &Cgroup) -> Result<Stats> {
    cgroup.stats().context("reading the container's statistics")
}

fn line(event: &EventLine<'_>) -> Result<String> {
    Ok(serde_json::to_string(event)? + "\n")
}

/// Waits for the end of init, for the OOM killer, or until `next`; whether it was the end.
fn wait(init: BorrowedFd<'_>, watch: Option<&OomWatch>, next: Instant) -> Result<bool> {
    let mut watched = vec![PollFd::from_borrowed_fd(init, PollFlags::IN)];
    watched.extend(watch.map(OomWatch::fd).map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
    wait::any(&mut watched, Bound::Until(next))?;
    Ok(watched.first().is_some_and(|init| !init.revents().is_empty()))
}

/// A cgroup that was removed under our hands is the end of the container, not an error.
fn unless_gone(error: anyhow::Error, container: &Container) -> Result<()> {
    if container.init()?.is_none() { Ok(()) } else { Err(error) }
}

/// As Go's `time.ParseDuration`: numbers, perhaps with a fraction, each with a unit. A negative one
/// counts as nothing.
fn duration(text: &str) -> Result<Duration, String> {
    // 292 years, a number of nanoseconds in 63 bits.
    const LONGEST: f64 = 9.2e9;
    let invalid = || format!("invalid duration {text:?} (such as 5s, 1m30s or 500ms)");
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(invalid()),
            };
        rest = &rest[end..];
    }
    if negative {
        return Ok(Duration::ZERO);
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds < LONGEST).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn durations_are_those_of_go() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("0.5h", 1_800_000),
            ("+2s", 2000),
            ("1000us", 1),
            ("1000\u{b5}s", 1),
            ("1000000ns", 1),
            ("0", 0),
            ("0s", 0),
            ("-1s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "5sec", "1.2.3s", "-", "9300000000s", "\u{fc}"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
