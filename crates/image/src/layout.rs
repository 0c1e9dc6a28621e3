//! An OCI image layout: a directory with blobs and an index.json ([image-layout.md] of image-spec
//! 1.1).
//!
//! ```text
//! DIR/oci-layout            {"imageLayoutVersion":"1.0.0"}
//! DIR/index.json            the names, each with the descriptor of a manifest or index
//! DIR/blobs/sha256/<hex>    all content; the digest is the name of the file
//! DIR/.orlop-partial/       not in the specification: incomplete blobs; a later copy continues
//! ```
//!
//! A blob is renamed to its final name when it is complete and its digest is verified. index.json
//! is replaced atomically, by one process at a time (flock(2) on DIR). So a reader always sees a
//! complete layout.
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

/// The largest manifest, index or config in bytes, as for registries.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;

/// A layout on disk. Any number of threads and processes may use it at the same time.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

/// The directories that a copy creates for a layout, and removes if it fails.
#[derive(Debug)]
pub struct CreatedDirectories<'a> {
    root: &'a Path,
    /// The outermost directory.
    top: PathBuf,
}

impl<'a> CreatedDirectories<'a> {
    /// Finds the directories that do not exist yet; `None` if the directory of the layout exists.
    ///
    /// # Errors
    /// A directory cannot be read.
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

    /// Removes them, unless there is a blob or a part of one. Another copy can continue with these.
    pub fn remove(&self) {
        // The error of the copy is reported, not this one.
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
    /// Opens a layout.
    ///
    /// # Errors
    /// There is no layout, or it has another version.
    pub fn open(root: &Path) -> Result<Self> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OciLayoutFile {
            image_layout_version: String,
        }
        let path = root.join("oci-layout");
        let text = match read_file(&path, DOCUMENT_LIMIT) {
            Err(error) if is_not_found(&error) => {
                bail!("{}: there is no OCI image layout (no oci-layout file)", root.display())
            }
            other => other?,
        };
        let header: OciLayoutFile =
            serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        ensure!(
            header.image_layout_version == "1.0.0",
            "{}: version {:?} of the image layout is not known, only 1.0.0 is",
            path.display(),
            header.image_layout_version
        );
        Ok(Self { root: root.to_owned() })
    }

    /// Opens a layout, or creates it if the directory is empty or does not exist.
    ///
    /// # Errors
    /// The directory has other files; it cannot be created.
    pub fn open_or_create(root: &Path) -> Result<Self> {
        match fs::read_dir(root) {
            Ok(mut entries) => {
                let is_ours = |name: &std::ffi::OsStr| {
                    matches!(name.to_str(), Some("blobs" | "index.json" | "oci-layout"))
                };
                let other = entries
                    .find_map(|entry| entry.ok().filter(|entry| !is_ours(&entry.file_name())));
                if other.is_none() || root.join("oci-layout").try_exists()? {
                    // The directory is empty, or an interrupted copy has left it.
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

    /// The path of a blob, whether it exists or not.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().as_ref()).join(digest.digest())
    }

    /// Whether a blob exists and has the right size. Its digest is verified when it is read.
    ///
    /// # Errors
    /// The file cannot be examined.
    pub fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        let path = self.blob_path(descriptor.digest());
        match fs::metadata(&path) {
            Ok(status) => Ok(status.is_file() && status.len() == descriptor.size()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// The content of a blob. Its digest is not verified here: the receiver must do that.
    ///
    /// # Errors
    /// It does not exist, or has another size.
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

    /// Opens a blob. The last read fails if the content does not match the digest.
    ///
    /// # Errors
    /// It does not exist, or has another size.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        BlobReader::open(&self.blob_path(descriptor.digest()), descriptor)
    }

    /// Reads a whole small blob: a manifest, an index, a config.
    ///
    /// # Errors
    /// It does not exist, is larger than [`DOCUMENT_LIMIT`], or does not match its digest.
    pub fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = descriptor.digest();
        ensure!(
            descriptor.size() <= DOCUMENT_LIMIT,
            "{digest}: {} bytes are too many for a manifest or config",
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
    /// See [`Layout::read_blob`]; it is not an image manifest.
    pub fn read_manifest(&self, descriptor: &Descriptor) -> Result<ImageManifest> {
        match Document::parse(&self.read_blob(descriptor)?, descriptor.media_type().as_ref())? {
            Document::Manifest(manifest) => Ok(*manifest),
            Document::Index(_) => {
                bail!("{}: an index, not the manifest of an image", descriptor.digest())
            }
        }
    }

    /// Begins to write a blob. Waits for another process that writes the same one. Returns nothing
    /// if the blob exists.
    ///
    /// A file with the name of the blob and another size is replaced.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn begin_blob(&self, descriptor: &Descriptor) -> Result<Option<BlobWriter>> {
        BlobWriter::begin(self, descriptor)
    }

    /// Writes a blob.
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

    /// The manifest with a name, for one platform. Indexes are followed.
    ///
    /// # Errors
    /// The name does not exist; there is no image for the platform (the error lists the platforms);
    /// a document is missing or malformed.
    pub fn resolve(&self, tag: Option<&str>, platform: &Platform) -> Result<Descriptor> {
        let found = self.find(tag, None, Some(platform))?;
        self.choose(found, platform)
    }

    /// The manifest for a platform in `found`, which is a manifest or an index.
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
        bail!("{}: the indexes are nested too deep", self.root.display());
    }

    /// Reads index.json.
    ///
    /// # Errors
    /// It does not exist, or is not an index.
    pub fn index(&self) -> Result<ImageIndex> {
        let path = self.root.join("index.json");
        let text = read_file(&path, 16 * DOCUMENT_LIMIT)?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// Locks the layout against other processes until the result is dropped.
    fn lock(&self) -> Result<File> {
        let doing = || format!("locking {}", self.root.display());
        let directory = File::open(&self.root).with_context(doing)?;
        flock(&directory, FlockOperation::LockExclusive).with_context(doing)?;
        Ok(directory)
    }

    /// Replaces a file of the layout atomically.
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
    // Such a file was left by a killed process with the same id.
    let _ = fs::remove_file(path);
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.sync_data()
}

/// Opens a regular file. Another user may have made the layout, so opening must not block on a
/// fifo.
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
