//! The state root: which containers there are and the status of each, for commands that read them
//! all.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Container, ContainerId, StateFile, gate, state_file, status, trust};
use crate::error::{Failure, Result};
use crate::state::Status;
use crate::sys::{self, Call, CallText, Named};

/// The directory of all containers. Containers are read from here without opening their
/// directories: for a thousand containers, nearly all of the time is spent in the kernel to open
/// files.
#[derive(Debug)]
pub struct StateRoot {
    fd: OwnedFd,
    path: PathBuf,
}

/// A container as seen from the state root.
#[derive(Debug)]
pub struct ContainerSummary {
    /// The content of its state.json.
    pub saved: StateFile,
    /// Its status, as in [`Container::status`].
    pub status: Status,
    /// The owner of its directory.
    pub owner: u32,
}

impl StateRoot {
    /// Opens the state root. `None` if it does not exist.
    ///
    /// # Errors
    /// An error if others may write there; errors of open(2).
    pub fn open(path: &Path) -> Result<Option<Self>> {
        if !trust::check_root(path)? {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).named_on("open", path)?;
        Ok(Some(Self { fd, path: path.to_owned() }))
    }

    /// The ids of all directories that can be containers, sorted. Other files are ignored.
    ///
    /// # Errors
    /// Errors of getdents(2).
    pub fn ids(&self) -> Result<Vec<ContainerId>, Call> {
        let name = || CallText::on("getdents", &self.path);
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.fd).named(name)? {
            let entry = match entry {
                Err(Errno::NOENT) => continue,
                other => other.named(name)?,
            };
            // Some filesystems do not report the type here. If it is not a directory, reading
            // state.json in it will fail later.
            if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                continue;
            }
            if let Ok(id) = ContainerId::parse(&entry.file_name().to_string_lossy()) {
                found.push(id);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The state.json of a container.
    ///
    /// # Errors
    /// As [`Container::open`].
    pub fn saved(&self, id: &ContainerId) -> Result<StateFile> {
        let file = format!("{id}/{}", state_file::FILE);
        StateFile::read(self.fd.as_fd(), &file)?.ok_or_else(|| Failure::NoSuchContainer.into())
    }

    /// Reads the state of a container.
    ///
    /// # Errors
    /// As [`Container::open`] and [`Container::status`].
    pub fn look(&self, id: &ContainerId) -> Result<ContainerSummary> {
        let saved = self.saved(id)?;
        let gate = || gate::is_there(self.fd.as_fd(), &format!("{id}/{}", gate::FILE));
        let held = || Ok(sys::fd::is_locked(&Container::directory(&self.path, id)?.fd)?);
        let status = status(&saved, gate, held)?;
        let stat = rustix::fs::statat(&self.fd, &**id, AtFlags::SYMLINK_NOFOLLOW);
        let owner = stat.named(|| CallText::on("stat", self.path.join(&**id)))?.st_uid;
        Ok(ContainerSummary { saved, status, owner })
    }
}
