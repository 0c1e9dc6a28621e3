//! Manifests that refer to another one, their subject (distribution-spec, "Pushing Manifests with Subject").
//!
//! A registry with the referrers API takes note by itself, and says so. For one without, the list is kept by its clients,
//! as an index under a tag made of the subject's digest. Two clients at the same moment can lose an entry: the
//! specification knows no remedy.

use anyhow::{Context, Result};
use oci_spec::image::{Descriptor, ImageManifest, MediaType};
use serde_json::{Value, json};

use super::Registry;
use super::listing::fallback_tag;
use crate::digest;
use crate::document::{self, Document};

impl Registry {
    /// Puts a manifest, and enters it into the list of its subject if it has one and the registry does not do that.
    ///
    /// # Errors
    /// The registry refuses one of the two.
    pub async fn put_with_subject(
        &self,
        repository: &str,
        selector: &str,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<()> {
        let known = self.put_manifest(repository, selector, descriptor, bytes).await?;
        let Document::Manifest(manifest) = Document::parse(bytes, descriptor.media_type().as_ref())? else {
            return Ok(());
        };
        let Some(subject) = manifest.subject().as_ref().filter(|_| !known) else { return Ok(()) };
        let entry = as_referrer(descriptor, &manifest);
        let add = |entries: &mut Vec<Value>| entries.push(entry);
        self.change_list(repository, subject, descriptor, add).await
    }

    /// Deletes a manifest, and takes it out of the list of its subject, if there is such a list.
    ///
    /// # Errors
    /// It is not there; the registry does not delete.
    pub async fn delete_with_subject(&self, repository: &str, digest: &str) -> Result<()> {
        let (descriptor, bytes) = self.manifest(repository, digest).await?;
        self.delete_manifest(repository, digest).await?;
        let Document::Manifest(manifest) = Document::parse(&bytes, descriptor.media_type().as_ref())? else {
            return Ok(());
        };
        let Some(subject) = manifest.subject() else { return Ok(()) };
        let (entries, _) = self.tagged_referrers(repository, subject.digest()).await?;
        if entries.iter().any(|entry| entry.digest() == descriptor.digest()) {
            self.change_list(repository, subject, &descriptor, |_| {}).await?;
        }
        Ok(())
    }

    /// Writes the list of a subject anew, without `descriptor` and then as `change` has it.
    async fn change_list(
        &self,
        repository: &str,
        subject: &Descriptor,
        descriptor: &Descriptor,
        change: impl FnOnce(&mut Vec<Value>),
    ) -> Result<()> {
        let tag = fallback_tag(subject.digest());
        let (entries, _) = self.tagged_referrers(repository, subject.digest()).await?;
        let others = entries.iter().filter(|entry| entry.digest() != descriptor.digest());
        let mut list = others.map(serde_json::to_value).collect::<Result<Vec<Value>, _>>()?;
        change(&mut list);
        let mut index: Value = serde_json::from_str(document::EMPTY_INDEX)?;
        index["manifests"] = Value::Array(list);
        let bytes = serde_json::to_vec(&index)?;
        let own = Descriptor::new(MediaType::ImageIndex, bytes.len() as u64, digest::of(&bytes)?);
        let put = self.put_manifest(repository, &tag, &own, &bytes).await;
        put.with_context(|| format!("entering {} into the referrers of {}", descriptor.digest(), subject.digest()))?;
        Ok(())
    }
}

/// A manifest as an entry of the list of its subject: with its type and annotations.
fn as_referrer(descriptor: &Descriptor, manifest: &ImageManifest) -> Value {
    let kind = manifest.artifact_type().as_ref().unwrap_or_else(|| manifest.config().media_type());
    let mut entry = json!({
        "mediaType": descriptor.media_type(),
        "digest": descriptor.digest(),
        "size": descriptor.size(),
        "artifactType": kind,
    });
    if let Some(annotations) = manifest.annotations() {
        entry["annotations"] = json!(annotations);
    }
    entry
}
