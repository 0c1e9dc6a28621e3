//! Terminals: those that a container makes and sends to a socket, and those on which the runtime is
//! started.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    LocalModes, Termios, Winsize, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetwinsize,
};

use super::runtime::time_limit;
use super::{Bundle, Container, differences, eventually, is_waiting};

/// A shell script that executes the lines of [`Terminal::ask`].
pub const SHELL: &str =
    "stty -echo; echo ready; while read -r line; do eval \"$line\"; echo END; done";

/// The master of a terminal.
#[derive(Debug)]
pub struct Terminal {
    pub master: OwnedFd,
    unread: String,
}

impl Terminal {
    pub fn new(master: OwnedFd) -> Self {
        Terminal { master, unread: String::new() }
    }

    /// Types a text.
    #[track_caller]
    pub fn type_in(&self, text: &str) {
        let mut bytes = text.as_bytes();
        while !bytes.is_empty() {
            let length = rustix::io::write(&self.master, bytes).expect("the terminal takes it");
            bytes = &bytes[length..];
        }
    }

    /// Waits until `text` is shown. Returns the text before it.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + time_limit();
        loop {
            if let Some((before, after)) = self.unread.split_once(text) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.unread = after;
                return before;
            }
            assert!(self.read_until(end), "no {text:?} in {:?}", self.unread);
        }
    }

    /// The output of a command in [`SHELL`], without carriage returns.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> String {
        self.type_in(&format!("{command}\n"));
        self.wait_for("END\r\n").replace('\r', "").trim_end().to_owned()
    }

    /// All text that is shown until the other side is closed.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let end = Instant::now() + time_limit();
        while self.read_until(end) {}
        assert!(Instant::now() < end, "no end after {:?}", self.unread);
        std::mem::take(&mut self.unread)
    }

    /// Reads once. Returns false at the end of the terminal, or if there is no text until `end`.
    fn read_until(&mut self, end: Instant) -> bool {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).unwrap();
        if poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&left)).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        // The kernel may say once that this is the end, and have more.
        let read = rustix::io::read(&self.master, &mut buffer);
        match read.or_else(|_| rustix::io::read(&self.master, &mut buffer)) {
            Ok(length) => self.unread.push_str(&String::from_utf8_lossy(&buffer[..length])),
            Err(_) => return false,
        }
        if !differences::sets_terminal_modes_first() {
            self.unread = self.unread.replace("\r\r\n", "\r\n");
        }
        true
    }

    /// Waits until a job of the shell is in the foreground, can be stopped, and is waited for.
    ///
    /// Too early, a typed SIGTSTP has no effect: a shell's `fg` first gives the terminal to the job
    /// and then sends it SIGCONT, which discards a SIGTSTP between the two (signal(7)); and a job
    /// ignores SIGTSTP, as the shell does, until it has run for the first time. That can take long
    /// after the shell shows it as running, if another CPU is to run it.
    #[track_caller]
    pub fn wait_for_job(&self, shell: i32) {
        let can_be_stopped = || {
            let group = tcgetpgrp(&self.master).map_or(shell, |group| group.as_raw_pid());
            let status = fs::read_to_string(format!("/proc/{group}/status")).unwrap_or_default();
            let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
            let ignored = ignored.and_then(|mask| u64::from_str_radix(mask, 16).ok());
            let stop = 1 << (Signal::SIGTSTP as u64 - 1);
            group != shell && ignored.is_some_and(|mask| mask & stop == 0)
        };
        assert!(eventually(time_limit(), can_be_stopped), "no job that can be stopped");
        assert!(
            eventually(time_limit(), || is_waiting(shell)),
            "the shell does not wait for its job"
        );
    }

    /// Rows and columns.
    pub fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(&self.master).unwrap();
        (size.ws_row, size.ws_col)
    }

    /// Sets rows and columns.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }
}

/// The socket to which a runtime sends a terminal.
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    pub path: PathBuf,
}

impl ConsoleSocket {
    pub fn listen(path: PathBuf) -> Self {
        ConsoleSocket { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// The flags of `create`, `run --detach` and `exec --detach`.
    pub fn flags(&self) -> [&str; 2] {
        ["--console-socket", self.path.to_str().unwrap()]
    }

    /// Receives a terminal and the name that was sent with it. Checks that nothing else was sent.
    #[track_caller]
    pub fn receive_with_name(&self) -> (Terminal, String) {
        assert!(readable(&self.listener), "nobody has connected");
        let (stream, _) = self.listener.accept().unwrap();
        assert!(readable(&stream), "nothing was sent");
        let mut name = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let length =
            recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, flags).unwrap().bytes;
        let mut fds: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(sent) => fds.extend(sent),
                _ => panic!("something else was sent"),
            }
        }
        assert_eq!(fds.len(), 1, "one descriptor");
        let mut more = [0; 16];
        assert!(readable(&stream), "the runtime closes the connection");
        assert_eq!(rustix::io::read(&stream, &mut more), Ok(0), "one message");
        (Terminal::new(fds.remove(0)), String::from_utf8(name[..length].to_vec()).unwrap())
    }

    #[track_caller]
    pub fn receive(&self) -> Terminal {
        self.receive_with_name().0
    }
}

fn readable(fd: impl AsFd) -> bool {
    let limit = Timespec::try_from(time_limit()).unwrap();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() > 0
}

/// The runtime in the foreground of a terminal.
#[derive(Debug)]
pub struct Session<'a> {
    /// When it is dropped, its container is removed.
    _bundle: &'a Bundle,
    child: Child,
    pub terminal: Terminal,
    /// Kept open, so that the modes of the terminal can be read after the runtime has ended.
    slave: OwnedFd,
}

impl<'a> Session<'a> {
    /// Starts `inner` on a terminal of 30 rows and 90 columns, with redirections of a shell.
    fn start(bundle: &'a Bundle, inner: &Command, redirections: &str) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )
        .unwrap();
        let terminal = Terminal::new(master);
        terminal.resize(30, 90);
        let stdio = || slave.try_clone().unwrap();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "sh", "-c", &format!("exec \"$@\" {redirections}"), "sh"]);
        command
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(inner.get_current_dir().unwrap());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        Session { _bundle: bundle, child: command.spawn().unwrap(), terminal, slave }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The modes of its terminal.
    pub fn modes(&self) -> Termios {
        tcgetattr(&self.slave).unwrap()
    }

    /// Whether the terminal is in raw mode: typed bytes are passed on unchanged and are not shown.
    pub fn is_raw(&self) -> bool {
        !self
            .modes()
            .local_modes
            .intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for the end. Returns the exit status and the text that has not been read. Checks that
    /// the modes of the terminal are restored.
    #[track_caller]
    pub fn wait(mut self) -> (i32, String) {
        let end = Instant::now() + time_limit();
        let mut status = None;
        while status.is_none() {
            assert!(Instant::now() < end, "still running after {:?}", self.terminal.unread);
            self.terminal.read_until(Instant::now() + Duration::from_millis(20));
            status = self.child.try_wait().unwrap();
        }
        while self.terminal.read_until(Instant::now()) {}
        let expected = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        assert!(self.modes().local_modes.contains(expected), "the terminal is not as it was");
        (
            status.and_then(|status| status.code()).unwrap(),
            std::mem::take(&mut self.terminal.unread),
        )
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Bundle {
    /// A bundle whose program is [`SHELL`] on a terminal.
    pub fn with_terminal() -> Self {
        Self::busybox().set("/process/terminal", true).script(SHELL)
    }

    pub fn console_socket(&self) -> ConsoleSocket {
        ConsoleSocket::listen(self.scratch("console"))
    }

    /// `run` in the foreground of a terminal of 30 rows and 90 columns.
    #[track_caller]
    pub fn run_on_terminal(&self) -> Session<'_> {
        self.run_redirected("")
    }

    /// The same with redirections of a shell.
    #[track_caller]
    pub fn run_redirected(&self, redirections: &str) -> Session<'_> {
        self.write_config();
        let path = self.path();
        let inner = self.command(&["run", "--bundle", path.to_str().unwrap(), self.id()]);
        Session::start(self, &inner, redirections)
    }

    /// A running container, and its terminal.
    #[track_caller]
    pub fn run_with_socket(self) -> (Container, Terminal) {
        let socket = self.console_socket();
        let [flag, path] = socket.flags();
        let container = Container::new(self, "run", &["--detach", flag, path]);
        let mut terminal = socket.receive();
        terminal.wait_for("ready\r\n");
        (container, terminal)
    }
}

impl Container {
    /// `exec` in the foreground of a terminal of 30 rows and 90 columns.
    #[track_caller]
    pub fn exec_on_terminal(&self, flags: &[&str], program: &[&str]) -> Session<'_> {
        let args: Vec<&str> =
            ["exec"].iter().chain(flags).chain([&self.id()]).chain(program).copied().collect();
        Session::start(&self.bundle, &self.bundle.command(&args), "")
    }
}

/// The CPU time that a process has used, in clock ticks.
pub fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let mut fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
    let mut next = || fields.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}
