//! A document of a registry: manifest, index or config. The first byte says as what it comes.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use oci_spec::image::{ImageConfiguration, MediaType};
use orlop_image::annotation::is_descriptive;
use orlop_image::convert::{Overrides, convert};
use orlop_image::copy::to_oci as docker;
use orlop_image::document::{self, Document, media_types};
use orlop_image::platform::Platform;
use orlop_image::rootfs::Tree;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match media_types::ALL.get(usize::from(*kind) % 5) {
        Some(media_type) => a_document(bytes, media_type),
        None => a_config(bytes),
    }
});

/// What was Docker's is OCI's afterwards, and has the same parts.
fn a_document(bytes: &[u8], media_type: &str) {
    let Ok(parsed) = Document::parse(bytes, media_type) else { return };
    if let Document::Index(index) = &parsed {
        let _ = document::choose(index, &Platform::host());
    }
    let Ok(Some(converted)) = docker::document(bytes, &MediaType::from(media_type), &parsed) else {
        return;
    };
    let oci = docker::media_type(&MediaType::from(media_type));
    match (Document::parse(&converted, oci.as_ref()).unwrap(), parsed) {
        (Document::Manifest(now), Document::Manifest(before)) => {
            assert_eq!(now.config().digest(), before.config().digest());
            assert!(
                now.layers()
                    .iter()
                    .map(|layer| layer.digest())
                    .eq(before.layers().iter().map(|l| l.digest()))
            );
        }
        (Document::Index(now), Document::Index(before)) => {
            assert_eq!(now.manifests().len(), before.manifests().len())
        }
        _ => panic!("another kind of document"),
    }
}

/// To a container's configuration, for an image without users.
fn a_config(bytes: &[u8]) {
    static ROOT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let Ok(config) = serde_json::from_slice::<ImageConfiguration>(bytes) else { return };
    let root = Tree::open(ROOT.get_or_init(|| tempfile::tempdir().unwrap()).path()).unwrap();
    let process = json!({"user": {"uid": 0, "gid": 0}, "args": ["sh"], "env": ["PATH=/bin", "TERM=xterm"], "cwd": "/"});
    let template =
        json!({"process": process, "root": {}, "mounts": [], "linux": {"namespaces": []}});
    let template = serde_json::from_value(template).unwrap();
    if let Ok(made) = convert(template, &config, &Overrides::default(), &root) {
        assert!(
            !made.process.cwd.is_empty() && made.annotations.keys().all(|key| is_descriptive(key))
        );
    }
}
