//! The selection of an image of a layout: by `--platform`, and beside entries that are no images.

use std::fs;

use crate::support::image::{INDEX, TAG, blob, digest, manifest, put_blob, write_index};
use crate::support::machine::{Machine, nginx_shaped};
use crate::support::program::{self, Output};
use crate::support::{Image, Layer, Place, json, run};

fn image(name: &str) -> Image {
    Image::of(&[Layer::new().file(name, 0o644, b"")])
}

/// A single image has a platform too.
#[test]
fn an_image_for_one_platform() {
    let place = Place::new();
    image("a").write(&place.path("layout"));
    let layout = format!("oci:{}", place.path("layout").display());
    let why = "no image for linux/arm64, only for linux/amd64";
    place.unpack(&["--platform", "linux/arm64"]).refused().says(why);
    place.is_clean();
    for command in ["inspect", "manifest", "config"] {
        run([command, "--platform", "linux/arm64", &layout]).refused().says(why);
        run([command, "--platform", "linux/amd64", &layout]).ok();
    }
    run(["copy", "--quiet", "--platform", "linux/arm64", &layout, "oci:/nowhere/x"])
        .refused()
        .says(why);
    place.unpack(&["--platform", "linux/amd64"]).ok();
    let machine = Machine::new(&nginx_shaped());
    machine.run(&["--platform", "linux/arm64", "--entrypoint", "/bin/ls"]).refused().says(why);
    machine.run(&["--platform", "linux/amd64", "--entrypoint", "/bin/ls"]).ok();
    // Only its entry says it.
    let mut entry = image("a").put(&place.path("layout"), "amd64");
    entry["platform"] = json!({"os": "linux", "architecture": "s390x"});
    write_index(&place.path("layout"), &[entry]);
    fs::remove_dir_all(place.path("bundle")).unwrap();
    place.unpack(&["--platform", "linux/amd64"]).refused().says("only for linux/s390x");
    run(["manifest", "--platform", "linux/amd64", &layout]).refused().says("only for linux/s390x");
}

/// Several images with one name, without an index of their own.
#[test]
fn one_name_for_several_platforms() {
    let place = Place::new();
    let layout = place.path("layout");
    let entries = ["arm64", "amd64"].map(|architecture| {
        let mut entry = image(architecture).put(&layout, architecture);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    });
    write_index(&layout, &entries);
    let (bundle, orlop) = (place.path("bundle").display().to_string(), program::orlop());
    let source = format!("oci:{}:test", layout.display());
    for (flags, file) in [(&[][..], "amd64"), (&["--platform", "linux/arm64"], "arm64")] {
        let args = ["unpack", &source, &bundle, "--runtime", orlop.to_str().unwrap()];
        Output::from(program::command(args).args(flags).output().unwrap()).ok();
        assert!(place.path("bundle/rootfs").join(file).exists(), "{file}");
        fs::remove_dir_all(&bundle).unwrap();
        let to = format!("oci:{}", place.path(file).display());
        run(["copy", "--quiet", &source, &to].iter().chain(flags)).ok();
        let copied = manifest(&place.path(file));
        assert!(blob(&layout, copied["layers"][0]["digest"].as_str().unwrap()).exists());
        assert_eq!(
            run(["manifest", "--raw", &source].iter().chain(flags)).ok().stdout,
            copied.to_string()
        );
    }
    run(["manifest", "--platform", "linux/s390x", &source])
        .refused()
        .says("linux/arm64, linux/amd64");
    run(["copy", "--quiet", "--all", &source, "oci:/nowhere/x"]).refused().says("several images");
}

/// The index.json of image-layout.md has an entry that is neither manifest nor index.
#[test]
fn an_entry_that_is_no_image() {
    let place = Place::new();
    let layout = place.path("layout");
    image("a").write_for(&layout, &["amd64", "arm64"]);
    let index = manifest(&layout).to_string();
    let index = put_blob(&layout, index.as_bytes(), INDEX);
    let xml = put_blob(&layout, b"<x/>", "application/xml");
    let entries = json!({"schemaVersion": 2, "manifests": [xml, index]});
    fs::write(layout.join("index.json"), entries.to_string()).unwrap();
    let source = format!("oci:{}", layout.display());
    let of_arm = manifest_of(&layout, 1);
    place.unpack(&[]).ok();
    run(["referrers", &source]).ok();
    let (whole, to) =
        (format!("{source}@{of_arm}"), format!("oci:{}:{TAG}", place.path("to").display()));
    run(["copy", "--quiet", &whole, &to]).ok();
    let copied = fs::read(blob(&place.path("to"), &of_arm)).unwrap();
    assert_eq!(digest(&copied), of_arm);
    run(["copy", "--quiet", &format!("{source}@{}", digest(b"")), &to])
        .refused()
        .says("has no manifest");
}

/// The digest of an image of the index that a layout has.
fn manifest_of(layout: &std::path::Path, at: usize) -> String {
    let entries: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let index = entries["manifests"][1]["digest"].as_str().unwrap();
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(blob(layout, index)).unwrap()).unwrap();
    index["manifests"][at]["digest"].as_str().unwrap().to_owned()
}
