//! `orlop-image`, which `orlop image …` executes.

use clap::Parser;

/// OCI images: copy, unpack, run.
#[derive(Debug, Parser)]
#[command(name = "orlop-image", version)]
struct Cli {}

fn main() {
    Cli::parse();
}
