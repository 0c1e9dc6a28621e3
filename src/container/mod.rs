//! The container as it exists on disk: a directory below the state root with state.json, its
//! config, the gate and the notify socket.

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

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

pub use id::ContainerId;
pub use root::{ContainerSummary, StateRoot};
pub use state_file::StateFile;

use crate::error::{Context, Failure, Result};
use crate::state::Status;
use crate::sync::INIT_NAME;
use crate::sys::wait::{self, Bound};
use crate::sys::{self, Call, Named, pidfd, proc};

/// How long another command may hold a container.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(10));

/// How long is waited from one attempt to have it to the next.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(10)];

/// The name of the config that is kept.
const CONFIG: &str = "config.json";

/// The directory that criu sees the rootfs at while it restores; here for those whose `restore` was
/// killed.
pub const CRIU_ROOT: &str = "criu-root";

/// A container that exists.
#[derive(Debug)]
pub struct Container {
    /// What is remembered of it.
    pub saved: StateFile,
    directory: Directory,
    /// By us.
    locked: bool,
}

/// Its directory.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// A directory just made for a new container; gone when dropped, unless committed.
#[derive(Debug)]
pub struct Reserved {
    directory: Directory,
    committed: bool,
}

impl Directory {
    /// Of a container, below a state root that has been judged.
    fn open(path: PathBuf) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.named(|| format!("open({path:?})"))?,
        };
        trust::judge_kept(&fd, || path.clone())?;
        Ok(Some(Self { fd, path }))
    }

    /// Removes it with all that we put there, and nothing else.
    fn remove(&self) -> Result<()> {
        // The state last: with it goes the container.
        for name in [gate::FILE, ".state.json.new", CONFIG, state_file::FILE] {
            match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(errno)
                        .named(|| format!("unlink({:?})", self.path.join(name)))
                        .map_err(Into::into);
                }
            }
        }
        let removed = match rustix::fs::rmdir(&self.path) {
            Err(Errno::NOTEMPTY) => {
                notify::remove_directory(self.fd.as_fd())?;
                let criu_root = self.path.join(CRIU_ROOT);
                let _ = sys::mount::detach(&criu_root.to_string_lossy());
                let _ = rustix::fs::rmdir(&criu_root);
                rustix::fs::rmdir(&self.path)
            }
            removed => removed,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                Err(errno).named(|| format!("rmdir({:?})", self.path)).map_err(Into::into)
            }
        }
    }

    /// Whether it is still, or again, what its path leads to.
    fn is_there(&self) -> Result<bool, Call> {
        let of = |stat: Stat| (stat.st_dev, stat.st_ino);
        let ours = rustix::fs::fstat(&self.fd).named(|| format!("fstat({:?})", self.path))?;
        match rustix::fs::lstat(&self.path) {
            Err(Errno::NOENT) => Ok(false),
            other => Ok(of(other.named(|| format!("lstat({:?})", self.path))?) == of(ours)),
        }
    }
}

/// Takes the id for a new container: whoever makes the directory has it. The lock on it says that a
/// `create` is at work.
///
/// # Errors
/// [`Failure::ContainerExists`]; errors of making directories.
pub fn reserve(state_root: &Path, id: &ContainerId) -> Result<Reserved> {
    let path = state_root.join(&**id);
    if !trust::judge_root(state_root)? {
        make_state_root(state_root)?;
        // Another user may have been faster, in a directory that is everybody's.
        trust::judge_root(state_root)?;
    }
    match rustix::fs::mkdir(&path, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(Failure::ContainerExists.into()),
        Err(errno) => {
            return Err(errno)
                .named(|| format!("mkdir({path:?})"))
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
    // Somebody may look at it just now; or deletes it by force, and with it ourselves.
    let locked = wait::retry(PATIENCE, PAUSES, || {
        sys::fd::try_lock(&reserved.directory.fd).map(|got| got.then_some(()))
    })?;
    locked.ok_or_else(|| busy(id))?;
    Ok(reserved)
}

fn busy(id: &str) -> Failure {
    Failure::WrongStatus(format!("container {id} is busy: another command holds it"))
}

fn make_state_root(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o1700) // what has no sticky bit may be swept out of $XDG_RUNTIME_DIR
        .create(path)
        .named(|| format!("mkdir({path:?})"))
        .context("making the state root (--root)")
}

impl Reserved {
    /// The directory.
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

    /// Keeps the config, so that a change of the bundle's file has no effect on `exec`.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn keep_config(&self, text: &[u8]) -> Result<()> {
        let mut file =
            sys::fd::create_new(self.fd(), CONFIG, 0o600).context("keeping config.json")?;
        file.write_all(text).context("keeping config.json")
    }

    /// Keeps the container; gives its directory, for [`Container::kept`].
    ///
    /// # Errors
    /// As [`StateFile::write`]; then it is not kept.
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
    /// Removes it, unless it was committed; as it is when dropped.
    pub fn discard(&mut self) {
        if !self.committed && self.directory.is_there().is_ok_and(|there| there) {
            // There is an error on its way already, which matters more than this one.
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
    /// One that has just been [committed](Reserved::commit).
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
        // Without a state it is being made, or removed; or a `create` was killed at its beginning.
        let saved = StateFile::read(directory.fd.as_fd(), state_file::FILE)?
            .ok_or(Failure::NoSuchContainer)?;
        Ok(Self { saved, directory, locked: false })
    }

    /// Opens a container and holds others off: `create`, `start`, `update` and `delete` of one
    /// container do not run at the same time. Tries for a while, with `meanwhile` as long as
    /// another has it; only then looks at the state.
    ///
    /// # Errors
    /// As [`Self::open`]; when another command holds the container for longer than that; those of
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
            // Who had it has removed it.
            None if !directory.is_there()? => return Err(Failure::NoSuchContainer.into()),
            saved => saved.unwrap_or_else(|| StateFile::nothing(id)),
        };
        Ok(Self { saved, directory, locked: true })
    }

    fn directory(state_root: &Path, id: &ContainerId) -> Result<Directory> {
        if !trust::judge_root(state_root)? {
            return Err(Failure::NoSuchContainer.into());
        }
        Directory::open(state_root.join(&**id))?.ok_or_else(|| Failure::NoSuchContainer.into())
    }

    /// The directory.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.directory.fd.as_fd()
    }

    /// Writes what is known of it, for one who [holds others off](Self::lock).
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

    /// Holds others off until we end, as [`Self::lock`] does; false when the container is gone,
    /// even if another has its id by now.
    ///
    /// # Errors
    /// When another command holds the container for too long; errors of looking.
    pub fn hold(&self) -> Result<bool> {
        let locked = wait::retry(PATIENCE, PAUSES, || {
            sys::fd::try_lock(&self.directory.fd).map(|got| got.then_some(()))
        })?;
        locked.ok_or_else(|| busy(&self.saved.id))?;
        Ok(self.directory.is_there()?)
    }

    /// Lets others in again.
    ///
    /// # Errors
    /// Errors of flock(2).
    pub fn unlock(&mut self) -> Result<()> {
        self.locked = false;
        Ok(sys::fd::unlock(&self.directory.fd)?)
    }

    /// Init by descriptor, if it is alive: the process of the remembered pid that began at the
    /// remembered time.
    ///
    /// # Errors
    /// Errors of reading /proc.
    pub fn init(&self) -> Result<Option<OwnedFd>> {
        let pid = self.saved.init_process_pid;
        if pid == 0 {
            return Ok(None);
        }
        // The descriptor first: whatever the number stands for later, this process is the one that
        // is looked at.
        let pidfd = match pidfd::open(pid) {
            Err(call) if call.is(Errno::SRCH) => return Ok(None),
            other => other?,
        };
        Ok(stat_of_init(&self.saved)?.map(|_| pidfd))
    }

    /// What it does now, but for whether it is frozen, which its cgroup knows.
    ///
    /// # Errors
    /// Errors of looking.
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

    /// Forgets the container: removes its directory.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn forget(&self) -> Result<()> {
        self.directory.remove().context("removing the container's state directory")
    }
}

/// What a container does now, but for whether it is frozen: from what is remembered of it, from
/// init, from whether the `gate` is there, and, should its `create` not have come to its end, from
/// whether a command has it `held`.
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

/// What the kernel says of init, if it is alive.
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
