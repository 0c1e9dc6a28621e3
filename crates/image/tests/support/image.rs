//! Images in layouts of a test, and functions to read them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::layer::Layer;

/// How a layer is stored.
#[derive(Debug, Clone, Copy)]
pub enum Stored {
    Plain,
    Gzip,
    Zstd,
}

/// An image that is being made.
#[derive(Debug, Clone, Default)]
pub struct Image {
    layers: Vec<(Vec<u8>, Stored)>,
    /// `config` of the image's configuration.
    pub config: Value,
    /// Other members of the configuration: author, created and so on.
    pub more: Value,
}

impl Image {
    pub fn new() -> Self {
        Self { layers: Vec::new(), config: json!({}), more: json!({}) }
    }

    /// An image of these layers, as they are.
    pub fn of(layers: &[Layer]) -> Self {
        layers.iter().fold(Self::new(), |image, layer| image.layer(layer, Stored::Plain))
    }

    pub fn layer(mut self, layer: &Layer, stored: Stored) -> Self {
        self.layers.push((layer.bytes(), stored));
        self
    }

    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    pub fn more(mut self, more: Value) -> Self {
        self.more = more;
        self
    }

    /// Writes the image as the only one of a new layout.
    pub fn write(&self, layout: &Path) {
        let manifest = self.put(layout, "amd64");
        write_index(layout, &[manifest]);
    }

    /// Writes an index of images that are the same but for their architecture.
    pub fn write_for(&self, layout: &Path, architectures: &[&str]) {
        let manifests: Vec<Value> = architectures
            .iter()
            .map(|architecture| {
                let mut manifest = self.put(layout, architecture);
                manifest["platform"] = json!({"os": "linux", "architecture": architecture});
                manifest
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let index = put_blob(layout, &serde_json::to_vec(&index).unwrap(), INDEX);
        write_index(layout, &[index]);
    }

    /// Writes the blobs and the manifest. Returns the descriptor of the manifest.
    pub fn put(&self, layout: &Path, architecture: &str) -> Value {
        let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
        for (bytes, stored) in &self.layers {
            diff_ids.push(digest(bytes));
            let (bytes, suffix) = match stored {
                Stored::Plain => (bytes.clone(), ""),
                Stored::Gzip => (gzip(bytes), "+gzip"),
                Stored::Zstd => (zstd::encode_all(&bytes[..], 3).unwrap(), "+zstd"),
            };
            descriptors.push(put_blob(
                layout,
                &bytes,
                &format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
            ));
        }
        let mut config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        for (key, value) in self.more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config = put_blob(layout, &serde_json::to_vec(&config).unwrap(), CONFIG);
        put_manifest(layout, &config, &descriptors)
    }
}

/// The name of the images, since umoci needs one.
pub const TAG: &str = "test";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub fn put_manifest(layout: &Path, config: &Value, layers: &[Value]) -> Value {
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    put_blob(layout, &serde_json::to_vec(&manifest).unwrap(), MANIFEST)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Writes a blob. Returns its descriptor.
pub fn put_blob(layout: &Path, bytes: &[u8], media_type: &str) -> Value {
    let digest = digest(bytes);
    let path = blob(layout, &digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// The path of a blob.
pub fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// Makes a layout of these manifests or indexes in the directory.
pub fn write_index(layout: &Path, manifests: &[Value]) {
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let mut manifests = manifests.to_vec();
    for manifest in &mut manifests {
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": TAG});
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(layout.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
}

/// The only manifest of a layout.
pub fn manifest(layout: &Path) -> Value {
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    serde_json::from_slice(&fs::read(blob(layout, &digest)).unwrap()).unwrap()
}
