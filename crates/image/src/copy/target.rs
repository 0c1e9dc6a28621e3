//! Where a copy goes to.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use oci_spec::image::Descriptor;

use super::plan::Written;
use super::{Options, Source};
use crate::layout::Layout;
use crate::reference::Remote;
use crate::registry::Registry;

/// Something that takes an image.
#[derive(Debug)]
pub enum Target {
    /// A layout on disk.
    Layout(Layout),
    /// A repository of a registry.
    Registry(Repository),
}

/// A repository to push to.
#[derive(Debug)]
pub struct Repository {
    pub registry: Arc<Registry>,
    pub remote: Remote,
    /// Another repository of this registry that may have the blobs.
    pub mount_from: Option<String>,
    /// Where blobs of another registry stay until they are pushed.
    pub spool: Option<Layout>,
}

impl Target {
    /// A repository, over the same connection if the source is in the same registry and we are the
    /// same there. `spool` is for the blobs of a source that is in a registry.
    pub async fn registry(
        remote: &Remote,
        source: &Source,
        options: &Options,
        spool: Option<Layout>,
    ) -> Result<Self> {
        let mut mount_from = options.mount_from.clone();
        let registry = match source {
            Source::Registry(registry, from) if from.host == remote.host => {
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
        // From itself there is nothing to mount: it was asked whether it has the blob.
        mount_from = mount_from.filter(|from| *from != remote.repository);
        Ok(Self::Registry(Repository { registry, remote: remote.clone(), mount_from, spool }))
    }

    /// Whether it takes Docker's documents as they are. A layout is OCI's.
    pub fn takes_docker(&self) -> bool {
        matches!(self, Self::Registry(_))
    }

    /// Whether it can take this at all.
    pub fn check(&self, root: &Descriptor) -> Result<()> {
        if let Self::Registry(repository) = self
            && let Some(digest) = &repository.remote.digest
        {
            ensure!(
                digest == root.digest(),
                "{}: the image to be copied is {}",
                repository.remote,
                root.digest()
            );
        }
        Ok(())
    }

    /// Writes a manifest or index; the last one under the name that was asked for.
    pub async fn put_document(&self, document: &Written) -> Result<()> {
        let Written { descriptor, bytes, is_root } = document;
        match self {
            Self::Layout(layout) => {
                let (layout, descriptor, bytes) =
                    (layout.clone(), descriptor.clone(), bytes.clone());
                let put = move || layout.put_blob(&bytes, descriptor.media_type().clone());
                tokio::task::spawn_blocking(put).await.context("writing a manifest")??;
                Ok(())
            }
            Self::Registry(Repository { registry, remote, .. }) => {
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
