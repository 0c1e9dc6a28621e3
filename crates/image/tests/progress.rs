//! The output of a copy: lines, JSON, nothing, or bars on a terminal.

use std::process::Command;

use serde_json::Value;

use crate::support::image::{MANIFEST, digest, manifest};
use crate::support::{Image, Layer, Place, Stored, json, judge, run};

struct Stage {
    place: Place,
    from: String,
    to: String,
}

impl Stage {
    /// An image of two blobs: a config and a layer.
    fn new() -> Self {
        let place = Place::new();
        Image::new()
            .layer(&Layer::new().file("a", 0o644, b"a"), Stored::Gzip)
            .write(&place.path("layout"));
        let at = |name: &str| format!("oci:{}", place.path(name).display());
        Self { from: at("layout"), to: at("copy:x"), place }
    }

    fn blobs(&self) -> Vec<Value> {
        let manifest = manifest(&self.place.path("layout"));
        vec![manifest["config"].clone(), manifest["layers"][0].clone()]
    }

    /// The digest of the manifest, which names the image.
    fn image(&self) -> String {
        digest(&serde_json::to_vec(&manifest(&self.place.path("layout"))).unwrap())
    }
}

#[test]
fn lines_and_the_digest() {
    let stage = Stage::new();
    for outcome in ["copied", "present"] {
        let out = run(["copy", &stage.from, &stage.to]).ok();
        let (mut lines, mut expected): (Vec<_>, Vec<_>) =
            (out.stderr.lines().collect(), Vec::new());
        for blob in stage.blobs() {
            let (digest, size) = (blob["digest"].as_str().unwrap(), blob["size"].as_u64().unwrap());
            expected.push(format!("{} {size} B: {outcome}", &digest[.."sha256:".len() + 12]));
        }
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected);
        assert_eq!(out.stdout, format!("{}\n", stage.image()));
    }
}

#[test]
fn nothing_but_errors() {
    let stage = Stage::new();
    let out = run(["copy", "--quiet", &stage.from, &stage.to]).ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
    run(["copy", "--quiet", "oci:/nowhere", &stage.to]).refused().says("/nowhere");
    assert_eq!(run(["copy", "--quiet", "--json", &stage.from, &stage.to]).status, 2);
}

#[test]
fn an_object_for_each_blob_and_one_for_the_image() {
    let stage = Stage::new();
    let out = run(["copy", "--json", &stage.from, &stage.to]).ok();
    assert_eq!(out.stderr, "");
    let mut lines: Vec<Value> =
        out.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let image = lines.pop().unwrap();
    assert_eq!((&image["event"], &image["digest"]), (&json!("image"), &json!(stage.image())));
    assert_eq!(image["mediaType"], MANIFEST);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for mut blob in stage.blobs() {
        blob["event"] = "blob".into();
        blob["outcome"] = "copied".into();
        assert!(lines.contains(&blob), "{blob} in {lines:?}");
    }
}

#[test]
fn bars_on_a_terminal() {
    let stage = Stage::new();
    let program = env!("CARGO_BIN_EXE_orlop-image");
    let command = format!("{program} copy {} {}", stage.from, stage.to);
    let seen = judge("script", &["--quiet", "--return", "--command", &command, "/dev/null"]);
    for blob in stage.blobs() {
        let size = blob["size"].as_u64().unwrap();
        let short = &blob["digest"].as_str().unwrap()[.."sha256:".len() + 12];
        assert!(seen.contains(&format!("{short} [==")), "{short} in {seen:?}");
        assert!(seen.contains(&format!("{size} B/{size} B")), "{seen:?}");
    }
    assert!(seen.contains("copied") && seen.contains('\r'), "{seen:?}");
    // If standard error is not the terminal, there are no bars.
    let elsewhere = Command::new("script")
        .args(["--quiet", "--return", "--command", &format!("{command} 2>/dev/null"), "/dev/null"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(elsewhere.stdout).unwrap().trim_end(), stage.image());
}
