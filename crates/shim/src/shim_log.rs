//! The shim's log: lines to the fifo `log` of the bundle, which containerd copies to its own log.
//! process: daemon
//!
//! A line is dropped if the fifo is full. Otherwise the shim and its pod would block.

use std::fs::File;
use std::io::Write;
use std::time::SystemTime;

use log::{LevelFilter, Metadata, Record};
use rustix::fs::{Mode, OFlags};

/// The fifo for log lines; without one they are dropped.
#[derive(Debug)]
struct ShimLog {
    fifo: Option<File>,
    id: String,
}

/// Installs the logger for this process. `id` is in each line.
pub fn install(id: &str, debug: bool) {
    // It is opened for reading, too, so that it remains usable when containerd is restarted.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = rustix::fs::open("log", flags, Mode::empty()).ok().map(File::from);
    let log: &'static ShimLog = Box::leak(Box::new(ShimLog { fifo, id: id.to_owned() }));
    // No other logger has been installed in this process.
    let _ = log::set_logger(log);
    log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
}

impl log::Log for ShimLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        self.fifo.is_some()
    }

    fn log(&self, record: &Record<'_>) {
        let Some(mut fifo) = self.fifo.as_ref() else { return };
        let time = humantime::format_rfc3339_nanos(SystemTime::now());
        let level = match record.level() {
            log::Level::Error => "error",
            log::Level::Warn => "warning",
            log::Level::Info => "info",
            log::Level::Debug | log::Level::Trace => "debug",
        };
        let text = record.args().to_string();
        let line = format!(
            "time=\"{time}\" level={level} msg={text:?} id={:?} runtime=io.containerd.orlop.v2\n",
            self.id
        );
        let _ = fifo.write(line.as_bytes()); // up to a page is written as a whole or not at all
    }

    fn flush(&self) {}
}
