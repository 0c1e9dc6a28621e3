//! Converts documents of Docker's schema 2 to OCI. Only the media types change; configs and layers
//! are the same in both (image-spec, "Compatibility with Docker Image Manifest V2 Schema 2").

use anyhow::{Result, bail};
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

use crate::document::{Document, media_types};

/// The media types of Docker and of OCI.
const NAMES: [(&str, &str); 8] = [
    (media_types::DOCKER_MANIFEST, media_types::MANIFEST),
    (media_types::DOCKER_LIST, media_types::INDEX),
    ("application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"),
    ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"),
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
];

/// The OCI media type for one of Docker. Others are not changed.
#[must_use]
pub fn media_type(media_type: &MediaType) -> MediaType {
    MediaType::from(oci_name(media_type.as_ref()).unwrap_or(media_type.as_ref()))
}

fn oci_name(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(docker, _)| *docker == name).map(|(_, oci)| *oci)
}

/// The descriptor of a blob at the destination.
#[must_use]
pub fn descriptor(blob: &Descriptor, keep_docker: bool) -> Descriptor {
    let media_type =
        if keep_docker { blob.media_type().clone() } else { media_type(blob.media_type()) };
    Descriptor::new(media_type, blob.size(), blob.digest().clone())
}

/// Whether a config is one of an image, not of another artifact.
#[must_use]
pub fn is_image_config(media_type: &MediaType) -> bool {
    self::media_type(media_type) == MediaType::ImageConfig
}

/// Converts a document of Docker to OCI. Returns `None` if it is one of OCI.
///
/// # Errors
/// A part of it has a media type that OCI does not have.
pub fn document(
    bytes: &[u8],
    media_type: &MediaType,
    parsed: &Document,
) -> Result<Option<Vec<u8>>> {
    let Some(oci) = oci_name(media_type.as_ref()) else { return Ok(None) };
    let mut value: Value = serde_json::from_slice(bytes)?;
    value["mediaType"] = json!(oci);
    match parsed {
        Document::Manifest(_) => {
            rename(&mut value["config"])?;
            let layers = value["layers"].as_array_mut();
            layers.into_iter().flatten().try_for_each(rename)?;
        }
        // Converted entries get their media types with their new digests; the others are of OCI
        // already.
        Document::Index(_) => {}
    }
    Ok(Some(serde_json::to_vec(&value)?))
}

fn rename(part: &mut Value) -> Result<()> {
    let name = part["mediaType"].as_str().unwrap_or_default();
    match oci_name(name) {
        Some(oci) => part["mediaType"] = json!(oci),
        None if name.starts_with("application/vnd.oci.") => {}
        None => bail!("media type {name:?} of {} cannot be converted to OCI", part["digest"]),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn manifest(layer: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,
            "mediaType":"application/vnd.docker.distribution.manifest.v2+json",
            "config":{{"mediaType":"application/vnd.docker.container.image.v1+json",
                "size":3,"digest":"{DIGEST}"}},
            "layers":[{{"mediaType":"{layer}","size":3,"digest":"{DIGEST}",
                "urls":["https://x/"]}}]}}"#
        )
    }

    #[test]
    fn a_manifest_of_docker() {
        let text = manifest("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        let parsed = Document::parse(text.as_bytes(), media_types::DOCKER_MANIFEST).unwrap();
        let bytes = document(text.as_bytes(), &media_types::DOCKER_MANIFEST.into(), &parsed)
            .unwrap()
            .unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let expected = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "size": 3, "digest": DIGEST,
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                "size": 3, "digest": DIGEST, "urls": ["https://x/"],
            }],
        });
        assert_eq!(value, expected);
        let parsed = Document::parse(&bytes, media_types::MANIFEST).unwrap();
        assert_eq!(document(&bytes, &MediaType::ImageManifest, &parsed).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_converted() {
        let text = manifest("application/vnd.docker.plugin.v1+json");
        let parsed = Document::parse(text.as_bytes(), media_types::DOCKER_MANIFEST).unwrap();
        let error = document(text.as_bytes(), &media_types::DOCKER_MANIFEST.into(), &parsed)
            .unwrap_err()
            .to_string();
        assert!(error.contains("docker.plugin"), "{error}");
    }
}
