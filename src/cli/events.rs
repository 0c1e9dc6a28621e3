//! `events`.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::print;
use crate::commands::events::{self, Event, Statistics};
use crate::error::{Failure, Result};

/// Show the resource usage of a container: repeatedly until it stops, or once.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Time between two statistics: 5s, 1m30s, 500ms
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, allow_hyphen_values = true)]
    interval: Duration,
    /// Show the statistics once
    #[arg(long)]
    stats: bool,
    /// Output format: json (an object on each line), or openmetrics (once, as text for Prometheus)
    #[arg(long, value_name = "FORMAT", default_value = "json", value_parser = format)]
    format: EventsFormat,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// The values of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventsFormat {
    /// The format of runc: an object on each line.
    Json,
    /// The text of OpenMetrics 1.0. It has an end, so it cannot be a stream.
    OpenMetrics,
}

fn format(text: &str) -> Result<EventsFormat, Failure> {
    match text {
        "json" => Ok(EventsFormat::Json),
        "openmetrics" => Ok(EventsFormat::OpenMetrics),
        _ => Err(Failure::Usage("invalid format option (known: json, openmetrics)".to_owned())),
    }
}

/// A line of the output.
#[derive(Debug, Serialize)]
struct EventLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<EventData>,
}

/// The statistics as runc prints them.
#[derive(Debug, Serialize)]
struct EventData {
    #[serde(flatten)]
    statistics: Statistics,
    /// Networks that the runtime itself has made. There are none: always `null`.
    network_interfaces: Option<()>,
}

impl EventsArgs {
    /// Runs the command.
    pub fn run(&self, state_root: &Path) -> Result<u8> {
        let container = events::watch(&self.id, state_root)?;
        if self.interval.is_zero() {
            return Err(
                Failure::Usage("duration interval must be greater than 0".to_owned()).into()
            );
        }
        let container = container.running()?;
        match self.format {
            EventsFormat::OpenMetrics => {
                print(&container.cgroup_statistics()?.openmetrics(&self.id))?
            }
            EventsFormat::Json if self.stats => {
                print(&self.line(Event::Statistics(Box::new(container.statistics()?)))?)?
            }
            EventsFormat::Json => {
                container.follow(self.interval, |event| print(&self.line(event)?))?
            }
        }
        Ok(0)
    }

    fn line(&self, event: Event) -> Result<String> {
        let (kind, data) = match event {
            Event::Oom => ("oom", None),
            Event::Statistics(statistics) => {
                ("stats", Some(EventData { statistics: *statistics, network_interfaces: None }))
            }
        };
        Ok(serde_json::to_string(&EventLine { kind, id: &self.id, data })? + "\n")
    }
}

/// As Go's `time.ParseDuration`: numbers, perhaps with a fraction, each with a unit. A negative
/// duration is 0.
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
