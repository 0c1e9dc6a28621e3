//! `orlop-image`, which `orlop image …` executes.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use orlop_image::commands::unpack;

/// OCI images: copy, unpack, run.
#[derive(Debug, Parser)]
#[command(name = "orlop-image", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Unpack(unpack::Unpack),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Unpack(args) => unpack::unpack(&args).map(|()| 0),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "orlop-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}
