//! index.json: the names of a layout.

use anyhow::{Context, Result, bail};
use oci_spec::image::{Descriptor, Digest};
use serde_json::{Value, json};

use super::{DOCUMENT_LIMIT, Layout, read_file};
use crate::platform::{self, Platform};

/// The annotation of an entry of index.json that holds its name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Layout {
    /// The entry of index.json of a name or digest; without both the only one, or the one for `platform`.
    ///
    /// # Errors
    /// There is none; there are several, and nothing says which.
    pub fn find(&self, tag: Option<&str>, digest: Option<&Digest>, platform: Option<&Platform>) -> Result<Descriptor> {
        let index = self.index()?;
        let entries = index.manifests();
        let place = self.root().display();
        if let Some(digest) = digest {
            let found = entries.iter().find(|entry| entry.digest() == digest).cloned();
            return match found {
                Some(found) => Ok(found),
                None => self.find_within(entries, digest),
            };
        }
        if let Some(tag) = tag {
            let found = entries.iter().find(|entry| name(entry) == Some(tag));
            return found.cloned().with_context(|| format!("{place} has no image {tag:?}, it has {}", names(entries)));
        }
        match entries.as_slice() {
            [] => bail!("{place} holds no image"),
            [only] => Ok(only.clone()),
            // The images of one name for several platforms, without an index of their own.
            _ if entries.iter().all(|entry| entry.platform().is_some()) && all_same(entries) => {
                let Some(platform) = platform else {
                    bail!("{place} holds several images: {}", platform::list(entries))
                };
                let found = platform.choose(entries).cloned();
                found
                    .with_context(|| format!("{place} has no image for {platform}, it has {}", platform::list(entries)))
            }
            _ => bail!("{place} holds several images, name one of {}", names(entries)),
        }
    }

    /// A manifest that only an index of this layout refers to.
    fn find_within(&self, entries: &[Descriptor], digest: &Digest) -> Result<Descriptor> {
        for entry in entries {
            let bytes = self.read_blob(entry)?;
            if let crate::document::Document::Index(index) =
                crate::document::Document::parse(&bytes, entry.media_type().as_ref())?
                && let Some(found) = index.manifests().iter().find(|found| found.digest() == digest)
            {
                return Ok(found.clone());
            }
        }
        bail!("{} has no manifest {digest}", self.root().display())
    }

    /// Writes an entry into index.json. A name is taken from whoever had it.
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
                None => other["digest"] != json!(digest) || !other["annotations"][REF_NAME].is_null(),
            });
            entries.push(entry);
            Ok(())
        })
    }

    /// Takes a name out of index.json. Its blobs stay.
    ///
    /// # Errors
    /// There is no such name; index.json cannot be read or written.
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

    /// Changes the entries of index.json, as they are: what we do not know of stays in them.
    fn update_entries(&self, change: impl FnOnce(&mut Vec<Value>) -> Result<()>) -> Result<()> {
        let _lock = self.lock()?;
        let path = self.root().join("index.json");
        let text = read_file(&path, 16 * DOCUMENT_LIMIT)?;
        let mut index: Value = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
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

/// Whether all have the same name, or none has one.
fn all_same(entries: &[Descriptor]) -> bool {
    entries.windows(2).all(|pair| name(&pair[0]) == name(&pair[1]))
}

fn names(entries: &[Descriptor]) -> String {
    let names: Vec<&str> = entries.iter().map(|entry| name(entry).unwrap_or_else(|| entry.digest().as_ref())).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
