//! `check`: finds all problems that would keep a bundle from starting on this machine.
//!
//! It uses the plan that `create` would make, so the two cannot disagree ([`Plan::review`]).
//! [`crate::preflight`] finds the problems that `create` would only find later. Nothing is made.

use std::path::{Path, PathBuf};

use crate::error::{Failure, Problem, Report, Result};
use crate::host::Rootless;
use crate::host::cgroups::CgroupLayout;
use crate::plan::rules::{self, Advice};
use crate::plan::{self, Host, Plan, Request};
use crate::preflight;

use super::{CgroupManager, warn};

/// A `check` request.
#[derive(Debug, Default, Clone)]
pub struct Check {
    /// The bundle.
    pub bundle: PathBuf,
    /// Whether we may have no permission for cgroups.
    pub rootless: Rootless,
    /// How the cgroup would be made.
    pub cgroup_manager: CgroupManager,
}

/// A problem that keeps a bundle from starting.
#[derive(Debug)]
pub struct Finding {
    /// The problem.
    pub report: Report,
    /// The rule that it breaks.
    pub rule: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

/// The id in the plan. Any valid id would do.
const ID: &str = "check";

/// All problems that keep a bundle from starting on this machine. None if it would start.
///
/// # Errors
/// Errors of [`Host::probe`]; an error if systemd must make the cgroup, but does not run.
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
    let review = Plan::review(text, &request, host, &CgroupLayout::probe()?);
    let keys: Vec<String> = review.problems.iter().map(|problem| problem.key.clone()).collect();
    let mut reports: Vec<Report> = review.problems.into_iter().map(of_plan).collect();
    if let Some(plan) = &review.plan {
        warn(&plan.warnings);
        reports.extend(preflight::look(plan, &keys));
    }
    Ok(reports)
}

/// The report that `create` would make, except that a long JSON pointer is not shortened.
fn of_plan(problem: Problem) -> Report {
    let key = problem.key.clone();
    Report { key, ..Report::of(&Failure::BadConfig(problem).into()) }
}
