//! Types that several requests have in common, and the result of those that create a process.

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

/// A process that was created in a container: its init, or the process of `exec`. It runs on when
/// this is dropped.
///
/// The calling process is its parent, and reaps it. A container does not end while a process of its
/// pid namespace is not reaped (pid_namespaces(7)).
#[derive(Debug)]
pub struct CreatedProcess {
    /// Its pid, in our pid namespace.
    pub pid: i32,
    /// The master of its terminal, if it has one and the request says [`ConsoleTarget::Returned`].
    pub master: Option<OwnedFd>,
    child: Child,
}

impl CreatedProcess {
    /// Releases a child, so that it outlives us.
    pub(super) fn new(mut child: Child, master: Option<OwnedFd>) -> Self {
        child.release();
        Self { pid: child.pid, master, child }
    }

    /// A descriptor for it (pidfd_open(2)), which is readable after it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }
}

/// The source of a JSON document.
#[derive(Debug, Clone)]
pub enum Document {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// The document itself.
    Bytes(Vec<u8>),
}

impl Document {
    /// Reads it. `reading` is the context of an error.
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

/// How the cgroup of a new container is made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum CgroupManager {
    /// By us.
    #[default]
    Cgroupfs,
    /// By systemd (`--systemd-cgroup`).
    Systemd,
    /// Not at all: it stays in that of its caller, without limits (`--cgroup-manager disabled`).
    Disabled,
}

impl CgroupManager {
    /// The maker for the plan. Finds systemd, if it is the maker.
    pub(super) fn maker(self, host: &Host) -> Result<CgroupMaker> {
        Ok(match self {
            Self::Cgroupfs => CgroupMaker::Us,
            Self::Systemd => CgroupMaker::Systemd(systemd::manager(host.rootless)?),
            Self::Disabled => CgroupMaker::Nobody,
        })
    }
}
