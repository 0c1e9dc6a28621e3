//! Wrong images, destinations and machines: a clear error, and nothing incomplete with a final
//! name.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::image::{CONFIG, blob, manifest, put_blob, put_manifest, write_index};
use crate::support::{Image, Layer, Place, Stored, json, program};

fn image() -> Image {
    Image::new().layer(&Layer::new().file("x", 0o644, &[42; 5000]), Stored::Gzip)
}

/// A layout of the image above, damaged by `change`.
#[track_caller]
fn refused(change: impl FnOnce(&Path, Value), why: &str) {
    let place = Place::new();
    let layout = place.path("layout");
    image().write(&layout);
    change(&layout, manifest(&layout));
    place.unpack(&[]).refused().says(why);
    place.is_clean();
}

fn layer_of(layout: &Path, manifest: &Value) -> std::path::PathBuf {
    blob(layout, manifest["layers"][0]["digest"].as_str().unwrap())
}

#[test]
fn blobs() {
    refused(
        |layout, manifest| fs::remove_file(layer_of(layout, &manifest)).unwrap(),
        "No such file",
    );
    let shorter = |layout: &Path, manifest: Value| {
        let path = layer_of(layout, &manifest);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    };
    refused(shorter, "bytes, it should have");
    // In the middle of the compressed data, and in the checksum at its end.
    for from_end in [20, 1] {
        let other = |layout: &Path, manifest: Value| {
            let path = layer_of(layout, &manifest);
            let mut bytes = fs::read(&path).unwrap();
            let at = bytes.len() - from_end;
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
        };
        refused(other, "does not match its digest");
    }
    let no_gzip = |layout: &Path, manifest: Value| {
        let kind = manifest["layers"][0]["mediaType"].as_str().unwrap();
        let layer = put_blob(layout, b"this is not gzip at all", kind);
        write_index(layout, &[put_manifest(layout, &manifest["config"], &[layer])]);
    };
    refused(no_gzip, "uncompressing");
}

#[test]
fn another_diff_id() {
    let change = |layout: &Path, manifest: Value| {
        let text = fs::read(blob(layout, manifest["config"]["digest"].as_str().unwrap())).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config["rootfs"]["diff_ids"] = json!([format!("sha256:{}", "a".repeat(64))]);
        let config = put_blob(layout, &serde_json::to_vec(&config).unwrap(), CONFIG);
        write_index(layout, &[put_manifest(layout, &config, &[manifest["layers"][0].clone()])]);
    };
    refused(change, "does not match its DiffID");
}

#[test]
fn documents() {
    let with_layer_type = |kind: &'static str| {
        move |layout: &Path, mut manifest: Value| {
            manifest["layers"][0]["mediaType"] = json!(kind);
            write_index(
                layout,
                &[put_manifest(layout, &manifest["config"], &[manifest["layers"][0].clone()])],
            );
        }
    };
    refused(
        with_layer_type("application/vnd.oci.image.layer.v1.tar+xz"),
        "tar+xz\" is not one of a layer",
    );
    refused(with_layer_type("text/plain"), "text/plain");
    let artifact = |layout: &Path, mut manifest: Value| {
        manifest["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
        write_index(layout, &[put_manifest(layout, &manifest["config"], &[])]);
    };
    refused(artifact, "it is no image");
    let fewer = |layout: &Path, manifest: Value| {
        write_index(layout, &[put_manifest(layout, &manifest["config"], &[])]);
    };
    refused(fewer, "0 layers and the config 1 DiffIDs");
    refused(
        |layout, _| fs::remove_file(layout.join("oci-layout")).unwrap(),
        "there is no OCI image layout",
    );
}

#[test]
fn an_index_without_our_platform() {
    let place = Place::new();
    image().write_for(&place.path("layout"), &["arm64", "s390x"]);
    place.unpack(&[]).refused().says("linux/arm64").says("linux/s390x");
    place.is_clean();
    place.unpack(&["--platform", "linux/s390x"]).ok();
}

#[test]
fn destinations() {
    let place = Place::new();
    image().write(&place.path("layout"));
    for (make, why) in [("mkdir", "exists"), ("touch", "exists"), ("ln -s nowhere", "exists")] {
        crate::support::judge("sh", &["-c", &format!("{make} {}", place.path("bundle").display())]);
        place.unpack(&[]).refused().says(why);
        crate::support::judge("rm", &["-r", place.path("bundle").to_str().unwrap()]);
        place.is_clean();
    }
    let source = format!("oci:{}", place.path("layout").display());
    for (bundle, why) in [("/nowhere/at/all", "No such file"), ("/", "exists")] {
        program::run(["unpack", &source, bundle]).refused().says(why);
    }
    program::run([
        "unpack",
        &source,
        place.path("bundle").to_str().unwrap(),
        "--runtime",
        "/no/such",
    ])
    .refused()
    .says("/no/such");
    place.is_clean();
}

#[test]
fn a_full_disk() {
    let place = Place::new();
    Image::new()
        .layer(&Layer::new().file("x", 0o644, &vec![1; 4 << 20]), Stored::Zstd)
        .write(&place.path("layout"));
    let script = format!(
        "set -e; mkdir {0}/small; mount -t tmpfs -o size=1m tmpfs {0}/small; \
         ! {1} unpack oci:{0}/layout {0}/small/bundle --runtime {2}; test -z \"$(ls -A {0}/small)\"",
        place.dir.path().display(),
        env!("CARGO_BIN_EXE_orlop-image"),
        program::orlop().display(),
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let output = program::Output::from(output).ok();
    assert!(
        output.stderr.contains("No space left on device") && output.stderr.contains("entry \"x\""),
        "{output:?}"
    );
}

/// A signal while it works: an error, and nothing is left.
#[test]
fn interrupted() {
    let place = Place::new();
    let zeros = vec![0; 64 << 20];
    let image = (0..8).fold(Image::new(), |image, at| {
        image.layer(&Layer::new().file(&format!("{at}"), 0o644, &zeros), Stored::Zstd)
    });
    image.write(&place.path("layout"));
    let source = format!("oci:{}", place.path("layout").display());
    let bundle = place.path("bundle");
    let (orlop, errors) = (program::orlop(), place.path("errors"));
    let mut child = program::command([
        "unpack",
        &source,
        bundle.to_str().unwrap(),
        "--runtime",
        orlop.to_str().unwrap(),
    ])
    .stderr(fs::File::create(&errors).unwrap())
    .spawn()
    .unwrap();
    let begun = || {
        let mut entries =
            fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.any(|path| path.join("rootfs/0").is_file())
    };
    let end = Instant::now() + Duration::from_secs(60);
    while !begun() {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "it never began");
        std::thread::sleep(Duration::from_millis(2));
    }
    crate::support::judge("kill", &["-TERM", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(fs::read_to_string(&errors).unwrap().contains("interrupted"));
    fs::remove_file(errors).unwrap();
    place.is_clean();
}
