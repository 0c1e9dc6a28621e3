//! Outputs that have ended, but that the client has not read to the end.
//! process: daemon, in the thread of `pump_thread`
//!
//! containerd closes its fifos when a Delete is answered. What is in a fifo then is lost. So the
//! end of an output is reported, and Delete answered, only after the client has read the bytes, or
//! after a time limit. The fifo has no writer meanwhile, so the client finds its end.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};

use crate::poll::is_broken;

/// How long the client may take.
const LIMIT: Duration = Duration::from_millis(500);

/// The pause between two looks at a fifo. No event says that a fifo is empty.
const PAUSE: Duration = Duration::from_millis(2);

/// The ended outputs.
#[derive(Debug, Default)]
pub struct Unread {
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    number: u64,
    fifo: OwnedFd,
    until: Instant,
}

impl Output {
    fn is_read(&self) -> bool {
        !has_bytes(&self.fifo) || self.until <= Instant::now()
    }
}

impl Unread {
    /// Takes the sink of the pump `number`, which has ended. Returns whether the client must still
    /// read bytes. Closes the sink if not.
    pub fn take(&mut self, number: u64, sink: OwnedFd) -> bool {
        let Some(fifo) = Some(sink).filter(has_bytes).and_then(reader_of) else {
            return false;
        };
        self.outputs.push(Output { number, fifo, until: Instant::now() + LIMIT });
        true
    }

    /// The time until the next look at the fifos.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        (!self.outputs.is_empty()).then_some(PAUSE)
    }

    /// Removes the outputs that have been read, and those whose time limit has passed.
    pub fn take_read(&mut self) -> Vec<u64> {
        let read = self.outputs.extract_if(.., |output| output.is_read());
        read.map(|output| output.number).collect()
    }

    /// Removes an output.
    pub fn remove(&mut self, number: u64) {
        self.outputs.retain(|output| output.number != number);
    }
}

/// Whether it is a fifo with bytes in it.
fn has_bytes(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
        && rustix::io::ioctl_fionread(file).is_ok_and(|bytes| bytes > 0)
}

/// Opens the fifo for reading only. None if the client does not read from it.
fn reader_of(fifo: OwnedFd) -> Option<OwnedFd> {
    let writer = reopen(&fifo, OFlags::WRONLY)?;
    drop(fifo); // it can also read, which would be reported below
    if is_broken(&writer) { None } else { reopen(&writer, OFlags::RDONLY) }
}

fn reopen(fifo: &OwnedFd, mode: OFlags) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fifo.as_raw_fd());
    let flags = mode | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use rustix::fs::{CWD, FileType, Mode, OFlags};

    use super::Unread;

    /// A fifo as a pump has it, with bytes in it.
    fn sink(path: &Path) -> File {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut sink = OpenOptions::new().read(true).write(true).open(path).unwrap();
        sink.write_all(b"bytes").unwrap();
        sink
    }

    #[test]
    fn an_output_is_reported_when_its_reader_has_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let sink = sink(&path);
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut reader = OpenOptions::new().read(true).custom_flags(flags).open(&path).unwrap();
        let mut unread = Unread::default();
        assert!(unread.take(7, sink.into()) && unread.pause().is_some());
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("it has an end: nobody writes any more");
        assert_eq!(text, "bytes");
        assert_eq!(unread.take_read(), [7]);
        assert_eq!(unread.pause(), None);
    }

    #[test]
    fn an_output_that_nobody_reads_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut unread = Unread::default();
        assert!(!unread.take(7, sink(&dir.path().join("fifo")).into()));
        let file = File::create_new(dir.path().join("file")).unwrap();
        assert!(!unread.take(8, file.into()));
        assert_eq!(unread.pause(), None);
    }
}
