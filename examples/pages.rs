//! Writes the manual pages and the shells' completions from the definitions that `--help` shows:
//! `cargo run --example pages -- DIR`.
#![allow(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "the bans are for the runtime; this runs where it is built"
)]

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: pages DIR");
        return ExitCode::FAILURE;
    };
    match write(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("writing to {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

/// `orlop.8`, `orlop-create.8`, …; `orlop.bash`, `_orlop`, `orlop.fish`.
///
/// # Errors
/// What writing to `directory` says.
pub fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut program = orlop::cli::command().version(env!("CARGO_PKG_VERSION"));
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut program, "orlop", directory)?;
    }
    page(&program, "orlop", directory)?;
    for verb in program.get_subcommands().filter(|verb| verb.get_name() != "help") {
        page(verb, &format!("orlop-{}", verb.get_name()), directory)?;
    }
    Ok(())
}

/// Section 8 of the manual: the administrator's programs, where runc's pages are.
fn page(command: &Command, name: &str, directory: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    Man::new(command.clone())
        .title(name)
        .section("8")
        .source(concat!("orlop ", env!("CARGO_PKG_VERSION")))
        .manual("Orlop")
        .render(&mut text)?;
    fs::write(directory.join(format!("{name}.8")), text)
}
