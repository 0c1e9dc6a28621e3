//! `docker-archive:`, the format of `docker save` and `podman save`. Its manifest.json names the
//! files of the config and of the layers. It has no OCI manifest, so one is made (Docker's "Image
//! Specification v1.2").

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{TarFile, diff_ids};
use crate::compression::Compression;
use crate::digest::{self, Digester};
use crate::document::media_types;
use crate::extent::Extent;
use crate::reference::{PathReference, RegistryReference};

/// One image in a Docker archive.
#[derive(Debug)]
pub struct DockerArchive {
    tar: TarFile,
    manifest: Descriptor,
    documents: HashMap<Digest, Vec<u8>>,
    layers: HashMap<Digest, Extent>,
}

/// An entry of manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifestEntry {
    config: PathBuf,
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

impl DockerArchive {
    /// Opens an archive and finds the image that the reference names. See [`TarFile::open`].
    ///
    /// # Errors
    /// It does not exist, or has another format; the image does not exist; there are several images
    /// and no name is given.
    pub fn open(local: &PathReference, max_size: u64) -> Result<Self> {
        ensure!(local.digest.is_none(), "{local}: a docker-archive has no digests");
        let tar = TarFile::open(&local.path, max_size)?;
        let text = tar.read(Path::new("manifest.json"))?;
        let entries: Vec<DockerManifestEntry> = serde_json::from_slice(&text)
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

    fn make_manifest(&mut self, entry: &DockerManifestEntry, config: Vec<u8>) -> Result<()> {
        let diff_ids = diff_ids(&config)?.unwrap_or_default();
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
    /// It is neither of these.
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.documents.get(descriptor.digest()).cloned().with_context(|| self.missing(descriptor))
    }

    /// A layer, whose digest is not verified, or the config.
    ///
    /// # Errors
    /// There is none.
    pub fn extent(&self, descriptor: &Descriptor) -> Result<Extent> {
        if let Some(document) = self.documents.get(descriptor.digest()) {
            return Extent::from_bytes(document);
        }
        self.layers.get(descriptor.digest()).cloned().with_context(|| self.missing(descriptor))
    }

    fn missing(&self, descriptor: &Descriptor) -> String {
        format!("{}: it has no {}", self.tar.path.display(), descriptor.digest())
    }
}

/// The entry of a name, or the only one.
fn find<'a>(
    entries: &'a [DockerManifestEntry],
    local: &PathReference,
) -> Result<&'a DockerManifestEntry> {
    let path = local.path.display();
    let Some(wanted) = &local.tag else {
        return match entries {
            [] => bail!("{path} holds no image"),
            [only] => Ok(only),
            _ => bail!("{path} holds several images, name one of {}", names(entries)),
        };
    };
    // `nginx`, `nginx:latest` and `docker.io/library/nginx:latest` are the same name.
    let full = |name: &str| {
        let name = RegistryReference::parse(name).ok()?;
        Some((name.host.clone(), name.repository.clone(), name.tag_or_latest().to_owned()))
    };
    let sought =
        full(wanted).with_context(|| format!("{local}: {wanted:?} is not the name of an image"))?;
    let has = |entry: &&DockerManifestEntry| {
        entry.repo_tags.iter().flatten().any(|name| full(name).as_ref() == Some(&sought))
    };
    let found = entries.iter().find(has);
    found.with_context(|| format!("{path} has no image {wanted:?}, it has {}", names(entries)))
}

fn names(entries: &[DockerManifestEntry]) -> String {
    let names: Vec<&str> = entries
        .iter()
        .flat_map(|entry| entry.repo_tags.iter().flatten())
        .map(String::as_str)
        .collect();
    if names.is_empty() { "none that has a name".to_owned() } else { names.join(", ") }
}

/// The descriptor of a layer. The digest of an uncompressed layer is `diff_id`, which the copy
/// verifies.
fn describe(extent: &Extent, diff_id: &str) -> Result<Descriptor> {
    let mut beginning = Vec::new();
    extent.clone().take(4).read_to_end(&mut beginning)?;
    let media_type = match Compression::detect(&beginning) {
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
    let mut hasher = Digester::Sha256(Sha256::new());
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
