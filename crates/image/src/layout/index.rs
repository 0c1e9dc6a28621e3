//! index.json: the names of the images in a layout.

use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::image::{Descriptor, Digest};
use serde_json::{Value, json};

use super::{DOCUMENT_LIMIT, Layout, read_file};
use crate::document::{self, Document};
use crate::platform::{self, Platform};

/// The annotation with the name of an entry.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The entries of the index.json of a layout or archive.
#[derive(Debug)]
pub struct IndexEntries<'a> {
    /// The entries.
    pub entries: &'a [Descriptor],
    /// The directory or file, for error messages.
    pub path: &'a Path,
}

impl IndexEntries<'_> {
    /// The entry with a name; without a name the only entry. If several entries have the same name,
    /// the one for `platform`.
    ///
    /// # Errors
    /// There is no such entry; there are several, and the platform does not select one.
    pub fn find(&self, tag: Option<&str>, platform: Option<&Platform>) -> Result<Descriptor> {
        let path = self.path.display();
        let is_meant = |entry: &&Descriptor| match tag {
            Some(tag) => name(entry) == Some(tag),
            None => document::is_document(entry),
        };
        let entries: Vec<Descriptor> = self.entries.iter().filter(is_meant).cloned().collect();
        if let (Some(tag), []) = (tag, entries.as_slice()) {
            bail!("{path} has no image {tag:?}, it has {}", list(self.entries));
        }
        match entries.as_slice() {
            [] => bail!("{path} holds no image"),
            [only] => Ok(only.clone()),
            // Images of one name for several platforms, which are listed without an index of their
            // own.
            _ if entries.iter().all(|entry| entry.platform().is_some()) && all_same(&entries) => {
                let Some(platform) = platform else {
                    bail!("{path} holds several images: {}", platform::list(&entries))
                };
                let found = platform.choose(&entries).cloned();
                found.with_context(|| {
                    format!(
                        "{path} has no image for {platform}, it has {}",
                        platform::list(&entries)
                    )
                })
            }
            // Two entries have the same name, and the platform does not select one.
            [first, ..] if tag.is_some() => Ok(first.clone()),
            _ => bail!("{path} holds several images, name one of {}", list(&entries)),
        }
    }

    /// The manifest or index with a digest: an entry, or an entry of an index in the list.
    ///
    /// # Errors
    /// There is no such entry; an index cannot be read.
    pub fn find_digest(
        &self,
        digest: &Digest,
        read: impl Fn(&Descriptor) -> Result<Vec<u8>>,
    ) -> Result<Descriptor> {
        let here =
            |entries: &[Descriptor]| entries.iter().find(|entry| entry.digest() == digest).cloned();
        if let Some(found) = here(self.entries) {
            return Ok(found);
        }
        for entry in self.entries.iter().filter(|entry| document::is_document(entry)) {
            if let Document::Index(index) =
                Document::parse(&read(entry)?, entry.media_type().as_ref())?
                && let Some(found) = here(index.manifests())
            {
                return Ok(found);
            }
        }
        bail!("{} has no manifest {digest}", self.path.display())
    }
}

impl Layout {
    /// The entry of index.json with a digest or a name; without both the only entry. If there are
    /// several, the one for `platform`.
    ///
    /// # Errors
    /// There is no such entry; there are several, and the platform does not select one.
    pub fn find(
        &self,
        tag: Option<&str>,
        digest: Option<&Digest>,
        platform: Option<&Platform>,
    ) -> Result<Descriptor> {
        let index = self.index()?;
        let names = IndexEntries { entries: index.manifests(), path: self.root() };
        match digest {
            Some(digest) => names.find_digest(digest, |entry| self.read_blob(entry)),
            None => names.find(tag, platform),
        }
    }

    /// Adds an entry to index.json. Another entry with the same name is removed.
    ///
    /// # Errors
    /// index.json cannot be read or written.
    pub fn tag(&self, descriptor: &Descriptor, tag: Option<&str>) -> Result<()> {
        let mut entry = serde_json::to_value(descriptor)?;
        if let Some(tag) = tag {
            entry["annotations"][REF_NAME] = json!(tag);
        }
        let digest = descriptor.digest().as_ref();
        self.update_entries(|entries| {
            entries.retain(|other| match tag {
                Some(tag) => other["annotations"][REF_NAME] != json!(tag),
                None => {
                    other["digest"] != json!(digest) || !other["annotations"][REF_NAME].is_null()
                }
            });
            entries.push(entry);
            Ok(())
        })
    }

    /// Removes a name from index.json. The blobs are kept.
    ///
    /// # Errors
    /// The name does not exist; index.json cannot be read or written.
    pub fn untag(&self, tag: &str) -> Result<()> {
        self.update_entries(|entries| {
            let before = entries.len();
            entries.retain(|entry| entry["annotations"][REF_NAME] != json!(tag));
            if entries.len() == before {
                bail!("{} has no image {tag:?}", self.root().display());
            }
            Ok(())
        })
    }

    /// Changes the entries of index.json. Unknown keys are kept.
    fn update_entries(&self, change: impl FnOnce(&mut Vec<Value>) -> Result<()>) -> Result<()> {
        let _lock = self.lock()?;
        let path = self.root().join("index.json");
        let text = read_file(&path, 16 * DOCUMENT_LIMIT)?;
        let mut index: Value =
            serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
        change(entries.with_context(|| format!("{}: manifests is not a list", path.display()))?)?;
        self.replace("index.json", &serde_json::to_vec(&index)?)
    }
}

/// The name of an entry.
#[must_use]
pub fn name(entry: &Descriptor) -> Option<&str> {
    entry.annotations().as_ref()?.get(REF_NAME).map(String::as_str)
}

/// Whether all have the same name, or all have none.
fn all_same(entries: &[Descriptor]) -> bool {
    entries.windows(2).all(|pair| name(&pair[0]) == name(&pair[1]))
}

fn list(entries: &[Descriptor]) -> String {
    let names: Vec<&str> = entries
        .iter()
        .map(|entry| name(entry).unwrap_or_else(|| entry.digest().as_ref()))
        .collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
