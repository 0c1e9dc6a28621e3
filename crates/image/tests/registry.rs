//! Images in a registry: Debian's docker-registry on loopback, with skopeo as the other client.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::support::image::{blob, manifest};
use crate::support::{Image, Kind, Layer, Place, Registry, Stored, judge, program, run, tree};

fn image() -> Image {
    let base = Layer::new()
        .dir("./", 0o755)
        .dir("etc", 0o755)
        .file("etc/motd", 0o644, b"hello\n")
        .file("old", 0o644, b"");
    let large: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let upper =
        Layer::new().dir("./", 0o755).file("large", 0o600, &large).file(".wh.old", 0o644, b"");
    // skopeo compresses layers that are not compressed.
    Image::new().layer(&base, Stored::Gzip).layer(&upper, Stored::Zstd)
}

/// `oci:` and the directory `name`.
fn layout(place: &Place, name: &str) -> String {
    format!("oci:{}", place.path(name).display())
}

/// Writes and pushes the image. Returns its manifest.
#[track_caller]
fn push(place: &Place, registry: &Registry, name: &str) -> Value {
    image().write(&place.path("layout"));
    run(["copy", "--insecure", "--quiet", &layout(place, "layout"), &registry.image(name)]).ok();
    manifest(&place.path("layout"))
}

/// The digests of the config and the layers.
fn digests(manifest: &Value) -> Vec<&str> {
    let layers = manifest["layers"].as_array().unwrap();
    [&manifest["config"]]
        .into_iter()
        .chain(layers)
        .map(|of| of["digest"].as_str().unwrap())
        .collect()
}

/// Both layouts have the blobs, and they are the same.
#[track_caller]
fn assert_same_blobs(manifest: &Value, one: &Path, other: &Path) {
    for digest in digests(manifest) {
        assert!(
            fs::read(blob(one, digest)).unwrap() == fs::read(blob(other, digest)).unwrap(),
            "{digest}"
        );
    }
}

fn skopeo_sees(registry: &Registry, name: &str) -> Value {
    let text = judge("skopeo", &["inspect", "--tls-verify=false", "--raw", &registry.image(name)]);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn what_we_push_is_what_skopeo_fetches() {
    let (place, registry) = (Place::new(), Registry::start());
    let pushed = push(&place, &registry, "some/where:one");
    assert_eq!(skopeo_sees(&registry, "some/where:one"), pushed);
    let (from, to) = (registry.image("some/where:one"), layout(&place, "theirs:x"));
    judge("skopeo", &["copy", "--src-tls-verify=false", &from, &to]);
    assert_same_blobs(&pushed, &place.path("layout"), &place.path("theirs"));
    // Copied back by us, and in small chunks to another repository.
    run(["copy", "--insecure", "--quiet", &from, &layout(&place, "ours:x")]).ok();
    assert_eq!(manifest(&place.path("ours")), pushed);
    assert_same_blobs(&pushed, &place.path("layout"), &place.path("ours"));
    let chunked = registry.image("chunked:one");
    run([
        "copy",
        "--insecure",
        "--quiet",
        "--chunk-size",
        "1m",
        &layout(&place, "ours:x"),
        &chunked,
    ])
    .ok();
    judge("skopeo", &["copy", "--src-tls-verify=false", &chunked, &layout(&place, "chunked:x")]);
    assert_same_blobs(&pushed, &place.path("layout"), &place.path("chunked"));
}

#[test]
fn what_skopeo_pushes_is_what_we_fetch_and_unpack() {
    let (place, registry) = (Place::new(), Registry::start());
    let rootfs = place.rootfs(&image());
    let there = registry.image("theirs:latest");
    judge("skopeo", &["copy", "--dest-tls-verify=false", &layout(&place, "layout"), &there]);
    run(["copy", "--insecure", "--quiet", &there, &layout(&place, "ours:x")]).ok();
    assert_eq!(manifest(&place.path("ours")), skopeo_sees(&registry, "theirs:latest"));
    assert_same_blobs(&manifest(&place.path("ours")), &place.path("layout"), &place.path("ours"));
    let (bundle, orlop) = (place.path("fetched"), program::orlop());
    let flags = ["--insecure", "--runtime", orlop.to_str().unwrap()];
    run(["unpack", &there, bundle.to_str().unwrap()].iter().chain(&flags)).ok();
    assert_eq!(fs::read(bundle.join("rootfs/etc/motd")).unwrap(), b"hello\n");
    assert!(!bundle.join("rootfs/old").is_file(), "the whiteout was passed over");
    tree::assert_same(&bundle.join("rootfs"), &rootfs);
}

#[test]
fn tags_are_listed_and_deleted() {
    let (place, registry) = (Place::new(), Registry::start());
    push(&place, &registry, "a:one");
    // Deleting the first tag would delete this digest too.
    let other = Image::of(&[Layer::new().file("other", 0o644, b"")]);
    other.write(&place.path("other"));
    for tag in ["a:two", "a:v1.0_x"] {
        run(["copy", "--insecure", "--quiet", &layout(&place, "other"), &registry.image(tag)]).ok();
    }
    let repository = registry.image("a");
    let tags =
        |more: &[&str]| run(["tags", "--insecure", &repository].iter().chain(more)).ok().stdout;
    assert_eq!(tags(&[]), "one\ntwo\nv1.0_x\n");
    assert_eq!(tags(&["--page-size", "1"]), "one\ntwo\nv1.0_x\n");
    let listed: Value =
        serde_json::from_str(&judge("skopeo", &["list-tags", "--tls-verify=false", &repository]))
            .unwrap();
    assert_eq!(serde_json::from_str::<Value>(&tags(&["--json"])).unwrap(), listed["Tags"]);
    let one = judge(
        "skopeo",
        &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &registry.image("a:one")],
    );
    run(["delete", "--insecure", &format!("{repository}@{}", one.trim())]).ok();
    assert_eq!(tags(&[]), "two\nv1.0_x\n");
    run(["manifest", "--insecure", &registry.image("a:one")])
        .refused()
        .says("manifest one of a: 404");
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_is_refused() {
    let (place, registry) = (Place::new(), Registry::start());
    let pushed = push(&place, &registry, "a:one");
    let file = registry.blob(digests(&pushed)[2]);
    let mut content = fs::read(&file).unwrap();
    content[1000] ^= 1;
    fs::write(&file, content).unwrap();
    let (there, orlop) = (registry.image("a:one"), program::orlop());
    let bundle = place.path("bundle").display().to_string();
    let digest = digests(&pushed)[2];
    let flags = ["--insecure", "--quiet", "--retries", "0", "--runtime", orlop.to_str().unwrap()];
    run(["unpack", &there, &bundle].iter().chain(&flags)).refused().says(digest);
    place.is_clean();
    // Good blobs may stay for the next copy, but there is no image.
    let copy =
        ["copy", "--insecure", "--quiet", "--retries", "0", &there, &layout(&place, "bad:x")];
    run(copy).refused().says(digest);
    assert!(!blob(&place.path("bad"), digest).is_file());
    run(["manifest", &layout(&place, "bad:x")]).refused();
}

#[test]
fn certificates_and_passwords() {
    let registry =
        Registry::of(Kind { tls: true, knows_clients: true, password: true, ..Kind::default() });
    let place = Place::new();
    image().write(&place.path("layout"));
    let (ca, cert, key) =
        (registry.file("ca.pem"), registry.file("client.pem"), registry.file("client.key"));
    let auth = registry.file("auth.json");
    fs::write(&auth, "{}").unwrap();
    let trust = ["--ca", &ca, "--authfile", &auth];
    let client = ["--client-cert", &cert, "--client-key", &key];
    let (from, to) = (layout(&place, "layout"), registry.image("a:one"));
    let copy = |flags: &[&[&str]]| {
        run(["copy", "--quiet", "--retries", "0", &from, &to].iter().chain(flags.concat().iter()))
    };
    copy(&[&["--authfile", &auth], &client]).refused().says("ertificate");
    copy(&[&trust]).refused();
    copy(&[&trust, &client]).refused().says("401");
    copy(&[&trust, &client, &["--creds", "me:wrong"]]).refused().says("401");
    copy(&[&trust, &client, &["--creds", "me:secret"]]).ok();
    // Without verification of the server.
    let unknown =
        [&["--insecure", "--authfile", &auth][..], &client, &["--creds", "me:secret"]].concat();
    copy(&[&unknown]).ok();
    copy(&[&unknown[1..]]).refused().says("ertificate");
    // Stored credentials.
    let host = registry.host();
    let login = |password: &str| {
        let mut command =
            program::command(["login", &host, "--username", "me", "--password-stdin"]);
        let mut child = command
            .args(trust)
            .args(client)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), password.as_bytes()).unwrap();
        program::Output::from(child.wait_with_output().unwrap())
    };
    login("wrong").refused();
    copy(&[&trust, &client]).refused();
    login("secret\n").ok();
    copy(&[&trust, &client]).ok();
    // skopeo uses our auth file, with the same certificates in a directory.
    let certs = place.path("certs");
    fs::create_dir(&certs).unwrap();
    for (file, name) in [(&ca, "ca.crt"), (&cert, "client.cert"), (&key, "client.key")] {
        fs::copy(file, certs.join(name)).unwrap();
    }
    let flags = ["--authfile", &auth, "--cert-dir", certs.to_str().unwrap(), "--raw", &to];
    let seen = judge("skopeo", &[&["inspect"][..], &flags].concat());
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap(), manifest(&place.path("layout")));
    run(["logout", &host, "--authfile", &auth]).ok();
    copy(&[&trust, &client]).refused().says("401");
}

#[test]
fn what_is_attached_is_found_again() {
    let (place, registry) = (Place::new(), Registry::start());
    push(&place, &registry, "a:one");
    let note = place.path("note.txt");
    fs::write(&note, "checked").unwrap();
    let (there, note) = (registry.image("a:one"), format!("{}:text/plain", note.display()));
    let kind = "application/vnd.example.note";
    run(["attach", "--insecure", "--quiet", "--artifact-type", kind, &there, &note]).ok();
    let found = run(["referrers", "--insecure", "--json", &there]).ok().stdout;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(found[0]["artifactType"], kind);
    let artifact = format!("a@{}", found[0]["digest"].as_str().unwrap());
    let artifact = skopeo_sees(&registry, &artifact);
    let subject =
        judge("skopeo", &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &there]);
    assert_eq!(artifact["subject"]["digest"], subject.trim());
    assert_eq!(
        fs::read(registry.blob(artifact["layers"][0]["digest"].as_str().unwrap())).unwrap(),
        b"checked"
    );
    let none =
        run(["referrers", "--insecure", "--json", "--artifact-type", "application/x", &there])
            .ok()
            .stdout;
    assert_eq!(none.trim(), "[]");
}
