//! Faults of registries and connections: temporary ones are tried again, interrupted transfers
//! continue, others are clear errors. Nothing incomplete gets a name.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::endpoints::image;
use crate::support::front::{Deed, Front, Request, status, the_first};
use crate::support::image::{blob, manifest};
use crate::support::program::{self, Output};
use crate::support::{Place, Registry, json, run};

/// That image in a registry.
struct Stage {
    place: Place,
    registry: Registry,
    /// The large layer.
    digest: String,
    size: usize,
}

impl Stage {
    fn new() -> Self {
        let (place, registry) = (Place::new(), Registry::start());
        image().write(&place.path("layout"));
        let from = format!("oci:{}", place.path("layout").display());
        run(["copy", "--insecure", "--quiet", &from, &registry.image("a:one")]).ok();
        let large = manifest(&place.path("layout"))["layers"][1].clone();
        let (digest, size) =
            (large["digest"].as_str().unwrap().to_owned(), large["size"].as_u64().unwrap());
        Self { place, registry, digest, size: usize::try_from(size).unwrap() }
    }

    fn front(&self, decide: impl Fn(&Request) -> Deed + Send + Sync + 'static) -> Front {
        Front::before(&self.registry.host(), decide)
    }

    /// What the front does to the first `times` requests for the large layer.
    fn to_the_layer(&self, times: usize, deed: Deed) -> Front {
        let part = format!("/blobs/{}", self.digest);
        self.front(the_first(times, move |request| request.is("GET", &part), deed))
    }

    fn pull(&self, front: &Front, more: &[&str]) -> Output {
        let to = format!("oci:{}:x", self.place.path("to").display());
        run(["copy", "--insecure", "--quiet", &front.image("a:one"), &to].iter().chain(more))
    }

    fn push(&self, front: &Front, more: &[&str]) -> Output {
        let from = format!("oci:{}", self.place.path("layout").display());
        run(["copy", "--insecure", "--quiet", &from, &front.image("b:one")].iter().chain(more))
    }

    /// The copy is complete.
    #[track_caller]
    fn is_whole(&self) {
        let name = blob(Path::new(""), &self.digest);
        let (here, there) =
            (self.place.path("layout").join(&name), self.place.path("to").join(&name));
        assert!(fs::read(here).unwrap() == fs::read(there).unwrap(), "another content");
        assert_eq!(manifest(&self.place.path("to")), manifest(&self.place.path("layout")));
    }

    /// There is no image, and no incomplete blob with a final name.
    #[track_caller]
    fn is_nothing(&self) {
        let to = self.place.path("to");
        if let Ok(index) = fs::read(to.join("index.json")) {
            let index: Value = serde_json::from_slice(&index).unwrap();
            assert_eq!(index["manifests"], json!([]));
        }
        assert!(!blob(&to, &self.digest).is_file());
    }

    /// The ranges of the large layer that were requested.
    fn ranges(&self, front: &Front) -> Vec<Option<String>> {
        let asked = front.asked("GET", &format!("/blobs/{}", self.digest));
        asked.iter().map(|request| request.header("range").map(str::to_owned)).collect()
    }
}

#[test]
fn what_passes_is_tried_again() {
    let stage = Stage::new();
    for code in [429, 500, 502, 503, 504] {
        let front = stage
            .front(move |request| if request.number % 2 == 1 { status(code) } else { Deed::Pass });
        stage.pull(&front, &["--jobs", "1"]).ok();
        stage.is_whole();
        fs::remove_dir_all(stage.place.path("to")).unwrap();
        let front = stage.front(move |_| status(code));
        stage.pull(&front, &["--retries", "0"]).refused().says(&code.to_string());
        stage.is_nothing();
    }
    // A permanent error is not tried again.
    for code in [400, 403, 404, 410, 451] {
        let front = stage.front(move |_| status(code));
        stage.pull(&front, &[]).refused().says(&code.to_string());
        assert_eq!(front.log().len(), 1, "{code}");
    }
}

#[test]
fn retry_after() {
    let stage = Stage::new();
    let asks_for = |text: &str| {
        let why = json!({"errors": [{"code": "TOOMANYREQUESTS", "message": "slowly"}]}).to_string();
        let answer = Deed::Answer(429, vec![("retry-after", text.to_owned())], why.into_bytes());
        stage.front(the_first(1, |request| request.is("GET", "/manifests/"), answer))
    };
    let begin = Instant::now();
    stage.pull(&asks_for("2"), &[]).ok();
    assert!(begin.elapsed() >= Duration::from_secs(2), "it did not wait: {:?}", begin.elapsed());
    fs::remove_dir_all(stage.place.path("to")).unwrap();
    stage.pull(&asks_for("86400"), &[]).refused().says("429").says("slowly");
    stage.is_nothing();
}

#[test]
fn a_line_that_breaks_is_taken_up_where_it_was() {
    let stage = Stage::new();
    let front = stage.to_the_layer(3, Deed::Cut(300_000));
    stage.pull(&front, &[]).ok();
    stage.is_whole();
    let ranges = stage.ranges(&front);
    assert_eq!(ranges.len(), 4);
    assert_eq!(ranges[0], None);
    for range in &ranges[1..] {
        let from: usize =
            range.as_ref().unwrap()["bytes=".len()..].trim_end_matches('-').parse().unwrap();
        assert!(from > 0 && from < stage.size, "{ranges:?}");
    }
    // A registry that closes the connection before it has answered.
    fs::remove_dir_all(stage.place.path("to")).unwrap();
    stage.pull(&stage.to_the_layer(2, Deed::Hang), &[]).ok();
    stage.is_whole();
}

#[test]
fn a_registry_that_knows_no_ranges() {
    let stage = Stage::new();
    let whole = fs::read(stage.registry.blob(&stage.digest)).unwrap();
    let part = format!("/blobs/{}", stage.digest);
    let front = stage.front(move |request| match request.header("range") {
        _ if !request.is("GET", &part) => Deed::Pass,
        None => Deed::Cut(300_000),
        Some(_) => Deed::Answer(200, Vec::new(), whole.clone()),
    });
    stage.pull(&front, &[]).ok();
    stage.is_whole();
}

#[test]
fn an_interrupted_copy_is_resumed_by_the_next() {
    let stage = Stage::new();
    let front = stage.to_the_layer(1, Deed::Stall(500_000));
    let to = format!("oci:{}:x", stage.place.path("to").display());
    let mut child = program::command(["copy", "--insecure", "--quiet", &front.image("a:one"), &to])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let hex = &stage.digest["sha256:".len()..];
    let partial = stage.place.path("to").join(".orlop-partial").join(format!("sha256-{hex}"));
    let end = Instant::now() + Duration::from_secs(30);
    while fs::metadata(&partial).map_or(0, |status| status.len()) < 400_000 {
        assert!(Instant::now() < end, "it never came");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    stage.is_nothing();
    let had = fs::metadata(&partial).unwrap().len();
    stage.pull(&front, &[]).ok();
    stage.is_whole();
    assert_eq!(stage.ranges(&front), [None, Some(format!("bytes={had}-"))]);
    assert!(!stage.place.path("to").join(".orlop-partial").exists());
    // The existing part is not the beginning of the blob: once more from the beginning.
    fs::remove_dir_all(stage.place.path("to/blobs")).unwrap();
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, vec![1; 1000]).unwrap();
    stage.pull(&front, &[]).ok();
    stage.is_whole();
    assert_eq!(stage.ranges(&front)[2..], [Some("bytes=1000-".to_owned()), None]);
}

/// A signal while it copies: an error, and nothing is left of archives and of temporary files
/// between registries.
#[test]
fn a_copy_is_interrupted() {
    let stage = Stage::new();
    for (at, signal) in ["TERM", "INT", "HUP"].into_iter().enumerate() {
        let front = stage.to_the_layer(9, Deed::Stall(500_000));
        let scratch = stage.place.path(signal);
        fs::create_dir(&scratch).unwrap();
        let archive = format!("oci-archive:{}:x", scratch.join("a.tar").display());
        let to = [
            archive.clone(),
            archive.replacen("oci", "docker", 1),
            stage.registry.image("other:x"),
        ][at]
            .clone();
        let errors = stage.place.path("errors");
        let mut child =
            program::command(["copy", "--insecure", "--quiet", &front.image("a:one"), &to])
                .env("TMPDIR", &scratch)
                .stderr(fs::File::create(&errors).unwrap())
                .spawn()
                .unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while stage.ranges(&front).is_empty() {
            assert!(Instant::now() < end, "it never asked");
            std::thread::sleep(Duration::from_millis(10));
        }
        crate::support::judge("kill", &[&format!("-{signal}"), &child.id().to_string()]);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{to}");
        assert_eq!(fs::read_to_string(&errors).unwrap(), "orlop-image: interrupted\n");
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "{to}");
    }
}

#[test]
fn a_registry_that_stalls() {
    let stage = Stage::new();
    let patience = ["--timeout", "1", "--retries", "0"];
    let begin = Instant::now();
    for front in [stage.to_the_layer(9, Deed::Stall(1000)), stage.to_the_layer(9, Deed::Mute)] {
        stage.pull(&front, &patience).refused().says(&front.host());
        stage.is_nothing();
    }
    stage.pull(&stage.front(|_| Deed::Mute), &patience).refused();
    stage
        .push(
            &stage.front(
                |request| if request.is("PUT", "digest=") { Deed::Mute } else { Deed::Pass },
            ),
            &patience,
        )
        .refused()
        .says("it has received nothing for 1 s");
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    run(["manifest", "--insecure", &stage.registry.image("b:one")]).refused().says("404");
}

#[test]
fn a_line_that_always_breaks() {
    let stage = Stage::new();
    let front = stage.to_the_layer(99, Deed::Cut(0));
    stage.pull(&front, &["--retries", "2"]).refused();
    assert_eq!(stage.ranges(&front).len(), 3);
    stage.is_nothing();
    let hangs = stage
        .front(|request| if request.is("PUT", "/manifests/") { Deed::Hang } else { Deed::Pass });
    stage.push(&hangs, &["--retries", "1"]).refused();
    run(["manifest", "--insecure", &stage.registry.image("b:one")]).refused().says("404");
}

#[test]
fn nobody_is_there() {
    let stage = Stage::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = format!("oci:{}:x", stage.place.path("to").display());
    let begin = Instant::now();
    for host in [closed.to_string(), "no-such-host.invalid".to_owned()] {
        run(["copy", "--quiet", &format!("docker://{host}/a:one"), &to]).refused().says(&host);
        stage.is_nothing();
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "that will not pass: {:?}", begin.elapsed());
}

/// After a connection failure the registry says how many bytes it has.
#[test]
fn an_upload_goes_on() {
    let stage = Stage::new();
    let small = ["--chunk-size", "300k", "--jobs", "1"];
    let is_third =
        |r: &Request| r.method == "PATCH" && r.header("content-range") == Some("614400-921599");
    let front = stage.front(the_first(1, is_third, Deed::Hang));
    stage.push(&front, &small).ok();
    assert_eq!(front.asked("GET", "/v2/b/blobs/uploads/").len(), 1, "{:?}", front.log());
    let again = format!("oci:{}:x", stage.place.path("to").display());
    run(["copy", "--insecure", "--quiet", &stage.registry.image("b:one"), &again]).ok();
    stage.is_whole();
    // The registry has lost the upload: another one is begun.
    let front = stage.front(|request| match request.method.as_str() {
        "PATCH" if request.header("content-range").is_some_and(|r| r.starts_with("307200-")) => {
            status(503)
        }
        "GET" => status(404),
        _ => Deed::Pass,
    });
    let from = format!("oci:{}", stage.place.path("layout").display());
    let to = front.image("c:one");
    run(["copy", "--insecure", "--quiet", "--retries", "1", &from, &to].iter().chain(&small))
        .refused()
        .says("503");
    // A registry without chunks gets one piece.
    let front =
        stage.front(|request| if request.is("PATCH", "") { status(405) } else { Deed::Pass });
    let from = format!("oci:{}", stage.place.path("layout").display());
    run(["copy", "--insecure", "--quiet", &from, &front.image("d:one")].iter().chain(&small)).ok();
    assert_eq!(front.asked("PATCH", "").len(), 1);
    run(["copy", "--insecure", "--quiet", &stage.registry.image("d:one"), &again]).ok();
    // An overloaded registry gets it again.
    let front = stage.front(the_first(2, |request| request.is("PUT", "digest="), status(503)));
    run(["copy", "--insecure", "--quiet", "--jobs", "1", &from, &front.image("e:one")]).ok();
}
