//! What references lead to, as far as the store has seen them.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};
use oci_spec::image::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use super::{Store, replace};
use crate::digest;
use crate::image::Image;

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// As it was asked for.
    pub reference: String,
    /// For which platform.
    pub platform: String,
    /// The fingerprint of the archive that it was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The digest of its configuration.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Descriptor,
    /// The ChainIDs of its layers, the lowest first.
    pub layers: Vec<Digest>,
}

/// A record, and the time it was used last.
pub type Used = (Record, SystemTime);

impl Record {
    /// What `reference` has led to.
    ///
    /// # Errors
    /// See [`Image::chain_ids`].
    pub fn new(reference: &str, platform: &str, image: &Image) -> Result<Self> {
        Ok(Self {
            reference: reference.to_owned(),
            platform: platform.to_owned(),
            archive: None,
            id: image.id.clone(),
            manifest: image.manifest.clone(),
            layers: image.chain_ids()?,
        })
    }
}

impl Store {
    fn record_path(&self, reference: &str, platform: &str) -> Result<PathBuf> {
        let key = digest::of(format!("{platform} {reference}").as_bytes())?;
        Ok(self.root.join("images").join(format!("{}.json", key.digest())))
    }

    /// What a reference led to the last time; nothing if it was never asked for, or the record
    /// makes no sense.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn recall(&self, reference: &str, platform: &str) -> Result<Option<Record>> {
        let path = self.record_path(reference, platform)?;
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Remembers a record, and that it was used now.
    ///
    /// # Errors
    /// Those of writing.
    pub fn remember(&self, record: &Record) -> Result<()> {
        let path = self.record_path(&record.reference, &record.platform)?;
        if self.recall(&record.reference, &record.platform)?.as_ref() == Some(record) {
            let file = fs::File::options().write(true).open(&path);
            let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
            return touched.with_context(|| path.display().to_string());
        }
        replace(&path, &serde_json::to_vec(record)?)
    }

    /// Forgets a record.
    ///
    /// # Errors
    /// unlink(2)'s.
    pub fn forget(&self, record: &Record) -> Result<()> {
        let path = self.record_path(&record.reference, &record.platform)?;
        fs::remove_file(&path).with_context(|| path.display().to_string())
    }

    /// All records, the one used last first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn records(&self) -> Result<Vec<Used>> {
        self.sort_out().map(|(records, _)| records)
    }

    /// Removes records that make no sense. Nobody may be adding.
    ///
    /// # Errors
    /// unlink(2)'s.
    pub(super) fn forget_nonsense(&self) -> Result<()> {
        for path in self.sort_out()?.1 {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// All records, and the files that are none.
    fn sort_out(&self) -> Result<(Vec<Used>, Vec<PathBuf>)> {
        let (mut records, mut others) = (Vec::new(), Vec::new());
        let directory = self.root.join("images");
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read(&path).with_context(|| path.display().to_string())?;
            let used = path.metadata().and_then(|status| status.modified());
            let used = used.with_context(|| path.display().to_string())?;
            match serde_json::from_slice(&text) {
                Ok(record) => records.push((record, used)),
                Err(_) => others.push(path),
            }
        }
        records.sort_by_key(|(_, used)| std::cmp::Reverse(*used));
        Ok((records, others))
    }

    /// The bytes of an image's layers, uncompressed; those that are not there count nothing.
    #[must_use]
    pub fn size(&self, record: &Record) -> u64 {
        let of =
            |id: &Digest| fs::read_to_string(self.layer(id).join("size")).ok()?.parse::<u64>().ok();
        record.layers.iter().filter_map(of).sum()
    }
}
