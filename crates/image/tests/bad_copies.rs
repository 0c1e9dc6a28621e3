//! Copies that fail: of wrong images, and to destinations that cannot accept them. The error says
//! why, and nothing gets the requested name.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::endpoints::image;
use crate::support::front::{Deed, Front};
use crate::support::image::{INDEX, MANIFEST, TAG, blob, digest, manifest, put_blob, write_index};
use crate::support::program::{self, Output};
use crate::support::{Place, Registry, json, run};

/// Pushes the image to a registry. Returns the digests of its config and its layers.
fn stage() -> (Place, Registry, Vec<String>) {
    let (place, registry) = (Place::new(), Registry::start());
    image().write(&place.path("layout"));
    let from = format!("oci:{}", place.path("layout").display());
    run(["copy", "--insecure", "--quiet", &from, &registry.image("a:one")]).ok();
    let manifest = manifest(&place.path("layout"));
    let layers = manifest["layers"].as_array().unwrap();
    let digests = [&manifest["config"]]
        .into_iter()
        .chain(layers)
        .map(|of| of["digest"].as_str().unwrap().to_owned());
    (place, registry, digests.collect())
}

fn copy(from: &str, to: &str) -> Output {
    run(["copy", "--insecure", "--quiet", "--retries", "0", from, to])
}

/// The copy is refused for each kind of destination, and nothing is left there.
#[track_caller]
fn refused_everywhere(from: &str, why: &[&str]) {
    let (place, registry) = (Place::new(), Registry::start());
    let at = |name: &str| place.path(name).display().to_string();
    let to = [
        format!("oci:{}:x", at("layout")),
        format!("oci-archive:{}:x", at("oci.tar")),
        format!("docker-archive:{}:x:x", at("docker.tar")),
        registry.image("x:x"),
    ];
    for to in to {
        let output = copy(from, &to).refused();
        for text in why {
            assert!(output.stderr.contains(text), "{to}: {output:?}");
        }
    }
    let left: Vec<_> =
        fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    if !left.is_empty() {
        assert_eq!(left, ["layout"], "of an archive there is nothing at all");
        let index = fs::read(place.path("layout/index.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&index).unwrap()["manifests"], json!([]));
        let count = |name: &str| fs::read_dir(place.path(name)).map_or(0, Iterator::count);
        let come = count("layout/blobs/sha256") + count("layout/.orlop-partial");
        assert!(come > 0, "a layout is kept for what has come already, to go on with that");
    }
    run(["manifest", "--insecure", &registry.image("x:x")]).refused().says("404");
}

#[test]
fn blobs_that_are_not_right() {
    let (place, registry, digests) = stage();
    let there = registry.image("a:one");
    for digest in &digests {
        let file = registry.blob(digest);
        let content = fs::read(&file).unwrap();
        let mut other = content.clone();
        other[content.len() / 2] ^= 1;
        for bad in [&other[..], &content[..content.len() - 1]] {
            fs::write(&file, bad).unwrap();
            refused_everywhere(&there, &[digest]);
        }
        fs::remove_file(&file).unwrap();
        refused_everywhere(&there, &[digest]);
        fs::write(&file, &content).unwrap();
    }
    copy(&there, &format!("oci:{}:x", place.path("good").display())).ok();
}

#[test]
fn blobs_of_a_layout_that_are_not_right() {
    for name in 0..3 {
        let place = Place::new();
        let layout = place.path("layout");
        image().write(&layout);
        let manifest = manifest(&layout);
        let of =
            [&manifest["config"], &manifest["layers"][0], &manifest["layers"][1]][name]["digest"]
                .as_str()
                .unwrap();
        let from = format!("oci:{}", layout.display());
        let content = fs::read(blob(&layout, of)).unwrap();
        let mut other = content.clone();
        other[content.len() / 2] ^= 1;
        fs::write(blob(&layout, of), other).unwrap();
        refused_everywhere(&from, &[of]);
        fs::write(blob(&layout, of), &content[1..]).unwrap();
        refused_everywhere(&from, &[of]);
        fs::remove_file(blob(&layout, of)).unwrap();
        refused_everywhere(&from, &[&of["sha256:".len()..]]);
    }
}

/// What a registry may return for a manifest.
#[test]
fn documents_that_are_not_right() {
    let (place, registry, digests) = stage();
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": 10, "digest": digests[0]});
    let whole = |kind: &str| json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [], "manifests": []});
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("text/html", b"<html>".to_vec(), "text/html"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}".to_vec(), "manifest.v1+prettyjws"),
        (MANIFEST, b"<html>".to_vec(), "reading"),
        (MANIFEST, b"{}".to_vec(), "schemaVersion"),
        (MANIFEST, whole(INDEX).to_string().into_bytes(), "media type"),
        (INDEX, whole(MANIFEST).to_string().into_bytes(), "media type"),
        (MANIFEST, vec![b' '; 5 << 20], "more than"),
        (MANIFEST, format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(), "reading"),
        (
            MANIFEST,
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": "a/b", "size": 1,
                "digest": "md5:d41d8cd98f00b204e9800998ecf8427e"}, "layers": []})
            .to_string()
            .into_bytes(),
            "md5",
        ),
        (
            MANIFEST,
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [{"mediaType": "a/b",
                "size": 1, "digest": "sha256:../../../../etc/passwd"}]})
            .to_string()
            .into_bytes(),
            "etc/passwd",
        ),
    ];
    for (kind, body, why) in cases {
        let head = vec![("content-type", kind.to_owned())];
        let answer = Deed::Answer(200, head, body.clone());
        let front = Front::before(&registry.host(), move |request| {
            if request.target.contains("/manifests/") { answer.clone() } else { Deed::Pass }
        });
        refused_everywhere(&front.image("a:one"), &[why]);
        // With the digest of something else.
        let other = format!("{}@sha256:{}", front.image("a"), "0".repeat(64));
        copy(&other, &format!("oci:{}:x", place.path("to/a/new/layout").display())).refused();
        assert!(!place.path("to").exists(), "nothing came, so nothing is there");
    }
    // The header has another digest than the document; another document comes than the one that was
    // requested.
    let lie = format!("sha256:{}", "1".repeat(64));
    let text = fs::read(registry.blob(&digests[0])).unwrap();
    let head = vec![("content-type", MANIFEST.to_owned()), ("docker-content-digest", lie.clone())];
    let front = Front::alone(move |_| Deed::Answer(200, head.clone(), text.clone()));
    refused_everywhere(&front.image("a:one"), &["does not match"]);
    refused_everywhere(&format!("{}@{lie}", front.image("a")), &["does not match"]);
}

#[test]
fn an_index_without_our_platform() {
    let (place, registry) = (Place::new(), Registry::start());
    image().write_for(&place.path("layout"), &["arm64", "s390x"]);
    let from = format!("oci:{}", place.path("layout").display());
    refused_everywhere(&from, &["linux/arm64", "linux/s390x"]);
    run(["copy", "--all", "--insecure", "--quiet", &from, &registry.image("a:one")]).ok();
    refused_everywhere(&registry.image("a:one"), &["linux/arm64", "linux/s390x"]);
    for command in ["config", "inspect"] {
        run([command, "--insecure", &registry.image("a:one")]).refused().says("linux/s390x");
    }
    let store = place.path("store").display().to_string();
    let orlop = program::orlop();
    let flags = [
        "run",
        "--insecure",
        "--store",
        &store,
        "--runtime",
        orlop.to_str().unwrap(),
        &registry.image("a:one"),
    ];
    run(flags).refused().says("linux/arm64");
}

/// An index that contains itself, and indexes that are nested without end.
#[test]
fn indexes_without_an_end() {
    let place = Place::new();
    let layout = place.path("layout");
    image().write(&layout);
    let mut entry: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    entry = entry["manifests"][0].clone();
    for _ in 0..10 {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        entry = put_blob(&layout, &serde_json::to_vec(&index).unwrap(), INDEX);
    }
    write_index(&layout, &[entry]);
    let from = format!("oci:{}:{TAG}", layout.display());
    refused_everywhere(&from, &["too deep"]);
    run(["copy", "--all", "--quiet", &from, &format!("oci:{}:x", place.path("to").display())])
        .refused()
        .says("deep");
}

/// Manifests that are small enough each, but too large together.
#[test]
fn more_manifests_than_can_be_kept() {
    let place = Place::new();
    let layout = place.path("layout");
    image().write(&layout);
    let whole = manifest(&layout);
    let padded = |number: usize| {
        let mut manifest = whole.clone();
        manifest["annotations"] = json!({"x": format!("{number}{}", "x".repeat(4_000_000))});
        put_blob(&layout, manifest.to_string().as_bytes(), MANIFEST)
    };
    let manifests: Vec<Value> = (0..17).map(padded).collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    write_index(&layout, &[put_blob(&layout, index.to_string().as_bytes(), INDEX)]);
    let from = format!("oci:{}:{TAG}", layout.display());
    let to = format!("oci:{}:x", place.path("to").display());
    run(["copy", "--all", "--quiet", &from, &to]).refused().says("67108864 bytes in all");
}

#[test]
fn destinations_that_exist_or_cannot_be() {
    let (place, registry, _) = stage();
    let (there, at) =
        (registry.image("a:one"), |name: &str| place.path(name).display().to_string());
    fs::write(place.path("file"), "mine").unwrap();
    fs::create_dir(place.path("directory")).unwrap();
    fs::write(place.path("directory/file"), "mine").unwrap();
    std::os::unix::fs::symlink("file", place.path("link")).unwrap();
    for kind in ["oci-archive", "docker-archive"] {
        for name in ["file", "directory", "link"] {
            copy(&there, &format!("{kind}:{}:x:x", at(name))).refused().says("exists");
        }
        copy(&there, &format!("{kind}:/nowhere/at/all:x:x")).refused().says("/nowhere/at/all");
    }
    for name in ["file", "directory", "link"] {
        copy(&there, &format!("oci:{}:x", at(name))).refused().says(&at(name));
    }
    copy(&there, "oci:/proc/x:x").refused().says("/proc/x");
    assert_eq!(fs::read_to_string(place.path("file")).unwrap(), "mine");
    assert_eq!(fs::read_dir(place.path("directory")).unwrap().count(), 1);
    let mut left: Vec<_> =
        fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["directory", "file", "layout", "link"]);
    // An existing layout gets one more name, and keeps the others.
    copy(&there, &format!("oci:{}:two", at("layout"))).ok();
    let tags = run(["tags", &format!("oci:{}", at("layout"))]).ok().stdout;
    assert_eq!(tags.lines().collect::<Vec<_>>(), [TAG, "two"]);
}

/// On a full disk of one megabyte; then, with more space, the copy continues with the part that it
/// has.
#[test]
fn a_full_disk() {
    let (place, registry, digests) = stage();
    let script = r#"
        set -eu
        cd "$1"; image=$2; from=$3
        mkdir small; mount -t tmpfs -o size=1m tmpfs small
        for to in oci:small/layout:x oci-archive:small/a.tar:x docker-archive:small/b.tar:x:x; do
            if "$image" copy --insecure --quiet --retries 0 "$from" $to 2>error; then exit 9; fi
            grep -q "No space left on device" error || { cat error >&2; exit 8; }
            test "$(wc -l <error)" = 1
            test ! -e small/a.tar; test ! -e small/b.tar
            if "$image" manifest oci:small/layout:x 2>/dev/null; then exit 7; fi
            test ! -e small/layout/blobs/sha256/$4
            rm -rf small/.orlop* small/[!l]*
            test "$(ls -A small)" = "layout"
        done
        mount -o remount,size=20m small
        "$image" copy --insecure --quiet "$from" oci:small/layout:x
        "$image" manifest oci:small/layout:x >/dev/null
        test ! -e small/layout/.orlop-partial
    "#;
    let own = env!("CARGO_BIN_EXE_orlop-image");
    let output = Command::new("unshare")
        .args([
            "-m",
            "sh",
            "-c",
            script,
            "sh",
            place.dir.path().to_str().unwrap(),
            own,
            &registry.image("a:one"),
        ])
        .arg(&digests[2]["sha256:".len()..])
        .output()
        .unwrap();
    Output::from(output).ok();
}

/// A blob with a small size in its descriptor, and without end.
#[test]
fn more_than_was_said() {
    let (_place, registry, digests) = stage();
    let part = format!("/blobs/{}", digests[2]);
    let endless = |length: Option<usize>| {
        let (part, body) = (part.clone(), vec![0; 8 << 20]);
        Front::before(&registry.host(), move |request| {
            if !request.is("GET", &part) {
                return Deed::Pass;
            }
            // Without Content-Length it lasts until the connection is closed.
            let head = length
                .map(|length| ("content-length", length.to_string()))
                .or(Some(("x", "y".to_owned())));
            Deed::Answer(200, head.into_iter().collect(), body.clone())
        })
    };
    refused_everywhere(&endless(None).image("a:one"), &[&digests[2]]);
    let size = Path::new(&registry.blob(&digests[2])).metadata().unwrap().len();
    refused_everywhere(&endless(usize::try_from(size).ok()).image("a:one"), &[&digests[2]]);
    assert_eq!(digest(b"").len(), digests[2].len());
}
