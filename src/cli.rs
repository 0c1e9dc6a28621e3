//! The command line: flags for every verb, which verb it is, and the only printing.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};

use crate::commands::{create, delete, kill, run, start, state};
use crate::error::{Context, Failure, Report, Result};
use crate::host;
use crate::log::{Format, Log};
use crate::sys::self_exe;

/// A low-level container runtime: runs OCI bundles.
#[derive(Debug, Parser)]
#[command(name = "orlop", version = VERSION, disable_version_flag = true, disable_help_subcommand = true)]
#[command(args_override_self = true, subcommand_required = true)]
struct Cli {
    /// Directory of the state of all containers [default: /run/orlop, or $XDG_RUNTIME_DIR/orlop for an ordinary user]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Log to this file instead of standard error
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Form of the log's lines
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: String,
    /// Log what is done, not only what went wrong
    #[arg(long)]
    debug: bool,
    /// Print the version
    #[arg(short, long, action = ArgAction::Version)]
    version: (),
    #[command(subcommand)]
    verb: Verb,
}

const VERSION: &str =
    concat!("version ", env!("CARGO_PKG_VERSION"), "\ncommit: ", env!("ORLOP_COMMIT"), "\nspec: 1.3.0");

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    Start(start::Start),
    State(state::State),
    Kill(kill::Kill),
    Delete(delete::Delete),
    Run(run::Run),
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
        }
    }

    /// Whether a process of ours gets among those of a container, where our binary must be out of reach.
    fn enters_container(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Run(_))
    }
}

/// The program: reads the command line, does what it says, tells what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" of clap, too.
            let code = u8::from(error.use_stderr());
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let log = match open_log(&cli) {
        Ok(log) => log.install(cli.debug),
        Err(error) => {
            tell(&format!("orlop: {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    match carry_out(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let mut report = Report::of(&error);
            if cli.verb.enters_container() {
                report.text = format!("orlop {} failed: {}", cli.verb.name(), report.text);
            }
            if log.error(&report) {
                tell(&report.text);
            }
            ExitCode::FAILURE
        }
    }
}

fn open_log(cli: &Cli) -> Result<Log> {
    let format = match cli.log_format.as_str() {
        "text" => Format::Text,
        "json" => Format::Json,
        other => return Err(Failure::Usage(format!("invalid log-format: {other}")).into()),
    };
    Log::open(cli.log.as_deref(), format)
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
        return Err(Failure::Usage("Option --root argument should not be set to /".to_owned()).into());
    }
    match &cli.verb {
        Verb::Create(args) => create::create(args, &state_root)?,
        Verb::Start(args) => start::start(args, &state_root)?,
        Verb::State(args) => print(&state::state(args, &state_root)?)?,
        Verb::Kill(args) => kill::kill(args, &state_root)?,
        Verb::Delete(args) => delete::delete(args, &state_root)?,
        Verb::Run(args) => return run::run(args, &state_root),
    }
    Ok(0)
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("writing to standard output")
}

fn tell(text: &str) {
    // There is nobody to tell of a failure here.
    let _ = writeln!(std::io::stderr(), "{text}");
}
