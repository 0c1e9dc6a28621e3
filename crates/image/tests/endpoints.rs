//! Every endpoint of distribution-spec that is used, on a real registry behind a proxy that logs
//! the requests.

use std::fs;

use serde_json::Value;

use crate::support::front::{Deed, Front, status};
use crate::support::image::{INDEX, MANIFEST, manifest, put_blob, write_index};
use crate::support::{Image, Layer, Place, Registry, Stored, json, run};

/// A small layer, and one of more than a megabyte that cannot be compressed.
pub fn image() -> Image {
    let noise: Vec<u8> =
        (0..400_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let small = Layer::new().file("small", 0o644, b"small");
    Image::new()
        .layer(&small, Stored::Gzip)
        .layer(&Layer::new().file("noise", 0o644, &noise), Stored::Plain)
}

struct Stage {
    place: Place,
    registry: Registry,
    front: Front,
}

impl Stage {
    fn new() -> Self {
        let (place, registry) = (Place::new(), Registry::start());
        image().write(&place.path("layout"));
        let front = Front::before(&registry.host(), |_| Deed::Pass);
        Self { place, registry, front }
    }

    fn layout(&self, name: &str) -> String {
        format!("oci:{}", self.place.path(name).display())
    }

    #[track_caller]
    fn copy(&self, from: &str, to: &str, more: &[&str]) {
        run(["copy", "--insecure", "--quiet", from, to].iter().chain(more)).ok();
    }

    #[track_caller]
    fn asked(&self, method: &str, part: &str, times: usize) {
        let lines: Vec<String> =
            self.front.log().iter().map(super::support::front::Request::line).collect();
        assert_eq!(self.front.asked(method, part).len(), times, "{method} …{part}: {lines:#?}");
    }
}

fn digest_of(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

#[test]
fn blobs_in_one_piece() {
    let stage = Stage::new();
    stage.copy(&stage.layout("layout"), &stage.front.image("a:one"), &[]);
    // The config and two layers. Blobs that exist are not sent again.
    stage.asked("HEAD", "/v2/a/blobs/sha256:", 3);
    stage.asked("POST", "/v2/a/blobs/uploads/", 3);
    stage.asked("PUT", "digest=sha256", 3);
    stage.asked("PATCH", "", 0);
    stage.asked("PUT", "/v2/a/manifests/one", 1);
    stage.copy(&stage.layout("layout"), &stage.front.image("a:two"), &[]);
    stage.asked("HEAD", "/v2/a/blobs/sha256:", 6);
    stage.asked("PUT", "digest=sha256", 3);
    stage.asked("PUT", "/v2/a/manifests/two", 1);
    stage.copy(&stage.front.image("a:one"), &stage.layout("back:x"), &[]);
    stage.asked("GET", "/v2/a/manifests/one", 1);
    stage.asked("GET", "/v2/a/blobs/sha256:", 3);
    stage.copy(&stage.front.image("a:one"), &stage.layout("back:y"), &[]);
    stage.asked("GET", "/v2/a/blobs/sha256:", 3);
    assert_eq!(manifest(&stage.place.path("back")), manifest(&stage.place.path("layout")));
}

#[test]
fn blobs_in_chunks() {
    let stage = Stage::new();
    let size = manifest(&stage.place.path("layout"))["layers"][1]["size"].as_u64().unwrap();
    stage.copy(
        &stage.layout("layout"),
        &stage.front.image("a:one"),
        &["--chunk-size", "500k", "--jobs", "1"],
    );
    let ranges: Vec<String> = stage
        .front
        .asked("PATCH", "/v2/a/blobs/uploads/")
        .iter()
        .map(|request| request.header("content-range").unwrap().to_owned())
        .collect();
    let step = 500 * 1024;
    let expected: Vec<String> = (0..size)
        .step_by(step)
        .map(|from| format!("{from}-{}", (from + step as u64).min(size) - 1))
        .collect();
    assert_eq!(ranges, expected);
    let end = stage.front.asked("PUT", "digest=sha256");
    assert_eq!(
        end.iter().filter(|request| request.body.is_empty()).count(),
        1,
        "the end of the chunks"
    );
    let stored =
        stage.registry.blob(digest_of(&manifest(&stage.place.path("layout"))["layers"][1]));
    assert_eq!(fs::metadata(stored).unwrap().len(), size);
}

/// Between repositories of one registry, blobs are mounted and not transferred.
#[test]
fn blobs_of_another_repository() {
    let stage = Stage::new();
    stage.copy(&stage.layout("layout"), &stage.front.image("a:one"), &[]);
    let puts = stage.front.asked("PUT", "digest=").len();
    stage.copy(&stage.front.image("a:one"), &stage.front.image("b/c:one"), &[]);
    stage.copy(&stage.layout("layout"), &stage.front.image("d:one"), &["--mount-from", "a"]);
    for repository in ["b/c", "d"] {
        stage.asked("POST", &format!("/v2/{repository}/blobs/uploads/?mount=sha256"), 3);
        stage.asked("PUT", &format!("/v2/{repository}/manifests/one"), 1);
        stage.copy(&stage.front.image(&format!("{repository}:one")), &stage.layout("back:x"), &[]);
    }
    assert!(stage.front.asked("POST", "&from=a").len() == 6);
    assert_eq!(stage.front.asked("PUT", "digest=").len(), puts, "no blob was sent");
    // A repository that does not have the blobs: they are sent.
    stage.copy(&stage.layout("layout"), &stage.front.image("e:one"), &["--mount-from", "empty"]);
    assert_eq!(stage.front.asked("PUT", "digest=").len(), puts + 3);
}

#[test]
fn tags_in_order() {
    let stage = Stage::new();
    let tags = ["latest", "t0", "t1", "t2", "v1.0_x"];
    for tag in tags {
        stage.copy(&stage.layout("layout"), &stage.registry.image(&format!("a:{tag}")), &[]);
    }
    let listed =
        run(["tags", "--insecure", "--page-size", "2", &stage.front.image("a")]).ok().stdout;
    assert_eq!(listed.lines().collect::<Vec<_>>(), tags);
    stage.asked("GET", "/v2/a/tags/list?n=2", 1);
    run(["tags", "--insecure", &stage.front.image("nothing")]).refused().says("NAME_UNKNOWN");
}

/// Debian's registry returns all tags at once. The other one has pages. A Link to another server is
/// not followed.
#[test]
fn tags_page_by_page() {
    let all = ["a", "b", "c", "d", "e"];
    let front = Front::alone(move |request| {
        let Some((path, query)) = request.target.split_once('?') else { return status(200) };
        let query = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key));
        let (count, last) =
            (query("n=").unwrap().parse::<usize>().unwrap(), query("last=").unwrap_or(""));
        let page: Vec<&str> = all.iter().copied().filter(|tag| *tag > last).take(count).collect();
        let mut headers = Vec::new();
        if path.contains("/astray/") {
            headers.push(("link", "<http://127.0.0.2:9/v2/x/tags/list>; rel=\"next\"".to_owned()));
        } else if let Some(last) = page.last().filter(|last| **last != "e") {
            headers.push(("link", format!("<{path}?n={count}&last={last}>; rel=\"next\"")));
        }
        Deed::Answer(200, headers, serde_json::to_vec(&json!({"name": "x", "tags": page})).unwrap())
    });
    for (size, pages) in [("1", 5), ("2", 3), ("5", 1), ("9", 1)] {
        let before = front.asked("GET", "/tags/list").len();
        let listed =
            run(["tags", "--insecure", "--page-size", size, &front.image("x")]).ok().stdout;
        assert_eq!(
            (listed.as_str(), front.asked("GET", "/tags/list").len() - before),
            ("a\nb\nc\nd\ne\n", pages)
        );
    }
    run(["tags", "--insecure", "--page-size", "2", &front.image("astray")])
        .refused()
        .says("127.0.0.2");
}

/// Pages that are small each, but too large together.
#[test]
fn lists_without_an_end() {
    let front = Front::alone(|request| {
        let path = request.target.split('?').next().unwrap();
        let number: usize =
            request.target.split_once("last=").map_or(0, |(_, last)| last.parse().unwrap());
        let page = json!({"name": "x", "tags": ["x".repeat(1 << 20)]}).to_string().into_bytes();
        // The list ends for a client that continues.
        let link =
            (number < 40).then(|| ("link", format!("<{path}?last={}>; rel=\"next\"", number + 1)));
        Deed::Answer(200, link.into_iter().collect(), page)
    });
    run(["tags", "--insecure", &front.image("x")])
        .refused()
        .says("tags of x")
        .says("16777216 bytes in all");
    assert_eq!(front.asked("GET", "/tags/list").len(), 16);
}

/// Debian's registry has no referrers API: the client keeps the list, under a tag.
#[test]
fn referrers_by_the_fallback_tag() {
    let stage = Stage::new();
    let there = stage.front.image("a:one");
    stage.copy(&stage.layout("layout"), &there, &[]);
    let note = stage.place.path("note");
    fs::write(&note, "x").unwrap();
    let attach = |kind: &str| {
        run([
            "attach",
            "--insecure",
            "--quiet",
            "--artifact-type",
            kind,
            &there,
            note.to_str().unwrap(),
        ])
        .ok();
    };
    let list = |more: &[&str]| -> Vec<Value> {
        let found =
            run(["referrers", "--insecure", "--json", &there].iter().chain(more)).ok().stdout;
        serde_json::from_str(&found).unwrap()
    };
    assert!(list(&[]).is_empty());
    stage.asked("HEAD", "/v2/a/manifests/one", 1);
    stage.asked("GET", "/v2/a/referrers/sha256:", 1);
    stage.asked("GET", "/v2/a/manifests/sha256-", 1);
    attach("application/vnd.x.one");
    attach("application/vnd.x.two");
    stage.asked("PUT", "/v2/a/manifests/sha256-", 2);
    let found = list(&[]);
    assert_eq!(found.len(), 2);
    assert_eq!(list(&["--artifact-type", "application/vnd.x.two"])[..], found[1..]);
    run([
        "delete",
        "--insecure",
        &format!("docker://{}/a@{}", stage.front.host(), digest_of(&found[0])),
    ])
    .ok();
    stage.asked("DELETE", &format!("/v2/a/manifests/{}", digest_of(&found[0])), 1);
    assert_eq!(list(&[])[..], found[1..]);
}

/// An index has a subject too.
#[test]
fn an_index_that_refers() {
    let stage = Stage::new();
    let (there, layout) = (stage.front.image("a:one"), stage.place.path("layout"));
    stage.copy(&stage.layout("layout"), &there, &[]);
    let raw = run(["manifest", "--raw", "--insecure", &there]).ok().stdout;
    let mut signed = image().put(&layout, "amd64");
    signed["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let mut index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [signed],
        "artifactType": "application/vnd.x.many", "annotations": {"a": "b"}});
    index["subject"] = put_blob(&layout, raw.as_bytes(), MANIFEST);
    let index = put_blob(&layout, index.to_string().as_bytes(), INDEX);
    write_index(&layout, &[put_blob(&layout, raw.as_bytes(), MANIFEST), index.clone()]);
    let source = format!("{}@{}", stage.layout("layout"), digest_of(&index));
    stage.copy(&source, &stage.front.image("a:many"), &["--all"]);
    let whole = |of: &str| format!("{of}@{}", crate::support::image::digest(raw.as_bytes()));
    for image in [there, whole(&stage.layout("layout"))] {
        let found = run(["referrers", "--insecure", "--json", &image]).ok().stdout;
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
        assert_eq!(
            (digest_of(&found[0]), &found[0]["artifactType"]),
            (digest_of(&index), &json!("application/vnd.x.many"))
        );
    }
    let repository = stage.front.image("a");
    run(["delete", "--insecure", &format!("{repository}@{}", digest_of(&index))]).ok();
    let list = run(["referrers", "--insecure", "--json", &whole(&repository)]).ok().stdout;
    assert_eq!(list.trim(), "[]");
}

/// A registry with the referrers API: its pages are followed, the tag is not read, and it gets the
/// filter.
#[test]
fn referrers_by_the_api() {
    let place = Place::new();
    let registry = Registry::start();
    image().write(&place.path("layout"));
    let from = format!("oci:{}", place.path("layout").display());
    run(["copy", "--insecure", "--quiet", &from, &registry.image("a:one")]).ok();
    let entry = |digit: &str, kind: &str| {
        json!({"mediaType": MANIFEST, "size": 2,
        "digest": format!("sha256:{}", digit.repeat(64)), "artifactType": kind})
    };
    let page = |entries: &[Value]| {
        serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
            .unwrap()
    };
    let pages = [page(&[entry("1", "a/x"), entry("2", "a/y")]), page(&[entry("3", "a/x")])];
    let front = Front::before(&registry.host(), move |request| {
        let Some((path, query)) = request.target.split_once('?').or(Some((&request.target, "")))
        else {
            return Deed::Pass;
        };
        if !path.contains("/referrers/") {
            return Deed::Pass;
        }
        let kind = ("content-type", INDEX.to_owned());
        if query.contains("next=1") {
            return Deed::Answer(200, vec![kind], pages[1].clone());
        }
        let link = ("link", format!("<{path}?next=1>; rel=\"next\""));
        Deed::Answer(200, vec![kind, link], pages[0].clone())
    });
    let list = |more: &[&str]| -> Vec<String> {
        let text =
            run(["referrers", "--insecure", &front.image("a:one")].iter().chain(more)).ok().stdout;
        text.lines().map(|line| line[7..8].to_owned()).collect()
    };
    assert_eq!(list(&[]), ["1", "2", "3"]);
    assert_eq!(list(&["--artifact-type", "a/x"]), ["1", "3"]);
    assert_eq!(front.asked("GET", "artifactType=a%2Fx").len(), 1);
    assert!(front.asked("GET", "/manifests/sha256-").is_empty());
}

#[test]
fn deleting() {
    let stage = Stage::new();
    stage.copy(&stage.layout("layout"), &stage.front.image("a:one"), &[]);
    stage.copy(&stage.layout("layout"), &stage.front.image("a:two"), &[]);
    let pushed = manifest(&stage.place.path("layout"));
    let text = run(["manifest", "--raw", "--insecure", &stage.front.image("a:one")]).ok().stdout;
    let digest = crate::support::image::digest(text.as_bytes());
    let repository = stage.front.image("a");
    // This registry cannot delete a single tag, and the manifest has two.
    let refused = run(["delete", "--insecure", &format!("{repository}:one")]).refused();
    refused.says(&digest).says("with all its tags");
    stage.asked("DELETE", "/v2/a/manifests/one", 1);
    let layer = digest_of(&pushed["layers"][1]);
    run(["delete", "--insecure", "--blob", &format!("{repository}@{layer}")]).ok();
    stage.asked("DELETE", &format!("/v2/a/blobs/{layer}"), 1);
    let to = stage.layout("back:x");
    run(["copy", "--insecure", "--quiet", &stage.front.image("a:one"), &to])
        .refused()
        .says(layer)
        .says("404");
    run(["delete", "--insecure", &format!("{repository}@{digest}")]).ok();
    stage.asked("DELETE", &format!("/v2/a/manifests/{digest}"), 1);
    for tag in ["one", "two"] {
        run(["manifest", "--insecure", &format!("{repository}:{tag}")]).refused().says("404");
    }
    run(["delete", "--insecure", &format!("{repository}@{digest}")]).refused().says("404");
    run(["delete", "--insecure", "--blob", &format!("{repository}@{layer}")]).refused().says("404");
}

#[test]
fn an_index_and_all_of_it() {
    let stage = Stage::new();
    image().write_for(&stage.place.path("three"), &["arm64", "amd64", "s390x"]);
    stage.copy(&stage.layout("three"), &stage.front.image("a:all"), &["--all"]);
    // Three manifests by digest, then the index by name.
    stage.asked("PUT", "/v2/a/manifests/sha256:", 3);
    stage.asked("PUT", "/v2/a/manifests/all", 1);
    let puts: Vec<String> =
        stage.front.asked("PUT", "/manifests/").into_iter().map(|put| put.target).collect();
    assert!(puts[3].ends_with("/all"), "{puts:?}");
    stage.copy(&stage.front.image("a:all"), &stage.layout("back:x"), &["--all"]);
    let index: Value = manifest(&stage.place.path("back"));
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(3), "{index}");
    let one = |platform: &str, to: &str| {
        stage.copy(&stage.front.image("a:all"), &stage.layout(to), &["--platform", platform]);
        let config = run(["config", &stage.layout(to)]).ok().stdout;
        serde_json::from_str::<Value>(&config).unwrap()["architecture"].clone()
    };
    assert_eq!(one("linux/s390x", "s390x:x"), "s390x");
    assert_eq!(one("linux/arm64", "arm64:x"), "arm64");
    let refused = ["copy", "--insecure", "--quiet", "--platform", "linux/riscv64"];
    let refused =
        run(refused.iter().chain(&[&*stage.front.image("a:all"), &stage.layout("none:x")]))
            .refused();
    refused.says("linux/arm64").says("linux/amd64").says("linux/s390x");
}
