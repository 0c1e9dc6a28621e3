//! Reads all manifests and indexes of a copy, converts them if needed, and lists the blobs.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

use super::source::ImageSource;
use super::{Selection, to_oci};
use crate::digest;
use crate::document::{self, Document};
use crate::platform::Platform;

/// A manifest or index to be written.
#[derive(Debug, Clone)]
pub struct PlannedDocument {
    /// Its descriptor.
    pub descriptor: Descriptor,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Whether it gets the name. Others are referred to by their digest.
    pub is_root: bool,
}

/// The content of a copy.
#[derive(Debug)]
pub struct CopyPlan {
    /// Layers and configs, each once.
    pub blobs: Vec<Descriptor>,
    /// Manifests and indexes, each after those that it refers to.
    pub documents: Vec<PlannedDocument>,
    /// The descriptor of the last manifest or index.
    pub root: Descriptor,
}

struct Planner<'a> {
    source: &'a ImageSource,
    keep_docker: bool,
    blobs: Vec<Descriptor>,
    seen: HashSet<String>,
    documents: Vec<PlannedDocument>,
    /// The remaining bytes for documents.
    left: u64,
}

/// The limit on documents of a copy.
const MAX_DOCUMENTS: usize = 1000;
/// The limit on bytes of all documents together. They are kept in memory.
const MAX_BYTES: u64 = 64 << 20;

/// Reads all manifests and indexes. Those of Docker are converted to OCI, unless `keep_docker`.
pub async fn make(
    source: &ImageSource,
    selection: &Selection,
    keep_docker: bool,
) -> Result<CopyPlan> {
    let host = Platform::host();
    let platform = match selection {
        Selection::Host => Some(&host),
        Selection::Platform(platform) => Some(platform),
        Selection::All => None,
    };
    let (mut descriptor, mut bytes) = source.root(platform).await?;
    if let Some(platform) = platform {
        (descriptor, bytes) = choose(source, descriptor, bytes, platform)
            .await
            .with_context(|| source.to_string())?;
        if let Selection::Platform(platform) = selection {
            check_platform(source, &bytes, &descriptor, platform).await?;
        }
    }
    let mut maker = Planner {
        source,
        keep_docker,
        blobs: Vec::new(),
        seen: HashSet::new(),
        documents: Vec::new(),
        left: MAX_BYTES,
    };
    let root = maker.add(descriptor, bytes, 0).await.with_context(|| source.to_string())?;
    if let Some(last) = maker.documents.last_mut() {
        last.is_root = true;
    }
    Ok(CopyPlan { blobs: maker.blobs, documents: maker.documents, root })
}

/// Follows indexes to the image for a platform.
async fn choose(
    source: &ImageSource,
    mut descriptor: Descriptor,
    mut bytes: Vec<u8>,
    platform: &Platform,
) -> Result<(Descriptor, Vec<u8>)> {
    for _ in 0..document::NESTING_LIMIT {
        match Document::parse(&bytes, descriptor.media_type().as_ref())? {
            Document::Manifest(_) => return Ok((descriptor, bytes)),
            Document::Index(index) => descriptor = document::choose(&index, platform)?,
        }
        bytes = source.document(&descriptor).await?;
    }
    bail!("the indexes are nested too deep")
}

/// Checks the platform of an image. If it is not an entry of an index, the platform is read from
/// its config.
///
/// # Errors
/// It is for another platform; the config cannot be read.
pub async fn check_platform(
    source: &ImageSource,
    bytes: &[u8],
    descriptor: &Descriptor,
    wanted: &Platform,
) -> Result<()> {
    if let Some(described) = descriptor.platform() {
        return wanted.check(&described.into()).with_context(|| source.to_string());
    }
    let Document::Manifest(manifest) = Document::parse(bytes, descriptor.media_type().as_ref())?
    else {
        return Ok(());
    };
    if !to_oci::is_image_config(manifest.config().media_type()) {
        return Ok(());
    }
    let config: Value = serde_json::from_slice(&source.document(manifest.config()).await?)
        .with_context(|| format!("{source}: config {}", manifest.config().digest()))?;
    let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let variant = Some(text("variant")).filter(|variant| !variant.is_empty());
    let offered = Platform { os: text("os"), architecture: text("architecture"), variant };
    wanted.check(&offered).with_context(|| source.to_string())
}

impl Planner<'_> {
    /// Adds a document and all that it refers to. Returns its descriptor at the destination.
    async fn add(
        &mut self,
        descriptor: Descriptor,
        bytes: Vec<u8>,
        depth: usize,
    ) -> Result<Descriptor> {
        ensure!(depth < document::NESTING_LIMIT, "the indexes are nested too deep");
        ensure!(self.documents.len() < MAX_DOCUMENTS, "more than {MAX_DOCUMENTS} manifests");
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left =
            left.with_context(|| format!("manifests of more than {MAX_BYTES} bytes in all"))?;
        let parsed = Document::parse(&bytes, descriptor.media_type().as_ref())
            .with_context(|| descriptor.digest().to_string())?;
        let converted = if self.keep_docker {
            None
        } else {
            to_oci::document(&bytes, descriptor.media_type(), &parsed)?
        };
        let mut value = None;
        match parsed {
            Document::Manifest(manifest) => {
                for blob in std::iter::once(manifest.config()).chain(manifest.layers()) {
                    if self.seen.insert(blob.digest().to_string()) {
                        self.blobs.push(to_oci::descriptor(blob, self.keep_docker));
                    }
                }
            }
            Document::Index(index) => {
                let mut content: Value =
                    serde_json::from_slice(converted.as_deref().unwrap_or(&bytes))?;
                let mut changed = false;
                for (at, entry) in index.manifests().iter().enumerate() {
                    let bytes = self.source.document(entry).await?;
                    let written = Box::pin(self.add(entry.clone(), bytes, depth + 1)).await?;
                    if written.digest() != entry.digest() {
                        let entry = &mut content["manifests"][at];
                        entry["digest"] = json!(written.digest());
                        entry["size"] = json!(written.size());
                        entry["mediaType"] = json!(written.media_type());
                        changed = true;
                    }
                }
                value = changed.then_some(content);
            }
        }
        let bytes = match (value, converted) {
            (Some(value), _) => serde_json::to_vec(&value)?,
            (None, Some(converted)) => converted,
            (None, None) => {
                return Ok(self.write(descriptor, bytes));
            }
        };
        let media_type = to_oci::media_type(descriptor.media_type());
        let mut changed = Descriptor::new(media_type, bytes.len() as u64, digest::of(&bytes)?);
        changed.set_platform(descriptor.platform().clone());
        Ok(self.write(changed, bytes))
    }

    /// Appends a document. If it is in several indexes, it is written several times, which is
    /// harmless.
    fn write(&mut self, descriptor: Descriptor, bytes: Vec<u8>) -> Descriptor {
        let mut plain = Descriptor::new(
            MediaType::clone(descriptor.media_type()),
            descriptor.size(),
            descriptor.digest().clone(),
        );
        plain.set_platform(descriptor.platform().clone());
        self.documents.push(PlannedDocument { descriptor: plain.clone(), bytes, is_root: false });
        plain
    }
}
