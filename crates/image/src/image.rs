//! One image of a layout, read and checked: its configuration and its layers.

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, Digest, ImageConfiguration};

use crate::compression::Compression;
use crate::digest;
use crate::layout::Layout;
use crate::platform::Platform;

/// One image in a layout.
#[derive(Debug)]
pub struct Image {
    /// The descriptor of the manifest.
    pub manifest: Descriptor,
    /// The image configuration.
    pub config: ImageConfiguration,
    /// The digest of the configuration: Docker's image id.
    pub id: Digest,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// One layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The descriptor of its blob.
    pub descriptor: Descriptor,
    /// The digest of its uncompressed tar archive.
    pub diff_id: Digest,
}

impl Image {
    /// Reads the documents of an image and checks that they match.
    ///
    /// # Errors
    /// A blob is missing or does not match its digest; an artifact that is not an image; a layer of
    /// a media type that cannot be unpacked.
    pub fn read(layout: &Layout, manifest: Descriptor) -> Result<Self> {
        let document = layout.read_manifest(&manifest)?;
        let config = document.config();
        match config.media_type().as_ref() {
            "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json" => {}
            other => bail!(
                "{}: its configuration is of media type {other:?}: it is no image",
                manifest.digest()
            ),
        }
        let id = config.digest().clone();
        let text = layout.read_blob(config)?;
        let config: ImageConfiguration =
            serde_json::from_slice(&text).with_context(|| format!("image config {id}"))?;
        let diff_ids = config.rootfs().diff_ids();
        let layers = document.layers();
        ensure!(
            layers.len() == diff_ids.len(),
            "{}: the manifest has {} layers and the config {} DiffIDs",
            manifest.digest(),
            layers.len(),
            diff_ids.len()
        );
        let mut described = Vec::with_capacity(layers.len());
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            Compression::of_media_type(layer.media_type())
                .with_context(|| format!("layer {}", layer.digest()))?;
            let diff_id = digest::parse(diff_id).context("rootfs.diff_ids")?;
            described.push(Layer { descriptor: layer.clone(), diff_id });
        }
        Ok(Self { manifest, config, id, layers: described })
    }

    /// The platform: from the descriptor in the index if it has one, else from the configuration.
    #[must_use]
    pub fn platform(&self) -> Platform {
        if let Some(described) = self.manifest.platform() {
            return described.into();
        }
        let config = &self.config;
        let variant = config.variant().clone().filter(|variant| !variant.is_empty());
        Platform {
            os: config.os().to_string(),
            architecture: config.architecture().to_string(),
            variant,
        }
    }

    /// The ChainID of each layer, which identifies the layer together with all layers below it
    /// (config.md, "Layer ChainID").
    ///
    /// # Errors
    /// Errors of [`digest::of`]; none in practice.
    pub fn chain_ids(&self) -> Result<Vec<Digest>> {
        let mut chain: Vec<Digest> = Vec::with_capacity(self.layers.len());
        for Layer { diff_id, .. } in &self.layers {
            let next = match chain.last() {
                Some(below) => digest::of(format!("{below} {diff_id}").as_bytes())?,
                None => diff_id.clone(),
            };
            chain.push(next);
        }
        Ok(chain)
    }
}
