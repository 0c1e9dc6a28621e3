//! Where a copy comes from.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use oci_spec::image::Descriptor;

use crate::extent::Extent;
use crate::layout::Layout;
use crate::packed::docker::DockerArchive;
use crate::packed::oci::OciArchive;
use crate::platform::Platform;
use crate::reference::{Local, Reference, Remote};
use crate::registry::{Connection, Registry};

/// Something that holds an image.
#[derive(Debug)]
pub enum Source {
    /// A repository of a registry.
    Registry(Arc<Registry>, Remote),
    /// A layout on disk.
    Layout(Layout, Local),
    /// A layout in a tar file.
    OciArchive(OciArchive, Local),
    /// What `docker save` has written.
    DockerArchive(DockerArchive, PathBuf),
}

impl Source {
    /// Opens it, as far as that can be done without asking a registry for anything. An archive that
    /// is compressed as a whole may have `max_size` bytes.
    ///
    /// # Errors
    /// It is not there, or is something else.
    pub async fn open(
        reference: &Reference,
        connection: &Connection,
        max_size: u64,
    ) -> Result<Self> {
        let reference = match reference {
            Reference::Registry(remote) => {
                let registry = Registry::connect(&remote.host, connection).await?;
                return Ok(Self::Registry(Arc::new(registry), remote.clone()));
            }
            local => local.clone(),
        };
        let open = move || match reference {
            Reference::Layout(local) => {
                Layout::open(&local.path).map(|layout| Self::Layout(layout, local))
            }
            Reference::OciArchive(local) => OciArchive::open(&local.path, max_size)
                .map(|archive| Self::OciArchive(archive, local)),
            Reference::DockerArchive(local) => DockerArchive::open(&local, max_size)
                .map(|archive| Self::DockerArchive(archive, local.path)),
            Reference::Registry(_) => unreachable!("done above"),
        };
        tokio::task::spawn_blocking(open).await.context("opening the source")?
    }

    /// The manifest or index that the reference names.
    ///
    /// # Errors
    /// There is none, or several; it cannot be read.
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
    /// It is not there, too large, or not what its digest says.
    pub async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        match self {
            Self::Registry(registry, remote) => {
                let bytes = if crate::document::is_one(descriptor) {
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

    /// A blob that is on this machine. Its content is not proved.
    ///
    /// # Errors
    /// It is not there, or has another size.
    pub fn extent(&self, descriptor: &Descriptor) -> Result<Option<Extent>> {
        match self {
            Self::Registry(..) => Ok(None),
            Self::Layout(layout, _) => layout.blob_extent(descriptor).map(Some),
            Self::OciArchive(archive, _) => archive.extent(descriptor).map(Some),
            Self::DockerArchive(archive, _) => archive.extent(descriptor).map(Some),
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(_, remote) => remote.fmt(f),
            Self::Layout(_, local) | Self::OciArchive(_, local) => local.fmt(f),
            Self::DockerArchive(_, path) => path.display().fmt(f),
        }
    }
}
