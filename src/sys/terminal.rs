//! Pseudo-terminals (pty(7)) and terminals (termios(3), ioctl_tty(2)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, FsWord, Mode, OFlags, ResolveFlags, makedev};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Termios, Winsize};

use super::{Call, Named};

/// The filesystem type of devpts, where the kernel makes terminals.
const DEVPTS_SUPER_MAGIC: FsWord = 0x1cd1;

/// A new pseudo-terminal.
#[derive(Debug)]
pub struct Pair {
    /// The side of the process that shows the terminal.
    pub master: OwnedFd,
    /// The side of the programs.
    pub slave: OwnedFd,
}

/// Opens a new terminal in the devpts whose root directory is `directory`. Only the kernel makes
/// files in a devpts, so its `ptmx` can be trusted, unless something is mounted on it; then it is
/// refused. The slave comes from the master itself (`TIOCGPTPEER`), not from a path that another
/// process may have changed (CVE-2025-52565).
///
/// # Errors
/// The error of the failed call; `ENODEV` if the directory is not a devpts, or if `ptmx` is another
/// file.
pub fn open_pair(directory: BorrowedFd<'_>) -> Result<Pair, Call> {
    let statfs = rustix::fs::fstatfs(directory).named_on("fstatfs", "/dev/pts")?;
    if statfs.f_type != DEVPTS_SUPER_MAGIC {
        return Err(Errno::NODEV).named(|| "/dev/pts is not a devpts".to_owned());
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let master = rustix::fs::openat2(directory, "ptmx", flags, Mode::empty(), resolve)
        .named_on("open", "/dev/pts/ptmx")?;
    let stat = rustix::fs::fstat(&master).named_on("fstat", "/dev/pts/ptmx")?;
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

/// The slave of a master.
///
/// # Errors
/// Errors of ioctl(2): `ENOTTY` if it is not a master.
pub fn slave_of(master: BorrowedFd<'_>) -> Result<OwnedFd, Call> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags).named(|| "ioctl(TIOCGPTPEER)".to_owned())
}

/// read(2) from a master whose program has ended.
///
/// A worker of the kernel moves the output of the program to the master. A read waits for it, but
/// not if it was queued once more meanwhile: there is output then, and the read says that there is
/// none (`EAGAIN`, or `EIO` if the program's side is closed). So only the last of several such
/// answers counts.
///
/// # Errors
/// Errors of read(2).
pub fn read_rest(master: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut read = rustix::io::read(&master, &mut *buffer);
    for _ in 0..3 {
        if !matches!(read, Err(Errno::AGAIN | Errno::IO)) {
            break;
        }
        read = rustix::io::read(&master, &mut *buffer);
    }
    read
}

/// Makes the terminal the standard input, output and error of this process, and the controlling
/// terminal of its session. The process must lead the session, which must not have a controlling
/// terminal yet.
///
/// # Errors
/// The error of the failed call.
pub fn take(slave: &OwnedFd) -> Result<(), Call> {
    rustix::stdio::dup2_stdin(slave).named(|| "dup2(terminal, 0)".to_owned())?;
    rustix::stdio::dup2_stdout(slave).named(|| "dup2(terminal, 1)".to_owned())?;
    rustix::stdio::dup2_stderr(slave).named(|| "dup2(terminal, 2)".to_owned())?;
    rustix::process::ioctl_tiocsctty(slave).named(|| "ioctl(TIOCSCTTY)".to_owned())
}

/// Sets rows and columns. The processes in the terminal get SIGWINCH when they change.
///
/// # Errors
/// Errors of ioctl(2).
pub fn set_size(terminal: impl AsFd, (rows, columns): (u16, u16)) -> Result<(), Call> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
        .named(|| format!("ioctl(TIOCSWINSZ, {rows}, {columns})"))
}

/// Sets the size of a terminal to the size of another, if that one has a size.
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

/// Turns off `ONLCR`, which adds a carriage return before each newline that is written.
///
/// # Errors
/// The error of the failed call.
pub fn plain_newlines(terminal: impl AsFd) -> Result<(), Call> {
    let mut modes = modes(&terminal)?;
    modes.output_modes.remove(OutputModes::ONLCR);
    set_modes(terminal, &modes)
}

/// A terminal in raw mode: typed bytes are passed on unchanged. The previous mode is restored when
/// this is dropped.
#[derive(Debug)]
pub struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Raw<'a> {
    /// Sets raw mode (cfmakeraw(3)). With `output`, written bytes are passed on unchanged, too.
    ///
    /// # Errors
    /// The error of the failed call: `ENOTTY` if it is not a terminal.
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
        // The terminal may not exist any more.
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
