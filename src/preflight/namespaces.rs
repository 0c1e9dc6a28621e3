//! Checks that the namespaces to join exist and are of the right kind, and that the kernel has and
//! allows the namespaces to create.

use std::os::fd::AsFd;

use rustix::fs::{OFlags, fstatfs, stat};
use rustix::io::Errno;

use super::Reports;
use crate::error::{AtKey, Cause, Context, Result};
use crate::plan::Plan;
use crate::plan::namespaces::{Join, KINDS, NamespaceKind};
use crate::sys::proc::Proc;
use crate::sys::{Named, clone, fd};

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS_MAGIC: u64 = 0x6e73_6673;

pub fn look(plan: &Plan, findings: &mut Reports) {
    for join in &plan.namespaces.join {
        let found = joined(join)
            .with_context(|| {
                format!("joining the {} namespace {}", join.kind.name, join.path.display())
            })
            .at(format_args!("/linux/namespaces/{}/path", join.index));
        findings.note(found);
    }
    for kind in KINDS.iter().filter(|kind| plan.namespaces.creates(kind)) {
        findings.note(made(kind).at("/linux/namespaces"));
    }
}

fn joined(join: &Join) -> Result<()> {
    let mut file = fd::open(&join.path, OFlags::PATH)?;
    // Only a namespace file is opened for reading. For other files the handle is enough: opening a
    // fifo would block, and opening a device may have effects.
    if fstatfs(&file).is_ok_and(|found| found.f_type as u64 & 0xffff_ffff == NSFS_MAGIC) {
        file = fd::open(&join.path, OFlags::RDONLY)?;
        if clone::kind_of_namespace(file.as_fd()) == Some(join.kind.flag) {
            return Ok(());
        }
    }
    Ok(Err(Errno::INVAL).named(|| clone::setns_text(file.as_fd(), join.kind.flag))?)
}

fn made(kind: &NamespaceKind) -> Result<()> {
    let file = format!("/proc/self/ns/{}", kind.file);
    stat(&file).named_on("stat", file).with_context(|| {
        let text = format!("the kernel has no {} namespaces", kind.name);
        Cause::NoNamespaceType.reason(text)
    })?;
    let limit = format!("sys/user/max_{}_namespaces", kind.file);
    let none = Proc::open()?.read(&limit).is_ok_and(|text| text.trim() == "0");
    if none {
        let text = format!("no {} namespace may be made: /proc/{limit} is 0", kind.name);
        anyhow::bail!(Cause::NamespaceLimit.reason(text));
    }
    Ok(())
}
