//! The container on disk: a directory below the state root that holds state.json, the config, the
//! gate and the notify socket.

pub mod gate;
mod id;
pub mod notify;
mod root;
mod state_file;
mod trust;

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

pub use id::ContainerId;
pub use root::{ContainerSummary, StateRoot};
pub use state_file::StateFile;

use crate::error::{Context, Failure, Result};
use crate::state::Status;
use crate::sync::INIT_NAME;
use crate::sys::fd::FileId;
use crate::sys::wait::{self, Bound};
use crate::sys::{self, Call, CallText, Named, pidfd, proc};

/// How long we wait for another command that has locked the container.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(10));

/// The pauses between two attempts to lock it: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(10)];

/// The name of our copy of the config.
const CONFIG: &str = "config.json";

/// The directory where criu sees the rootfs during a restore. It is named here because a container
/// whose `restore` was killed still has it.
pub const CRIU_ROOT: &str = "criu-root";

/// A container that exists.
#[derive(Debug)]
pub struct Container {
    /// The content of state.json.
    pub saved: StateFile,
    directory: Directory,
    /// Whether we have locked it.
    locked: bool,
}

/// The directory of a container.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// A directory that was just made for a new container. It is removed when dropped, unless it was
/// committed.
#[derive(Debug)]
pub struct Reserved {
    directory: Directory,
    committed: bool,
}

impl Directory {
    /// Opens a container's directory, below a state root that has been checked.
    fn open(path: PathBuf) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.named_on("open", &path)?,
        };
        trust::check_opened(&fd, || path.clone())?;
        Ok(Some(Self { fd, path }))
    }

    /// Removes the directory and all files that we made in it, and nothing else.
    fn remove(&self) -> Result<()> {
        // state.json is removed last, because without it there is no container.
        for name in [gate::FILE, ".state.json.new", CONFIG, state_file::FILE] {
            match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(errno)
                        .named(|| CallText::on("unlink", self.path.join(name)))
                        .map_err(Into::into);
                }
            }
        }
        let removed = match rustix::fs::rmdir(&self.path) {
            Err(Errno::NOTEMPTY) => {
                notify::remove_directory(self.fd.as_fd())?;
                let criu_root = self.path.join(CRIU_ROOT);
                let _ = sys::mount::detach(&criu_root);
                let _ = rustix::fs::rmdir(&criu_root);
                rustix::fs::rmdir(&self.path)
            }
            removed => removed,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).named_on("rmdir", &self.path).map_err(Into::into),
        }
    }

    /// Whether the path still, or again, leads to this directory.
    fn is_there(&self) -> Result<bool, Call> {
        let ours = rustix::fs::fstat(&self.fd).named_on("fstat", &self.path)?;
        match rustix::fs::lstat(&self.path) {
            Err(Errno::NOENT) => Ok(false),
            other => Ok(FileId::from(other.named_on("lstat", &self.path)?) == FileId::from(ours)),
        }
    }
}

/// Reserves the id for a new container: the process that makes the directory has the id. The lock
/// on the directory shows that a `create` is at work.
///
/// # Errors
/// [`Failure::ContainerExists`]; errors of making the directories.
pub fn reserve(state_root: &Path, id: &ContainerId) -> Result<Reserved> {
    let path = state_root.join(&**id);
    if !trust::check_root(state_root)? {
        make_state_root(state_root)?;
        // If every user may write there, another user may have made it just before us.
        trust::check_root(state_root)?;
    }
    match rustix::fs::mkdir(&path, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(Failure::ContainerExists.into()),
        Err(errno) => {
            return Err(errno)
                .named_on("mkdir", path)
                .context("making the container's state directory");
        }
    }
    let directory = match Directory::open(path.clone()) {
        Ok(Some(directory)) => directory,
        other => {
            let _ = rustix::fs::rmdir(&path);
            return Err(other.err().unwrap_or_else(|| Failure::NoSuchContainer.into()));
        }
    };
    let reserved = Reserved { directory, committed: false };
    // Another command may have locked it for a moment to read it, or to delete it by force. In the
    // second case it will kill us, too.
    let locked = wait::retry(PATIENCE, PAUSES, || {
        sys::fd::try_lock(&reserved.directory.fd).map(|got| got.then_some(()))
    })?;
    locked.ok_or_else(|| busy(id))?;
    Ok(reserved)
}

fn busy(id: &str) -> Failure {
    Failure::WrongStatus(format!("container {id} is busy: another command holds it").into())
}

fn make_state_root(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o1700) // without a sticky bit, a clean-up of $XDG_RUNTIME_DIR may remove it
        .create(path)
        .named_on("mkdir", path)
        .context("making the state root (--root)")
}

impl Reserved {
    /// The descriptor of the directory.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.directory.fd.as_fd()
    }

    /// Writes what is known so far, so that `delete --force` can clean up after us if we are
    /// killed.
    ///
    /// # Errors
    /// As [`StateFile::write`].
    pub fn save(&self, saved: &StateFile) -> Result<()> {
        saved.write(self.fd())
    }

    /// Keeps a copy of the config, so that a change of the bundle's file has no effect on `exec`.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn keep_config(&self, text: &[u8]) -> Result<()> {
        let mut file =
            sys::fd::create_new(self.fd(), CONFIG, 0o600).context("keeping config.json")?;
        file.write_all(text).context("keeping config.json")
    }

    /// Keeps the container, and returns its directory for [`Container::kept`].
    ///
    /// # Errors
    /// As [`StateFile::write`]. The container is then not kept.
    pub fn commit(&mut self, saved: &StateFile) -> Result<Directory> {
        let directory =
            Directory { fd: self.directory.fd.try_clone()?, path: self.directory.path.clone() };
        self.save(saved)?;
        sys::fd::unlock(&self.directory.fd)?;
        self.committed = true;
        Ok(directory)
    }
}

impl Reserved {
    /// Removes the directory, unless it was committed. Dropping does the same.
    pub fn discard(&mut self) {
        if !self.committed && self.directory.is_there().is_ok_and(|there| there) {
            // The caller already returns an error, and that one matters more than this one.
            let _ = self.directory.remove();
        }
        self.committed = true;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.discard();
    }
}

impl Container {
    /// A container that has just been [committed](Reserved::commit).
    #[must_use]
    pub fn kept(saved: StateFile, directory: Directory) -> Self {
        Self { saved, directory, locked: false }
    }

    /// Opens a container by its id.
    ///
    /// # Errors
    /// [`Failure::NoSuchContainer`]; errors of reading its state.
    pub fn open(state_root: &Path, id: &ContainerId) -> Result<Self> {
        let directory = Self::directory(state_root, id)?;
        // Without a state.json, the container is being made or removed, or its `create` was killed
        // early.
        let saved = StateFile::read(directory.fd.as_fd(), state_file::FILE)?
            .ok_or(Failure::NoSuchContainer)?;
        Ok(Self { saved, directory, locked: false })
    }

    /// Opens a container and locks it: `create`, `start`, `update` and `delete` of one container do
    /// not run at the same time. As long as another command has the lock, this calls `meanwhile`
    /// and tries again, up to a bound. It reads the state only after it has the lock.
    ///
    /// # Errors
    /// As [`Self::open`]; an error if another command has the lock for too long; errors of
    /// `meanwhile`.
    pub fn lock(
        state_root: &Path,
        id: &ContainerId,
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<Self> {
        let directory = Self::directory(state_root, id)?;
        let locked = wait::retry(PATIENCE, PAUSES, || {
            if sys::fd::try_lock(&directory.fd)? {
                return Ok(Some(()));
            }
            meanwhile().map(|()| None)
        })?;
        locked.ok_or_else(|| busy(id))?;
        let saved = match StateFile::read(directory.fd.as_fd(), state_file::FILE)? {
            // The command that had the lock has removed the container.
            None if !directory.is_there()? => return Err(Failure::NoSuchContainer.into()),
            saved => saved.unwrap_or_else(|| StateFile::nothing(id)),
        };
        Ok(Self { saved, directory, locked: true })
    }

    fn directory(state_root: &Path, id: &ContainerId) -> Result<Directory> {
        if !trust::check_root(state_root)? {
            return Err(Failure::NoSuchContainer.into());
        }
        Directory::open(state_root.join(&**id))?.ok_or_else(|| Failure::NoSuchContainer.into())
    }

    /// The descriptor of the directory.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.directory.fd.as_fd()
    }

    /// Writes state.json. The caller must have the [lock](Self::lock).
    ///
    /// # Errors
    /// As [`StateFile::write`].
    pub fn save(&self) -> Result<()> {
        self.saved.write(self.fd())
    }

    /// The text of its config.json, as it was at `create`.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn config(&self) -> Result<Vec<u8>> {
        state_file::read_kept(self.fd(), CONFIG).context("reading the container's config.json")
    }

    /// Locks the container until we exit, as [`Self::lock`] does. False if the container is gone,
    /// even if a new one has its id.
    ///
    /// # Errors
    /// An error if another command has the lock for too long; errors of flock(2), fstat(2) and
    /// lstat(2).
    pub fn hold(&self) -> Result<bool> {
        let locked = wait::retry(PATIENCE, PAUSES, || {
            sys::fd::try_lock(&self.directory.fd).map(|got| got.then_some(()))
        })?;
        locked.ok_or_else(|| busy(&self.saved.id))?;
        Ok(self.directory.is_there()?)
    }

    /// Releases the lock.
    ///
    /// # Errors
    /// Errors of flock(2).
    pub fn unlock(&mut self) -> Result<()> {
        self.locked = false;
        Ok(sys::fd::unlock(&self.directory.fd)?)
    }

    /// A pidfd of init, if it is alive. Init is the process that has the pid and the start time in
    /// state.json.
    ///
    /// # Errors
    /// Errors of reading /proc.
    pub fn init(&self) -> Result<Option<OwnedFd>> {
        let pid = self.saved.init_process_pid;
        if pid == 0 {
            return Ok(None);
        }
        // The pidfd is opened before /proc is read. If init is still alive then, the pidfd is
        // init's, even if the pid is reused later.
        let pidfd = match pidfd::open(pid) {
            Err(call) if call.is(Errno::SRCH) => return Ok(None),
            other => other?,
        };
        Ok(stat_of_init(&self.saved)?.map(|_| pidfd))
    }

    /// The status, without `paused`, which only the cgroup shows.
    ///
    /// # Errors
    /// Errors of reading /proc, and of checking the gate and the lock.
    pub fn status(&self) -> Result<Status> {
        let held = || Ok(!self.locked && sys::fd::is_locked(&self.directory.fd)?);
        status(&self.saved, || gate::is_there(self.fd(), gate::FILE), held)
    }

    /// The state for hooks, as JSON.
    ///
    /// # Errors
    /// None in practice.
    pub fn hook_state(&self, status: Status) -> Result<String> {
        self.saved.hook_state(status)
    }

    /// Removes the container's directory.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn remove_directory(&self) -> Result<()> {
        self.directory.remove().context("removing the container's state directory")
    }
}

/// The status of a container, without `paused`. It follows from state.json, from init, from whether
/// the `gate` is there, and, if its `create` has not finished, from whether a command has it locked
/// (`held`).
fn status(
    saved: &StateFile,
    gate: impl FnOnce() -> Result<bool>,
    held: impl FnOnce() -> Result<bool>,
) -> Result<Status> {
    let init = stat_of_init(saved)?;
    if !saved.complete {
        let at_work = init.is_some() || held()?;
        return Ok(if at_work { Status::Creating } else { Status::Stopped });
    }
    Ok(match init {
        None => Status::Stopped,
        Some(stat) if stat.name == INIT_NAME.to_bytes() && gate()? => Status::Created,
        Some(_) => Status::Running,
    })
}

/// The `stat` of init in /proc, if it is alive.
fn stat_of_init(saved: &StateFile) -> Result<Option<proc::Stat>> {
    let StateFile { init_process_pid: pid, init_process_start: start, .. } = *saved;
    if pid == 0 {
        return Ok(None);
    }
    match proc::stat(pid) {
        Ok(stat) if stat.start != start || stat.is_dead() => Ok(None),
        Ok(stat) => Ok(Some(stat)),
        Err(call) if call.is(Errno::NOENT) || call.is(Errno::SRCH) => Ok(None),
        Err(call) => Err(call.into()),
    }
}
