//! Manifests and indexes. Both are called documents here.

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde_json::Value;

use crate::digest;
use crate::platform::{self, Platform};

/// The deepest nesting of indexes.
pub const NESTING_LIMIT: usize = 4;

/// An empty index.
pub const EMPTY_INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Media types of documents.
pub mod media_types {
    /// An image, or an artifact.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// Images for several platforms.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker's image, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's images for several platforms.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// All of them. A registry has them at `/manifests/`, not at `/blobs/`.
    pub const ALL: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub enum Document {
    /// One image or artifact.
    Manifest(Box<ImageManifest>),
    /// Images for several platforms.
    Index(Box<ImageIndex>),
}

/// Whether the descriptor is that of a document. An index may also refer to other content.
#[must_use]
pub fn is_document(descriptor: &Descriptor) -> bool {
    media_types::ALL.contains(&descriptor.media_type().as_ref())
}

impl Document {
    /// Parses a document with the media type `media_type`, of OCI or of Docker's schema 2. All
    /// digests in it have an algorithm that can be verified.
    ///
    /// # Errors
    /// Another media type; the document itself names another media type; it is malformed.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self> {
        use media_types::{DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST};
        check(bytes, media_type)?;
        match media_type {
            MANIFEST | DOCKER_MANIFEST => {
                let manifest: ImageManifest =
                    serde_json::from_slice(bytes).context("reading a manifest")?;
                let parts = std::iter::once(manifest.config()).chain(manifest.layers());
                parts.chain(manifest.subject()).try_for_each(check_descriptor)?;
                Ok(Self::Manifest(Box::new(manifest)))
            }
            INDEX | DOCKER_LIST => {
                let index: ImageIndex =
                    serde_json::from_slice(bytes).context("reading an index")?;
                index.manifests().iter().chain(index.subject()).try_for_each(check_descriptor)?;
                Ok(Self::Index(Box::new(index)))
            }
            other => bail!("media type {other:?} is not one of a manifest or an index"),
        }
    }

    /// The subject: the document that this one refers to, for instance as a signature.
    #[must_use]
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Manifest(manifest) => manifest.subject().as_ref(),
            Self::Index(index) => index.subject().as_ref(),
        }
    }

    /// The descriptor of this document in the list of referrers: `own` with the artifact type and
    /// the annotations.
    #[must_use]
    pub fn as_referrer(&self, own: &Descriptor) -> Descriptor {
        let (kind, annotations) = match self {
            Self::Manifest(manifest) => {
                let kind = manifest
                    .artifact_type()
                    .as_ref()
                    .unwrap_or_else(|| manifest.config().media_type());
                (Some(kind.clone()), manifest.annotations().clone())
            }
            Self::Index(index) => (index.artifact_type().clone(), index.annotations().clone()),
        };
        let mut entry = Descriptor::new(own.media_type().clone(), own.size(), own.digest().clone());
        entry.set_artifact_type(kind);
        entry.set_annotations(annotations);
        entry
    }
}

/// Checks keys that manifests and indexes have in common. A manifest must not be accepted as an
/// index, nor an index as a manifest (CVE-2021-41190). Otherwise different programs would see
/// different images with the same digest.
fn check(bytes: &[u8], media_type: &str) -> Result<()> {
    ensure!(
        media_types::ALL.contains(&media_type),
        "media type {media_type:?} is not one of a manifest or an index"
    );
    let value: Value = serde_json::from_slice(bytes).context("reading a manifest or an index")?;
    match value.get("mediaType") {
        None => {}
        Some(Value::String(inside)) if inside == media_type => {}
        Some(inside) => bail!("the document of media type {media_type:?} says that it is {inside}"),
    }
    if value.get("schemaVersion") != Some(&Value::from(2)) {
        bail!("schemaVersion is {}, not 2", value.get("schemaVersion").unwrap_or(&Value::Null));
    }
    let is_index = media_type == media_types::INDEX || media_type == media_types::DOCKER_LIST;
    let forbidden: &[&str] =
        if is_index { &["config", "layers", "fsLayers"] } else { &["manifests", "fsLayers"] };
    for key in forbidden {
        ensure!(
            value.get(key).is_none(),
            "the document of media type {media_type:?} has a key {key:?}"
        );
    }
    Ok(())
}

fn check_descriptor(descriptor: &Descriptor) -> Result<()> {
    digest::parse(descriptor.digest().as_ref()).map(drop)
}

/// The entry of an index for a platform: a manifest or another index.
///
/// # Errors
/// There is none. The error lists the platforms of the index.
pub fn choose(index: &ImageIndex, platform: &Platform) -> Result<Descriptor> {
    let entries = index.manifests();
    let without: Vec<&Descriptor> =
        entries.iter().filter(|entry| entry.platform().is_none()).collect();
    match (platform.choose(entries), without.as_slice()) {
        (Some(found), _) => Ok(found.clone()),
        (None, [only]) if entries.len() == 1 => Ok((*only).clone()),
        _ => bail!("there is no image for {platform}, only for {}", platform::list(entries)),
    }
}
