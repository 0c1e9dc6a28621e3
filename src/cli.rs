//! The command line: the flags of every verb, the requests that they become
//! ([`commands`](crate::commands)), and all printing.

mod arguments;
mod check;
mod create;
mod criu;
mod events;
mod exec;
mod flags;
mod list;
mod ps;
mod update;
mod verbs;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::CgroupManager;
use crate::error::{Context, Failure, Report, Result};
use crate::host::{self, Rootless};
use crate::log::{Log, LogFormat};
use crate::sys::pidfd::Exit;
use crate::sys::{process, self_exe, signal};
use flags::{non_empty, path};

/// A low-level container runtime: runs OCI bundles.
#[derive(Debug, Parser)]
#[command(name = "orlop", version = VERSION, disable_version_flag = true)]
#[command(args_override_self = true, subcommand_required = true)]
struct Cli {
    /// Directory for the state of containers [default: /run/orlop, or $XDG_RUNTIME_DIR/orlop for an
    /// ordinary user]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Do without a cgroup where none can be created: true, false or auto
    #[arg(long, value_name = "MODE", default_value = "auto")]
    rootless: Rootless,
    /// Log to this file instead of standard error
    #[arg(long, value_name = "FILE", value_parser = path())]
    log: Option<PathBuf>,
    /// Format of the log: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: String,
    /// Log the steps too, not only errors and warnings
    #[arg(long)]
    debug: bool,
    /// Let systemd create the cgroup; linux.cgroupsPath is then SLICE:PREFIX:NAME
    #[arg(long)]
    systemd_cgroup: bool,
    /// Who creates the cgroup, whatever --systemd-cgroup says: cgroupfs (orlop), systemd, or
    /// disabled (nobody: the container stays in the cgroup of its caller, without limits)
    #[arg(long, value_name = "MANAGER", value_parser = flags::cgroup_manager)]
    cgroup_manager: Option<CgroupManager>,
    /// Print the version
    #[arg(short, long, action = ArgAction::Version)]
    version: (),
    #[command(subcommand)]
    verb: Verb,
}

/// The output of `--version`. go-runc reads the version after the words `runc version`, and needs
/// these words.
const VERSION: &str = concat!(
    "runc version ",
    env!("ORLOP_RUNC"),
    "-compatible (orlop ",
    env!("CARGO_PKG_VERSION"),
    ")\ncommit: ",
    env!("ORLOP_COMMIT"),
    "\nspec: 1.3.0\n"
);

// Deferred: a call needs the flags of only one verb.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Verb {
    Create(create::CreateArgs),
    Start(verbs::StartArgs),
    State(list::StateArgs),
    Kill(verbs::KillArgs),
    Delete(verbs::DeleteArgs),
    Run(create::RunArgs),
    Exec(Box<exec::ExecArgs>),
    List(list::ListArgs),
    Mounts(verbs::MountsArgs),
    Pause(verbs::PauseArgs),
    Resume(verbs::ResumeArgs),
    Ps(ps::PsArgs),
    Spec(verbs::SpecArgs),
    Features(verbs::FeaturesArgs),
    Image(verbs::ImageArgs),
    Update(Box<update::UpdateArgs>),
    Events(events::EventsArgs),
    Check(check::CheckArgs),
    Checkpoint(Box<criu::CheckpointArgs>),
    Restore(Box<criu::RestoreArgs>),
}

/// The global flags that verbs use.
#[derive(Debug, Clone, Copy)]
struct Global {
    rootless: Rootless,
    cgroup_manager: CgroupManager,
}

/// What is needed of a verb to print its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VerbKind {
    Exec,
    /// `create` and `run`, by name.
    Make(&'static str),
    Other,
}

impl Verb {
    fn kind(&self) -> VerbKind {
        match self {
            Self::Exec(_) => VerbKind::Exec,
            Self::Create(_) => VerbKind::Make("create"),
            Self::Run(_) => VerbKind::Make("run"),
            _ => VerbKind::Other,
        }
    }

    /// Whether a process of ours is then among those of a container, which must not be able to
    /// access our binary.
    fn enters_container(&self) -> bool {
        self.kind() != VerbKind::Other
    }
}

impl VerbKind {
    /// The text of an error.
    fn failed(self, text: &str) -> String {
        match self {
            Self::Exec => format!("exec failed: {text}"),
            Self::Make(name) => format!("orlop {name} failed: {text}"),
            Self::Other => text.to_owned(),
        }
    }

    /// The exit code of a failure. For `exec`, it must differ from those of programs.
    fn exit_code(self) -> u8 {
        match self {
            Self::Exec => 255,
            _ => FAILURE,
        }
    }
}

/// The whole command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    let mut program = Cli::command();
    program.build();
    program
}

/// The exit code of every failure except in `exec`.
const FAILURE: u8 = 1;

/// The program: reads the command line, carries it out, and prints errors. Returns the exit code.
#[must_use]
pub fn main() -> u8 {
    if let Err(error) = process::begin() {
        print_error(&format!("orlop: {error}"));
        return FAILURE;
    }
    let cli = match read(crate::sys::caller::arguments()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let log = match open_log(non_empty(cli.log.clone()).as_deref(), &cli.log_format) {
        Ok(log) => log.install(cli.debug),
        Err(error) => {
            print_error(&format!("orlop: {error:#}"));
            return FAILURE;
        }
    };
    let verb = cli.verb.kind();
    match carry_out(cli) {
        Ok(code) => code,
        Err(error) => {
            let mut report = Report::of(&error);
            let hint = report.hint();
            report.text = verb.failed(&report.text);
            if !hint.is_empty() {
                report.text = format!("{} ({hint})", report.text);
            }
            if log.error(&report) {
                print_error(&report.text);
            }
            signal::ended_by().map_or(verb.exit_code(), |number| 128 + number)
        }
    }
}

/// Reads the command line. Help, the version, and errors of the command line are printed here.
fn read(args: impl IntoIterator<Item = OsString>) -> Result<Cli, u8> {
    let args: Vec<OsString> = args.into_iter().collect();
    if !arguments::may_need_rewriting(&args)
        && let Ok(cli) = Cli::try_parse_from(&args)
    {
        return Ok(cli);
    }
    let program = command();
    let args = arguments::rewrite(args, &program);
    let error = match program
        .clone()
        .try_get_matches_from(&args)
        .and_then(|found| Cli::from_arg_matches(&found))
    {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    let text = match error.kind() {
        ErrorKind::DisplayVersion => VERSION.to_owned(),
        ErrorKind::DisplayHelp => error.to_string(),
        _ => {
            refuse(&error, program.ignore_errors(true), &args);
            return Err(FAILURE);
        }
    };
    Err(print(&text).map_or(FAILURE, |()| 0))
}

/// Reports an error of the command line. It is also logged, if the command line names a log.
fn refuse(error: &clap::Error, program: clap::Command, args: &[OsString]) {
    let text = error.to_string();
    let words =
        text.split("\n\nUsage: ").next().unwrap_or(&text).split("\n\nFor more information").next();
    let words: Vec<&str> = words.unwrap_or(&text).split_whitespace().collect();
    let mut text = words.join(" ");
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand)
    {
        text = format!("No help topic for '{verb}': there is no such command");
    }
    let text = format!("{} (see --help)", text.trim_start_matches("error: "));
    let report = Report::of(&Failure::Usage(text).into());
    let found = program.try_get_matches_from(args).ok();
    let format = found.as_ref().and_then(|found| found.get_one::<String>("log_format").cloned());
    let path = non_empty(found.as_ref().and_then(|found| found.get_one::<PathBuf>("log").cloned()));
    match open_log(path.as_deref(), &format.unwrap_or_default()) {
        Ok(log) if path.is_some() => drop(log.error(&report)),
        _ => {}
    }
    print_error(&format!("orlop: {}", report.text));
}

fn open_log(path: Option<&Path>, format: &str) -> Result<Log> {
    let format = match format {
        "" | "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => return Err(Failure::Usage(format!("invalid log-format: {other}")).into()),
    };
    Log::open(path, format)
}

fn carry_out(cli: Cli) -> Result<u8> {
    if cli.verb.enters_container() {
        self_exe::seal().context("keeping our own binary out of the container's reach")?;
    }
    let state_root = match &cli.root {
        Some(root) => std::path::absolute(root)?,
        None => host::default_state_root(),
    };
    if state_root.parent().is_none() {
        return Err(
            Failure::Usage("Option --root argument should not be set to /".to_owned()).into()
        );
    }
    let default = if cli.systemd_cgroup { CgroupManager::Systemd } else { CgroupManager::Cgroupfs };
    let global =
        Global { rootless: cli.rootless, cgroup_manager: cli.cgroup_manager.unwrap_or(default) };
    let root = state_root.as_path();
    match cli.verb {
        Verb::Create(create) => create.run(&global, root),
        Verb::Start(start) => start.run(root),
        Verb::State(state) => state.run(root),
        Verb::Kill(kill) => kill.run(root),
        Verb::Delete(delete) => delete.run(root),
        Verb::Run(run) => run.run(&global, root),
        Verb::Exec(exec) => exec.run(root),
        Verb::List(list) => list.run(root),
        Verb::Mounts(mounts) => mounts.run(root),
        Verb::Pause(pause) => pause.run(root),
        Verb::Resume(resume) => resume.run(root),
        Verb::Ps(ps) => ps.run(root),
        Verb::Spec(spec) => spec.run(),
        Verb::Features(features) => features.run(),
        Verb::Image(image) => image.run(),
        Verb::Update(update) => update.run(root),
        Verb::Events(events) => events.run(root),
        Verb::Check(check) => check.run(&global),
        Verb::Checkpoint(checkpoint) => checkpoint.run(root),
        Verb::Restore(restore) => restore.run(&global, root),
    }
}

/// The exit code of a program, or 128 and the number of the signal that ended it.
fn exit_code(exit: Exit) -> u8 {
    u8::try_from(exit.shell_code()).unwrap_or(u8::MAX)
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("writing to standard output")
}

fn print_error(text: &str) {
    // A failure cannot be reported anywhere.
    let _ = writeln!(std::io::stderr(), "{text}");
}
