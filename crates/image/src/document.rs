//! Manifests and indexes: what they are, and which image of an index is meant.

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde_json::Value;

use crate::digest;
use crate::platform::{self, Platform};

/// How deep indexes may refer to indexes.
pub const NESTING_LIMIT: usize = 4;

/// An index of nothing.
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
    /// All of them: what is at `/manifests/` of a registry, not at `/blobs/`.
    pub const ALL: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];
}

/// What a descriptor of an index or a reference leads to.
#[derive(Debug, Clone)]
pub enum Document {
    /// One image or artifact.
    Manifest(Box<ImageManifest>),
    /// Images for several platforms.
    Index(Box<ImageIndex>),
}

/// Whether something of this media type can be one: an index may refer to other things too.
#[must_use]
pub fn is_one(descriptor: &Descriptor) -> bool {
    media_types::ALL.contains(&descriptor.media_type().as_ref())
}

impl Document {
    /// Reads one of Docker's schema 2 or OCI's, whose media type is `media_type`, with all its
    /// digests checked to be ones that can be verified.
    ///
    /// # Errors
    /// Another media type; another one inside than outside; not such a document.
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

    /// What it refers to as a signature, say, does.
    #[must_use]
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Manifest(manifest) => manifest.subject().as_ref(),
            Self::Index(index) => index.subject().as_ref(),
        }
    }

    /// This document, at `own`, as an entry of the list of its subject: with its type and
    /// annotations.
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

/// What both kinds have in common. One kind must not pass for the other (CVE-2021-41190): somebody
/// who trusts the digest would see another image than we do.
fn check(bytes: &[u8], media_type: &str) -> Result<()> {
    ensure!(
        media_types::ALL.contains(&media_type),
        "media type {media_type:?} is not one of a manifest or an index"
    );
    let value: Value = serde_json::from_slice(bytes).context("reading a manifest or an index")?;
    match value.get("mediaType") {
        None => {}
        Some(Value::String(inside)) if inside == media_type => {}
        Some(inside) => bail!("a document of media type {media_type:?} that says it is {inside}"),
    }
    if value.get("schemaVersion") != Some(&Value::from(2)) {
        bail!("schemaVersion is {}, not 2", value.get("schemaVersion").unwrap_or(&Value::Null));
    }
    let is_index = media_type == media_types::INDEX || media_type == media_types::DOCKER_LIST;
    let strangers: &[&str] =
        if is_index { &["config", "layers", "fsLayers"] } else { &["manifests", "fsLayers"] };
    for key in strangers {
        ensure!(value.get(key).is_none(), "a document of media type {media_type:?} with {key:?}");
    }
    Ok(())
}

fn check_descriptor(descriptor: &Descriptor) -> Result<()> {
    digest::parse(descriptor.digest().as_ref()).map(drop)
}

/// The entry of an index for a platform: a manifest, or an index of it.
///
/// # Errors
/// There is none; the error lists those that are there.
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
