//! The command line: flags for every verb, which verb it is, and the only printing.

mod arguments;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    check, checkpoint, create, delete, events, exec, features, image, kill, list, mounts,
    non_empty, path, pause, ps, restore, run, spec, start, state, update,
};
use crate::error::{Context, Failure, Report, Result};
use crate::host::{self, Rootless};
use crate::log::{Log, LogFormat};
use crate::sys::{process, self_exe, signal};

/// A low-level container runtime: runs OCI bundles.
#[derive(Debug, Parser)]
#[command(name = "orlop", version = VERSION, disable_version_flag = true)]
#[command(args_override_self = true, subcommand_required = true)]
struct Cli {
    /// Directory of the state of all containers [default: /run/orlop, or $XDG_RUNTIME_DIR/orlop for
    /// an ordinary user]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Whether the cgroups may be out of reach: true, false or auto
    #[arg(long, value_name = "MODE", default_value = "auto")]
    rootless: Rootless,
    /// Log to this file instead of standard error
    #[arg(long, value_name = "FILE", value_parser = path())]
    log: Option<PathBuf>,
    /// Form of the log's lines
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: String,
    /// Log what is done, not only what went wrong
    #[arg(long)]
    debug: bool,
    /// Let systemd make the cgroup; linux.cgroupsPath is SLICE:PREFIX:NAME then
    #[arg(long)]
    systemd_cgroup: bool,
    /// Who makes the cgroup, instead of what --systemd-cgroup says: cgroupfs (we do), systemd, or
    /// disabled (nobody: the container stays in its caller's, without limits)
    #[arg(long, value_name = "MANAGER")]
    cgroup_manager: Option<create::Driver>,
    /// Print the version
    #[arg(short, long, action = ArgAction::Version)]
    version: (),
    #[command(subcommand)]
    verb: Verb,
}

/// What `--version` prints. go-runc reads the version behind the words `runc version`, and nothing
/// without them.
const VERSION: &str = concat!(
    "runc version ",
    env!("ORLOP_RUNC"),
    "-compatible (orlop ",
    env!("CARGO_PKG_VERSION"),
    ")\ncommit: ",
    env!("ORLOP_COMMIT"),
    "\nspec: 1.3.0\n"
);

// Deferred: the flags of one verb are all that a call needs to know.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Verb {
    Create(create::Create),
    Start(start::Start),
    State(state::State),
    Kill(kill::Kill),
    Delete(delete::Delete),
    Run(run::Run),
    Exec(exec::Exec),
    List(list::List),
    Mounts(mounts::Mounts),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Ps(ps::Ps),
    Spec(spec::Spec),
    Features(features::Features),
    Image(image::Image),
    Update(Box<update::Update>),
    Events(events::Events),
    Check(check::Check),
    Checkpoint(Box<checkpoint::Checkpoint>),
    Restore(Box<restore::Restore>),
}

impl Verb {
    fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Start(_) => "start",
            Self::State(_) => "state",
            Self::Kill(_) => "kill",
            Self::Delete(_) => "delete",
            Self::Run(_) => "run",
            Self::Exec(_) => "exec",
            Self::List(_) => "list",
            Self::Mounts(_) => "mounts",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Ps(_) => "ps",
            Self::Spec(_) => "spec",
            Self::Features(_) => "features",
            Self::Image(_) => "image",
            Self::Update(_) => "update",
            Self::Events(_) => "events",
            Self::Check(_) => "check",
            Self::Checkpoint(_) => "checkpoint",
            Self::Restore(_) => "restore",
        }
    }

    /// Whether a process of ours gets among those of a container, where our binary must be out of
    /// reach.
    fn enters_container(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Run(_) | Self::Exec(_))
    }

    /// How an error of it is told.
    fn failed(&self, text: &str) -> String {
        match self {
            Self::Exec(_) => format!("exec failed: {text}"),
            verb if verb.enters_container() => format!("orlop {} failed: {text}", verb.name()),
            _ => text.to_owned(),
        }
    }

    /// The exit code of a failure. That of `exec` must be told from the program's.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Exec(_) => 255,
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

/// The exit code of whatever goes wrong but [`Verb::Exec`].
const FAILURE: u8 = 1;

/// The program: reads the command line, does what it says, tells what went wrong. Returns its exit
/// code.
#[must_use]
pub fn main() -> u8 {
    if let Err(error) = process::begin() {
        print_error(&format!("orlop: {error}"));
        return FAILURE;
    }
    let mut cli = match read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match &mut cli.verb {
        Verb::Create(create::Create { options }) | Verb::Run(run::Run { options, .. }) => {
            options.rootless = cli.rootless;
        }
        Verb::Check(check) => check.rootless = cli.rootless,
        _ => {}
    }
    let log = match open_log(non_empty(cli.log.as_deref()), &cli.log_format) {
        Ok(log) => log.install(cli.debug),
        Err(error) => {
            print_error(&format!("orlop: {error:#}"));
            return FAILURE;
        }
    };
    match carry_out(&cli) {
        Ok(code) => code,
        Err(error) => {
            let mut report = Report::of(&error);
            let hint = report.hint();
            report.text = cli.verb.failed(&report.text);
            if !hint.is_empty() {
                report.text = format!("{} ({hint})", report.text);
            }
            if log.error(&report) {
                print_error(&report.text);
            }
            signal::ended_by().map_or(cli.verb.exit_code(), |number| 128 + number)
        }
    }
}

/// Reads the command line. Help and the version are printed here, and so is what is wrong with it.
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

/// Tells what is wrong with the command line, in the log as well if it says where that is.
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
    let path = non_empty(
        found.as_ref().and_then(|found| found.get_one::<PathBuf>("log")).map(PathBuf::as_path),
    );
    match open_log(path, &format.unwrap_or_default()) {
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

fn carry_out(cli: &Cli) -> Result<u8> {
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
    let default =
        if cli.systemd_cgroup { create::Driver::Systemd } else { create::Driver::Cgroupfs };
    let driver = cli.cgroup_manager.unwrap_or(default);
    match &cli.verb {
        Verb::Create(args) => create::create(args, &state_root, driver)?,
        Verb::Start(args) => start::start(args, &state_root)?,
        Verb::State(args) => print(&state::state(args, &state_root)?)?,
        Verb::Kill(args) => kill::kill(args, &state_root)?,
        Verb::Delete(args) => delete::delete(args, &state_root)?,
        Verb::Run(args) => return run::run(args, &state_root, driver),
        Verb::Exec(args) => return exec::exec(args, &state_root),
        Verb::List(args) => print(&list::list(args, &state_root)?)?,
        Verb::Mounts(args) => mounts::mounts(args, &state_root)?,
        Verb::Pause(args) => pause::pause(args, &state_root)?,
        Verb::Resume(args) => pause::resume(args, &state_root)?,
        Verb::Ps(args) => print(&ps::ps(args, &state_root)?)?,
        Verb::Spec(args) => spec::spec(args)?,
        Verb::Features(args) => print(&features::features(args)?)?,
        Verb::Image(args) => return image::image(args),
        Verb::Update(args) => update::update(args, &state_root)?,
        Verb::Events(args) => events::events(args, &state_root, print)?,
        Verb::Check(args) => {
            let found = check::check(args, driver)?;
            print(&found.text)?;
            return Ok(if found.good { 0 } else { FAILURE });
        }
        Verb::Checkpoint(args) => checkpoint::checkpoint(args, &state_root)?,
        Verb::Restore(args) => return restore::restore(args, &state_root, driver),
    }
    Ok(0)
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("writing to standard output")
}

fn print_error(text: &str) {
    // There is nobody to tell of a failure here.
    let _ = writeln!(std::io::stderr(), "{text}");
}
