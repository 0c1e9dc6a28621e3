//! Records of the images that references have resolved to.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};
use oci_spec::image::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use super::{Store, replace};
use crate::digest;
use crate::image::Image;

/// The record of an image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRecord {
    /// The reference of the command line.
    pub reference: String,
    /// The platform that was wanted.
    pub platform: String,
    /// The fingerprint of the archive, if the image is from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The digest of its configuration.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Descriptor,
    /// The ChainIDs of its layers, the lowest first.
    pub layers: Vec<Digest>,
}

/// A record, with the time of its last use.
pub type Used = (ImageRecord, SystemTime);

impl ImageRecord {
    /// A record of an image.
    ///
    /// # Errors
    /// Errors of [`Image::chain_ids`].
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

    /// The record of a reference; `None` if it does not exist or is malformed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn recall(&self, reference: &str, platform: &str) -> Result<Option<ImageRecord>> {
        let path = self.record_path(reference, platform)?;
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes a record, and sets the time of its last use.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn remember(&self, record: &ImageRecord) -> Result<()> {
        let path = self.record_path(&record.reference, &record.platform)?;
        if self.recall(&record.reference, &record.platform)?.as_ref() == Some(record) {
            let file = fs::File::options().write(true).open(&path);
            let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
            return touched.with_context(|| path.display().to_string());
        }
        replace(&path, &serde_json::to_vec(record)?)
    }

    /// Removes a record.
    ///
    /// # Errors
    /// Errors of unlink(2).
    pub fn forget(&self, record: &ImageRecord) -> Result<()> {
        let path = self.record_path(&record.reference, &record.platform)?;
        fs::remove_file(&path).with_context(|| path.display().to_string())
    }

    /// All records, the last used one first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn records(&self) -> Result<Vec<Used>> {
        self.read_records().map(|(records, _)| records)
    }

    /// Removes malformed records. The caller has the exclusive lock.
    ///
    /// # Errors
    /// Errors of unlink(2).
    pub(super) fn remove_malformed(&self) -> Result<()> {
        for path in self.read_records()?.1 {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// All records, and the paths of malformed ones.
    fn read_records(&self) -> Result<(Vec<Used>, Vec<PathBuf>)> {
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

    /// The uncompressed bytes of the layers of an image that are in the store.
    #[must_use]
    pub fn size(&self, record: &ImageRecord) -> u64 {
        let of =
            |id: &Digest| fs::read_to_string(self.layer(id).join("size")).ok()?.parse::<u64>().ok();
        record.layers.iter().filter_map(of).sum()
    }
}
