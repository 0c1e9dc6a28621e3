//! The URLs that a registry may name. All is without `--insecure`, so all servers use TLS.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sched::{CloneFlags, unshare};

use crate::support::front::{Deed, Front, Request, status};
use crate::support::image::{CONFIG, MANIFEST, digest};
use crate::support::program::Output;
use crate::support::tls::TlsFront;
use crate::support::{Image, Layer, Place, json, judge, run};

/// How a registry can name a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UrlSource {
    /// The token service.
    Realm,
    /// A redirect of the token service.
    Token,
    /// A redirect of a manifest.
    Manifest,
    /// A redirect of a blob.
    Blob,
    /// The Location of an upload.
    Upload,
}

const SOURCES: [UrlSource; 5] =
    [UrlSource::Realm, UrlSource::Token, UrlSource::Manifest, UrlSource::Blob, UrlSource::Upload];

fn redirect(target: &str) -> Deed {
    Deed::Answer(307, vec![("location", target.to_owned())], Vec::new())
}

fn token() -> Deed {
    Deed::Answer(200, Vec::new(), br#"{"token":"x"}"#.to_vec())
}

/// A registry with one image without layers. It demands a token if the test needs that.
fn answer(request: &Request, source: UrlSource, own: &str, target: &str) -> Deed {
    if request.target.starts_with("/token") {
        return if source == UrlSource::Token { redirect(target) } else { token() };
    }
    // Only a client that was redirected requests this.
    if request.target.starts_with("/elsewhere") {
        let asks = request.method == "POST" || request.target.contains("/token");
        return if asks { token() } else { Deed::Answer(200, Vec::new(), b"{}".to_vec()) };
    }
    if matches!(source, UrlSource::Realm | UrlSource::Token)
        && request.header("authorization") != Some("Bearer x")
    {
        let realm =
            if source == UrlSource::Realm { target.to_owned() } else { format!("{own}/token") };
        return Deed::Answer(
            401,
            vec![("www-authenticate", format!("Bearer realm=\"{realm}\""))],
            Vec::new(),
        );
    }
    match request.method.as_str() {
        "GET" if request.target.contains("/manifests/") && source == UrlSource::Manifest => {
            redirect(target)
        }
        "GET" if request.target.contains("/manifests/") => {
            let config = json!({"mediaType": CONFIG, "digest": digest(b"{}"), "size": 2});
            let manifest =
                json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
            Deed::Answer(
                200,
                vec![("content-type", MANIFEST.to_owned())],
                manifest.to_string().into_bytes(),
            )
        }
        "GET" if request.target.contains("/blobs/") && source == UrlSource::Blob => {
            redirect(target)
        }
        "GET" => Deed::Answer(200, Vec::new(), b"{}".to_vec()),
        "POST" => Deed::Answer(202, vec![("location", target.to_owned())], Vec::new()),
        _ => status(404),
    }
}

/// A registry at `host` that names the URL `target` returns for its port.
fn registry(
    source: UrlSource,
    host: &'static str,
    target: impl Fn(u16) -> String + Send + Sync + 'static,
) -> TlsFront {
    TlsFront::alone(move |request, port| {
        answer(request, source, &format!("https://{host}:{port}"), &target(port))
    })
}

fn use_it(registry: &TlsFront, host: &str, source: UrlSource, more: &[&str]) -> Output {
    let (place, ca) = (Place::new(), registry.ca());
    Image::of(&[Layer::new()]).write(&place.path("layout"));
    let there = format!("docker://{host}:{}/a:one", registry.port);
    let here = |name: &str| format!("oci:{}", place.path(name).display());
    let (from, to) =
        if source == UrlSource::Upload { (here("layout"), there) } else { (there, here("to:x")) };
    run(["copy", "--quiet", "--retries", "0", "--ca", &ca, &from, &to].iter().chain(more))
}

/// An auth file with an identity token, which is sent in the body of a request.
fn identity_token(place: &Place, host: &str) -> String {
    let path = place.path("auth.json");
    let entry = json!({"auth": STANDARD.encode("<token>:"), "identitytoken": "secret"});
    fs::write(&path, json!({"auths": {(host): entry}}).to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn never_to_somebody_without_encryption() {
    for source in SOURCES {
        let plain = Front::alone(|_| token());
        let target = format!("http://{}/elsewhere", plain.host());
        let registry = registry(source, "localhost", move |_| target.clone());
        let place = Place::new();
        let file = identity_token(&place, &format!("localhost:{}", registry.port));
        for who in
            [&["--authfile", "/dev/null"][..], &["--creds", "me:secret"], &["--authfile", &file]]
        {
            let refused = use_it(&registry, "localhost", source, who).refused();
            let expected =
                if source == UrlSource::Token { "redirected to" } else { "the registry names" };
            let expected = format!("{expected} http://");
            assert!(refused.stderr.contains(&expected), "{source:?}: {refused:?}");
        }
        assert!(plain.log().is_empty(), "{source:?}: {:?}", plain.log());
    }
}

/// The credentials are sent to the token service only, and not to a server that it redirects to.
#[test]
fn a_service_of_tokens_does_not_send_us_on() {
    let target = |port: u16| format!("https://127.0.0.1:{port}/elsewhere");
    let there = registry(UrlSource::Token, "localhost", target);
    let place = Place::new();
    let file = identity_token(&place, &format!("localhost:{}", there.port));
    for who in [&["--authfile", "/dev/null"][..], &["--creds", "me:secret"], &["--authfile", &file]]
    {
        use_it(&there, "localhost", UrlSource::Token, who)
            .refused()
            .says("redirected to https://127.0.0.1");
    }
    assert!(there.front.log().iter().all(|request| !request.target.starts_with("/elsewhere")));
    // A redirect on the same server is allowed.
    let same = registry(UrlSource::Token, "localhost", |port| {
        format!("https://localhost:{port}/elsewhere/token")
    });
    use_it(&same, "localhost", UrlSource::Token, &["--creds", "me:secret"]).ok();
}

/// In a network namespace in which two addresses are public.
fn with_public_addresses(test: impl FnOnce() + Send + 'static) {
    let there = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        judge("ip", &["link", "set", "lo", "up"]);
        for address in ["11.0.0.1/32", "11.0.0.2/32"] {
            judge("ip", &["address", "add", address, "dev", "lo"]);
        }
        test();
    });
    there.join().unwrap();
}

#[test]
fn a_registry_on_the_internet_does_not_send_us_to_this_machine() {
    with_public_addresses(|| {
        for source in SOURCES {
            for near in ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "[::1]"] {
                let registry = registry(source, "11.0.0.1", move |port| {
                    format!("https://{near}:{port}/elsewhere")
                });
                let refused =
                    use_it(&registry, "11.0.0.1", source, &["--authfile", "/dev/null"]).refused();
                let told = if source == UrlSource::Token {
                    "redirected to https://"
                } else {
                    "nearer to us than itself"
                };
                assert!(refused.stderr.contains(told), "{source:?} {near}: {refused:?}");
                let log = registry.front.log();
                assert!(
                    log.iter().all(|request| !request.target.starts_with("/elsewhere")),
                    "{source:?} {near}: {log:?}"
                );
            }
        }
        // Another server on the Internet is allowed.
        let registry = registry(UrlSource::Blob, "11.0.0.1", |port| {
            format!("https://11.0.0.2:{port}/elsewhere")
        });
        use_it(&registry, "11.0.0.1", UrlSource::Blob, &["--authfile", "/dev/null"]).ok();
        assert_eq!(registry.front.asked("GET", "/elsewhere").len(), 1);
    });
}
