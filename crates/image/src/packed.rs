//! Images in one file: a tar of a layout, or of what Docker keeps of an image.

pub mod docker;
pub mod oci;
pub mod staged;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use tar::EntryType;

use crate::compression::Compression;
use crate::extent::Extent;
use crate::interrupt;
use crate::layer::Budget;
use crate::layout::DOCUMENT_LIMIT;

/// A tar file, and where each of its files begins.
#[derive(Debug)]
pub struct Tar {
    path: PathBuf,
    files: HashMap<PathBuf, Extent>,
    links: HashMap<PathBuf, PathBuf>,
}

/// How many files an archive of an image may have.
const MOST: usize = 100_000;

impl Tar {
    /// Reads the names in a tar file. One that is compressed as a whole is decompressed into a
    /// temporary file, which may have `max_size` bytes.
    ///
    /// # Errors
    /// It is not there, not a tar file, or too large.
    pub fn open(path: &Path, max_size: u64) -> Result<Self> {
        let doing = || path.display().to_string();
        let file = File::open(path).with_context(doing)?;
        ensure!(file.metadata()?.is_file(), "{} is not a regular file", path.display());
        let file = plain(file, max_size).with_context(doing)?;
        let mut tar = Self { path: path.to_owned(), files: HashMap::new(), links: HashMap::new() };
        tar.scan(file)
            .with_context(|| format!("{} is not a tar file of an image", path.display()))?;
        Ok(tar)
    }

    fn scan(&mut self, file: File) -> Result<()> {
        let shared = Arc::new(file);
        let mut archive = tar::Archive::new(&*shared);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = clean(&entry.path()?);
            ensure!(self.files.len() + self.links.len() < MOST, "more than {MOST} files");
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let extent =
                        Extent::new(Arc::clone(&shared), entry.raw_file_position(), entry.size());
                    self.files.insert(name, extent);
                }
                // Docker wrote a layer that it had written before as a link to it.
                kind @ (EntryType::Symlink | EntryType::Link) => {
                    let target = entry.link_name()?.context("a link to nothing")?.into_owned();
                    let beside = name
                        .parent()
                        .filter(|_| kind == EntryType::Symlink)
                        .map(|parent| parent.join(&target));
                    self.links.insert(name, clean(&beside.unwrap_or(target)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A file in it.
    ///
    /// # Errors
    /// There is none.
    pub fn extent(&self, name: &Path) -> Result<&Extent> {
        let mut name = &clean(name);
        for _ in 0..10 {
            match (self.files.get(name), self.links.get(name)) {
                (Some(extent), _) => return Ok(extent),
                (None, Some(target)) => name = target,
                (None, None) => break,
            }
        }
        bail!("{}: there is no {} in it", self.path.display(), name.display())
    }

    /// A small file in it, as a whole.
    ///
    /// # Errors
    /// There is none, or it is too large.
    pub fn read(&self, name: &Path) -> Result<Vec<u8>> {
        let extent = self.extent(name)?;
        let (place, size) = (self.path.display(), extent.length());
        ensure!(
            size <= DOCUMENT_LIMIT,
            "{place}: {}: {size} bytes are too many for a document",
            name.display()
        );
        let mut bytes = Vec::new();
        extent.clone().read_to_end(&mut bytes).with_context(|| place.to_string())?;
        Ok(bytes)
    }
}

/// `./a/../b` is `b`: the names of an archive are looked up in it, nowhere else.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// The file, or what it is when decompressed.
fn plain(mut file: File, max_size: u64) -> Result<File> {
    let mut beginning = [0; 4];
    let count = file.read(&mut beginning)?;
    file.seek(SeekFrom::Start(0))?;
    let compression = Compression::seen_in(&beginning[..count]);
    if compression == Compression::None {
        return Ok(file);
    }
    let mut decompressed =
        tempfile::tempfile_in(crate::copy::spool_directory()).context("making a temporary file")?;
    let mut budget = Budget::new(max_size, interrupt::watch()?);
    each_piece(compression.reader(file)?, &mut budget, |piece| decompressed.write_all(piece))?;
    decompressed.seek(SeekFrom::Start(0))?;
    Ok(decompressed)
}

/// Takes what was compressed to its end, as far as the budget goes.
fn each_piece(
    mut from: impl Read,
    budget: &mut Budget<'_>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = from.read(&mut buffer).context("decompressing")?;
        if count == 0 {
            return Ok(());
        }
        budget.charge(count as u64)?;
        take(&buffer[..count]).context("writing what was decompressed")?;
    }
}
