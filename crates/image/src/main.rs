//! `orlop-image`, which `orlop image …` executes.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use orlop_image::commands::{attach, copy, inspect, login, repository, run, store, unpack};

/// OCI images: copy, unpack, run.
#[derive(Debug, Parser)]
#[command(name = "orlop-image", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// `defer`: clap builds the flags of the one command that is called, not those of all.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    #[command(visible_alias = "push")]
    Copy(Box<copy::CopyArgs>),
    Unpack(Box<unpack::UnpackArgs>),
    Run(Box<run::RunArgs>),
    Store(Box<store::StoreArgs>),
    Inspect(Box<inspect::InspectArgs>),
    Manifest(Box<inspect::ManifestArgs>),
    Config(Box<inspect::ConfigArgs>),
    Tags(Box<repository::TagsArgs>),
    Referrers(Box<repository::ReferrersArgs>),
    Delete(Box<repository::DeleteArgs>),
    Attach(Box<attach::AttachArgs>),
    Login(Box<login::LoginArgs>),
    Logout(Box<login::LogoutArgs>),
}

fn main() -> ExitCode {
    match execute(parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "orlop-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Parses the command line. For help and for errors, the flags of all commands are built.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|_| {
        let mut program = Cli::command();
        program.build();
        Cli::from_arg_matches(&program.get_matches()).unwrap_or_else(|error| error.exit())
    })
}

fn execute(command: Command) -> Result<u8> {
    let text = match command {
        Command::Copy(args) => copy::copy(&args)?.into_bytes(),
        Command::Unpack(args) => return unpack::unpack(&args).map(|()| 0),
        Command::Run(args) => return run::run(&args),
        Command::Store(args) => store::store(&args)?.into_bytes(),
        Command::Inspect(args) => inspect::inspect(&args)?.into_bytes(),
        Command::Manifest(args) => inspect::manifest(&args)?,
        Command::Config(args) => inspect::config(&args)?,
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
