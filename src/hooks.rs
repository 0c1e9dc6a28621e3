//! Runs hooks.
//! config.json: hooks.{prestart, createRuntime, createContainer}
//! config.json: hooks.{startContainer, poststart, poststop}
//! config.json: hooks.prestart[].{path, args, env, timeout}
//! config.json: annotations
//! process: runtime (prestart, createRuntime, poststart, poststop), init (the other two)

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CString, NulError, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::config::{Hook, Hooks};
use crate::error::{AtKey, Context, Result};
use crate::plan::annotations::{HOOKS_STDERR, HOOKS_STDOUT, hook_files};
use crate::plan::hooks::HookPoint;
use crate::sys::clone::{self, CloneRequest, SingleThreaded};
use crate::sys::pidfd::{self, Exit};
use crate::sys::wait::{self, Bound, Unbounded};
use crate::sys::{CallText, Named, fd, process, signal};

/// What a hook gets, besides the properties in its config.
#[derive(Debug, Default)]
pub struct HookContext<'a> {
    /// The environment of a hook that has none. Without this it gets ours, as in runc.
    pub env: Option<&'a [CString]>,
    /// The init of the container. If it ends, the hook is killed, since it has nothing left to do.
    pub init: Option<BorrowedFd<'a>>,
    /// The output of the hook.
    pub output: Option<&'a Output>,
    /// The confinement of the hook.
    pub confine: Option<Confine<'a>>,
}

/// The step before execve(2) in the process of a hook: it loads the filter of the container.
#[derive(Clone, Copy)]
pub struct Confine<'a> {
    /// Needed for fork(2).
    pub alone: SingleThreaded,
    /// Called right before execve(2).
    pub last: &'a dyn Fn() -> Result<()>,
}

impl fmt::Debug for Confine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confine").finish_non_exhaustive()
    }
}

/// The files for the output of hooks, from annotations. Without a file, the output is kept for the
/// error of a hook that fails.
#[derive(Debug, Default)]
pub struct Output {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Output {
    /// Opens the files for appending, and creates them if they do not exist.
    ///
    /// # Errors
    /// The error of the failed call, with the annotation; `ENXIO` for a fifo without a reader.
    pub fn open(annotations: &BTreeMap<String, String>) -> Result<Self> {
        let [stdout, stderr] = hook_files(annotations);
        let open = |path: Option<&Path>, annotation| {
            path.map(append_to).transpose().at(format_args!("/annotations/{annotation}"))
        };
        Ok(Self { stdout: open(stdout, HOOKS_STDOUT)?, stderr: open(stderr, HOOKS_STDERR)? })
    }
}

fn append_to(path: &Path) -> Result<OwnedFd> {
    // Opening a fifo must not block. Writing to it blocks the hook as usual.
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::APPEND
        | OFlags::NOCTTY
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).named_on("open", path)?;
    rustix::io::ioctl_fionbio(&file, false).named(|| "ioctl(FIONBIO)".to_owned())?;
    Ok(file)
}

/// Runs the hooks of `point` in order, each with `state` on its standard input.
///
/// # Errors
/// The error of the first hook that did not start, failed or timed out, with its last output.
pub fn run(hooks: &Hooks, point: HookPoint, state: &str, around: &HookContext<'_>) -> Result<()> {
    for (index, hook) in point.of(hooks).iter().enumerate() {
        run_one(hook, state, around)
            .with_context(|| format!("error running {} hook #{index}", point.name()))
            .at(format_args!("/hooks/{}/{index}", point.name()))?;
    }
    Ok(())
}

/// As [`run`], for poststop: all hooks run, and the errors are returned for the log.
pub fn run_all(
    hooks: &Hooks,
    point: HookPoint,
    state: &str,
    around: &HookContext<'_>,
) -> Vec<anyhow::Error> {
    let failure = |(index, hook): (usize, &Hook)| {
        let result = run_one(hook, state, around);
        result.with_context(|| format!("error running {} hook #{index}", point.name())).err()
    };
    point.of(hooks).iter().enumerate().filter_map(failure).collect()
}

fn run_one(hook: &Hook, state: &str, around: &HookContext<'_>) -> Result<()> {
    let output = fd::memory_file("hook")?;
    let exit = execute(hook, state, around, &output).with_context(|| hook.path.clone())?;
    match exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(code) => {
            anyhow::bail!("{}: exit status {code}{}", hook.path, end_of_output(&output))
        }
        Exit::Signal(number) => {
            let name = signal::name(number);
            anyhow::bail!("{} was killed by {name}{}", hook.path, end_of_output(&output))
        }
    }
}

fn execute(hook: &Hook, state: &str, around: &HookContext<'_>, output: &File) -> Result<Exit> {
    let (stdin, feed) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).named(|| "pipe2()".to_owned())?;
    let command = Command::of(hook, around.env)?;
    let stdout = around.output.and_then(|output| output.stdout.as_ref());
    let stderr = around.output.and_then(|output| output.stderr.as_ref());
    let [stdout, stderr] = [stdout, stderr].map(|file| file.map_or(output.as_fd(), AsFd::as_fd));
    let streams = [stdin.as_fd(), stdout, stderr];
    fd::close_on_exec_from(3)?; // hooks get no descriptors but stdio
    let (pid, pidfd) = match around.confine {
        None => {
            let pid = command.spawn(streams)?;
            (pid, pidfd::open(pid)?)
        }
        Some(confine) => command.fork(streams, confine)?,
    };
    drop(stdin);
    let bound =
        hook.timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let bound = bound.map_or(Bound::Endless(Unbounded::HookWithoutTimeout), Bound::Within).fixed();
    let patience =
        HookTimeout { bound, timeout: hook.timeout.unwrap_or_default(), init: around.init };
    // A hook need not read its state. The pipe buffers 64 KiB; a hook that reads gets the rest.
    let fed = feed_state(feed, state, &patience).context("writing the state");
    if let Err(error) = fed.and_then(|()| patience.wait_for(pidfd.as_fd(), PollFlags::IN)) {
        let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        pidfd::reap_within(pidfd.as_fd(), wait::DEATH)?;
        return Err(error);
    }
    Ok(pidfd::reap_ended(pidfd.as_fd())?)
}

/// How long a hook may run.
struct HookTimeout<'a> {
    bound: Bound,
    /// The timeout in seconds, if there is one.
    timeout: i64,
    /// The process whose end also ends the hook.
    init: Option<BorrowedFd<'a>>,
}

impl HookTimeout<'_> {
    /// Waits for one of `events` of a descriptor.
    fn wait_for(&self, fd: BorrowedFd<'_>, events: PollFlags) -> Result<()> {
        let mut files = vec![PollFd::from_borrowed_fd(fd, events)];
        files.extend(self.init.map(|init| PollFd::from_borrowed_fd(init, PollFlags::IN)));
        anyhow::ensure!(
            wait::any(&mut files, self.bound)?,
            "the hook timed out after {} s",
            self.timeout
        );
        let ready = files.first().is_some_and(|file| !file.revents().is_empty());
        anyhow::ensure!(ready, "the container's init ended while the hook ran");
        Ok(())
    }
}

/// Writes as much of the state as the hook accepts.
fn feed_state(feed: OwnedFd, state: &str, patience: &HookTimeout<'_>) -> Result<()> {
    rustix::io::ioctl_fionbio(&feed, true).named(|| "ioctl(FIONBIO)".to_owned())?;
    let mut left = state.as_bytes();
    while !left.is_empty() {
        match rustix::io::write(&feed, left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(Errno::PIPE) => return Ok(()),
            Err(Errno::AGAIN) => patience.wait_for(feed.as_fd(), PollFlags::OUT)?,
            Err(errno) => return Err(errno).named(|| "write()".to_owned()).map_err(Into::into),
        }
    }
    Ok(())
}

/// The arguments and the environment of execve(2). The hook has its own process group, so that the
/// processes that it starts can be killed with it.
struct Command {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Command {
    fn of(hook: &Hook, default_env: Option<&[CString]>) -> Result<Self> {
        let strings = |list: &[String]| {
            list.iter().map(|text| CString::new(text.as_str())).collect::<Result<Vec<_>, _>>()
        };
        let path = CString::new(hook.path.as_str())?;
        let args = if hook.args.is_empty() { vec![path.clone()] } else { strings(&hook.args)? };
        let env = match &hook.env {
            Some(env) => strings(env)?,
            None => default_env.map_or_else(own_env, |env| Ok(env.to_vec()))?,
        };
        Ok(Self { path, args, env })
    }

    /// `name` of a call that has the program as its argument.
    fn call(&self, name: &str) -> CallText {
        let path = OsStr::from_bytes(self.path.to_bytes());
        CallText::with_path(format!("{name}({:?})", self.path), path)
    }

    /// posix_spawn(3), which copies nothing of our memory.
    fn spawn(&self, streams: [BorrowedFd<'_>; 3]) -> Result<i32> {
        let call = || self.call("posix_spawn");
        let mut actions = PosixSpawnFileActions::init().named(call)?;
        for (from, to) in streams.into_iter().zip(0..) {
            actions.add_dup2(from.as_raw_fd(), to).named(call)?;
        }
        let mut attributes = PosixSpawnAttr::init().named(call)?;
        attributes.set_pgroup(nix::unistd::Pid::from_raw(0)).named(call)?;
        attributes.set_sigmask(&SigSet::empty()).named(call)?;
        attributes.set_sigdefault(&signal::every()).named(call)?;
        attributes
            .set_flags(
                PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
                    | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
                    | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
            )
            .named(call)?;
        let pid = posix_spawn(self.path.as_c_str(), &actions, &attributes, &self.args, &self.env)
            .named(call)?;
        Ok(pid.as_raw())
    }

    /// As [`Self::spawn`], but with a step that posix_spawn(3) does not support. Errors are written
    /// to the output of the hook.
    fn fork(&self, streams: [BorrowedFd<'_>; 3], confine: Confine<'_>) -> Result<(i32, OwnedFd)> {
        // Tested before the filter is loaded, because the filter may prevent the report of an
        // error.
        rustix::fs::access(self.path.as_c_str(), Access::EXEC_OK).named(|| self.call("access"))?;
        let child = || {
            let Err(error) = self.become_hook(streams, confine);
            // The filter may forbid this write.
            let _ = rustix::io::write(streams[2], format!("{error:#}").as_bytes());
            NOT_EXECUTED
        };
        let cloned = clone::clone(confine.alone, &CloneRequest::default(), child)
            .context("making the hook's process")?;
        Ok((cloned.pid, cloned.pidfd))
    }

    fn become_hook(
        &self,
        streams: [BorrowedFd<'_>; 3],
        confine: Confine<'_>,
    ) -> Result<Infallible> {
        rustix::process::setpgid(None, None).named(|| "setpgid(0, 0)".to_owned())?;
        for (from, to) in streams.into_iter().zip(0..) {
            fd::become_standard(from, to)?;
        }
        signal::reset_to_default()?;
        signal::reset_sigpipe()?;
        (confine.last)()?;
        Err(process::execve(&self.path, &self.args, &self.env).into())
    }
}

/// The exit status of a process that could not execute its hook, as in shells.
const NOT_EXECUTED: i32 = 127;

fn own_env() -> Result<Vec<CString>, NulError> {
    let entry =
        |(name, value): (OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    std::env::vars_os().map(|variable| CString::new(entry(variable))).collect()
}

/// The end of the output of a hook, in one line.
fn end_of_output(output: &File) -> String {
    const MOST: u64 = 4096;
    let length = output.metadata().map_or(0, |metadata| metadata.len());
    let mut end = vec![0; usize::try_from(length.min(MOST)).unwrap_or(0)];
    if output.read_exact_at(&mut end, length.saturating_sub(MOST)).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&end).trim().replace('\n', "; ");
    if text.is_empty() { text } else { format!(": {text}") }
}
