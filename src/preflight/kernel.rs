//! Checks that the kernel has the actions of the system call filter, and the parameters of
//! `sysctl`.

use std::collections::BTreeSet;

use rustix::fs::{CWD, stat};

use super::Reports;
use crate::error::{AtKey, Cause, Result};
use crate::plan::Plan;
use crate::plan::sysctl::Sysctl;
use crate::sys::{Named, small_file};

/// The actions of a filter (seccomp(2)) and their names in `actions_avail`.
const ACTIONS: [(u32, &str); 8] = [
    (0x8000_0000, "kill_process"),
    (0x0000_0000, "kill_thread"),
    (0x0003_0000, "trap"),
    (0x0005_0000, "errno"),
    (0x7fc0_0000, "user_notif"),
    (0x7ff0_0000, "trace"),
    (0x7ffc_0000, "log"),
    (0x7fff_0000, "allow"),
];

/// `SECCOMP_RET_ACTION_FULL`.
const ACTION: u32 = 0xffff_0000;

/// `BPF_RET | BPF_K`: an instruction that ends the filter's program with an action.
const ANSWER: u16 = 0x06;

pub fn look(plan: &Plan, findings: &mut Reports) {
    findings.note(seccomp(plan).at("/linux/seccomp"));
    for sysctl in &plan.sysctl {
        let key = sysctl.name.replace('~', "~0").replace('/', "~1");
        findings.note(parameter(sysctl).at(format_args!("/linux/sysctl/{key}")));
    }
}

fn seccomp(plan: &Plan) -> Result<()> {
    let Some(plan) = &plan.entry.seccomp else { return Ok(()) };
    let path = "/proc/sys/kernel/seccomp/actions_avail";
    let Ok(known) = small_file::read_short(CWD, path, || path.to_owned()) else {
        anyhow::bail!(Cause::NoFilterAction.reason("the kernel has no system call filters"));
    };
    let known = String::from_utf8_lossy(&known);
    let known: BTreeSet<&str> = known.split_whitespace().collect();
    let answers: BTreeSet<u32> = plan
        .filter
        .program
        .iter()
        .filter(|insn| insn.code == ANSWER)
        .map(|insn| insn.k & ACTION)
        .collect();
    match ACTIONS.iter().find(|(value, name)| answers.contains(value) && !known.contains(name)) {
        Some((_, name)) => {
            let text = format!("the kernel's system call filters do not know the action {name}");
            anyhow::bail!(Cause::NoFilterAction.reason(text))
        }
        None => Ok(()),
    }
}

/// Checks that a parameter exists in our namespaces, since a new namespace does not have more
/// parameters. Parameters of devices are not checked: they exist only as long as the device.
fn parameter(sysctl: &Sysctl) -> Result<()> {
    let path = format!("/proc/{}", sysctl.file);
    let of_devices = ["/conf/", "/neigh/"].iter().any(|part| path.contains(part));
    if !of_devices {
        stat(&path).named_on("open", path)?;
    }
    Ok(())
}
