//! `orlop-image`, which `orlop image …` executes.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use orlop_image::commands::{attach, copy, login, look, repository, run, store, unpack};

/// OCI images: copy, unpack, run.
#[derive(Debug, Parser)]
#[command(name = "orlop-image", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// Deferred: the flags of one command are all that a call needs to know.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    #[command(visible_alias = "push")]
    Copy(Box<copy::Copy>),
    Unpack(Box<unpack::Unpack>),
    Run(Box<run::Run>),
    Store(Box<store::StoreCommand>),
    Inspect(Box<look::Inspect>),
    Manifest(Box<look::Manifest>),
    Config(Box<look::Config>),
    Tags(Box<repository::Tags>),
    Referrers(Box<repository::ListReferrers>),
    Delete(Box<repository::Delete>),
    Attach(Box<attach::Attach>),
    Login(Box<login::Login>),
    Logout(Box<login::Logout>),
}

fn main() -> ExitCode {
    match carry_out(read().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "orlop-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line. Help and errors are of all commands with all their flags.
fn read() -> Cli {
    Cli::try_parse().unwrap_or_else(|_| {
        let mut program = Cli::command();
        program.build();
        Cli::from_arg_matches(&program.get_matches()).unwrap_or_else(|error| error.exit())
    })
}

fn carry_out(command: Command) -> Result<u8> {
    let text = match command {
        Command::Copy(args) => copy::copy(&args)?.into_bytes(),
        Command::Unpack(args) => return unpack::unpack(&args).map(|()| 0),
        Command::Run(args) => return run::run(&args),
        Command::Store(args) => store::store(&args)?.into_bytes(),
        Command::Inspect(args) => look::inspect(&args)?.into_bytes(),
        Command::Manifest(args) => look::manifest(&args)?,
        Command::Config(args) => look::config(&args)?,
        Command::Tags(args) => repository::tags(&args)?.into_bytes(),
        Command::Referrers(args) => repository::referrers(&args)?.into_bytes(),
        Command::Delete(args) => return repository::delete(&args).map(|()| 0),
        Command::Attach(args) => attach::attach(&args)?.into_bytes(),
        Command::Login(args) => login::login(&args)?.into_bytes(),
        Command::Logout(args) => login::logout(&args)?.into_bytes(),
    };
    print(&text).map(|()| 0)
}

fn print(text: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush()).context("writing to standard output")
}
