//! `docker-archive:`: what `docker save` and `podman save` write. Its manifest.json says which
//! files are an image's config and layers; there is no manifest of a registry in it, so one is made
//! (Docker's "Image Specification v1.2").

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Tar;
use crate::compression::Compression;
use crate::digest::{self, Hasher};
use crate::document::media_types;
use crate::extent::Extent;
use crate::reference::{Local, Remote};

/// One image of an archive.
#[derive(Debug)]
pub struct DockerArchive {
    tar: Tar,
    manifest: Descriptor,
    documents: HashMap<Digest, Vec<u8>>,
    layers: HashMap<Digest, Extent>,
}

/// An entry of manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: PathBuf,
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

impl DockerArchive {
    /// Opens one, and finds the image that the reference names. See [`Tar::open`].
    ///
    /// # Errors
    /// It is not there, or something else; no such image, or several and no name.
    pub fn open(local: &Local, max_size: u64) -> Result<Self> {
        ensure!(local.digest.is_none(), "{local}: a docker-archive knows no digests");
        let tar = Tar::open(&local.path, max_size)?;
        let text = tar.read(Path::new("manifest.json"))?;
        let entries: Vec<Entry> = serde_json::from_slice(&text)
            .with_context(|| format!("{}: manifest.json", local.path.display()))?;
        let entry = find(&entries, local)?;
        let config = tar.read(&entry.config)?;
        let mut archive = Self {
            tar,
            manifest: Descriptor::new(MediaType::ImageManifest, 0, digest::of(b"")?),
            documents: HashMap::new(),
            layers: HashMap::new(),
        };
        archive.make_manifest(entry, config).with_context(|| local.path.display().to_string())?;
        Ok(archive)
    }

    fn make_manifest(&mut self, entry: &Entry, config: Vec<u8>) -> Result<()> {
        let parsed: Config = serde_json::from_slice(&config).context("the image's config")?;
        let diff_ids = parsed.rootfs.map(|rootfs| rootfs.diff_ids).unwrap_or_default();
        let (layers, ids) = (entry.layers.len(), diff_ids.len());
        ensure!(layers == ids, "{layers} layers, but the config has {ids} diff_ids");
        let mut described = Vec::new();
        for (path, diff_id) in entry.layers.iter().zip(&diff_ids) {
            let extent = self.tar.extent(path)?.clone();
            let layer = describe(&extent, diff_id).with_context(|| path.display().to_string())?;
            self.layers.insert(layer.digest().clone(), extent);
            described.push(layer);
        }
        let config_descriptor =
            Descriptor::new(MediaType::ImageConfig, config.len() as u64, digest::of(&config)?);
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": media_types::MANIFEST,
            "config": config_descriptor,
            "layers": described,
        }))?;
        self.manifest = Descriptor::new(
            MediaType::ImageManifest,
            manifest.len() as u64,
            digest::of(&manifest)?,
        );
        self.documents.insert(config_descriptor.digest().clone(), config);
        self.documents.insert(self.manifest.digest().clone(), manifest);
        Ok(())
    }

    /// The manifest that was made.
    #[must_use]
    pub fn manifest(&self) -> &Descriptor {
        &self.manifest
    }

    /// The manifest or the config.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.documents.get(descriptor.digest()).cloned().with_context(|| self.lacks(descriptor))
    }

    /// A layer, not proved, or the config.
    ///
    /// # Errors
    /// There is none.
    pub fn extent(&self, descriptor: &Descriptor) -> Result<Extent> {
        if let Some(document) = self.documents.get(descriptor.digest()) {
            return Extent::of(document);
        }
        self.layers.get(descriptor.digest()).cloned().with_context(|| self.lacks(descriptor))
    }

    fn lacks(&self, descriptor: &Descriptor) -> String {
        format!("{}: there is no {} in it", self.tar.path.display(), descriptor.digest())
    }
}

/// The entry of a name, or the only one.
fn find<'a>(entries: &'a [Entry], local: &Local) -> Result<&'a Entry> {
    let place = local.path.display();
    let Some(wanted) = &local.tag else {
        return match entries {
            [] => bail!("{place} holds no image"),
            [only] => Ok(only),
            _ => bail!("{place} holds several images, name one of {}", names(entries)),
        };
    };
    // `nginx`, `nginx:latest` and `docker.io/library/nginx:latest` are the same.
    let whole = |name: &str| {
        let name = Remote::parse(name).ok()?;
        Some((name.host.clone(), name.repository.clone(), name.tag_or_latest().to_owned()))
    };
    let sought = whole(wanted)
        .with_context(|| format!("{local}: {wanted:?} is not the name of an image"))?;
    let has = |entry: &&Entry| {
        entry.repo_tags.iter().flatten().any(|name| whole(name).as_ref() == Some(&sought))
    };
    let found = entries.iter().find(has);
    found.with_context(|| format!("{place} has no image {wanted:?}, it has {}", names(entries)))
}

fn names(entries: &[Entry]) -> String {
    let names: Vec<&str> = entries
        .iter()
        .flat_map(|entry| entry.repo_tags.iter().flatten())
        .map(String::as_str)
        .collect();
    if names.is_empty() { "none with a name".to_owned() } else { names.join(", ") }
}

/// A layer as a manifest has it. What is not compressed is called by its `diff_id`, which the copy
/// will prove.
fn describe(extent: &Extent, diff_id: &str) -> Result<Descriptor> {
    let mut beginning = Vec::new();
    extent.clone().take(4).read_to_end(&mut beginning)?;
    let media_type = match Compression::seen_in(&beginning) {
        Compression::None => {
            return Ok(Descriptor::new(
                MediaType::ImageLayer,
                extent.length(),
                digest::parse(diff_id)?,
            ));
        }
        Compression::Gzip => MediaType::ImageLayerGzip,
        Compression::Zstd => MediaType::ImageLayerZstd,
    };
    let mut hasher = Hasher::Sha256(Sha256::new());
    let mut rest = extent.clone();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match rest.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(Descriptor::new(media_type, extent.length(), digest::parse(&hasher.finish())?))
}
