//! `oci-archive:`: a layout in a tar file. It is read without unpacking.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use oci_spec::image::{Descriptor, ImageIndex};

use super::TarFile;
use crate::digest;
use crate::extent::Extent;
use crate::layout::DOCUMENT_LIMIT;
use crate::layout::index::IndexEntries;
use crate::platform::Platform;
use crate::reference::PathReference;

/// An archive that exists.
#[derive(Debug)]
pub struct OciArchive {
    tar: TarFile,
    index: ImageIndex,
}

impl OciArchive {
    /// Opens one. See [`TarFile::open`].
    ///
    /// # Errors
    /// It does not exist, or has another format.
    pub fn open(path: &Path, max_size: u64) -> Result<Self> {
        let tar = TarFile::open(path, max_size)?;
        tar.extent(Path::new("oci-layout"))?;
        let index = tar.read(Path::new("index.json"))?;
        let index = serde_json::from_slice(&index)
            .with_context(|| format!("{}: index.json", path.display()))?;
        Ok(Self { tar, index })
    }

    /// The entry of index.json that a reference names.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn find(&self, local: &PathReference, platform: Option<&Platform>) -> Result<Descriptor> {
        let names = IndexEntries { entries: self.index.manifests(), path: &self.tar.path };
        match &local.digest {
            Some(digest) => names.find_digest(digest, |entry| self.read(entry)),
            None => names.find(local.tag.as_deref(), platform),
        }
    }

    /// A manifest, index or config. Its digest is verified.
    ///
    /// # Errors
    /// It does not exist, is too large, or does not match its digest.
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let size = descriptor.size();
        ensure!(
            size <= DOCUMENT_LIMIT,
            "{}: {size} bytes are too many for a manifest or config",
            descriptor.digest()
        );
        let mut bytes = Vec::new();
        self.extent(descriptor)?.read_to_end(&mut bytes)?;
        digest::verify(&bytes, descriptor.digest())
            .with_context(|| self.tar.path.display().to_string())?;
        Ok(bytes)
    }

    /// A blob. Its digest is not verified.
    ///
    /// # Errors
    /// It does not exist, or has another size.
    pub fn extent(&self, descriptor: &Descriptor) -> Result<Extent> {
        let digest = descriptor.digest();
        let name = PathBuf::from(format!("blobs/{}/{}", digest.algorithm(), digest.digest()));
        let extent = self.tar.extent(&name)?;
        let (size, expected) = (extent.length(), descriptor.size());
        ensure!(
            size == expected,
            "{}: blob {digest} has {size} bytes, it should have {expected}",
            self.tar.path.display()
        );
        Ok(extent.clone())
    }
}
