//! Neighbours of the runtime's processes: root with the capabilities of an ordinary container, and
//! root of a user namespace with all of them. They try to trace each process that has the runtime's
//! name, and to read its files in /proc. A [`Spy`] only tries this with the processes that are sent
//! to it.
//!
//! Both, and the runtime, are in a pid namespace of the test, so that no other process on the
//! machine is disturbed. So the test program executes itself again. A variable has its role.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;

use super::eventually;
use super::runtime::{Running, program_file, time_limit};

/// The role of this process. The test itself has none.
const PART: &str = "ORLOP_TEST_PART";
/// A unique number, since the process id is the same in every new pid namespace.
const NUMBER: &str = "ORLOP_TEST_NUMBER";
/// The file of the program in containers. All processes may trace its processes.
const PROGRAMS: &str = "busybox";

/// A running neighbour. It is killed when this is dropped.
#[derive(Debug)]
pub struct Neighbour {
    running: Running,
}

/// A neighbour that tries only the processes that are sent to it. It is killed when this is
/// dropped.
#[derive(Debug)]
pub struct Spy {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Runs `inside` in a pid namespace of its own. `test` is the name of the test that calls this.
#[track_caller]
pub fn in_own_pid_namespace(test: &str, inside: impl FnOnce()) {
    match std::env::var(PART).as_deref() {
        Ok("inside") => inside(),
        Ok("neighbour") => lie_in_wait(),
        Ok("spy") => answer(),
        _ => {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let number =
                format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let mut command = Command::new("unshare");
            command.env(NUMBER, number).args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
            let out = play(&mut command, test, "inside").stdin(Stdio::null()).output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
        }
    }
}

/// A number that no other test process has at the moment.
pub fn test_number() -> String {
    std::env::var(NUMBER).unwrap_or_else(|_| std::process::id().to_string())
}

/// Appends to a command: this program, with this test in this role.
fn play<'a>(command: &'a mut Command, test: &str, part: &str) -> &'a mut Command {
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PART, part)
}

/// Root with the capabilities that containers have by default, without CAP_SYS_PTRACE.
fn ordinary(test: &str, part: &str) -> Command {
    let default = "chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,net_bind_service,\
                   sys_chroot,kill,audit_write";
    let keep = default.split(',').map(|name| format!("+{name}")).collect::<Vec<_>>().join(",");
    let mut command = Command::new("setpriv");
    command.arg(format!("--bounding-set=-all,{keep}")).arg("--inh-caps=-all");
    play(&mut command, test, part);
    command
}

/// Root of a user namespace, with all capabilities in it.
fn with_user_namespace(test: &str, part: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]);
    play(&mut command, test, part);
    command
}

impl Neighbour {
    /// Root with the capabilities that containers have by default, without CAP_SYS_PTRACE.
    pub fn ordinary(test: &str, dir: &Path) -> Self {
        Self::start(&mut ordinary(test, "neighbour"), dir)
    }

    /// Root of a user namespace, with all capabilities in it.
    pub fn with_user_namespace(test: &str, dir: &Path) -> Self {
        Self::start(&mut with_user_namespace(test, "neighbour"), dir)
    }

    fn start(command: &mut Command, dir: &Path) -> Self {
        let neighbour = Self { running: Running::start(command, dir) };
        let said = || fs::read_to_string(&neighbour.running.files.stdout).unwrap_or_default();
        assert!(eventually(time_limit(), || said().contains("ready\n")), "{}", said());
        neighbour
    }

    pub fn pid(&self) -> i32 {
        self.running.pid()
    }

    /// What it has found so far. Checks that it has seen processes of the runtime.
    #[track_caller]
    pub fn found(&self) -> BTreeSet<String> {
        let said = fs::read_to_string(&self.running.files.stdout).unwrap();
        assert!(said.contains("seen\n"), "it has seen no process of the runtime: {said}");
        said.lines().filter(|line| line.starts_with("found: ")).map(str::to_owned).collect()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ =
            nix::sys::signal::kill(Pid::from_raw(self.pid()), nix::sys::signal::Signal::SIGKILL);
    }
}

impl Spy {
    /// As [`Neighbour::ordinary`].
    pub fn ordinary(test: &str) -> Self {
        Self::start(ordinary(test, "spy"))
    }

    /// As [`Neighbour::with_user_namespace`].
    pub fn with_user_namespace(test: &str) -> Self {
        Self::start(with_user_namespace(test, "spy"))
    }

    fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut spy = Spy { child, questions, answers };
        spy.look_into(spy.pid()); // it answers when it has its capabilities
        spy
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it can access of a process at the moment; empty for nothing.
    pub fn look_into(&mut self, pid: i32) -> String {
        writeln!(self.questions, "{pid}").unwrap();
        let mut lines = self.answers.by_ref().lines().map(Result::unwrap);
        let answer = lines.find_map(|line| Some(line.strip_prefix("found: ")?.to_owned()));
        answer.expect("the spy answers")
    }
}

impl Drop for Spy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads pids from standard input. Answers each with what this process can access of that process.
fn answer() {
    for pid in std::io::stdin().lines().map(Result::unwrap) {
        let found = look_into(pid.parse().unwrap(), &Path::new("/proc").join(&pid));
        say(&format!("\nfound: {}", found.join(", ")));
    }
}

/// Never ends. Prints `ready`, `seen` once, and what it finds.
fn lie_in_wait() {
    let name = program_file().file_name().unwrap().to_string_lossy().into_owned();
    let mut seen = false;
    say("\nready");
    loop {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let path = entry.path();
            let Some(comm) = comm(&path).filter(|comm| comm.starts_with(&name)) else { continue };
            if !seen {
                say("seen");
                seen = true;
            }
            for what in look_into(pid, &path) {
                // The process may have become the container's program meanwhile.
                let file =
                    fs::read_link(path.join("exe")).unwrap_or_else(|_| PathBuf::from(PROGRAMS));
                if !file.to_string_lossy().contains(PROGRAMS) {
                    say(&format!("found: {what} of {comm} ({})", file.display()));
                }
            }
        }
    }
}

/// Prints a line for [`Neighbour::found`]. Not with println, which tests capture.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The name of a process.
pub fn comm(process: &Path) -> Option<String> {
    Some(fs::read_to_string(process.join("comm")).ok()?.trim_end().to_owned())
}

/// What this process can access of another one.
fn look_into(pid: i32, process: &Path) -> Vec<&'static str> {
    let mut found = Vec::new();
    if fs::read_link(process.join("root")).is_ok() {
        found.push("the root directory");
        // In a thread: its end detaches the process. A process that may trace another one may also
        // read its links.
        let seize = move || ptrace::seize(Pid::from_raw(pid), Options::empty()).is_ok();
        if std::thread::spawn(seize).join().unwrap() {
            found.push("a trace");
        }
    }
    let readable = |file: &str| {
        let mut byte = [0];
        fs::File::open(process.join(file))
            .is_ok_and(|mut file| file.read(&mut byte).is_ok_and(|length| length > 0))
    };
    if readable("environ") {
        found.push("the environment");
    }
    if readable("maps") {
        found.push("the map of the memory");
    }
    if fs::OpenOptions::new().read(true).write(true).open(process.join("mem")).is_ok() {
        found.push("the memory");
    }
    if fs::read_link(process.join("fd/0")).is_ok() {
        found.push("a descriptor");
    }
    found
}
