//! The destination of a copy.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use oci_spec::image::Descriptor;

use super::plan::PlannedDocument;
use super::{CopyOptions, ImageSource};
use crate::layout::Layout;
use crate::reference::RegistryReference;
use crate::registry::Registry;

/// The destination of an image.
#[derive(Debug)]
pub enum ImageDestination {
    /// A layout on disk.
    Layout(Layout),
    /// A repository of a registry.
    Registry(PushRepository),
}

/// A repository to push to.
#[derive(Debug)]
pub struct PushRepository {
    pub registry: Arc<Registry>,
    pub remote: RegistryReference,
    /// Another repository of this registry, to mount blobs from.
    pub mount_from: Option<String>,
    /// A layout for blobs that come from another registry, until they are uploaded.
    pub spool: Option<Layout>,
}

impl ImageDestination {
    /// A repository. The connection of the source is used if the source is in the same registry
    /// with the same credentials. `spool` is for the blobs of a source in a registry.
    pub async fn registry(
        remote: &RegistryReference,
        source: &ImageSource,
        options: &CopyOptions,
        spool: Option<Layout>,
    ) -> Result<Self> {
        let mut mount_from = options.mount_from.clone();
        let registry = match source {
            ImageSource::Registry(registry, from) if from.host == remote.host => {
                mount_from = Some(from.repository.clone());
                let same = options.source.credentials == options.destination.credentials;
                same.then(|| Arc::clone(registry))
            }
            _ => None,
        };
        let registry = match registry {
            Some(registry) => registry,
            None => Arc::new(Registry::connect(&remote.host, &options.destination).await?),
        };
        // A repository cannot mount from itself.
        mount_from = mount_from.filter(|from| *from != remote.repository);
        Ok(Self::Registry(PushRepository { registry, remote: remote.clone(), mount_from, spool }))
    }

    /// Whether it accepts documents of Docker. Layouts have only OCI documents.
    pub fn takes_docker(&self) -> bool {
        matches!(self, Self::Registry(_))
    }

    /// Checks that the image has the digest that the destination names.
    pub fn check(&self, root: &Descriptor) -> Result<()> {
        if let Self::Registry(repository) = self
            && let Some(digest) = &repository.remote.digest
        {
            ensure!(
                digest == root.digest(),
                "{}: the image has the digest {}",
                repository.remote,
                root.digest()
            );
        }
        Ok(())
    }

    /// Writes a manifest or index; the last one under the requested name.
    pub async fn put_document(&self, document: &PlannedDocument) -> Result<()> {
        let PlannedDocument { descriptor, bytes, is_root } = document;
        match self {
            Self::Layout(layout) => {
                let (layout, descriptor, bytes) =
                    (layout.clone(), descriptor.clone(), bytes.clone());
                let put = move || layout.put_blob(&bytes, descriptor.media_type().clone());
                tokio::task::spawn_blocking(put).await.context("writing a manifest")??;
                Ok(())
            }
            Self::Registry(PushRepository { registry, remote, .. }) => {
                let by_digest = !is_root || (remote.digest.is_some() && remote.tag.is_none());
                let selector =
                    if by_digest { descriptor.digest().as_ref() } else { remote.tag_or_latest() };
                registry.put_with_subject(&remote.repository, selector, descriptor, bytes).await
            }
        }
    }
}

/// `$TMPDIR`, or /var/tmp, which is on a disk: layers are large.
pub fn spool_directory() -> std::path::PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), Into::into)
}
