//! `oci-archive:`, `docker-archive:` and Docker's schema 2, tested against skopeo in both
//! directions.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::image::{blob, digest, manifest};
use crate::support::tree::assert_same;
use crate::support::{Image, Layer, Place, Registry, Stored, json, judge, program, run};

fn image() -> Image {
    let lower = Layer::new()
        .dir("./", 0o755)
        .dir("etc", 0o755)
        .file("etc/motd", 0o644, b"hello\n")
        .link("l", "etc/motd");
    let upper = Layer::new().dir("./", 0o755).file("etc/.wh.motd", 0o644, b"").file(
        "run.sh",
        0o755,
        b"#!/bin/sh\n",
    );
    let image = Image::new().layer(&lower, Stored::Gzip).layer(&upper, Stored::Gzip);
    image.config(json!({ "Cmd": ["/run.sh"], "Labels": { "a": "b" }, "StopSignal": "SIGQUIT" }))
}

/// Layouts and archives in a directory, by their references.
struct Stage(Place);

impl Stage {
    fn new() -> Self {
        let place = Place::new();
        image().write(&place.path("layout"));
        Self(place)
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name).display().to_string()
    }

    fn copy(&self, from: &str, to: &str) {
        self.copy_with(&[], from, to);
    }

    fn copy_with(&self, flags: &[&str], from: &str, to: &str) {
        let args = ["copy", "--quiet", "--insecure", &self.written(from), &self.written(to)];
        run(args.iter().chain(flags)).ok();
    }

    fn skopeo(&self, from: &str, to: &str) {
        self.skopeo_with(&[], from, to);
    }

    fn skopeo_with(&self, flags: &[&str], from: &str, to: &str) {
        let (from, to) = (self.written(from), self.written(to));
        let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        judge("skopeo", &[&["copy", "--quiet"], &insecure[..], flags, &[&from, &to]].concat());
    }

    /// Adds the directory, unless it is a reference to a registry.
    fn written(&self, reference: &str) -> String {
        match reference.split_once(':') {
            Some((kind, name)) if kind != "docker" => format!("{kind}:{}", self.path(name)),
            _ => reference.to_owned(),
        }
    }

    /// Both layouts unpack to the same tree.
    #[track_caller]
    fn is_the_same_tree(&self, layout: &str) {
        let [ours, first] = [layout, "layout"].map(|layout| {
            let bundle = self.path(&format!("{layout}-bundle"));
            let orlop = program::orlop();
            let source = self.written(&format!("oci:{layout}"));
            run(["unpack", "--quiet", &source, &bundle, "--runtime", orlop.to_str().unwrap()]).ok();
            Path::new(&bundle).join("rootfs")
        });
        assert_same(&ours, &first);
        fs::remove_dir_all(self.0.path("layout-bundle")).unwrap();
    }
}

/// The config of a layout, and the DiffIDs of its layers.
fn config(layout: &Path) -> (Vec<u8>, Value) {
    let bytes =
        fs::read(blob(layout, manifest(layout)["config"]["digest"].as_str().unwrap())).unwrap();
    let diff_ids = serde_json::from_slice::<Value>(&bytes).unwrap()["rootfs"]["diff_ids"].clone();
    (bytes, diff_ids)
}

#[test]
fn archives_of_a_layout() {
    let stage = Stage::new();
    stage.copy("oci:layout", "oci-archive:ours.tar:name");
    stage.skopeo("oci-archive:ours.tar:name", "oci:seen:x");
    assert_eq!(manifest(&stage.0.path("seen")), manifest(&stage.0.path("layout")));
    stage.skopeo("oci:layout:test", "oci-archive:theirs.tar:name");
    for from in ["oci-archive:theirs.tar:name", "oci-archive:theirs.tar"] {
        stage.copy(from, "oci:back:x");
        assert_eq!(manifest(&stage.0.path("back")), manifest(&stage.0.path("layout")), "{from}");
        fs::remove_dir_all(stage.0.path("back")).unwrap();
    }
    let refused = [
        "copy",
        "--quiet",
        &stage.written("oci-archive:theirs.tar:other"),
        &stage.written("oci:none:x"),
    ];
    run(refused).refused().says("other").says("name");
    assert!(!stage.0.path("none").exists());
}

#[test]
fn archives_of_docker() {
    let stage = Stage::new();
    let layout = stage.0.path("layout");
    stage.copy("oci:layout", "docker-archive:ours.tar:example.org/a:one");
    stage.skopeo("docker-archive:ours.tar:example.org/a:one", "oci:seen:x");
    assert_eq!(config(&stage.0.path("seen")).1, config(&layout).1, "skopeo sees the same layers");
    let listed =
        judge("skopeo", &["inspect", "--config", &stage.written("docker-archive:ours.tar")]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()["config"]["StopSignal"], "SIGQUIT");
    stage.skopeo("oci:layout:test", "docker-archive:theirs.tar:example.org/a:one");
    for (at, from) in ["theirs.tar:example.org/a:one", "theirs.tar", "ours.tar:example.org/a:one"]
        .iter()
        .enumerate()
    {
        let back = format!("back{at}");
        stage.copy(&format!("docker-archive:{from}"), &format!("oci:{back}:x"));
        assert_eq!(config(&stage.0.path(&back)).1, config(&layout).1, "{from}");
        stage.is_the_same_tree(&back);
    }
    let other = stage.written("docker-archive:theirs.tar:example.org/b:one");
    run(["copy", "--quiet", &other, &stage.written("oci:none:x")])
        .refused()
        .says("example.org/a:one");
    assert!(!stage.0.path("none").exists());
}

/// The output of `docker save NAME NAME | gzip`.
#[test]
fn archives_with_two_names_and_compressed() {
    let stage = Stage::new();
    judge(
        "skopeo",
        &[
            "copy",
            "--quiet",
            "--additional-tag",
            "example.org/b:two",
            &stage.written("oci:layout:test"),
            &stage.written("docker-archive:both.tar:example.org/a:one"),
        ],
    );
    judge("gzip", &[&stage.path("both.tar")]);
    for name in ["example.org/a:one", "example.org/b:two"] {
        let to = name.replace(['/', ':', '.'], "-");
        stage.copy(&format!("docker-archive:both.tar.gz:{name}"), &format!("oci:{to}:x"));
        assert_eq!(config(&stage.0.path(&to)).1, config(&stage.0.path("layout")).1, "{name}");
    }
}

/// An image with Docker's media types is converted to OCI.
#[test]
fn schema_2_from_a_registry() {
    let (stage, registry) = (Stage::new(), Registry::start());
    let there = registry.image("a:docker");
    stage.skopeo_with(&["--format", "v2s2"], "oci:layout:test", &there);
    let raw = judge("skopeo", &["inspect", "--raw", "--tls-verify=false", &there]);
    let docker: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(docker["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    stage.copy(&there, "oci:back:x");
    let back = manifest(&stage.0.path("back"));
    assert_eq!(back["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(back["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    let layers = |of: &Value, key: &str| -> Vec<Value> {
        of["layers"].as_array().unwrap().iter().map(|layer| layer[key].clone()).collect()
    };
    assert_eq!(layers(&back, "mediaType"), ["application/vnd.oci.image.layer.v1.tar+gzip"; 2]);
    assert_eq!(layers(&back, "digest"), layers(&docker, "digest"), "the layers are the same bytes");
    assert_eq!(back["config"]["digest"], docker["config"]["digest"]);
    stage.is_the_same_tree("back");
    stage.skopeo("oci:back:x", "oci:seen:x");
    // Between registries it is not converted, so its digest stays the same.
    let other = registry.image("b:docker");
    stage.copy(&there, &other);
    assert_eq!(judge("skopeo", &["inspect", "--raw", "--tls-verify=false", &other]), raw);
}

/// A manifest list of Docker becomes an index with converted entries.
#[test]
fn lists_from_a_registry() {
    let (stage, registry) = (Stage::new(), Registry::start());
    image().write_for(&stage.0.path("three"), &["amd64", "arm64", "s390x"]);
    let there = registry.image("a:list");
    stage.skopeo_with(&["--all", "--format", "v2s2"], "oci:three:test", &there);
    let raw = judge("skopeo", &["inspect", "--raw", "--tls-verify=false", &there]);
    let list: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(list["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    stage.copy_with(&["--all"], &there, "oci:back:x");
    let layout = stage.0.path("back");
    let index = manifest(&layout);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "{index}");
    for (entry, before) in entries.iter().zip(list["manifests"].as_array().unwrap()) {
        assert_eq!(entry["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(entry["platform"], before["platform"]);
        let bytes = fs::read(blob(&layout, entry["digest"].as_str().unwrap())).unwrap();
        assert_eq!(digest(&bytes), entry["digest"]);
        assert_eq!(entry["size"], bytes.len());
    }
    // A tool that verifies every digest finds no error.
    stage.skopeo_with(&["--all"], "oci:back:x", "oci:seen:x");
    stage.copy_with(&["--platform", "linux/s390x"], &there, "oci:one:x");
    let (config, _) = config(&stage.0.path("one"));
    assert_eq!(serde_json::from_slice::<Value>(&config).unwrap()["architecture"], "s390x");
}

/// Decompression bombs: a compressed archive, and layers that are decompressed for docker-archive.
#[test]
fn archives_that_are_too_large() {
    let stage = Stage::new();
    fs::write(stage.0.path("layout/zeros"), vec![0; 32 << 20]).unwrap();
    judge("tar", &["-C", &stage.path("layout"), "-czf", &stage.path("bomb"), "."]);
    let (bomb, orlop) = (stage.written("oci-archive:bomb"), program::orlop());
    let (bundle, layout) = (stage.path("bundle"), stage.written("oci:to"));
    let unpack =
        ["unpack", "--quiet", "--runtime", orlop.to_str().unwrap(), &bomb, &bundle, "--max-size"];
    run(unpack.iter().chain(&["16m"])).refused().says("--max-size");
    run(["copy", "--quiet", "--max-size", "16m", &bomb, &layout]).refused().says("--max-size");
    let layer = Layer::new().file("zeros", 0o644, &vec![0; 32 << 20]);
    Image::new().layer(&layer, Stored::Gzip).write(&stage.0.path("large"));
    let (large, to) = (stage.written("oci:large"), stage.written("docker-archive:to.tar"));
    run(["copy", "--quiet", "--max-size", "16m", &large, &to]).refused().says("--max-size");
    let mut names: Vec<_> =
        fs::read_dir(stage.0.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bomb", "large", "layout"]);
    run(unpack.iter().chain(&["64m"])).ok();
    run(["copy", "--quiet", "--max-size", "64m", &large, &to]).ok();
}
