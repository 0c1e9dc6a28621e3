//! A terminal in the foreground: copies between the program's terminal and our own until the
//! program ends.
//! process: runtime
//!
//! There is one thread, which waits until something can be read or written. It holds at most two
//! buffers of data.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};
use rustix::termios::isatty;

use super::signals::react;
use crate::error::Result;
use crate::sys::pidfd::Exit;
use crate::sys::signal::Queue;
use crate::sys::terminal::{self, Raw};
use crate::sys::wait::{self, Bound, Unbounded};
use crate::sys::{Call, Named, fd};

/// `PIPE_BUF` (pipe(7)): a pipe that is ready takes this many bytes, so that no write to it blocks.
const BUFFER: usize = 4096;

/// More bytes than the kernel keeps of a program's output to its terminal. When the program has
/// ended, more output than this comes from a process that it left behind, which may never stop.
const MOST_AT_THE_END: usize = 1 << 20;

/// The program's terminal, shown on our own. Our terminal is in raw mode meanwhile, and then
/// restored.
#[derive(Debug)]
pub struct Relay {
    /// Our terminal in raw mode, if we read from it.
    _raw: Option<Raw<'static>>,
    /// Our terminal. The program's terminal gets its size.
    own: OwnedFd,
    /// The program's terminal. `None` after its output cannot be shown any more, which hangs it up.
    master: Option<OwnedFd>,
    /// Kept open, so that the master has another side even while the program has closed its
    /// terminal.
    _slave: OwnedFd,
    signals: Queue,
    screen: OwnedFd,
    typed: RelayBuffer,
    shown: RelayBuffer,
}

/// A file that may be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Signals,
    Keyboard,
    Master,
    Screen,
}

impl Relay {
    /// Shows the program's terminal on our terminal `own`. All signals must be blocked
    /// ([`hold`](super::signals::hold)).
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn begin(own: OwnedFd, master: OwnedFd) -> Result<Self> {
        let slave = terminal::slave_of(master.as_fd())?;
        fd::set_nonblocking(&master)?;
        // One terminal must add the carriage returns: the program's if ours is in raw mode, and
        // otherwise ours. If the output is not shown on a terminal, none may add them.
        let (raw, shown) = (isatty(stdin()), isatty(stdout()));
        if !(raw && shown) {
            terminal::plain_newlines(&master)?;
        }
        let relay = Self {
            signals: Queue::of_all()?,
            screen: screen()?,
            _raw: if raw { Some(Raw::make(stdin(), shown)?) } else { None },
            own,
            master: Some(master),
            _slave: slave,
            typed: RelayBuffer::new(),
            shown: RelayBuffer::new(),
        };
        relay.resize();
        Ok(relay)
    }

    /// Copies until the program has ended and all of its output is shown. Every signal that we get
    /// meanwhile is passed to the program, except SIGWINCH, which only changes the size.
    ///
    /// # Errors
    /// Errors of waiting.
    pub fn run(mut self, program: BorrowedFd<'_>) -> Result<Exit> {
        loop {
            for end in self.wait()? {
                match end {
                    End::Signals => {
                        while let Some(number) = self.signals.next()? {
                            if number == Signal::SIGWINCH as i32 {
                                self.resize();
                            } else if let Some(exit) = react(number, program)? {
                                self.show_the_rest()?;
                                return Ok(exit);
                            }
                        }
                    }
                    End::Keyboard => self.typed.open = self.typed.read(stdin()) != Progress::Never,
                    End::Master => self.exchange(),
                    End::Screen => self.show(),
                }
            }
        }
    }

    /// The files that are ready, of those that we need now.
    fn wait(&self) -> Result<Vec<End>, Call> {
        let mut on_master = PollFlags::empty();
        on_master.set(PollFlags::IN, self.shown.wants_more());
        on_master.set(PollFlags::OUT, !self.typed.is_empty());
        let master = self.master.as_ref().filter(|_| !on_master.is_empty());
        let all = [
            (End::Signals, Some(self.signals.as_fd()), PollFlags::IN),
            (End::Keyboard, self.typed.wants_more().then(stdin), PollFlags::IN),
            (End::Master, master.map(OwnedFd::as_fd), on_master),
            (End::Screen, (!self.shown.is_empty()).then(|| self.screen.as_fd()), PollFlags::OUT),
        ];
        let mut ends = Vec::with_capacity(all.len());
        let mut fds = Vec::with_capacity(all.len());
        for (end, fd, events) in all {
            if let Some(fd) = fd {
                ends.push(end);
                fds.push(PollFd::from_borrowed_fd(fd, events));
            }
        }
        wait::any(&mut fds, Bound::Endless(Unbounded::ProgramRuns))?;
        Ok(ends
            .into_iter()
            .zip(fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(end, _)| end)
            .collect())
    }

    /// Reads from the program's terminal and writes to it, as far as possible without waiting.
    fn exchange(&mut self) {
        let Some(master) = &self.master else { return };
        let read =
            if self.shown.wants_more() { self.shown.read(master) } else { Progress::Nothing };
        let written =
            if self.typed.is_empty() { Progress::Nothing } else { self.typed.write(master) };
        if read == Progress::Never || written == Progress::Never {
            self.hang_up();
        }
    }

    fn show(&mut self) {
        if self.shown.write(&self.screen) == Progress::Never {
            self.hang_up();
        }
    }

    /// Closes the master, since the output cannot be shown any more. The kernel then hangs up the
    /// program's terminal.
    fn hang_up(&mut self) {
        self.master = None;
        self.typed.close();
        self.shown.close();
    }

    /// Shows the output that the program wrote before it ended. The user can stop this with a
    /// signal.
    fn show_the_rest(&mut self) -> Result<()> {
        self.typed.close();
        let mut length = 0;
        while length < MOST_AT_THE_END {
            if self.shown.is_empty() {
                let Some(master) = &self.master else { break };
                if self.shown.read_rest(master) != Progress::Some {
                    break;
                }
                length += self.shown.length();
            }
            for end in self.wait()? {
                if end == End::Signals && self.is_interrupted()? {
                    return Ok(());
                }
                if end == End::Screen {
                    self.show();
                }
            }
        }
        Ok(())
    }

    fn is_interrupted(&self) -> Result<bool, Call> {
        const INTERRUPTS: [Signal; 4] =
            [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
        while let Some(number) = self.signals.next()? {
            if INTERRUPTS.iter().any(|signal| *signal as i32 == number) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn resize(&self) {
        if let Some(master) = &self.master {
            // Our terminal may be gone, which is not an error.
            let _ = terminal::copy_size(&self.own, master);
        }
    }
}

/// Our standard output. A terminal is opened once more, so that `O_NONBLOCK` applies only to us,
/// and not to other processes that have it open.
fn screen() -> Result<OwnedFd, Call> {
    let again =
        || fd::open("/proc/self/fd/1".as_ref(), OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY);
    match isatty(stdout()).then(again) {
        Some(Ok(screen)) => Ok(screen),
        _ => stdout().try_clone_to_owned().named(|| "dup(stdout)".to_owned()),
    }
}

/// Data on its way from one file to another.
#[derive(Debug)]
struct RelayBuffer {
    buffer: Box<[u8; BUFFER]>,
    /// The bytes `from..to` of the buffer are still to be written.
    from: usize,
    to: usize,
    /// Whether more data may come.
    open: bool,
}

/// The result of one read or write.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Some,
    Nothing,
    /// Nothing, and there will never be more: the other side is closed.
    Never,
}

impl RelayBuffer {
    fn new() -> Self {
        Self { buffer: Box::new([0; BUFFER]), from: 0, to: 0, open: true }
    }

    fn length(&self) -> usize {
        self.to - self.from
    }

    fn is_empty(&self) -> bool {
        self.length() == 0
    }

    fn wants_more(&self) -> bool {
        self.open && self.is_empty()
    }

    fn close(&mut self) {
        (self.from, self.to, self.open) = (0, 0, false);
    }

    /// Reads into the empty buffer.
    fn read(&mut self, source: impl AsFd) -> Progress {
        let read = rustix::io::read(source, &mut self.buffer[..]);
        self.take(read)
    }

    /// Reads from the terminal of a program that has ended into the empty buffer.
    fn read_rest(&mut self, master: impl AsFd) -> Progress {
        let read = terminal::read_rest(master, &mut self.buffer[..]);
        self.take(read)
    }

    fn take(&mut self, read: Result<usize, Errno>) -> Progress {
        match read {
            Ok(0) => Progress::Never,
            Ok(length) => {
                (self.from, self.to) = (0, length);
                Progress::Some
            }
            Err(Errno::AGAIN | Errno::INTR) => Progress::Nothing,
            Err(_) => Progress::Never,
        }
    }

    fn write(&mut self, target: impl AsFd) -> Progress {
        match rustix::io::write(target, self.buffer.get(self.from..self.to).unwrap_or_default()) {
            Ok(length) => {
                self.from += length;
                Progress::Some
            }
            Err(Errno::AGAIN | Errno::INTR) => Progress::Nothing,
            Err(_) => Progress::Never,
        }
    }
}
