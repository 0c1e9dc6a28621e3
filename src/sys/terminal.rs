//! Pseudo-terminals (pty(7)) and terminals (termios(3), ioctl_tty(2)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, FsWord, Mode, OFlags, ResolveFlags, makedev};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Termios, Winsize};

use super::{Call, Named};

/// statfs(2) has it; devpts is what the kernel makes terminals in.
const DEVPTS_SUPER_MAGIC: FsWord = 0x1cd1;

/// A new pseudo-terminal.
#[derive(Debug)]
pub struct Pair {
    /// The side of whoever shows the terminal.
    pub master: OwnedFd,
    /// The side of the programs.
    pub slave: OwnedFd,
}

/// Opens a new terminal in the devpts whose root directory is `directory`. Nobody but the kernel
/// makes files in a devpts, so that it is one is enough to know for `ptmx`, unless something is
/// mounted over that: then it is refused. The slave is got from the master itself (`TIOCGPTPEER`)
/// and not by a path that somebody may have changed (CVE-2025-52565).
///
/// # Errors
/// The error of the failed call; `ENODEV` when the directory or its `ptmx` is something else.
pub fn open_pair(directory: BorrowedFd<'_>) -> Result<Pair, Call> {
    let statfs = rustix::fs::fstatfs(directory).named(|| "fstatfs(\"/dev/pts\")".to_owned())?;
    if statfs.f_type != DEVPTS_SUPER_MAGIC {
        return Err(Errno::NODEV).named(|| "/dev/pts is not a devpts".to_owned());
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let master = rustix::fs::openat2(directory, "ptmx", flags, Mode::empty(), resolve)
        .named(|| "open(\"/dev/pts/ptmx\")".to_owned())?;
    let stat = rustix::fs::fstat(&master).named(|| "fstat(\"/dev/pts/ptmx\")".to_owned())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        || stat.st_rdev != makedev(5, 2)
    {
        return Err(Errno::NODEV)
            .named(|| "/dev/pts/ptmx is not the terminal multiplexer".to_owned());
    }
    rustix::pty::unlockpt(&master).named(|| "ioctl(TIOCSPTLCK)".to_owned())?;
    let slave = slave_of(master.as_fd())?;
    Ok(Pair { master, slave })
}

/// The other side of a master.
///
/// # Errors
/// Errors of ioctl(2): `ENOTTY` when it is none.
pub fn slave_of(master: BorrowedFd<'_>) -> Result<OwnedFd, Call> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags).named(|| "ioctl(TIOCGPTPEER)".to_owned())
}

/// Makes the terminal the standard input and outputs of this process, and the controlling terminal
/// of its session, which it must lead and which must have none yet.
///
/// # Errors
/// The error of the failed call.
pub fn take(slave: &OwnedFd) -> Result<(), Call> {
    rustix::stdio::dup2_stdin(slave).named(|| "dup2(terminal, 0)".to_owned())?;
    rustix::stdio::dup2_stdout(slave).named(|| "dup2(terminal, 1)".to_owned())?;
    rustix::stdio::dup2_stderr(slave).named(|| "dup2(terminal, 2)".to_owned())?;
    rustix::process::ioctl_tiocsctty(slave).named(|| "ioctl(TIOCSCTTY)".to_owned())
}

/// Sets rows and columns; whoever uses the terminal gets SIGWINCH when they change.
///
/// # Errors
/// Errors of ioctl(2).
pub fn set_size(terminal: impl AsFd, (rows, columns): (u16, u16)) -> Result<(), Call> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
        .named(|| format!("ioctl(TIOCSWINSZ, {rows}, {columns})"))
}

/// Makes a terminal as large as another, if that has a size.
///
/// # Errors
/// Errors of ioctl(2).
pub fn copy_size(from: impl AsFd, to: impl AsFd) -> Result<(), Call> {
    let size = rustix::termios::tcgetwinsize(from).named(|| "ioctl(TIOCGWINSZ)".to_owned())?;
    if size.ws_row == 0 || size.ws_col == 0 {
        return Ok(());
    }
    rustix::termios::tcsetwinsize(to, size).named(|| "ioctl(TIOCSWINSZ)".to_owned())
}

/// Lets a newline be a newline, and not a carriage return before it as well (`ONLCR`).
///
/// # Errors
/// The error of the failed call.
pub fn plain_newlines(terminal: impl AsFd) -> Result<(), Call> {
    let mut modes = modes(&terminal)?;
    modes.output_modes.remove(OutputModes::ONLCR);
    set_modes(terminal, &modes)
}

/// A terminal that hands on every byte that is typed as it is; when dropped, it is as it was.
#[derive(Debug)]
pub struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Raw<'a> {
    /// Makes a terminal so (cfmakeraw(3)); with `output`, also for what is written.
    ///
    /// # Errors
    /// The error of the failed call: `ENOTTY` when it is no terminal.
    pub fn make(terminal: BorrowedFd<'a>, output: bool) -> Result<Self, Call> {
        let before = modes(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        if !output {
            raw.output_modes = before.output_modes;
        }
        set_modes(terminal, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // It may be gone by now.
        let _ = set_modes(self.terminal, &self.before);
    }
}

fn modes(terminal: impl AsFd) -> Result<Termios, Call> {
    rustix::termios::tcgetattr(terminal).named(|| "ioctl(TCGETS)".to_owned())
}

fn set_modes(terminal: impl AsFd, modes: &Termios) -> Result<(), Call> {
    rustix::termios::tcsetattr(terminal, OptionalActions::Now, modes)
        .named(|| "ioctl(TCSETS)".to_owned())
}
