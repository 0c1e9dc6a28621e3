//! For `check`: finds problems on which `create` would fail later, although a plan could be made.
//! process: runtime
//!
//! These checks change nothing, and report the same errors as `create`. If hooks or mounts may add
//! what is missing, nothing is reported.

mod kernel;
mod mounts;
mod namespaces;
mod process;

use crate::cgroup::{Cgroup, planned_paths};
use crate::error::{AtKey, Context, Failure, Report, Result};
use crate::plan::Plan;
use crate::plan::hooks::HookPoint;
use crate::plan::review::is_below;
use crate::runtime::{net_devices, seccomp_listener};
use crate::sys::root::RootHandle;

/// The problems that were found.
#[derive(Debug, Default)]
struct Reports(Vec<Report>);

impl Reports {
    /// Adds the error of a check.
    fn note(&mut self, result: Result<()>) {
        self.0.extend(result.err().map(|error| Report::of(&error)));
    }
}

/// Checks everything that the plan needs. `known` contains pointers to values of the config that
/// are already known to be wrong. Problems with these values are left out.
#[must_use]
pub fn look(plan: &Plan, known: &[String]) -> Vec<Report> {
    let mut findings = Reports::default();
    let has_root = !known.iter().any(|key| key == "/root" || is_below(key, "/root/path"));
    match RootHandle::open(&plan.rootfs.path).at("/root/path") {
        Ok(root) if has_root => findings.note(process::program(plan, &root)),
        Ok(_) => {}
        Err(error) => findings.note(Err(error)),
    }
    namespaces::look(plan, &mut findings);
    mounts::look(plan, &mut findings);
    process::limits(&plan.entry.process, &mut findings);
    kernel::look(plan, &mut findings);
    for point in [
        HookPoint::Prestart,
        HookPoint::CreateRuntime,
        HookPoint::CreateContainer,
        HookPoint::Poststart,
    ] {
        for (index, hook) in point.of(&plan.hooks).iter().enumerate() {
            let found = process::executable(&hook.path).with_context(|| hook.path.clone());
            let found =
                found.with_context(|| format!("error running {} hook #{index}", point.name()));
            findings.note(found.at(format_args!("/hooks/{}/{index}/path", point.name())));
        }
    }
    for device in &plan.net_devices {
        findings.note(net_devices::look_for(device).at(&device.key));
    }
    findings.note(plan.listener().map_or(Ok(()), seccomp_listener::look_for));
    if !plan.cgroup_optional {
        findings.note(cgroup(plan));
    }
    findings.0.retain(|found| {
        !known.iter().any(|key| is_below(&found.key, key) || is_below(key, &found.key))
    });
    findings.0
}

/// Checks that the planned cgroup is not in use.
fn cgroup(plan: &Plan) -> Result<()> {
    let cgroup = Cgroup::open(&planned_paths(&plan.cgroup));
    match cgroup.refuse_used() {
        Err(error) if matches!(error.downcast_ref(), Some(Failure::WrongStatus(_))) => {
            Err(error).context("unable to apply cgroup configuration").at("/linux/cgroupsPath")
        }
        // It does not exist yet, or cannot be read.
        _ => Ok(()),
    }
}
