//! Applying a layer: each entry in its turn becomes what it describes (layer.md, "Applying
//! Changesets").

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufRead;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, makedev};
use rustix::io::Errno;

use super::metadata::{self, Target};
use super::name::{clean, join, split};
use super::tree::{Directory, Tree};
use super::{remove, whiteout};
use crate::archive::{Archive, Entry, Kind, show};

/// What becomes of the owners that a layer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Files get them. Needs root.
    Set,
    /// Files are ours, and their owner is recorded in the attribute `user.rootlesscontainers`; a
    /// device is an empty file, and attributes that only root may set are left out.
    Recorded,
}

/// How much an image may unpack to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of its layers, uncompressed.
    pub bytes: u64,
    /// Entries of its layers.
    pub entries: u64,
}

/// What is left of the limits, but for the bytes that come out of layers, which
/// [`Budget`](crate::layer::Budget) counts.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    limits: Limits,
    entries: u64,
    /// Bytes of lower files that overlayfs may copy.
    copies: u64,
}

impl Allowance {
    /// All of it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, entries: limits.entries, copies: limits.bytes }
    }

    fn entry(&mut self) -> Result<()> {
        let limit = self.limits.entries;
        let left = self.entries.checked_sub(1);
        self.entries = left.with_context(|| {
            format!("the image has more than {limit} entries; --max-entries raises the limit")
        })?;
        Ok(())
    }

    fn copy(&mut self, bytes: u64) -> Result<()> {
        let limit = self.limits.bytes;
        let left = self.copies.checked_sub(bytes);
        self.copies = left.with_context(|| {
            format!(
                "hard links of the image take more than {limit} bytes; --max-size raises the limit"
            )
        })?;
        Ok(())
    }
}

/// Applies the layers of an image to a tree, the lowest first.
#[derive(Debug)]
pub struct Applier {
    pub(super) tree: Tree,
    owners: Owners,
    allowance: Allowance,
    /// Whether something has been there before this layer.
    has_lower: bool,
    /// Whether that is under the tree, which is an overlay, not in it.
    is_overlay: bool,
    /// Lower files that overlayfs has copied for a hard link, by paths without links.
    copied: BTreeSet<Vec<u8>>,
    /// What this layer has made, by paths without links; kept if there are lower layers to tell it
    /// from.
    pub(super) written: BTreeSet<Vec<u8>>,
}

impl Applier {
    /// For the directory `tree`, which is empty or, when `has_lower`, an overlay of lower layers.
    #[must_use]
    pub fn new(tree: Tree, owners: Owners, has_lower: bool, allowance: Allowance) -> Self {
        let (copied, written) = (BTreeSet::new(), BTreeSet::new());
        Self { tree, owners, allowance, has_lower, is_overlay: has_lower, copied, written }
    }

    /// What is left for other layers.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// The tree, when all layers are applied.
    #[must_use]
    pub fn into_tree(self) -> Tree {
        self.tree
    }

    pub(super) fn has_lower(&self) -> bool {
        self.has_lower
    }

    /// Applies one layer, the next one up.
    ///
    /// # Errors
    /// What cannot be read or made; the error names the entry. The tree is then of no use any more.
    pub fn apply(&mut self, layer: impl BufRead) -> Result<()> {
        let mut archive = Archive::new(layer);
        while let Some(entry) = archive.next_entry()? {
            self.allowance.entry()?;
            self.entry(&entry, &mut archive)
                .with_context(|| format!("entry {:?}", show(&entry.path)))?;
        }
        self.tree.settle()?;
        self.written.clear();
        self.has_lower = true;
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, archive: &mut Archive<impl BufRead>) -> Result<()> {
        let path = clean(&entry.path)?;
        if path.is_empty() {
            ensure!(entry.kind == Kind::Directory, "the root can only be a directory");
            let top = self.tree.top()?;
            return self.directory(&top, b".", entry, true);
        }
        if whiteout::is_one(&path) {
            return self.whiteout(&path);
        }
        let (parent, name) = split(&path);
        let parent = self.tree.make_directory(parent)?;
        self.tree.hold_times(&parent)?;
        self.make(&parent, name, entry, archive)?;
        if self.has_lower {
            self.written.insert(join(&parent.path, name));
        }
        Ok(())
    }

    fn make(
        &mut self,
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<()> {
        match &entry.kind {
            Kind::File(size) => {
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
                self.finish(Target::Open(file.as_fd()), entry)
            }
            Kind::Directory => {
                let existed = self
                    .place(parent, name, |parent| rustix::fs::mkdirat(parent, name, Mode::RWXU))?;
                self.directory(parent, name, entry, existed)
            }
            Kind::Symlink(target) => {
                ensure!(
                    !target.is_empty() && !target.contains(&0),
                    "a symbolic link to {:?}",
                    show(target)
                );
                self.replace(parent, name, |parent| {
                    rustix::fs::symlinkat(target.as_slice(), parent, name)
                })
                .context("symlinkat()")?;
                self.finish(Target::Name(parent.as_fd(), name), entry)
            }
            Kind::HardLink(target) => self.link(parent, name, target),
            Kind::Character(major, minor) => {
                self.node(parent, name, entry, (FileType::CharacterDevice, makedev(*major, *minor)))
            }
            Kind::Block(major, minor) => {
                self.node(parent, name, entry, (FileType::BlockDevice, makedev(*major, *minor)))
            }
            Kind::Fifo => self.node(parent, name, entry, (FileType::Fifo, 0)),
        }
    }

    /// A directory's metadata. Its times come with the end of the layer.
    fn directory(
        &mut self,
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        existed: bool,
    ) -> Result<()> {
        let fd = remove::open(parent.as_fd(), name)?;
        if existed {
            metadata::clear_xattrs(fd.as_fd())?;
        } else {
            metadata::clear_acls(fd.as_fd())?;
        }
        metadata::apply(Target::Open(fd.as_fd()), entry, self.owners, false)?;
        let path = if name == b"." { Vec::new() } else { join(&parent.path, name) };
        self.tree.set_times(path, metadata::timestamps(entry));
        Ok(())
    }

    fn node(
        &mut self,
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        (kind, device): (FileType, u64),
    ) -> Result<()> {
        if self.owners == Owners::Recorded && kind != FileType::Fifo {
            let placeholder = self.create(parent, name)?;
            return self.finish(Target::Open(placeholder.as_fd()), entry);
        }
        let mode = Mode::RUSR | Mode::WUSR;
        self.replace(parent, name, |parent| rustix::fs::mknodat(parent, name, kind, mode, device))
            .context("mknodat()")?;
        self.finish(Target::Name(parent.as_fd(), name), entry)
    }

    fn finish(&self, target: Target<'_>, entry: &Entry) -> Result<()> {
        metadata::apply(target, entry, self.owners, matches!(entry.kind, Kind::Symlink(_)))?;
        metadata::set_times(target, entry)
    }

    /// Another name for what is there; its metadata it has already.
    fn link(&mut self, parent: &Directory, name: &[u8], target: &[u8]) -> Result<()> {
        let path = clean(target).with_context(|| format!("hard link to {:?}", show(target)))?;
        let (directory, source) = split(&path);
        let missing = || format!("hard link to {:?}, which is not there", show(target));
        let directory = self.tree.directory(directory)?.with_context(missing)?;
        if directory.path == parent.path && source == name {
            let found = rustix::fs::statat(&*directory, source, AtFlags::SYMLINK_NOFOLLOW);
            return found.map(drop).with_context(missing);
        }
        // First of all, lest a bad link removes what it was to replace.
        let stat = rustix::fs::statat(&*directory, source, AtFlags::SYMLINK_NOFOLLOW)
            .with_context(missing)?;
        self.charge_copy(join(&directory.path, source), &stat)?;
        self.replace(parent, name, |parent| {
            rustix::fs::linkat(&*directory, source, parent, name, AtFlags::empty())
        })
        .with_context(|| format!("linkat({:?})", show(target)))
    }

    /// A lower file gets its first new name: overlayfs copies it.
    fn charge_copy(&mut self, path: Vec<u8>, stat: &Stat) -> Result<()> {
        let is_lower = self.is_overlay && !self.written.contains(&path);
        if is_lower
            && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && self.copied.insert(path)
        {
            self.allowance.copy(stat.st_blocks.cast_unsigned().saturating_mul(512))?;
        }
        Ok(())
    }

    /// An empty regular file in the place of whatever was there.
    fn create(&mut self, parent: &Directory, name: &[u8]) -> Result<File> {
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

    /// Makes something new; where a name is taken, the old thing is removed first.
    fn replace(
        &mut self,
        parent: &Directory,
        name: &[u8],
        mut make: impl FnMut(&Directory) -> Result<(), Errno>,
    ) -> Result<()> {
        match make(parent) {
            Err(Errno::EXIST) => {
                self.tree.remove(parent, name)?;
                Ok(make(parent)?)
            }
            other => Ok(other?),
        }
    }

    /// As [`Self::replace`], but a directory stays; gives whether there was one.
    fn place(
        &mut self,
        parent: &Directory,
        name: &[u8],
        mut make: impl FnMut(&Directory) -> Result<(), Errno>,
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
