//! `check`: whether a bundle would start here, and all that keeps it from it.
//!
//! The plan is the one that `create` would make, so the two cannot disagree ([`Plan::review`]);
//! what only shows later is looked at beforehand ([`crate::preflight`]). Nothing is made.

use std::path::{Path, PathBuf};

use crate::error::{Failure, Problem, Report, Result};
use crate::host::Rootless;
use crate::plan::rules::{self, Advice};
use crate::plan::{self, Host, Plan, Request};
use crate::preflight;

use super::{CgroupManager, warn};

/// What `check` is asked for.
#[derive(Debug, Default, Clone)]
pub struct Check {
    /// The bundle.
    pub bundle: PathBuf,
    /// Whether the cgroups may be out of reach.
    pub rootless: Rootless,
    /// Who is to make the cgroup.
    pub cgroup_manager: CgroupManager,
}

/// What keeps a bundle from starting.
#[derive(Debug)]
pub struct Finding {
    /// The problem.
    pub report: Report,
    /// The rule that it breaks.
    pub rule: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

/// A container of this id could be made; its name says what it would be for.
const ID: &str = "check";

/// All that keeps a bundle from starting here; nothing, if it would start.
///
/// # Errors
/// What keeps us from looking.
///
/// # Examples
/// ```no_run
/// use orlop::commands::check::{Check, check};
///
/// for finding in check(&Check { bundle: "/srv/web".into(), ..Check::default() })? {
///     println!("{}: {} ({})", finding.report.key, finding.report.without_key(), finding.hint);
/// }
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn check(args: &Check) -> Result<Vec<Finding>> {
    let bundle = std::path::absolute(&args.bundle)?;
    let host = Host::probe(args.rootless)?;
    let reports = match plan::read(&bundle) {
        Ok(text) => review(&text, &bundle, &host, args.cgroup_manager)?,
        Err(error) => vec![Report::of(&error)],
    };
    Ok(reports.into_iter().map(finding).collect())
}

fn finding(report: Report) -> Finding {
    let Advice { rule, hint } = rules::advice(&report);
    Finding { report, rule, hint }
}

fn review(text: &[u8], bundle: &Path, host: &Host, manager: CgroupManager) -> Result<Vec<Report>> {
    let request = Request { id: ID, bundle, maker: manager.maker(host)?, ..Request::default() };
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
