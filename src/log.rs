//! `--log`, `--log-format`, `--debug`: log lines in the format of runc, which containerd and Podman
//! parse.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::num::NonZeroI32;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::error::{Context, Report, Result};
use crate::sys::Named;
use crate::sys::wait::{self, Bound};

/// How long the reader of a log may take, if the log is a pipe.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(2));

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `time="…" level=error msg="…"`.
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

/// The destination of log lines: the file of `--log`, or else standard error.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    format: LogFormat,
}

/// A line in JSON. The fields after `time` are our own. The fields up to `hint` are only in the
/// line of an error, so that a program does not have to parse English. They contain the kind of
/// failure, the place in config.json (a JSON pointer), the file, the call, the error number, and
/// what to do. The last two fields say how long a phase took, see [`Phases`].
#[derive(Debug, Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    call: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<NonZeroI32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    hint: &'a str,
    #[serde(flatten)]
    took: Option<PhaseLine>,
}

/// How long a phase took.
#[derive(Debug, Serialize)]
struct PhaseLine {
    phase: String,
    microseconds: u64,
}

/// Measures the phases of a command. With `--debug`, the microseconds of each phase are logged.
/// Without it, the clock is not read.
#[derive(Debug)]
pub struct Phases {
    since: Option<Instant>,
}

impl Phases {
    /// Begins the first phase.
    #[must_use]
    pub fn begin() -> Self {
        Self { since: log::log_enabled!(log::Level::Debug).then(Instant::now) }
    }

    /// Ends a phase, by its name, and begins the next one.
    pub fn end(&mut self, phase: &str) {
        let Some(since) = &mut self.since else { return };
        let microseconds = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        log::debug!(phase, microseconds; "{phase} took {microseconds} microseconds");
        *since = Instant::now();
    }
}

impl PhaseLine {
    fn of(record: &log::Record<'_>) -> Option<Self> {
        let field = |name: &str| record.key_values().get(log::kv::Key::from(name));
        Some(Self {
            phase: field("phase")?.to_string(),
            microseconds: field("microseconds")?.to_u64()?,
        })
    }
}

impl Log {
    /// Opens the file for appending.
    ///
    /// # Errors
    /// Errors of open(2).
    ///
    /// # Examples
    /// ```no_run
    /// use orlop::commands::start::start;
    /// use orlop::error::Report;
    /// use orlop::log::{Log, LogFormat};
    ///
    /// let log = Log::open(Some("/run/web/log.json".as_ref()), LogFormat::Json)?.install(false);
    /// if let Err(error) = start("web", "/run/orlop".as_ref()) {
    ///     let _ = log.error(&Report::of(&error));
    /// }
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn open(path: Option<&Path>, format: LogFormat) -> Result<Self> {
        let open = |path: &Path| {
            // NONBLOCK, because the open of a fifo would wait for its other end.
            let flags = libc::O_NONBLOCK;
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o644)
                .custom_flags(flags)
                .open(path);
            file.named_on("open", path).context("opening the log file (--log)")
        };
        Ok(Self { file: path.map(open).transpose()?, format })
    }

    /// Makes this the destination of the macros of the `log` crate.
    pub fn install(self, debug: bool) -> &'static Self {
        let log: &'static Self = Box::leak(Box::new(self));
        log::set_max_level(if debug { log::LevelFilter::Debug } else { log::LevelFilter::Info });
        // This fails only if there is a logger already. Then that one stays.
        let _ = log::set_logger(log);
        log
    }

    /// Writes the line of an error. Returns true if it went to a file, so that the caller must
    /// still write the error to standard error.
    #[must_use]
    pub fn error(&self, report: &Report) -> bool {
        self.line("error", report, None);
        self.file.is_some()
    }

    fn line(&self, level: &str, report: &Report, took: Option<PhaseLine>) {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let line = match self.format {
            LogFormat::Text => {
                let took = took.map(|took| {
                    format!(" phase={} microseconds={}", took.phase, took.microseconds)
                });
                format!(
                    "time={time:?} level={level} msg={:?}{}\n",
                    report.text,
                    took.unwrap_or_default()
                )
            }
            LogFormat::Json => {
                let Report { text, code, key, call, path, errno, .. } = report;
                let hint = report.hint();
                let errno = NonZeroI32::new(*errno);
                let line =
                    Line { level, msg: text, time, code, key, path, call, errno, hint, took };
                serde_json::to_string(&line).unwrap_or_default() + "\n"
            }
        };
        // One write, so that lines of several processes do not mix. A failure cannot be reported
        // anywhere.
        let _ = match self.file.as_ref() {
            Some(mut file) => file.write_all(line.as_bytes()).or_else(|error| match error.kind() {
                ErrorKind::WouldBlock
                    if wait::writable(file.as_fd(), PATIENCE).is_ok_and(|ready| ready) =>
                {
                    file.write_all(line.as_bytes())
                }
                _ => Err(error),
            }),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => "error",
            log::Level::Warn => "warning",
            log::Level::Info => "info",
            log::Level::Debug | log::Level::Trace => "debug",
        };
        let report = Report { text: record.args().to_string(), ..Report::default() };
        self.line(level, &report, PhaseLine::of(record));
    }

    fn flush(&self) {}
}
