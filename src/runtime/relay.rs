//! A terminal in the foreground: we stand between the program's and our own, until the program
//! ends.
//! process: runtime
//!
//! One thread, which waits for whatever can go on. What is on its way is never more than two
//! buffers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};
use rustix::termios::isatty;

use super::foreground::react;
use crate::error::Result;
use crate::sys::pidfd::Exit;
use crate::sys::signal::Queue;
use crate::sys::terminal::{self, Raw};
use crate::sys::wait::{self, Bound, Unbounded};
use crate::sys::{Call, Named, fd};

/// A pipe that takes anything takes this much (pipe(7), `PIPE_BUF`), so that no write to it blocks.
const BUFFER: usize = 4096;

/// More than the kernel keeps of what a program has written to its terminal. Whatever comes beyond
/// it when the program has ended is by somebody whom it has left behind, and who may never stop.
const MOST_AT_THE_END: usize = 1 << 20;

/// The program's terminal, shown on ours, which is raw meanwhile and afterwards as it was.
#[derive(Debug)]
pub struct Relay {
    /// Our own, if we read from it.
    _raw: Option<Raw<'static>>,
    /// Our own, whose size counts.
    own: OwnedFd,
    /// The program's; nothing any more when nobody sees it, which hangs it up.
    master: Option<OwnedFd>,
    /// Held, so that a program may close its terminal for a while, and the master always has
    /// another side.
    _slave: OwnedFd,
    signals: Queue,
    screen: OwnedFd,
    typed: RelayBuffer,
    shown: RelayBuffer,
}

/// What may be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Signals,
    Keyboard,
    Master,
    Screen,
}

impl Relay {
    /// Makes our terminal `own` the program's. Signals must be held back
    /// ([`hold_signals`](super::foreground::hold_signals)).
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn begin(own: OwnedFd, master: OwnedFd) -> Result<Self> {
        let slave = terminal::slave_of(master.as_fd())?;
        fd::set_nonblocking(&master)?;
        // Somebody has to make the carriage returns: the program's terminal if ours is raw, and
        // else ours; and nobody, if it is not shown on a terminal at all.
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

    /// Goes on until the program has ended and all that it wrote is shown; every signal that we get
    /// meanwhile, but that of another size, goes to the program.
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

    /// What is ready, out of what we wait for at the moment.
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

    /// Reads from the program's terminal and writes to it, as far as it goes.
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

    /// Nobody looks any more: the program is told so, as if a line had been cut.
    fn hang_up(&mut self) {
        self.master = None;
        self.typed.close();
        self.shown.close();
    }

    /// What the program wrote before its end. Whoever does not want to wait for that may say so by
    /// a signal.
    fn show_the_rest(&mut self) -> Result<()> {
        self.typed.close();
        let mut length = 0;
        while length < MOST_AT_THE_END {
            if self.shown.is_empty() {
                let Some(master) = &self.master else { break };
                if self.shown.read(master) != Progress::Some {
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
            // Ours may be gone by now; that stops nothing.
            let _ = terminal::copy_size(&self.own, master);
        }
    }
}

/// Our standard output. A terminal is opened once more: not to wait when it is stopped is for us,
/// and for nobody else who has it.
fn screen() -> Result<OwnedFd, Call> {
    let again =
        || fd::open("/proc/self/fd/1".as_ref(), OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY);
    match isatty(stdout()).then(again) {
        Some(Ok(screen)) => Ok(screen),
        _ => stdout().try_clone_to_owned().named(|| "dup(stdout)".to_owned()),
    }
}

/// The way from one file to another.
#[derive(Debug)]
struct RelayBuffer {
    buffer: Box<[u8; BUFFER]>,
    /// Where in the buffer that begins and ends which is still to be written.
    from: usize,
    to: usize,
    /// Whether more may come.
    open: bool,
}

/// What came of reading or writing once.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Some,
    Nothing,
    /// And never will: the other side is gone.
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

    /// Into the empty buffer.
    fn read(&mut self, source: impl AsFd) -> Progress {
        match rustix::io::read(source, &mut self.buffer[..]) {
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
