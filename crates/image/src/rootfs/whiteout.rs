//! Whiteouts: they delete files of the layers below (layer.md, "Whiteouts").

use std::os::fd::AsFd;

use anyhow::{Result, ensure};
use rustix::fs::FileType;

use super::apply::Applier;
use super::name::{is_below, join, split};
use super::remove::{entries, open};
use super::tree::TreeDirectory;

/// The prefix of the name of a whiteout.
const PREFIX: &[u8] = b".wh.";
/// The name that deletes everything in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The prefix of names that aufs uses itself. They are ignored.
const AUFS: &[u8] = b".wh..wh.";

/// Whether a path is that of a whiteout.
pub fn is_whiteout(path: &[u8]) -> bool {
    split(path).1.starts_with(PREFIX)
}

impl Applier<'_> {
    /// Applies the whiteout `path`. It deletes only files of lower layers, at any position in the
    /// layer.
    pub(super) fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let (parent, name) = split(path);
        let deleted = name.strip_prefix(PREFIX).unwrap_or(name);
        ensure!(!matches!(deleted, b"" | b"." | b".."), "a whiteout without a name");
        if !self.has_lower() {
            return Ok(());
        }
        let Some(parent) = self.tree.directory(parent)? else { return Ok(()) };
        if name == OPAQUE {
            return self.prune(&parent);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        self.prune_name(&parent, deleted)
    }

    /// Removes everything in a directory that is not from this layer.
    fn prune(&mut self, directory: &TreeDirectory) -> Result<()> {
        for (name, _) in entries(directory.as_fd())? {
            self.prune_name(directory, &name)?;
        }
        Ok(())
    }

    fn prune_name(&mut self, parent: &TreeDirectory, name: &[u8]) -> Result<()> {
        let path = join(&parent.path, name);
        let from = (std::ops::Bound::Excluded(join(&path, b"")), std::ops::Bound::Unbounded);
        let holds_new =
            self.written.range::<Vec<u8>, _>(from).next().is_some_and(|next| is_below(next, &path));
        if !holds_new && !self.written.contains(&path) {
            self.tree.record_times(parent)?;
            return self.tree.remove(parent, name);
        }
        // This layer has made the file, or a file below it.
        if kind(parent, name) != Some(FileType::Directory) {
            return Ok(());
        }
        let fd = open(parent.as_fd(), name)?;
        self.prune(&TreeDirectory::new(fd, path))
    }
}

fn kind(parent: &TreeDirectory, name: &[u8]) -> Option<FileType> {
    let stat = rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}
