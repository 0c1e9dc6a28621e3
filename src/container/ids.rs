//! Which containers there are below a state root.

use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::ContainerId;
use crate::error::Result;
use crate::sys::{Call, Named};

/// The ids of all directories that could be containers, sorted; what else lies there is nobody's business.
///
/// # Errors
/// open(2) of the state root, `ENOENT` too; getdents(2).
pub fn ids(state_root: &Path) -> Result<Vec<ContainerId>, Call> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(state_root, flags, Mode::empty()).named(|| format!("open({state_root:?})"))?;
    let name = || format!("getdents({state_root:?})");
    let mut found = Vec::new();
    for entry in Dir::read_from(&directory).named(name)? {
        let entry = match entry {
            Err(Errno::NOENT) => continue,
            other => other.named(name)?,
        };
        // Some filesystems do not tell the type here; opening what is no directory fails later.
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
