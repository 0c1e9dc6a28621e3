//! `check`.

use std::num::NonZeroI32;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::flags::path_or;
use super::{FAILURE, Global, print};
use crate::commands::check::{self, Finding};
use crate::error::Result;

/// Report everything that keeps a bundle from starting on this machine.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Path to the root of the bundle directory
    #[arg(short, long, value_name = "DIR", value_parser = path_or("."), default_value = ".")]
    bundle: PathBuf,
    /// Write the problems as a JSON array
    #[arg(long)]
    json: bool,
}

/// A problem as it is printed.
#[derive(Debug, Serialize)]
struct CheckReport {
    pointer: String,
    problem: String,
    rule: &'static str,
    hint: &'static str,
    code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    call: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<NonZeroI32>,
}

impl CheckArgs {
    /// Runs the command. The exit code says whether there was a problem.
    pub fn run(self, global: &Global) -> Result<u8> {
        let request = check::Check {
            bundle: self.bundle,
            rootless: global.rootless,
            cgroup_manager: global.cgroup_manager,
        };
        let findings = check::check(&request)?;
        let code = if findings.is_empty() { 0 } else { FAILURE };
        let shown: Vec<CheckReport> = findings.into_iter().map(CheckReport::from).collect();
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&shown)?)
        } else {
            shown.iter().map(ToString::to_string).collect()
        };
        print(&text)?;
        Ok(code)
    }
}

impl From<Finding> for CheckReport {
    fn from(Finding { report, rule, hint }: Finding) -> Self {
        Self {
            problem: report.without_key(),
            rule,
            hint,
            code: report.code,
            call: report.call,
            errno: NonZeroI32::new(report.errno),
            pointer: report.key,
        }
    }
}

impl std::fmt::Display for CheckReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pointer = if self.pointer.is_empty() { "config.json" } else { &self.pointer };
        writeln!(f, "{pointer}: {}\n    rule: {}\n    hint: {}", self.problem, self.rule, self.hint)
    }
}
