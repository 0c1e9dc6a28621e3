//! Manifests and indexes that refer to another one, their subject (distribution-spec, "Pushing
//! Manifests with Subject").
//!
//! A registry with the referrers API takes note by itself, and says so. For one without, the list
//! is kept by its clients, as an index under a tag made of the subject's digest. Two clients at the
//! same moment can lose an entry: the specification knows no remedy.

use anyhow::{Context, Result};
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

use super::Registry;
use super::listing::fallback_tag;
use crate::digest;
use crate::document::{self, Document};

impl Registry {
    /// Puts a manifest or index, and enters it into the list of its subject if it has one and the
    /// registry does not do that.
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
        let document = Document::parse(bytes, descriptor.media_type().as_ref())?;
        let Some(subject) = document.subject().filter(|_| !known) else { return Ok(()) };
        let entry = document.as_referrer(descriptor);
        let add = |entries: &mut Vec<Descriptor>| entries.push(entry);
        self.change_list(repository, subject, descriptor, add).await
    }

    /// Deletes a manifest or index, and takes it out of the list of its subject, if there is such a
    /// list.
    ///
    /// # Errors
    /// It is not there; the registry does not delete.
    pub async fn delete_with_subject(&self, repository: &str, digest: &str) -> Result<()> {
        let (descriptor, bytes) = self.manifest(repository, digest).await?;
        self.delete_manifest(repository, digest).await?;
        let document = Document::parse(&bytes, descriptor.media_type().as_ref())?;
        let Some(subject) = document.subject() else { return Ok(()) };
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
        change: impl FnOnce(&mut Vec<Descriptor>),
    ) -> Result<()> {
        let tag = fallback_tag(subject.digest());
        let (mut list, _) = self.tagged_referrers(repository, subject.digest()).await?;
        list.retain(|entry| entry.digest() != descriptor.digest());
        change(&mut list);
        let mut index: Value = serde_json::from_str(document::EMPTY_INDEX)?;
        index["manifests"] = json!(list);
        let bytes = serde_json::to_vec(&index)?;
        let own = Descriptor::new(MediaType::ImageIndex, bytes.len() as u64, digest::of(&bytes)?);
        let put = self.put_manifest(repository, &tag, &own, &bytes).await;
        put.with_context(|| {
            format!("entering {} into the referrers of {}", descriptor.digest(), subject.digest())
        })?;
        Ok(())
    }
}
