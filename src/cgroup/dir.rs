//! The directory of a cgroup: its files, its processes, its sub-cgroups, its removal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use super::tree::{self, Visit};
use crate::error::Result;
use crate::sys::wait::{self, Bound};
use crate::sys::{Call, CallText, Named, proc, small_file};

/// How long the removal of a cgroup waits for killed processes to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the kernel may refuse a process that is just being created.
const MOMENT: Bound = Bound::Within(Duration::from_millis(50));

/// The pause between two attempts.
pub(super) const PAUSES: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(20)];

/// A directory of cgroupfs. With a descriptor, its files are opened relative to that, else by their
/// paths. The descriptor is worth it from the second file on.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    fd: Option<OwnedFd>,
}

impl Dir {
    /// A directory known by its path.
    pub(super) fn by_path(path: PathBuf) -> Self {
        Self { path, fd: None }
    }

    /// A directory with a descriptor, for openat(2), bpf(2) and `CLONE_INTO_CGROUP`.
    pub(super) fn open(path: PathBuf) -> Result<Self, Call> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, &path, flags, Mode::empty())
            .named(|| CallText::with_path(format!("open({path:?}, O_PATH)"), &path))?;
        Ok(Self { path, fd: Some(fd) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), Call> {
        let shown = || self.shown(file);
        match self.fd() {
            Some(fd) => small_file::write_at(fd, file, value, shown),
            None => small_file::write_at(CWD, self.path.join(file), value, shown),
        }
    }

    pub(super) fn open_file(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Call> {
        let shown = || self.shown(file);
        match self.fd() {
            Some(fd) => small_file::open(fd, file, flags, shown),
            None => small_file::open(CWD, self.path.join(file), flags, shown),
        }
    }

    /// Reads a file with one short record.
    pub(super) fn read(&self, file: &str) -> Result<String, Call> {
        let shown = || self.shown(file);
        let content = match self.fd() {
            Some(fd) => small_file::read_short(fd, file, shown),
            None => small_file::read_short(CWD, self.path.join(file), shown),
        }?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// Reads a file of any length.
    pub(super) fn read_all(&self, file: &str) -> Result<String, Call> {
        let shown = || self.shown(file);
        let content = match self.fd() {
            Some(fd) => small_file::read_all(fd, file, shown),
            None => small_file::read_all(CWD, self.path.join(file), shown),
        }?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// The number after `key` in a file of key-value lines; `None` if there is no such line.
    pub(super) fn read_pair(&self, file: &str, key: &str) -> Result<Option<u64>, Call> {
        let content = self.read(file)?;
        let mut values =
            content.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        Ok(values.next().and_then(|value| value.trim().parse().ok()))
    }

    pub(super) fn shown(&self, file: &str) -> String {
        self.path.join(file).display().to_string()
    }

    /// The processes of the cgroup and of those below it, as host pids; none if it does not exist.
    pub(super) fn procs(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        collect(&self.path, &mut pids)?;
        Ok(pids)
    }
}

/// Writes `pid` to `cgroup.procs`.
pub(super) fn join(dir: &Dir, pid: i32) -> Result<()> {
    let file = dir.open_file("cgroup.procs", OFlags::WRONLY)?;
    let pid = pid.to_string();
    let mut refused = None;
    let joined = wait::retry(MOMENT, PAUSES, || {
        match small_file::write_to(&file, &pid, || dir.shown("cgroup.procs")) {
            // The kernel refuses a process that is still being created.
            Err(call) if call.is(Errno::INVAL) => refused = Some(call),
            result => return result.map(Some),
        }
        Ok(None)
    })?;
    match refused {
        Some(call) if joined.is_none() => Err(call.into()),
        _ => Ok(()),
    }
}

/// mkdir(2). Returns whether the directory is new.
pub(super) fn make(path: &Path) -> Result<bool, Call> {
    match mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(false),
        result => result.map(|()| true).named_on("mkdir", path),
    }
}

/// Removes cgroups and those below them. Kills nothing, but waits for killed processes, a limited
/// time for all of them together. A cgroup that does not exist is not an error. If one cannot be
/// removed, the others are removed all the same, and the first error is returned.
pub(super) fn remove<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let mut deadline = None;
    let mut result = Ok(());
    for path in paths {
        let removed = match rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(_) => remove_tree(path, *deadline.get_or_insert_with(|| Instant::now() + PATIENCE)),
        };
        result = result.and(removed);
    }
    result
}

fn rmdir(path: &Path) -> Result<(), Errno> {
    unlinkat(CWD, path, AtFlags::REMOVEDIR)
}

fn remove_tree(path: &Path, deadline: Instant) -> Result<()> {
    // Its existence is tested here, since rmdir(2) on a read-only mount returns EROFS in any case.
    let Some(top) = tree::open(path)? else { return Ok(()) };
    tree::walk(top, |step| match step {
        Visit::In(_) => Ok(()),
        Visit::Out { parent, name } => Ok(remove_patiently(parent, name, deadline)?),
    })?;
    Ok(remove_patiently(CWD, path, deadline)?)
}

fn remove_patiently(
    directory: BorrowedFd<'_>,
    name: impl Arg + Copy,
    deadline: Instant,
) -> Result<(), Call> {
    let removed = wait::retry(Bound::Until(deadline), PAUSES, || {
        match unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(Some(())),
            Err(Errno::BUSY) => Ok(None),
            Err(errno) => Err(errno),
        }
    });
    let removed = removed.and_then(|done| done.ok_or(Errno::BUSY));
    removed.named(|| format!("rmdir({:?})", name.to_string_lossy()))
}

/// The processes of a cgroup and of those below it.
fn collect(path: &Path, pids: &mut Vec<i32>) -> Result<()> {
    let Some(top) = tree::open(path)? else { return Ok(()) };
    let list = |directory: BorrowedFd<'_>, file: &str| {
        let content =
            small_file::read_all(directory, file, || format!("{}/…/{file}", path.display()))?;
        let ids =
            String::from_utf8_lossy(&content).lines().filter_map(|id| id.parse().ok()).collect();
        Ok::<Vec<i32>, Call>(ids)
    };
    // In a threaded cgroup the kernel lists only threads. Its processes are listed in the nearest
    // cgroup above that is not threaded. If that is not one of the container, the processes can
    // only be found by their threads.
    let (mut above, mut threads) = (false, Vec::new());
    tree::walk(top, |step| {
        let Visit::In(directory) = step else { return Ok(()) };
        let listed = match list(directory, "cgroup.procs") {
            Ok(found) => {
                above = true;
                pids.extend(found);
                Ok(())
            }
            Err(call) if call.is(Errno::OPNOTSUPP) && above => Ok(()),
            Err(call) if call.is(Errno::OPNOTSUPP) => {
                list(directory, "cgroup.threads").map(|found| threads.extend(found))
            }
            Err(call) => Err(call),
        };
        match listed {
            Err(call) if call.is(Errno::NOENT) || call.is(Errno::NODEV) => Ok(()), // it is gone
            result => Ok(result?),
        }
    })?;
    let mut processes: Vec<_> = threads.into_iter().filter_map(proc::process_of).collect();
    processes.sort_unstable();
    processes.dedup();
    pids.extend(processes);
    Ok(())
}
