//! An OCI image layout: a directory of blobs, and an index.json of what they are ([image-layout.md]
//! of image-spec 1.1).
//!
//! ```text
//! DIR/oci-layout            {"imageLayoutVersion":"1.0.0"}
//! DIR/index.json            the names, each for a manifest or an index
//! DIR/blobs/sha256/<hex>    everything else, by what it is
//! DIR/.orlop-partial/       ours: blobs that are still arriving, for a copy that is taken up again
//! ```
//!
//! A blob gets its name when it is whole and its digest is right, and index.json is replaced, never
//! written to, by one process at a time (flock(2) on DIR). So whoever reads sees a whole layout at
//! any moment.
//!
//! [image-layout.md]: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md

mod blob;
pub mod index;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType};
use rustix::fs::{FlockOperation, OFlags, flock};

pub use blob::{BlobReader, BlobWriter};

use crate::digest;
use crate::document::{self, Document};
use crate::extent::Extent;
use crate::platform::Platform;

/// How large a manifest, an index or a config may be, in bytes: what registries take.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;

/// A layout on disk. Any number of threads and processes may use one at the same time.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

/// The directories that have to be made for a layout, to take them away again when nothing came
/// into it.
#[derive(Debug)]
pub struct Fresh<'a> {
    root: &'a Path,
    /// The outermost.
    top: PathBuf,
}

impl<'a> Fresh<'a> {
    /// Looks before the layout is made; nothing if its directory is there already.
    ///
    /// # Errors
    /// A directory cannot be looked into.
    pub fn of(root: &'a Path) -> Result<Option<Self>> {
        let mut top = None;
        for path in root.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            if path.try_exists().with_context(|| path.display().to_string())? {
                break;
            }
            top = Some(path.to_owned());
        }
        Ok(top.map(|top| Self { root, top }))
    }

    /// Takes them away, unless there is a blob, or a part of one: the next copy goes on with that.
    pub fn remove(&self) {
        // There is an error on its way already, which matters more than these.
        let _ = self.try_remove();
    }

    fn try_remove(&self) -> io::Result<()> {
        match fs::remove_dir(self.root.join(".orlop-partial")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::remove_dir(self.root.join("blobs/sha256"))?,
        }
        fs::remove_dir(self.root.join("blobs"))?;
        for name in ["index.json", "oci-layout"] {
            fs::remove_file(self.root.join(name))?;
        }
        for path in self.root.ancestors().take_while(|path| path.starts_with(&self.top)) {
            fs::remove_dir(path)?;
        }
        Ok(())
    }
}

impl Layout {
    /// Opens one that is there.
    ///
    /// # Errors
    /// There is none, or one of another version.
    pub fn open(root: &Path) -> Result<Self> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Header {
            image_layout_version: String,
        }
        let path = root.join("oci-layout");
        let text = match read_file(&path, DOCUMENT_LIMIT) {
            Err(error) if is_not_found(&error) => {
                bail!("{}: there is no OCI image layout (no oci-layout file)", root.display())
            }
            other => other?,
        };
        let header: Header =
            serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        ensure!(
            header.image_layout_version == "1.0.0",
            "{}: version {:?} of the image layout is not known, only 1.0.0 is",
            path.display(),
            header.image_layout_version
        );
        Ok(Self { root: root.to_owned() })
    }

    /// Opens one, or makes it where nothing is yet.
    ///
    /// # Errors
    /// The directory holds something else; it cannot be made.
    pub fn open_or_create(root: &Path) -> Result<Self> {
        match fs::read_dir(root) {
            Ok(mut entries) => {
                let is_ours = |name: &std::ffi::OsStr| {
                    matches!(name.to_str(), Some("blobs" | "index.json" | "oci-layout"))
                };
                let stranger = entries
                    .find_map(|entry| entry.ok().filter(|entry| !is_ours(&entry.file_name())));
                if stranger.is_none() || root.join("oci-layout").try_exists()? {
                    // Empty, or left by somebody who was interrupted here, or there.
                } else {
                    bail!("{} exists and is not an OCI image layout", root.display());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| root.display().to_string()),
        }
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("making {}", blobs.display()))?;
        let layout = Self { root: root.to_owned() };
        let _lock = layout.lock()?;
        if !root.join("index.json").try_exists()? {
            layout.replace("index.json", document::EMPTY_INDEX.as_bytes())?;
        }
        if !root.join("oci-layout").try_exists()? {
            layout.replace("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Self::open(root)
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob is, or would be.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().as_ref()).join(digest.digest())
    }

    /// Whether a blob is there. Its size is looked at; its content is proved by whoever reads it.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        let path = self.blob_path(descriptor.digest());
        match fs::metadata(&path) {
            Ok(status) => Ok(status.is_file() && status.len() == descriptor.size()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// A blob's content, not proved yet: for whoever proves it elsewhere.
    ///
    /// # Errors
    /// It is not there, or has another size.
    pub fn blob_extent(&self, descriptor: &Descriptor) -> Result<Extent> {
        let file = open_regular(&self.blob_path(descriptor.digest()))?;
        let (size, expected) = (file.metadata()?.len(), descriptor.size());
        ensure!(
            size == expected,
            "blob {} has {size} bytes, it should have {expected}",
            descriptor.digest()
        );
        Ok(Extent::new(Arc::new(file), 0, size))
    }

    /// Opens a blob. Reading to its end fails if the content is not what the digest says.
    ///
    /// # Errors
    /// It is not there, or has another size.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        BlobReader::open(&self.blob_path(descriptor.digest()), descriptor)
    }

    /// Reads a small blob as a whole: a manifest, an index, a config.
    ///
    /// # Errors
    /// It is not there, is larger than [`DOCUMENT_LIMIT`], or is not what the digest says.
    pub fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = descriptor.digest();
        ensure!(
            descriptor.size() <= DOCUMENT_LIMIT,
            "{digest}: {} bytes are too many for a document",
            descriptor.size()
        );
        let mut bytes = Vec::with_capacity(usize::try_from(descriptor.size())?);
        self.open_blob(descriptor)?
            .read_to_end(&mut bytes)
            .with_context(|| self.root.display().to_string())?;
        Ok(bytes)
    }

    /// Reads an image's manifest.
    ///
    /// # Errors
    /// See [`Layout::read_blob`]; it is something else than an image manifest.
    pub fn read_manifest(&self, descriptor: &Descriptor) -> Result<ImageManifest> {
        match Document::parse(&self.read_blob(descriptor)?, descriptor.media_type().as_ref())? {
            Document::Manifest(manifest) => Ok(*manifest),
            Document::Index(_) => {
                bail!("{}: an index, not the manifest of an image", descriptor.digest())
            }
        }
    }

    /// Begins a blob that arrives piece by piece. Waits for another process that is writing the
    /// same one.
    ///
    /// Nothing if the blob is there. A file of its name and another size is replaced.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn begin_blob(&self, descriptor: &Descriptor) -> Result<Option<BlobWriter>> {
        BlobWriter::begin(self, descriptor)
    }

    /// Stores a blob that is at hand.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_blob(&self, bytes: &[u8], media_type: MediaType) -> Result<Descriptor> {
        let descriptor = Descriptor::new(media_type, bytes.len() as u64, digest::of(bytes)?);
        if let Some(mut writer) = self.begin_blob(&descriptor)? {
            writer.restart()?;
            writer
                .write_all(bytes)
                .with_context(|| format!("writing blob {}", descriptor.digest()))?;
            writer.commit()?;
        }
        Ok(descriptor)
    }

    /// The image that a name stands for: the manifest of one platform, through indexes if need be.
    ///
    /// # Errors
    /// No such name; no image for the platform (those that are there are listed); a document that
    /// is missing or bad.
    pub fn resolve(&self, tag: Option<&str>, platform: &Platform) -> Result<Descriptor> {
        let found = self.find(tag, None, Some(platform))?;
        self.choose(found, platform)
    }

    /// The image manifest that `found`, a manifest or an index, holds for a platform.
    ///
    /// # Errors
    /// See [`Layout::resolve`].
    pub fn choose(&self, mut found: Descriptor, platform: &Platform) -> Result<Descriptor> {
        for _ in 0..document::NESTING_LIMIT {
            match Document::parse(&self.read_blob(&found)?, found.media_type().as_ref())? {
                Document::Manifest(_) => return Ok(found),
                Document::Index(index) => found = document::choose(&index, platform)?,
            }
        }
        bail!("{}: indexes within indexes, too deep", self.root.display());
    }

    /// What index.json says.
    ///
    /// # Errors
    /// It is not there, or not an index.
    pub fn index(&self) -> Result<ImageIndex> {
        let path = self.root.join("index.json");
        let text = read_file(&path, 16 * DOCUMENT_LIMIT)?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// One process at a time from here, until the result is dropped.
    fn lock(&self) -> Result<File> {
        let doing = || format!("locking {}", self.root.display());
        let directory = File::open(&self.root).with_context(doing)?;
        flock(&directory, FlockOperation::LockExclusive).with_context(doing)?;
        Ok(directory)
    }

    /// Gives a file of the layout new content, all at once.
    fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let temporary = self.root.join(format!(".{name}.{}", std::process::id()));
        let path = self.root.join(name);
        let written = write_new(&temporary, content).and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.with_context(|| format!("writing {}", path.display()))
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    // One of a process that is gone and had our number.
    let _ = fs::remove_file(path);
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.sync_data()
}

/// Opens a file of a layout that somebody may have handed to us: a regular one, without waiting for
/// anybody.
fn open_regular(path: &Path) -> Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits())?;
    let file = File::options().read(true).custom_flags(nonblocking).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    ensure!(file.metadata()?.is_file(), "{} is not a regular file", path.display());
    Ok(file)
}

/// Reads a file of at most `limit` bytes.
fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .with_context(|| path.display().to_string())?;
    ensure!(bytes.len() as u64 <= limit, "{}: more than {limit} bytes", path.display());
    Ok(bytes)
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests;
