//! Kills a process of the runtime at one of its system calls, chosen by number, or shows all of
//! them (ptrace(2)).
//!
//! All processes that the runtime forks are traced until they execute another program. After the
//! kill, the other processes continue untraced.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::eventually;
use super::runtime::{Running, read, time_limit};

/// The process to kill, and the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// The runtime has number 0. Then come the additional processes of `besides`, then all others
    /// by age.
    pub process: usize,
    /// The number of the system call before which it is killed; the first is 0.
    pub call: usize,
}

/// The result.
#[derive(Debug)]
pub struct Trace {
    /// How many system calls each process has made.
    pub calls: Vec<usize>,
    /// Whether the victim has reached that call and was killed.
    pub killed: bool,
    /// The runtime, if it still runs.
    pub alive: Option<Running>,
    /// Otherwise its exit status and its standard error.
    pub ended: Option<(i32, String)>,
}

impl Trace {
    /// Every system call of every process.
    pub fn points(&self) -> Vec<Victim> {
        let calls = self.calls.iter().enumerate();
        calls
            .flat_map(|(process, calls)| (0..*calls).map(move |call| Victim { process, call }))
            .collect()
    }
}

/// After the end of the runtime: the time without a system call after which the other processes
/// count as waiting.
const QUIET: Duration = Duration::from_millis(40);

/// Runs a command of the runtime, the file `program`, until it ends or the victim is killed. The
/// processes in `besides` are traced, too.
#[track_caller]
pub fn trace(
    command: &Command,
    program: &Path,
    besides: &[i32],
    victim: Option<Victim>,
    dir: &Path,
) -> Trace {
    let tracer = Tracer { victim, ..Tracer::of(program) };
    tracer.run_in_a_thread(command, besides, dir)
}

/// Runs a command of the runtime until it ends, as [`trace`], and calls `show` whenever a process
/// stops: before and after each system call, at its start, and after execve(2).
#[track_caller]
pub fn watch(
    command: &Command,
    program: &Path,
    besides: &[i32],
    dir: &Path,
    mut show: impl FnMut(Pid) + Send,
) -> Trace {
    let tracer = Tracer { show: Some(&mut show), ..Tracer::of(program) };
    tracer.run_in_a_thread(command, besides, dir)
}

#[derive(Default)]
struct Tracer<'a> {
    victim: Option<Victim>,
    show: Option<&'a mut (dyn FnMut(Pid) + Send)>,
    program: &'a [u8],
    /// By pid: the number of the process, and how many calls it has made.
    processes: BTreeMap<Pid, (usize, usize)>,
    /// Whether the shell of [`stopped_first`] has executed the runtime.
    begun: bool,
}

/// The result of a stop.
enum Next {
    On,
    RuntimeEnded(i32),
    Killed,
}

impl<'a> Tracer<'a> {
    fn of(program: &'a Path) -> Self {
        Tracer { program: program.as_os_str().as_encoded_bytes(), ..Tracer::default() }
    }

    #[track_caller]
    fn run_in_a_thread(mut self, command: &Command, besides: &[i32], dir: &Path) -> Trace {
        // The tracer is a thread. Its end detaches all traced processes.
        let run = || self.run(command, besides, dir);
        let trace = std::thread::scope(|scope| scope.spawn(run).join().expect("the tracer"));
        if let Some(runtime) = &trace.alive {
            // The kernel detaches the runtime a moment after the thread is reported to have ended.
            // Until then, its stops would be reported to us.
            let path = format!("/proc/{}/status", runtime.pid());
            let is_free = || read(Path::new(&path)).contains("TracerPid:\t0\n");
            assert!(eventually(time_limit(), is_free), "the runtime is still traced");
        }
        trace
    }

    fn run(&mut self, command: &Command, besides: &[i32], dir: &Path) -> Trace {
        let running = Running::start(&mut stopped_first(command), dir);
        let runtime = Pid::from_raw(running.pid());
        let stopped = waitpid(runtime, Some(WaitPidFlag::WUNTRACED | WaitPidFlag::__WALL)).unwrap();
        assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
        for pid in [runtime].into_iter().chain(besides.iter().map(|pid| Pid::from_raw(*pid))) {
            self.processes.insert(pid, (self.processes.len(), 0));
            ptrace::seize(pid, options()).unwrap_or_else(|errno| panic!("PTRACE_SEIZE: {errno}"));
        }
        for pid in besides {
            ptrace::interrupt(Pid::from_raw(*pid)).unwrap();
        }
        kill(runtime, Signal::SIGCONT).unwrap();

        let (mut ended, mut killed, mut last) = (None, false, Instant::now());
        while !killed {
            let limit = if ended.is_none() { time_limit() } else { QUIET };
            let Some(status) = next_stop(&mut last, limit) else { break };
            if let (true, Some(pid), Some(show)) = (self.begun, status.pid(), &mut self.show) {
                show(pid);
            }
            match self.handle(status, runtime) {
                Next::On => {}
                Next::RuntimeEnded(status) => ended = Some((status, read(&running.files.stderr))),
                Next::Killed => killed = true,
            }
        }
        assert!(killed || ended.is_some(), "the runtime does not come to an end");
        let mut calls = vec![0; self.processes.len()];
        for (number, count) in self.processes.values() {
            calls[*number] = *count;
        }
        let died = killed && self.victim.is_some_and(|victim| victim.process == 0);
        let alive = (ended.is_none() && !died).then_some(running);
        Trace { calls, killed, alive, ended }
    }

    fn handle(&mut self, status: WaitStatus, runtime: Pid) -> Next {
        let go_on = |pid, signal| {
            // Another process may have killed it.
            let _ = ptrace::syscall(pid, signal);
        };
        match status {
            WaitStatus::PtraceSyscall(pid) => {
                if self.is_the_victims_moment(pid) {
                    kill(pid, Signal::SIGKILL).unwrap();
                    while !matches!(
                        waitpid(pid, Some(WaitPidFlag::__WALL)),
                        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD)
                    ) {}
                    return Next::Killed;
                }
                go_on(pid, None);
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                let is_exec = event == libc_event_exec();
                let is_ours = is_exec && begins_with(pid, self.program); // runc's init, too
                if pid == runtime {
                    self.begun |= is_ours;
                } else if is_exec && !is_ours && self.processes.contains_key(&pid) {
                    // It is the program or a hook now, and not traced any more.
                    let _ = ptrace::detach(pid, None);
                    return Next::On;
                }
                go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => go_on(pid, Some(signal)),
            WaitStatus::Exited(pid, status) if pid == runtime => return Next::RuntimeEnded(status),
            WaitStatus::Signaled(pid, signal, _) if pid == runtime => {
                return Next::RuntimeEnded(128 + signal as i32);
            }
            _ => {}
        }
        Next::On
    }

    /// Counts a call at its entry. Returns whether it is the one of the victim.
    fn is_the_victims_moment(&mut self, pid: Pid) -> bool {
        const PTRACE_SYSCALL_INFO_ENTRY: u8 = 1;
        let entry =
            ptrace::syscall_info(pid).is_ok_and(|info| info.op == PTRACE_SYSCALL_INFO_ENTRY);
        if !entry || !self.begun {
            return false;
        }
        let number = self.processes.len();
        let (process, count) = self.processes.entry(pid).or_insert((number, 0));
        let now = Victim { process: *process, call: *count };
        *count += 1;
        self.victim == Some(now)
    }
}

/// `PTRACE_EVENT_EXEC`.
fn libc_event_exec() -> i32 {
    ptrace::Event::PTRACE_EVENT_EXEC as i32
}

fn options() -> Options {
    Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
}

/// The next stop or end of a process that this thread traces. `None` after the time limit, or if no
/// process is left.
fn next_stop(last: &mut Instant, limit: Duration) -> Option<WaitStatus> {
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
    let mut looks = 0_u32;
    loop {
        match waitpid(None, Some(flags)) {
            Ok(WaitStatus::StillAlive) => {}
            Ok(status) => {
                *last = Instant::now();
                return Some(status);
            }
            Err(Errno::ECHILD) => return None,
            Err(errno) => panic!("waitpid(): {errno}"),
        }
        if last.elapsed() > limit {
            return None;
        }
        looks += 1;
        if looks > 100 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

fn begins_with(pid: Pid, program: &[u8]) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).next() == Some(program)
}

/// The command after a shell that stops itself, so that it can be seized before the command begins.
fn stopped_first(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell.stdin(std::process::Stdio::null());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    shell
}
