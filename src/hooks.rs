//! Running the programs of one of the six moments.
//! config.json: hooks
//! process: runtime (prestart, createRuntime, poststart, poststop) and init (createContainer, startContainer)

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::error::{AtKey, Context, Result};
use crate::plan::hooks::Moment;
use crate::spec::{Hook, Hooks};
use crate::sys::{fd, pidfd};

/// How long a hook without a timeout may take. The specification sets no bound; a runtime that hangs for good serves
/// nobody, and no caller of ours waits this long.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs the hooks of `moment` in order, each with `state` on its standard input. Without an environment of its own a
/// hook gets `default_env`.
///
/// # Errors
/// The first hook that could not be run, failed, or took too long; with the end of what it wrote.
pub fn run(hooks: &Hooks, moment: Moment, state: &str, default_env: &[CString]) -> Result<()> {
    for (index, hook) in moment.of(hooks).iter().enumerate() {
        run_one(hook, state, default_env)
            .with_context(|| format!("error running {} hook #{index}", moment.name()))
            .at(format_args!("/hooks/{}/{index}", moment.name()))?;
    }
    Ok(())
}

/// As [`run`], for the moment after the container is gone: a failure stops nothing, so all are run; the errors are
/// returned for the log.
pub fn run_all(hooks: &Hooks, moment: Moment, state: &str) -> Vec<anyhow::Error> {
    let failure = |(index, hook): (usize, &Hook)| {
        let result = run_one(hook, state, &[]);
        result.with_context(|| format!("error running {} hook #{index}", moment.name())).err()
    };
    moment.of(hooks).iter().enumerate().filter_map(failure).collect()
}

fn run_one(hook: &Hook, state: &str, default_env: &[CString]) -> Result<()> {
    let said = fd::memory_file("hook")?;
    let mut child = spawn(hook, default_env, &said).with_context(|| hook.path.clone())?;
    let limit = hook.timeout.and_then(|s| u64::try_from(s).ok()).map_or(LONGEST, Duration::from_secs);
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its state.
        match stdin.write_all(state.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(error).context("writing the state");
            }
            _ => {}
        }
    }
    let status = wait(&mut child, limit).with_context(|| hook.path.clone())?;
    if status.success() {
        return Ok(());
    }
    let said = last_words(&said);
    match status.signal() {
        Some(signal) => anyhow::bail!("{} was killed by signal {signal}{said}", hook.path),
        None => anyhow::bail!("{}: exit status {}{said}", hook.path, status.code().unwrap_or(-1)),
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that starts hooks")]
fn spawn(hook: &Hook, default_env: &[CString], said: &File) -> Result<Child> {
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear();
    let default = default_env.iter().map(|entry| entry.to_string_lossy().into_owned());
    let given = hook.env.iter().cloned();
    let env: Vec<String> = if hook.env.is_empty() { default.collect() } else { given.collect() };
    command.envs(env.iter().filter_map(|entry| entry.split_once('=')));
    // Not a pipe: nobody would read it while the hook runs, and a hook that writes much would stop.
    command.stdin(Stdio::piped()).stdout(said.try_clone()?).stderr(said.try_clone()?).process_group(0);
    Ok(command.spawn()?)
}

/// Waits for the hook; when it takes too long it is killed with all that it started.
fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let pid = child.id().cast_signed();
    if !pidfd::wait_end(pidfd::open(pid)?.as_fd(), limit)? {
        let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        child.wait()?;
        anyhow::bail!("the hook timed out after {} s", limit.as_secs());
    }
    Ok(child.wait()?)
}

/// The end of what the hook wrote, in one line.
fn last_words(said: &File) -> String {
    const MOST: u64 = 4096;
    let length = said.metadata().map_or(0, |metadata| metadata.len());
    let mut end = vec![0; usize::try_from(length.min(MOST)).unwrap_or(0)];
    if said.read_exact_at(&mut end, length.saturating_sub(MOST)).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&end).trim().replace('\n', "; ");
    if text.is_empty() { text } else { format!(": {text}") }
}
