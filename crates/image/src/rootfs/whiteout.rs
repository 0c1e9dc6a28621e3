//! Whiteouts: what a layer deletes of the layers below it (layer.md, "Whiteouts").

use std::os::fd::AsFd;

use anyhow::{Result, ensure};
use rustix::fs::FileType;

use super::apply::Applier;
use super::name::{is_below, join, split};
use super::remove::{entries, open};
use super::tree::Directory;

/// What the name of a whiteout begins with.
const PREFIX: &[u8] = b".wh.";
/// What deletes all that is in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs keeps for itself; it means nothing to anybody else.
const AUFS: &[u8] = b".wh..wh.";

/// Whether the last name of a path makes it a whiteout.
pub fn is_one(path: &[u8]) -> bool {
    split(path).1.starts_with(PREFIX)
}

impl Applier {
    /// Carries out the whiteout `path`. Only what lower layers have made is deleted, wherever in
    /// the layer it stands.
    pub(super) fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let (parent, name) = split(path);
        let deleted = name.strip_prefix(PREFIX).unwrap_or(name);
        ensure!(!matches!(deleted, b"" | b"." | b".."), "a whiteout of nothing");
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

    /// Removes from a directory what this layer has not made.
    fn prune(&mut self, directory: &Directory) -> Result<()> {
        for (name, _) in entries(directory.as_fd())? {
            self.prune_name(directory, &name)?;
        }
        Ok(())
    }

    fn prune_name(&mut self, parent: &Directory, name: &[u8]) -> Result<()> {
        let path = join(&parent.path, name);
        let from = (std::ops::Bound::Excluded(join(&path, b"")), std::ops::Bound::Unbounded);
        let holds_new =
            self.written.range::<Vec<u8>, _>(from).next().is_some_and(|next| is_below(next, &path));
        if !holds_new && !self.written.contains(&path) {
            self.tree.hold_times(parent)?;
            return self.tree.remove(parent, name);
        }
        // Of this layer, or on the way to something of it.
        if kind(parent, name) != Some(FileType::Directory) {
            return Ok(());
        }
        let fd = open(parent.as_fd(), name)?;
        self.prune(&Directory::new(fd, path))
    }
}

fn kind(parent: &Directory, name: &[u8]) -> Option<FileType> {
    let stat = rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}
