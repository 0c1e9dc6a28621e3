//! `--log`, `--log-format`, `--debug`: lines that read as runc's do, which containerd and Podman parse.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::{Context, Report, Result};
use crate::sys::Named;
use crate::sys::wait::{self, Bound};

/// How long whoever reads a log that is a pipe may take.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(2));

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=error msg="…"`.
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

/// Where lines go. In `--log`'s file when there is one, else to standard error.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    format: Format,
}

/// A line of the JSON form. The fields after `time` are ours and stand only in the line of an error, so that a program
/// need not read English: what kind of failure, where in config.json (a JSON pointer), which file, which call, which error
/// number, and what to do.
#[derive(Debug, Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    call: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    errno: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    hint: &'a str,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

impl Log {
    /// Opens the file, to append to it.
    ///
    /// # Errors
    /// open(2)'s.
    pub fn open(path: Option<&Path>, format: Format) -> Result<Self> {
        let open = |path: &Path| {
            // Should it be a fifo, we do not wait for its other end.
            let flags = libc::O_NONBLOCK;
            let file = OpenOptions::new().create(true).append(true).mode(0o644).custom_flags(flags).open(path);
            file.named(|| format!("open({path:?})")).context("opening the log file (--log)")
        };
        Ok(Self { file: path.map(open).transpose()?, format })
    }

    /// Makes it the destination of the `log` crate's macros.
    pub fn install(self, debug: bool) -> &'static Self {
        let log: &'static Self = Box::leak(Box::new(self));
        log::set_max_level(if debug { log::LevelFilter::Debug } else { log::LevelFilter::Info });
        // Only fails when there is one already: then we were called twice, and the first stays.
        let _ = log::set_logger(log);
        log
    }

    /// Writes the line of an error; true when it went to a file, so that standard error is still to be told.
    #[must_use]
    pub fn error(&self, report: &Report) -> bool {
        self.line("error", report);
        self.file.is_some()
    }

    fn line(&self, level: &str, report: &Report) {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let line = match self.format {
            Format::Text => format!("time={time:?} level={level} msg={:?}\n", report.text),
            Format::Json => {
                let Report { text, code, key, call, errno } = report;
                let (path, hint) = (report.path(), report.hint());
                let line = Line { level, msg: text, time, code, key, path, call, errno: *errno, hint };
                serde_json::to_string(&line).unwrap_or_default() + "\n"
            }
        };
        // One write, so that lines of several of us do not mix. There is nobody to tell of a failure here.
        let _ = match self.file.as_ref() {
            Some(mut file) => file.write_all(line.as_bytes()).or_else(|error| match error.kind() {
                ErrorKind::WouldBlock if wait::writable(file.as_fd(), PATIENCE).is_ok_and(|ready| ready) => {
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
        self.line(level, &Report { text: record.args().to_string(), ..Report::default() });
    }

    fn flush(&self) {}
}
