//! Archives of images: a tar file of a layout, or the format of `docker save`.

pub mod docker;
pub mod oci;
pub mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tar::EntryType;

use crate::budget::Budget;
use crate::compression::Compression;
use crate::extent::Extent;
use crate::interrupt;
use crate::layout::DOCUMENT_LIMIT;

/// A tar file, with the position of each file in it.
#[derive(Debug)]
pub struct TarFile {
    path: PathBuf,
    files: HashMap<PathBuf, Extent>,
    links: HashMap<PathBuf, PathBuf>,
}

/// The limit on files of an archive.
const MAX_FILES: usize = 100_000;

impl TarFile {
    /// Reads the names in a tar file. One that is compressed as a whole is decompressed into a
    /// temporary file of at most `max_size` bytes.
    ///
    /// # Errors
    /// It does not exist, is not a tar file, or is too large.
    pub fn open(path: &Path, max_size: u64) -> Result<Self> {
        let doing = || path.display().to_string();
        let file = File::open(path).with_context(doing)?;
        ensure!(file.metadata()?.is_file(), "{} is not a regular file", path.display());
        let file = decompressed(file, max_size).with_context(doing)?;
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
            ensure!(self.files.len() + self.links.len() < MAX_FILES, "more than {MAX_FILES} files");
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let extent =
                        Extent::new(Arc::clone(&shared), entry.raw_file_position(), entry.size());
                    self.files.insert(name, extent);
                }
                // Docker writes a link if a layer occurs more than once.
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

    /// A file in the archive.
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
        bail!("{}: it has no file {}", self.path.display(), name.display())
    }

    /// The content of a small file in the archive.
    ///
    /// # Errors
    /// There is none, or it is too large.
    pub fn read(&self, name: &Path) -> Result<Vec<u8>> {
        let extent = self.extent(name)?;
        let (path, size) = (self.path.display(), extent.length());
        ensure!(
            size <= DOCUMENT_LIMIT,
            "{path}: {}: {size} bytes are too many for a manifest or config",
            name.display()
        );
        let mut bytes = Vec::new();
        extent.clone().read_to_end(&mut bytes).with_context(|| path.to_string())?;
        Ok(bytes)
    }
}

/// The `diff_ids` of an image config; `None` without `rootfs`.
fn diff_ids(config: &[u8]) -> Result<Option<Vec<String>>> {
    let config: ConfigLayers = serde_json::from_slice(config).context("the image's config")?;
    Ok(config.rootfs.map(|rootfs| rootfs.diff_ids))
}

/// The part of an image config that lists the layers.
#[derive(Deserialize)]
struct ConfigLayers {
    rootfs: Option<ConfigRootfs>,
}

#[derive(Deserialize)]
struct ConfigRootfs {
    diff_ids: Vec<String>,
}

/// Normalizes a path: `./a/../b` is `b`. The names are looked up only in the archive, never on the
/// host.
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

/// The file itself, or a temporary file with the decompressed content.
fn decompressed(mut file: File, max_size: u64) -> Result<File> {
    let mut beginning = [0; 4];
    let count = file.read(&mut beginning)?;
    file.seek(SeekFrom::Start(0))?;
    let compression = Compression::detect(&beginning[..count]);
    if compression == Compression::None {
        return Ok(file);
    }
    let mut plain =
        tempfile::tempfile_in(crate::copy::spool_directory()).context("making a temporary file")?;
    let budget = Budget::of_bytes(max_size, interrupt::watch()?);
    each_piece(compression.reader(file)?, &budget, |piece| plain.write_all(piece))?;
    plain.seek(SeekFrom::Start(0))?;
    Ok(plain)
}

/// Passes the decompressed content to `take`, piece by piece, and counts it.
fn each_piece(
    mut from: impl Read,
    budget: &Budget,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = from.read(&mut buffer).context("decompressing")?;
        if count == 0 {
            return Ok(());
        }
        budget.use_bytes(count as u64)?;
        take(&buffer[..count]).context("writing what was decompressed")?;
    }
}
