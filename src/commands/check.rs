//! `check`: whether a bundle would start here, and all that keeps it from it.
//!
//! The plan is the one that `create` would make, so the two cannot disagree ([`Plan::review`]);
//! what only shows later is looked at beforehand ([`crate::preflight`]). Nothing is made.

use std::num::NonZeroI32;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::error::{Failure, Problem, Report, Result};
use crate::host::Rootless;
use crate::plan::{self, Host, Plan, Request, rules};
use crate::preflight;

use super::create::Driver;
use super::{path_or, warn};

/// Say all that keeps a bundle from starting here.
#[derive(Debug, Args)]
pub struct Check {
    /// Path to the root of the bundle directory
    #[arg(short, long, value_name = "DIR", value_parser = path_or("."), default_value = ".")]
    pub bundle: PathBuf,
    /// Write the problems as a JSON array
    #[arg(long)]
    pub json: bool,
    /// The global flag of this name.
    #[arg(skip)]
    pub rootless: Rootless,
}

/// What was found.
#[derive(Debug)]
pub struct Findings {
    /// The text for standard output.
    pub text: String,
    /// Whether the bundle would start.
    pub good: bool,
}

/// A problem as it is told.
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

/// A container of this id could be made; its name says what it would be for.
const ID: &str = "check";

/// Carries out `check`.
///
/// # Errors
/// What keeps us from looking.
pub fn check(args: &Check, driver: Driver) -> Result<Findings> {
    let bundle = std::path::absolute(&args.bundle)?;
    let host = Host::probe(args.rootless)?;
    let reports = match plan::read(&bundle) {
        Ok(text) => review(&text, &bundle, &host, driver)?,
        Err(error) => vec![Report::of(&error)],
    };
    let told: Vec<CheckReport> = reports.into_iter().map(CheckReport::from).collect();
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&told)?)
    } else {
        told.iter().map(ToString::to_string).collect()
    };
    Ok(Findings { good: told.is_empty(), text })
}

fn review(
    text: &[u8],
    bundle: &std::path::Path,
    host: &Host,
    driver: Driver,
) -> Result<Vec<Report>> {
    let request = Request { id: ID, bundle, maker: driver.maker(host)?, ..Request::default() };
    let review = Plan::review(text, &request, host);
    let keys: Vec<String> = review.problems.iter().map(|problem| problem.key.clone()).collect();
    let mut reports: Vec<Report> = review.problems.into_iter().map(of_plan).collect();
    if let Some(plan) = &review.plan {
        warn(&plan.warnings);
        reports.extend(preflight::look(plan, &keys));
    }
    Ok(reports)
}

/// As `create` would tell it; but the pointer is whole, however long it is.
fn of_plan(problem: Problem) -> Report {
    let key = problem.key.clone();
    Report { key, ..Report::of(&Failure::BadConfig(problem).into()) }
}

impl From<Report> for CheckReport {
    fn from(report: Report) -> Self {
        let advice = rules::advice(&report);
        Self {
            problem: report.without_key(),
            rule: advice.rule,
            hint: advice.hint,
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
