//! Applies layers: makes the file that each entry describes (layer.md, "Applying Changesets").

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufRead;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, makedev};
use rustix::io::Errno;

use super::metadata::{self, FileRef};
use super::name::{clean, join, split};
use super::tree::{Tree, TreeDirectory};
use super::{remove, whiteout};
use crate::budget::Budget;
use crate::tar_stream::{TarEntry, TarEntryKind, TarStream, show};

/// The handling of the owners of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Files get the owners of the entries. This needs root.
    Set,
    /// Files belong to us. Their owners are recorded in the attribute `user.rootlesscontainers`. A
    /// device is an empty file, and attributes that only root may set are left out.
    Recorded,
}

/// The types of files that mknodat(2) makes: devices and fifos.
#[derive(Debug, Clone, Copy)]
struct DeviceNode {
    kind: FileType,
    device: u64,
}

impl DeviceNode {
    fn new(kind: FileType, major: u32, minor: u32) -> Self {
        Self { kind, device: makedev(major, minor) }
    }
}

/// Applies the layers of an image to a tree, the lowest first.
#[derive(Debug)]
pub struct Applier<'a> {
    pub(super) tree: Tree,
    owners: Owners,
    budget: &'a Budget,
    /// Whether there are lower layers.
    has_lower: bool,
    /// Whether the tree is an overlay of the lower layers. Else they have been applied to the same
    /// tree.
    is_overlay: bool,
    /// Lower files that overlayfs has copied for a hard link, by their resolved paths.
    copied: BTreeSet<Vec<u8>>,
    /// The paths, resolved, that this layer has made. They are only recorded if there are lower
    /// layers.
    pub(super) written: BTreeSet<Vec<u8>>,
}

impl<'a> Applier<'a> {
    /// An applier for `tree`, which is empty, or an overlay of lower layers if `has_lower`.
    #[must_use]
    pub fn new(tree: Tree, owners: Owners, has_lower: bool, budget: &'a Budget) -> Self {
        let (copied, written) = (BTreeSet::new(), BTreeSet::new());
        Self { tree, owners, budget, has_lower, is_overlay: has_lower, copied, written }
    }

    /// Returns the tree, after all layers are applied.
    #[must_use]
    pub fn into_tree(self) -> Tree {
        self.tree
    }

    pub(super) fn has_lower(&self) -> bool {
        self.has_lower
    }

    /// Applies the next higher layer.
    ///
    /// # Errors
    /// An entry cannot be read or made; the error names it. The tree is then incomplete.
    pub fn apply(&mut self, layer: impl BufRead) -> Result<()> {
        let mut archive = TarStream::new(layer);
        while let Some(entry) = archive.next_entry()? {
            self.budget.use_entry()?;
            self.entry(&entry, &mut archive)
                .with_context(|| format!("entry {:?}", show(&entry.path)))?;
        }
        self.tree.apply_times()?;
        self.written.clear();
        self.has_lower = true;
        Ok(())
    }

    fn entry(&mut self, entry: &TarEntry, archive: &mut TarStream<impl BufRead>) -> Result<()> {
        let path = clean(&entry.path)?;
        if path.is_empty() {
            ensure!(
                entry.kind == TarEntryKind::Directory,
                "the entry of the root is not a directory"
            );
            let top = self.tree.top()?;
            return self.directory(&top, b".", entry, true);
        }
        if whiteout::is_whiteout(&path) {
            return self.whiteout(&path);
        }
        let (parent, name) = split(&path);
        let parent = self.tree.make_directory(parent)?;
        self.tree.record_times(&parent)?;
        self.make(&parent, name, entry, archive)?;
        if self.has_lower {
            self.written.insert(join(&parent.path, name));
        }
        Ok(())
    }

    fn make(
        &mut self,
        parent: &TreeDirectory,
        name: &[u8],
        entry: &TarEntry,
        archive: &mut TarStream<impl BufRead>,
    ) -> Result<()> {
        match &entry.kind {
            TarEntryKind::File(size) => {
                let file = self.create(parent, name)?;
                metadata::clear_acls(file.as_fd())?;
                let mut end = 0;
                archive.content(|offset, bytes| {
                    end = offset + bytes.len() as u64;
                    file.write_all_at(bytes, offset).context("pwrite()")
                })?;
                if end < *size {
                    file.set_len(*size).context("ftruncate()")?;
                }
                self.finish(FileRef::Open(file.as_fd()), entry)
            }
            TarEntryKind::Directory => {
                let existed = self.make_or_keep_directory(parent, name, |parent| {
                    rustix::fs::mkdirat(parent, name, Mode::RWXU)
                })?;
                self.directory(parent, name, entry, existed)
            }
            TarEntryKind::Symlink(target) => {
                ensure!(
                    !target.is_empty() && !target.contains(&0),
                    "a symbolic link to {:?}",
                    show(target)
                );
                self.replace(parent, name, |parent| {
                    rustix::fs::symlinkat(target.as_slice(), parent, name)
                })
                .context("symlinkat()")?;
                self.finish(FileRef::Name(parent.as_fd(), name), entry)
            }
            TarEntryKind::HardLink(target) => self.link(parent, name, target),
            TarEntryKind::Character(major, minor) => self.node(
                parent,
                name,
                entry,
                DeviceNode::new(FileType::CharacterDevice, *major, *minor),
            ),
            TarEntryKind::Block(major, minor) => self.node(
                parent,
                name,
                entry,
                DeviceNode::new(FileType::BlockDevice, *major, *minor),
            ),
            TarEntryKind::Fifo => {
                self.node(parent, name, entry, DeviceNode::new(FileType::Fifo, 0, 0))
            }
        }
    }

    /// Sets the metadata of a directory, except its times, which are set at the end of the layer.
    fn directory(
        &mut self,
        parent: &TreeDirectory,
        name: &[u8],
        entry: &TarEntry,
        existed: bool,
    ) -> Result<()> {
        let fd = remove::open(parent.as_fd(), name)?;
        if existed {
            metadata::clear_xattrs(fd.as_fd())?;
        } else {
            metadata::clear_acls(fd.as_fd())?;
        }
        metadata::apply(FileRef::Open(fd.as_fd()), entry, self.owners, false)?;
        let path = if name == b"." { Vec::new() } else { join(&parent.path, name) };
        self.tree.set_times(path, metadata::timestamps(entry));
        Ok(())
    }

    fn node(
        &mut self,
        parent: &TreeDirectory,
        name: &[u8],
        entry: &TarEntry,
        node: DeviceNode,
    ) -> Result<()> {
        if self.owners == Owners::Recorded && node.kind != FileType::Fifo {
            let placeholder = self.create(parent, name)?;
            return self.finish(FileRef::Open(placeholder.as_fd()), entry);
        }
        let mode = Mode::RUSR | Mode::WUSR;
        self.replace(parent, name, |parent| {
            rustix::fs::mknodat(parent, name, node.kind, mode, node.device)
        })
        .context("mknodat()")?;
        self.finish(FileRef::Name(parent.as_fd(), name), entry)
    }

    fn finish(&self, target: FileRef<'_>, entry: &TarEntry) -> Result<()> {
        metadata::apply(
            target,
            entry,
            self.owners,
            matches!(entry.kind, TarEntryKind::Symlink(_)),
        )?;
        metadata::set_times(target, entry)
    }

    /// Makes a hard link. The metadata are those of the target.
    fn link(&mut self, parent: &TreeDirectory, name: &[u8], target: &[u8]) -> Result<()> {
        let path = clean(target).with_context(|| format!("hard link to {:?}", show(target)))?;
        let (directory, source) = split(&path);
        let missing = || format!("hard link to {:?}, which is not there", show(target));
        let directory = self.tree.directory(directory)?.with_context(missing)?;
        if directory.path == parent.path && source == name {
            let found = rustix::fs::statat(&*directory, source, AtFlags::SYMLINK_NOFOLLOW);
            return found.map(drop).with_context(missing);
        }
        // Checked first, so that a bad link does not remove the file that it replaces.
        let stat = rustix::fs::statat(&*directory, source, AtFlags::SYMLINK_NOFOLLOW)
            .with_context(missing)?;
        self.charge_copy(join(&directory.path, source), &stat)?;
        self.replace(parent, name, |parent| {
            rustix::fs::linkat(&*directory, source, parent, name, AtFlags::empty())
        })
        .with_context(|| format!("linkat({:?})", show(target)))
    }

    /// Counts the first hard link to a file of a lower layer: overlayfs copies the file for it.
    fn charge_copy(&mut self, path: Vec<u8>, stat: &Stat) -> Result<()> {
        let is_lower = self.is_overlay && !self.written.contains(&path);
        if is_lower
            && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && self.copied.insert(path)
        {
            self.budget.use_copy(stat.st_blocks.cast_unsigned().saturating_mul(512))?;
        }
        Ok(())
    }

    /// Creates an empty regular file. Another file with the name is removed.
    fn create(&mut self, parent: &TreeDirectory, name: &[u8]) -> Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut made = None;
        self.replace(parent, name, |parent| {
            made = Some(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
            Ok(())
        })
        .context("openat(O_CREAT | O_EXCL)")?;
        made.map(File::from).context("no file was made")
    }

    /// Runs `make`. If the name exists, the file with this name is removed first.
    fn replace(
        &mut self,
        parent: &TreeDirectory,
        name: &[u8],
        mut make: impl FnMut(&TreeDirectory) -> Result<(), Errno>,
    ) -> Result<()> {
        match make(parent) {
            Err(Errno::EXIST) => {
                self.tree.remove(parent, name)?;
                Ok(make(parent)?)
            }
            other => Ok(other?),
        }
    }

    /// Makes a directory, or keeps an existing one. Returns whether it existed. A file with the
    /// name is removed.
    fn make_or_keep_directory(
        &mut self,
        parent: &TreeDirectory,
        name: &[u8],
        mut make: impl FnMut(&TreeDirectory) -> Result<(), Errno>,
    ) -> Result<bool> {
        match make(parent) {
            Ok(()) => return Ok(false),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context("mkdirat()"),
        }
        let stat =
            rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).context("fstatat()")?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(true);
        }
        self.replace(parent, name, make).context("mkdirat()")?;
        Ok(false)
    }
}
