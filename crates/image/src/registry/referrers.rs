//! Manifests and indexes that refer to another one, their subject (distribution-spec, "Pushing
//! Manifests with Subject").
//!
//! A registry with the referrers API maintains the list of referrers, and reports this. For other
//! registries the clients maintain the list: an index under a tag that is made from the subject's
//! digest. If two clients change it at the same time, an entry can be lost, since the specification
//! has no lock.

use anyhow::{Context, Result};
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

use super::Registry;
use super::lists::fallback_tag;
use crate::digest;
use crate::document::{self, Document};

impl Registry {
    /// Uploads a manifest or index. If it has a subject and the registry does not maintain the
    /// list, it is added to the list.
    ///
    /// # Errors
    /// The registry refuses the manifest or the list.
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

    /// Deletes a manifest or index, and removes it from the list of its subject if there is one.
    ///
    /// # Errors
    /// It does not exist; the registry does not support deletion.
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

    /// Replaces the list of a subject: removes `descriptor` from it and then applies `change`.
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
            format!("adding {} to the referrers of {}", descriptor.digest(), subject.digest())
        })?;
        Ok(())
    }
}
