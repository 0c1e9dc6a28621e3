//! Proxies of the environment: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.

use std::process::Command;

use crate::endpoints::image;
use crate::support::front::{Deed, Front, status};
use crate::support::image::manifest;
use crate::support::program::{self, Output};
use crate::support::{Kind, Place, Registry, run};

/// A registry with the image in it.
fn registry(kind: Kind) -> (Place, Registry) {
    let (place, registry) = (Place::new(), Registry::of(kind));
    image().write(&place.path("layout"));
    let (from, to, ca) = (
        format!("oci:{}", place.path("layout").display()),
        registry.image("a:one"),
        registry.file("ca.pem"),
    );
    let trust = if registry.host().starts_with("localhost") {
        ["--ca", &ca]
    } else {
        ["--insecure", "--quiet"]
    };
    run(["copy", &from, &to].iter().chain(&trust)).ok();
    (place, registry)
}

fn with(environment: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command: Command = program::command(args);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(environment.iter().copied()).output().unwrap().into()
}

#[test]
fn of_plain_http() {
    let (place, registry) = registry(Kind::default());
    let proxy = Front::alone(|_| Deed::Pass);
    let address = format!("http://{}", proxy.host());
    let to = format!("oci:{}:x", place.path("to").display());
    let copy = ["copy", "--insecure", "--quiet", &registry.image("a:one"), &to];
    with(&[("HTTP_PROXY", &address)], &copy).ok();
    assert_eq!(manifest(&place.path("to")), manifest(&place.path("layout")));
    let own = format!("http://{}/v2/a/", registry.host());
    assert_eq!(
        proxy.asked("GET", &own).len(),
        4,
        "the manifest and three blobs: {:?}",
        proxy.log()
    );
    let before = proxy.log().len();
    let tags = ["tags", "--insecure", &registry.image("a")];
    for exception in ["127.0.0.1", "example.org,127.0.0.0/8", "*"] {
        with(&[("HTTP_PROXY", &address), ("NO_PROXY", exception)], &tags).ok();
        assert_eq!(proxy.log().len(), before, "NO_PROXY={exception}");
    }
    with(&[("HTTPS_PROXY", &address), ("NO_PROXY", "")], &tags).ok();
    assert!(
        proxy.log()[before..].iter().all(|request| request.method == "CONNECT"),
        "{:?}",
        proxy.log()
    );
    let before = proxy.log().len();
    with(&[("http_proxy", &address), ("NO_PROXY", "example.org")], &tags).ok();
    assert!(proxy.log().len() > before);
}

#[test]
fn of_https() {
    let (_place, registry) = registry(Kind { tls: true, ..Kind::default() });
    let proxy = Front::alone(|_| Deed::Pass);
    let (address, ca) = (format!("http://{}", proxy.host()), registry.file("ca.pem"));
    let image = registry.image("a:one");
    let look = ["manifest", "--ca", &ca, &image];
    with(&[("HTTPS_PROXY", &address)], &look).ok();
    let log = proxy.log();
    // The proxy sees the destination and nothing else.
    assert!(
        !log.is_empty()
            && log.iter().all(|request| request.line() == format!("CONNECT {}", registry.host())),
        "{log:?}"
    );
    with(&[("HTTPS_PROXY", &address), ("NO_PROXY", "localhost")], &look).ok();
    with(&[("HTTP_PROXY", &address)], &look).ok();
    assert_eq!(proxy.log().len(), log.len());
    // A certificate of an unknown authority is refused behind a proxy too.
    with(&[("HTTPS_PROXY", &address)], &["manifest", &image]).refused().says("ertificate");
}

#[test]
fn that_want_a_password_or_do_not_work() {
    let (_place, registry) = registry(Kind::default());
    let (image, right) = (registry.image("a:one"), "Basic bWU6c2VjcmV0");
    let proxy = Front::alone(move |request| match request.header("proxy-authorization") {
        Some(header) if header == right => Deed::Pass,
        _ => Deed::Answer(
            407,
            vec![("proxy-authenticate", "Basic realm=\"p\"".to_owned())],
            Vec::new(),
        ),
    });
    let look = ["manifest", "--insecure", &image];
    with(&[("HTTP_PROXY", &format!("http://me:secret@{}", proxy.host()))], &look).ok();
    with(&[("HTTP_PROXY", &format!("http://me:wrong@{}", proxy.host()))], &look)
        .refused()
        .says("407");
    with(&[("HTTP_PROXY", &format!("http://{}", proxy.host()))], &look).refused().says("407");
    let broken = Front::alone(|_| status(502));
    let address = format!("http://{}", broken.host());
    let once = ["manifest", "--insecure", "--retries", "1", &image];
    with(&[("HTTP_PROXY", &address)], &once).refused().says("502");
    assert_eq!(broken.asked("GET", "/v2/a/manifests/one").len(), 2);
    drop(broken);
    let none = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    with(&[("HTTP_PROXY", &format!("http://{none}"))], &look).refused();
    with(&[("HTTP_PROXY", "http://")], &["tags", &image]).refused();
}
