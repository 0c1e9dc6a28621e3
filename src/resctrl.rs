//! The resctrl filesystem: the groups of a container, which give it its share of cache and memory
//! bandwidth.
//! config.json: linux.intelRdt.{closID, schemata, l3CacheSchema, memBwSchema, enableMonitoring}
//! process: runtime

pub mod stats;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use rustix::fs::{CWD, Mode, mkdir, rmdir, stat};
use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::intel_rdt::{GroupOwner, IntelRdtPlan};
use crate::sys::{Call, Named, small_file};

/// The mode of the directory of a group.
const MODE: Mode = Mode::from_raw_mode(0o755);

/// The groups of one container. Groups that were created are removed when this is dropped, unless
/// they are kept.
#[derive(Debug)]
pub struct Groups {
    /// The control group.
    group: PathBuf,
    /// The monitoring group, if there is one.
    monitoring: Option<PathBuf>,
    /// Whether a control group that we have created is kept for other containers.
    shared: bool,
    /// The directories to remove, in this order.
    made: Vec<PathBuf>,
}

impl Groups {
    /// Creates the groups.
    /// # Errors
    /// An error if a group that must exist does not exist, or has another configuration; the error
    /// of the failed call, with the explanation of the kernel.
    pub fn make(plan: &IntelRdtPlan) -> Result<Self> {
        let groups = Self {
            group: plan.group.clone(),
            monitoring: plan.monitoring.clone(),
            shared: plan.owner != GroupOwner::Container,
            made: Vec::new(),
        };
        groups.try_make(plan).at("/linux/intelRdt")
    }

    fn try_make(mut self, plan: &IntelRdtPlan) -> Result<Self> {
        if plan.owner == GroupOwner::Other {
            stat(&self.group).named_on("stat", &self.group).context(
                "clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty)",
            )?;
        } else {
            match mkdir(&self.group, MODE) {
                Ok(()) => self.made.push(self.group.clone()),
                Err(Errno::EXIST) if plan.owner == GroupOwner::Shared => {
                    self.compare(&plan.schemata)?
                }
                Err(Errno::EXIST) => {}
                Err(errno) => self.explain(Err(errno).named_on("mkdir", &self.group))?,
            }
            // A group that existed and has the right configuration is not changed.
            if !plan.schemata.is_empty()
                && (plan.owner == GroupOwner::Container || !self.made.is_empty())
            {
                self.set(&plan.schemata)?;
            }
        }
        if let Some(monitoring) = &self.monitoring {
            // An existing group is not removed with the container.
            self.explain(mkdir(monitoring, MODE).named_on("mkdir", monitoring))?;
            self.made.insert(0, monitoring.clone());
        }
        Ok(self)
    }

    /// The groups of an existing container. `None` if they are gone: its processes are then in the
    /// default group.
    #[must_use]
    pub fn open(group: &Path, monitoring: Option<&Path>) -> Option<Self> {
        stat(group).ok()?;
        let monitoring = monitoring.map(Path::to_owned);
        Some(Self { group: group.to_owned(), monitoring, shared: true, made: Vec::new() })
    }

    /// The directories that `delete` removes, in this order.
    #[must_use]
    pub fn containers_own(&self) -> Vec<PathBuf> {
        self.made.iter().filter(|made| !self.shared || **made != self.group).cloned().collect()
    }

    /// Keeps the groups when this value is dropped.
    pub fn keep(&mut self) {
        self.made.clear();
    }

    /// Moves a process into the groups: first into the control group, since the monitoring group in
    /// it accepts only its processes.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn add(&self, pid: i32) -> Result<()> {
        for group in [Some(&self.group), self.monitoring.as_ref()].into_iter().flatten() {
            let written = self.write(&group.join("tasks"), &pid.to_string());
            written
                .with_context(|| format!("error adding pid {pid} to Intel RDT"))
                .at("/linux/intelRdt")?;
        }
        Ok(())
    }

    /// The schemata as the kernel writes them.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn schemata(&self) -> Result<String> {
        schemata(&self.group)
    }

    /// Changes the schemata. Whole lines are written in one write, and the kernel accepts all of
    /// them or none.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn set(&self, lines: &[String]) -> Result<()> {
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        self.write(&self.group.join("schemata"), &text)
    }

    /// Checks the schemata of an existing group, because a container must not change them.
    fn compare(&self, wanted: &[String]) -> Result<()> {
        let found = Schemata::parse(&self.schemata()?);
        let granularity =
            self.info("MB/bandwidth_gran").and_then(|text| text.parse().ok()).unwrap_or(1);
        match Schemata::parse(&wanted.join("\n")).first_unlike(&found, granularity) {
            None => Ok(()),
            Some(line) => bail!(
                "the resctrl group {} is there already, and its schemata have another value than {line}",
                self.group.display()
            ),
        }
    }

    fn write(&self, path: &Path, value: &str) -> Result<()> {
        self.explain(small_file::write_at(CWD, path, value, || path.display().to_string()))
    }

    /// Adds the explanation of the kernel for the last failure.
    fn explain(&self, result: Result<(), Call>) -> Result<()> {
        result.map_err(|call| match self.info("last_cmd_status") {
            Some(status) => anyhow::Error::from(call).context(format!("last_cmd_status: {status}")),
            None => call.into(),
        })
    }

    /// Reads a file of the directory `info` in the root of the filesystem.
    fn info(&self, name: &str) -> Option<String> {
        stats::read(&self.root().join("info").join(name))
    }

    /// The root of the filesystem: the group itself, if it is the default group, or else its
    /// parent.
    fn root(&self) -> &Path {
        let above = self.group.parent().filter(|_| stat(self.group.join("info")).is_err());
        above.unwrap_or(&self.group)
    }
}

fn schemata(group: &Path) -> Result<String> {
    let path = group.join("schemata");
    let text = small_file::read_all(CWD, &path, || path.display().to_string())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl Drop for Groups {
    fn drop(&mut self) {
        // The caller already returns an error, and that one matters more than this one.
        let _ = remove(&self.made);
    }
}

/// Removes groups. Their processes move to the group above. A group that does not exist is not an
/// error.
///
/// # Errors
/// The error of the failed call.
pub fn remove(groups: &[PathBuf]) -> Result<(), Call> {
    for group in groups {
        match rmdir(group) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).named_on("rmdir", group),
        }
    }
    Ok(())
}

/// The lines of a schemata file: a value for each resource and domain.
#[derive(Debug, PartialEq, Eq)]
struct Schemata(BTreeMap<(String, String), String>);

impl Schemata {
    /// Parses lines such as `L3:0=ff;1=c0`. The kernel writes spaces before the names.
    fn parse(text: &str) -> Self {
        let mut values = BTreeMap::new();
        for (resource, domains) in text.lines().filter_map(|line| line.split_once(':')) {
            for (domain, value) in domains.split(';').filter_map(|domain| domain.split_once('=')) {
                values.insert(
                    (resource.trim().to_owned(), domain.trim().to_owned()),
                    value.trim().to_owned(),
                );
            }
        }
        Self(values)
    }

    /// The first of our values that differs from `found`, as a line. Bit masks are hexadecimal.
    /// Bandwidths are decimal, and the kernel rounds them up.
    fn first_unlike(&self, found: &Self, granularity: u64) -> Option<String> {
        let number = |resource: &str, text: &str| -> Option<u64> {
            if resource == "MB" {
                return Some(text.parse::<u64>().ok()?.div_ceil(granularity.max(1)));
            }
            u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
        };
        self.0.iter().find_map(|((resource, domain), value)| {
            let same = found.0.get(&(resource.clone(), domain.clone())).is_some_and(|other| {
                value == other
                    || number(resource, value)
                        .is_some_and(|value| number(resource, other) == Some(value))
            });
            (!same).then(|| format!("{resource}:{domain}={value}"))
        })
    }
}

/// Compares two texts as schemata.
#[cfg(fuzzing)]
pub(crate) fn fuzz(wanted: &str, found: &str) {
    Schemata::parse(wanted).first_unlike(&Schemata::parse(found), found.len() as u64);
}

#[cfg(test)]
mod tests;
