//! The source of a copy.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use oci_spec::image::Descriptor;

use crate::extent::Extent;
use crate::image_archive::docker::DockerArchive;
use crate::image_archive::oci::OciArchive;
use crate::layout::Layout;
use crate::platform::Platform;
use crate::reference::{PathFormat, PathReference, Reference, RegistryReference};
use crate::registry::{Connection, Registry};

/// The source of an image.
#[derive(Debug)]
pub enum ImageSource {
    /// A repository of a registry.
    Registry(Arc<Registry>, RegistryReference),
    /// A layout on disk.
    Layout(Layout, PathReference),
    /// A layout in a tar file.
    OciArchive(OciArchive, PathReference),
    /// An archive of `docker save`.
    DockerArchive(DockerArchive, PathBuf),
}

impl ImageSource {
    /// Opens the source, without a request to a registry. An archive that is compressed as a whole
    /// is decompressed, to at most `max_size` bytes.
    ///
    /// # Errors
    /// It does not exist, or has another format.
    pub async fn open(
        reference: &Reference,
        connection: &Connection,
        max_size: u64,
    ) -> Result<Self> {
        match reference {
            Reference::Registry(remote) => {
                let registry = Registry::connect(&remote.host, connection).await?;
                Ok(Self::Registry(Arc::new(registry), remote.clone()))
            }
            Reference::Path(local) => {
                let local = local.clone();
                let open = move || Self::open_path(local, max_size);
                tokio::task::spawn_blocking(open).await.context("opening the source")?
            }
        }
    }

    fn open_path(local: PathReference, max_size: u64) -> Result<Self> {
        Ok(match local.format {
            PathFormat::Layout => Self::Layout(Layout::open(&local.path)?, local),
            PathFormat::OciArchive => {
                Self::OciArchive(OciArchive::open(&local.path, max_size)?, local)
            }
            PathFormat::DockerArchive => {
                Self::DockerArchive(DockerArchive::open(&local, max_size)?, local.path)
            }
        })
    }

    /// The manifest or index that the reference names.
    ///
    /// # Errors
    /// There is no such image; there are several; the image cannot be read.
    pub async fn root(&self, platform: Option<&Platform>) -> Result<(Descriptor, Vec<u8>)> {
        let found = match self {
            Self::Registry(registry, remote) => {
                return registry.manifest(&remote.repository, remote.selector()).await;
            }
            Self::Layout(layout, local) => {
                layout.find(local.tag.as_deref(), local.digest.as_ref(), platform)?
            }
            Self::OciArchive(archive, local) => archive.find(local, platform)?,
            Self::DockerArchive(archive, _) => archive.manifest().clone(),
        };
        let bytes = self.document(&found).await?;
        Ok((found, bytes))
    }

    /// A manifest, index or config.
    ///
    /// # Errors
    /// It does not exist, is too large, or does not match its digest.
    pub async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        match self {
            Self::Registry(registry, remote) => {
                let bytes = if crate::document::is_document(descriptor) {
                    registry.manifest(&remote.repository, descriptor.digest().as_ref()).await?.1
                } else {
                    registry.small_blob(&remote.repository, descriptor).await?
                };
                let (size, expected) = (bytes.len() as u64, descriptor.size());
                let digest = descriptor.digest();
                anyhow::ensure!(
                    size == expected,
                    "{self}: {digest} has {size} bytes, it should have {expected}"
                );
                Ok(bytes)
            }
            Self::Layout(layout, _) => layout.read_blob(descriptor),
            Self::OciArchive(archive, _) => archive.read(descriptor),
            Self::DockerArchive(archive, _) => archive.read(descriptor),
        }
    }

    /// A blob of a layout or archive, as a part of a file; `None` for a registry. Its digest is not
    /// verified.
    ///
    /// # Errors
    /// It does not exist, or has another size.
    pub fn extent(&self, descriptor: &Descriptor) -> Result<Option<Extent>> {
        match self {
            Self::Registry(..) => Ok(None),
            Self::Layout(layout, _) => layout.blob_extent(descriptor).map(Some),
            Self::OciArchive(archive, _) => archive.extent(descriptor).map(Some),
            Self::DockerArchive(archive, _) => archive.extent(descriptor).map(Some),
        }
    }
}

impl Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(_, remote) => remote.fmt(f),
            Self::Layout(_, local) | Self::OciArchive(_, local) => local.fmt(f),
            Self::DockerArchive(_, path) => path.display().fmt(f),
        }
    }
}
