//! What the requests of several verbs have in common, and what those that make a process give back.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::cgroup::systemd;
use crate::error::{Context, Result};
use crate::host::Host;
use crate::plan::cgroup::CgroupMaker;
pub use crate::plan::terminal::ConsoleTarget;
use crate::runtime::child::Child;
use crate::sys::{Named, wait};

/// A process that was made in a container: its init, or what `exec` runs. It goes on when this is
/// dropped.
///
/// Its parent is the process that called, and reaps it.
#[derive(Debug)]
pub struct Process {
    /// Its pid, in our pid namespace.
    pub pid: i32,
    /// The master of its terminal, if it has one and the request says [`ConsoleTarget::Returned`].
    pub master: Option<OwnedFd>,
    child: Child,
}

impl Process {
    /// Of a child that is to outlive us.
    pub(super) fn new(mut child: Child, master: Option<OwnedFd>) -> Self {
        child.release();
        Self { pid: child.pid, master, child }
    }

    /// A descriptor for it (pidfd_open(2)), which can be read from when it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }
}

/// Where a JSON document is read from.
#[derive(Debug, Clone)]
pub enum Document {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// This is it.
    Bytes(Vec<u8>),
}

impl Document {
    /// Reads it; `reading` is the context of an error.
    pub(super) fn read(&self, reading: &'static str) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::File(path) => read_file(path).context(reading).map(Cow::Owned),
            Self::Stdin => wait::callers_stdin().context("reading standard input").map(Cow::Owned),
            Self::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    Ok(wait::callers_file(path).named_on("open", path)?)
}

/// Who makes the cgroup of a new container.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum CgroupManager {
    /// We do.
    #[default]
    Cgroupfs,
    /// systemd does (`--systemd-cgroup`).
    Systemd,
    /// Nobody: the container stays in its caller's, without limits (`--cgroup-manager disabled`).
    Disabled,
}

impl CgroupManager {
    /// Whom the plan is to have make the cgroup; systemd is looked for.
    pub(super) fn maker(self, host: &Host) -> Result<CgroupMaker> {
        Ok(match self {
            Self::Cgroupfs => CgroupMaker::Us,
            Self::Systemd => CgroupMaker::Systemd(systemd::manager(host.rootless)?),
            Self::Disabled => CgroupMaker::Nobody,
        })
    }
}
