//! Writes settings into the files of a cgroup, and explains the errors of the kernel.
//! config.json: linux.resources.memory.{limit, reservation, swap, kernel}
//! config.json: linux.resources.memory.{kernelTCP, swappiness, disableOOMKiller}
//! config.json: linux.resources.memory.{useHierarchy, checkBeforeUpdate}
//! config.json: linux.resources.cpu.{shares, quota, burst, period, realtimeRuntime}
//! config.json: linux.resources.cpu.{realtimePeriod, cpus, mems, idle}
//! config.json: linux.resources.{pids.limit, network.classID, network.priorities, unified}
//! config.json: linux.resources.hugepageLimits[].{pageSize, limit}
//! config.json: linux.resources.rdma.*.{hcaHandles, hcaObjects}
//! config.json: linux.resources.blockIO.{weight, leafWeight, weightDevice}
//! config.json: linux.resources.blockIO.throttleReadBpsDevice[].rate
//! config.json: linux.resources.blockIO.throttleWriteBpsDevice[].rate
//! config.json: linux.resources.blockIO.throttleReadIOPSDevice[].rate
//! config.json: linux.resources.blockIO.throttleWriteIOPSDevice[].rate

use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use super::dir::Dir;
use super::{Cgroup, Version};
use crate::error::{AtKey, Cause, Context, Failure, Result};
use crate::plan::resources::{MemoryCheck, ResourcePlan, Write};
use crate::sys::Call;

impl Cgroup {
    /// Writes the limits that must be set before the first process is added. The kernel charges 64
    /// pages for each CPU when processes are there. A lower memory limit is then refused on v1, and
    /// calls the OOM killer on v2. systemd sets the limits of a unit at the same time.
    ///
    /// # Errors
    /// As [`set`](Self::set), which skips these settings then.
    pub fn set_early_limits(&mut self, plan: &ResourcePlan) -> Result<()> {
        if self.unit.is_some() {
            return Ok(());
        }
        self.limited = true;
        self.write(plan.writes.iter().filter(|setting| setting.early))
    }

    /// Writes the settings, in their order.
    ///
    /// # Errors
    /// The key of config.json, the file, the value and the errno; [`Failure::Unsupported`] if the
    /// controller is not enabled.
    pub fn set(&self, plan: &ResourcePlan) -> Result<()> {
        if !self.limited {
            self.check_memory(plan.memory_check)?;
        }
        self.apply(plan)
    }

    /// As [`set`](Self::set), after the usage has been checked.
    pub(super) fn apply(&self, plan: &ResourcePlan) -> Result<()> {
        self.write(plan.writes.iter().filter(|setting| !self.limited || !setting.early))?;
        match &self.version {
            Version::V1(v1) => v1.set_devices(plan),
            Version::V2(v2) => v2.set_devices(plan),
        }
    }

    /// Refuses a limit that is below the usage: the kernel would swap, and on v2 kill. If the usage
    /// cannot be read, writing the limit fails.
    pub(super) fn check_memory(&self, check: Option<MemoryCheck>) -> Result<()> {
        let Some(check) = check else { return Ok(()) };
        let (dir, both, memory) = match &self.version {
            Version::V1(v1) => {
                (v1.dir("memory"), "memory.memsw.usage_in_bytes", "memory.usage_in_bytes")
            }
            Version::V2(v2) => (Some(v2.dir()), "memory.current", "memory.current"),
        };
        let usage = |file| dir?.read(file).ok()?.trim().parse::<u64>().ok();
        for (limit, file, name, key) in
            [(check.swap, both, "memory+swap", "swap"), (check.limit, memory, "memory", "limit")]
        {
            let (Some(limit), Some(usage)) = (limit, usage(file)) else { continue };
            if limit <= usage {
                let text = format!("rejecting {name} limit {limit} <= usage {usage}");
                return Err(Failure::WrongStatus(text.into()))
                    .at(format_args!("/linux/resources/memory/{key}"));
            }
        }
        Ok(())
    }

    fn write<'w>(&self, writes: impl Iterator<Item = &'w Write>) -> Result<()> {
        match &self.version {
            Version::V1(v1) => v1.write(writes),
            Version::V2(v2) => v2.write(writes),
        }
    }
}

/// Writes all settings. `dir` returns the directory of a controller.
pub(super) fn write_all<'a, 'w>(
    writes: impl Iterator<Item = &'w Write>,
    dir: impl Fn(&str) -> Option<&'a Dir>,
) -> Result<()> {
    let mut refused: Vec<&Write> = Vec::new();
    let mut writes = writes.peekable();
    while let Some(setting) = writes.next() {
        let Some(dir) = dir(&setting.controller) else {
            if setting.optional {
                continue;
            }
            return Err(unavailable(&setting.controller)).at(&setting.key);
        };
        match write_one(dir, setting) {
            Ok(()) => {}
            Err(call) if setting.optional && call.is(Errno::NOENT) => {}
            Err(call) if setting.retried && call.is(Errno::INVAL) => refused.push(setting),
            Err(call) => return explain(call, dir, setting),
        }
        if writes.peek().is_none_or(|next| next.controller != setting.controller) {
            for setting in refused.drain(..) {
                write_one(dir, setting).or_else(|call| explain(call, dir, setting))?;
            }
        }
    }
    Ok(())
}

fn write_one(dir: &Dir, setting: &Write) -> Result<(), Call> {
    match (dir.write(&setting.file, &setting.value), &setting.or) {
        (Err(call), Some((file, value))) if call.is(Errno::NOENT) => dir.write(file, value),
        (result, _) => result,
    }
}

/// The error of a setting. If its file does not exist because the controller is not enabled, the
/// error says that.
fn explain(call: Call, dir: &Dir, setting: &Write) -> Result<()> {
    let handed_down =
        |list: String| list.split_ascii_whitespace().any(|name| name == setting.controller);
    if call.is(Errno::NOENT)
        && setting.controller != "cgroup"
        && dir.read("cgroup.controllers").is_ok_and(|list| !handed_down(list))
    {
        let failure = match dir
            .path()
            .components()
            .any(|part| part.as_os_str().as_bytes().starts_with(b"user@"))
        {
            true => Failure::Unsupported(Cause::ControllerNotDelegated.reason(format!(
                "cgroup controller {:?} is not available: systemd has not delegated it to this user",
                setting.controller
            ))),
            false => unavailable_failure(&setting.controller),
        };
        return Err(call).context(failure).at(&setting.key);
    }
    Err(call).at(&setting.key)
}

fn unavailable(controller: &str) -> anyhow::Error {
    unavailable_failure(controller).into()
}

fn unavailable_failure(controller: &str) -> Failure {
    Failure::Unsupported(format!("cgroup controller {controller:?} is not available").into())
}
