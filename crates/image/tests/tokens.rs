//! Tokens: a real registry demands them, and a service of the test issues them as distribution's
//! "Token Authentication Specification" and "OAuth2 Token Authentication" say. The registry
//! verifies the tokens.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Url;
use serde_json::Value;

use crate::endpoints::image;
use crate::support::front::{Deed, Front, Request, status, the_first};
use crate::support::image::manifest;
use crate::support::program::Output;
use crate::support::{Kind, Place, Registry, json, judge, run};

/// A service that issues tokens, and a registry that demands them.
struct Stage {
    place: Place,
    service: Front,
    registry: Registry,
}

/// Signs tokens with a key of its own.
struct Signer {
    dir: tempfile::TempDir,
    certificate: String,
}

impl Signer {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (key, pem) = (at("key.pem"), at("cert.pem"));
        judge(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &pem,
                "-days",
                "2",
                "-subj",
                "/CN=tests",
            ],
        );
        let text = fs::read_to_string(&pem).unwrap();
        let certificate = text.lines().filter(|line| !line.starts_with('-')).collect();
        Self { dir, certificate }
    }

    fn path(&self) -> String {
        self.dir.path().join("cert.pem").display().to_string()
    }

    /// A JSON Web Token for this access (RFC 7519).
    fn sign(&self, access: &[Value]) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({"iss": "tests", "sub": "me", "aud": "the registry", "exp": now + 300, "nbf": now - 60,
            "iat": now, "jti": now.to_string(), "access": access});
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [self.certificate]});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&claims));
        let (mut file, key) =
            (tempfile::NamedTempFile::new().unwrap(), self.dir.path().join("key.pem"));
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let signature = tempfile::NamedTempFile::new().unwrap();
        let names = [key.as_path(), signature.path(), file.path()]
            .map(|path| path.to_str().unwrap().to_owned());
        judge("openssl", &["dgst", "-sha256", "-sign", &names[0], "-out", &names[1], &names[2]]);
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(fs::read(signature.path()).unwrap()))
    }
}

/// The fields of a query or of a form.
fn fields(request: &Request) -> Vec<(String, String)> {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let text =
        if request.method == "POST" { std::str::from_utf8(&request.body).unwrap() } else { query };
    Url::parse(&format!("http://x/?{text}")).unwrap().query_pairs().into_owned().collect()
}

/// Each scope once, with its actions sorted, since the registry has them in any order.
fn scopes(request: &Request) -> Vec<String> {
    let mut scopes = BTreeSet::new();
    for (_, words) in fields(request).into_iter().filter(|(key, _)| key == "scope") {
        for (name, actions) in words.split(' ').filter_map(|word| word.rsplit_once(':')) {
            let actions: BTreeSet<&str> = actions.split(',').collect();
            scopes.insert(format!("{name}:{}", actions.into_iter().collect::<Vec<_>>().join(",")));
        }
    }
    scopes.into_iter().collect()
}

/// `me` may do everything, users without a name may read below `public`, nobody may access
/// `closed`.
fn answer(request: &Request, signer: &Signer) -> Deed {
    let value = |wanted: &str| {
        fields(request).into_iter().find(|(key, _)| key == wanted).map(|(_, value)| value)
    };
    assert_eq!(value("service").as_deref(), Some("the registry"), "{request:?}");
    let basic = request.header("authorization").map(|header| {
        String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap()).unwrap()
    });
    let known = match (&*request.method, basic.as_deref()) {
        ("GET", None) => false,
        ("GET", Some("me:secret")) => true,
        ("POST", None) => {
            let right = value("grant_type").as_deref() == Some("refresh_token")
                && value("client_id").is_some();
            if !right || value("refresh_token").as_deref() != Some("the identity token") {
                return status(401);
            }
            true
        }
        _ => {
            return Deed::Answer(
                401,
                Vec::new(),
                br#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong"}]}"#.to_vec(),
            );
        }
    };
    let access: Vec<Value> = scopes(request)
        .iter()
        .filter_map(|scope| {
            let words: Vec<&str> = scope.split(':').collect();
            let (name, mut actions) = (words[1], words[2].split(',').collect::<Vec<_>>());
            actions.retain(|action| {
                name != "closed" && (known || (name.starts_with("public/") && *action == "pull"))
            });
            (!actions.is_empty())
                .then(|| json!({"type": words[0], "name": name, "actions": actions}))
        })
        .collect();
    let token = signer.sign(&access);
    // The field has two names in practice.
    let name = if request.method == "POST" { "access_token" } else { "token" };
    let body = json!({name: token, "expires_in": 300});
    Deed::Answer(
        200,
        vec![("content-type", "application/json".to_owned())],
        body.to_string().into_bytes(),
    )
}

impl Stage {
    fn new() -> Self {
        let place = Place::new();
        image().write(&place.path("layout"));
        let signer = Signer::new();
        let certificate = signer.path();
        let service = Front::alone(move |request| answer(request, &signer));
        let realm = format!("http://{}/token?of=tests", service.host());
        let registry = Registry::of(Kind { tokens: Some((realm, certificate)), ..Kind::default() });
        Self { place, service, registry }
    }

    fn authfile(&self, entry: &Value) -> String {
        let path = self.place.path("auth.json");
        fs::write(&path, json!({"auths": {(self.registry.host()): entry}}).to_string()).unwrap();
        path.display().to_string()
    }

    fn push(&self, name: &str, more: &[&str]) -> Output {
        let from = format!("oci:{}", self.place.path("layout").display());
        let flags =
            ["copy", "--insecure", "--quiet", "--retries", "1", &from, &self.registry.image(name)];
        run(flags.iter().chain(more))
    }

    fn pull(&self, name: &str, more: &[&str]) -> Output {
        let to = format!("oci:{}:x", self.place.path("to").display());
        let output = run(["copy", "--insecure", "--quiet", &self.registry.image(name), &to]
            .iter()
            .chain(more));
        if output.status == 0 {
            assert_eq!(manifest(&self.place.path("to")), manifest(&self.place.path("layout")));
        }
        output
    }

    /// The tokens that were requested since the last call.
    fn asked(&self, from: usize) -> Vec<Vec<String>> {
        self.service.log()[from..].iter().map(scopes).collect()
    }
}

const ME: [&str; 2] = ["--creds", "me:secret"];

#[test]
fn a_password() {
    let stage = Stage::new();
    let nobody = stage.authfile(&json!({}));
    let nobody = ["--authfile", &nobody];
    stage.push("public/a:one", &nobody).refused().says("not logged in");
    stage.push("public/a:one", &["--creds", "me:wrong"]).refused().says("401").says("wrong");
    stage.push("public/a:one", &ME).ok();
    stage.push("private:one", &ME).ok();
    // Public repositories without credentials.
    let before = stage.service.log().len();
    stage.pull("public/a:one", &nobody).ok();
    assert_eq!(
        stage.asked(before),
        [["repository:public/a:pull"]],
        "one token is good for all of it"
    );
    stage.pull("private:one", &nobody).refused().says("not logged in");
    stage.pull("private:one", &ME).ok();
    // The service grants less than requested: that is an error, and it is not tried for ever.
    stage.push("closed:one", &ME).refused();
    assert!(stage.service.log().len() < before + 20);
}

#[test]
fn an_identity_token() {
    let stage = Stage::new();
    // What docker login stores where a registry issues identity tokens.
    let entry = |token: &str| json!({"auth": STANDARD.encode("<token>:"), "identitytoken": token});
    let auth = stage.authfile(&entry("the identity token"));
    stage.push("a:one", &["--authfile", &auth]).ok();
    let posts = stage.service.asked("POST", "/token");
    assert!(!posts.is_empty() && stage.service.asked("GET", "/token").is_empty());
    let form = fields(&posts[0]);
    assert_eq!(
        form.iter().filter(|(key, _)| key == "scope").count(),
        1,
        "OAuth2 has no field twice: {form:?}"
    );
    assert!(
        form.iter().all(|(key, _)| key != "of"),
        "the service's own query is no part of the form"
    );
    // Two repositories are one field.
    stage.push("b:one", &["--authfile", &auth, "--mount-from", "a"]).ok();
    let both = ["repository:a:pull", "repository:b:pull,push"];
    let all = stage.asked(0);
    assert!(all.iter().any(|scopes| scopes == &both), "{all:?}");
    let auth = stage.authfile(&entry("another"));
    stage.push("c:one", &["--authfile", &auth]).refused().says("401");
}

/// A token expires during a copy: another one is requested, and the interrupted request is sent
/// again.
#[test]
fn tokens_that_end() {
    let stage = Stage::new();
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"the registry\",scope=\"repository:a:pull,push\",error=\"invalid_token\"",
        stage.service.host()
    );
    let from = format!("oci:{}", stage.place.path("layout").display());
    for (method, part) in
        [("HEAD", "/blobs/"), ("POST", "/blobs/uploads/"), ("PUT", "digest="), ("PATCH", "")]
    {
        let (ended, before) =
            (vec![("www-authenticate", challenge.clone())], stage.service.log().len());
        // A token that was valid before.
        let used = AtomicBool::new(false);
        let is_one = move |r: &Request| {
            let has_one = r.header("authorization").is_some();
            has_one && used.fetch_or(has_one, Ordering::Relaxed) && r.is(method, part)
        };
        let front = Front::before(
            &stage.registry.host(),
            the_first(1, is_one, Deed::Answer(401, ended, Vec::new())),
        );
        let name = front.image(&format!("{}:one", method.to_lowercase()));
        let flags =
            ["copy", "--insecure", "--quiet", "--jobs", "1", "--chunk-size", "400k", &from, &name];
        let output = run(flags.iter().chain(&ME));
        assert_eq!(output.status, 0, "{output:?} {:?}", front.log());
        assert_eq!(stage.asked(before).len(), 2, "{method} {part}");
        run(["manifest", "--insecure", &name].iter().chain(&ME)).ok();
    }
}

#[test]
fn tokens_for_two_repositories() {
    let stage = Stage::new();
    stage.push("a:one", &ME).ok();
    let before = stage.service.log().len();
    let flags = [
        "copy",
        "--insecure",
        "--quiet",
        &stage.registry.image("a:one"),
        &stage.registry.image("b:one"),
    ];
    run(flags.iter().chain(&ME)).ok();
    let both = ["repository:a:pull", "repository:b:pull,push"];
    assert!(stage.asked(before).iter().any(|scopes| scopes == &both), "{:?}", stage.asked(before));
    let gone =
        run(["manifest", "--raw", "--insecure", &stage.registry.image("b:one")].iter().chain(&ME))
            .ok()
            .stdout;
    let whole =
        stage.registry.image(&format!("b@{}", crate::support::image::digest(gone.as_bytes())));
    let before = stage.service.log().len();
    run(["delete", "--insecure", &whole].iter().chain(&ME)).ok();
    assert!(stage.asked(before).concat().iter().any(|scope| scope.contains("delete")));
}

/// Answers of a service without a token.
#[test]
fn a_service_that_does_not_work() {
    let place = Place::new();
    let signer = Signer::new();
    let bad = [
        (status(503), "503"),
        (Deed::Answer(200, Vec::new(), b"<html>".to_vec()), "the answer of"),
        (Deed::Answer(200, Vec::new(), b"{}".to_vec()), "there is no token in it"),
        (Deed::Answer(200, Vec::new(), vec![b' '; 2 << 20]), "more than"),
        (Deed::Answer(200, Vec::new(), br#"{"token":"made.up.here"}"#.to_vec()), "401"),
        (Deed::Hang, "token"),
    ];
    for (deed, why) in bad {
        let service = Front::alone(move |_| deed.clone());
        let realm = format!("http://{}/token", service.host());
        let registry =
            Registry::of(Kind { tokens: Some((realm, signer.path())), ..Kind::default() });
        let flags = [
            "manifest",
            "--insecure",
            "--retries",
            "0",
            "--creds",
            "me:secret",
            &registry.image("a:one"),
        ];
        run(flags).refused().says(why);
    }
    drop(place);
}

/// A server that the registry redirects to does not get the credentials: for blobs (storage) and
/// for uploads.
#[test]
fn nobody_else_learns_who_we_are() {
    let (place, registry) =
        (Place::new(), Registry::of(Kind { password: true, ..Kind::default() }));
    image().write(&place.path("layout"));
    let from = format!("oci:{}", place.path("layout").display());
    let flags = [&["--insecure", "--quiet"][..], &ME].concat();
    let copy = |from: &str, to: &str| run(["copy", from, to].iter().chain(&flags));
    copy(&from, &registry.image("a:one")).ok();
    let large = manifest(&place.path("layout"))["layers"][1]["digest"].as_str().unwrap().to_owned();
    let content = fs::read(registry.blob(&large)).unwrap();
    let elsewhere = Arc::new(Front::alone(move |request| match request.method.as_str() {
        "GET" => Deed::Answer(200, Vec::new(), content.clone()),
        _ => status(201),
    }));
    let location = format!("http://{}/storage", elsewhere.host());
    let part = format!("/blobs/{large}");
    let front = Front::before(&registry.host(), move |request| {
        let there = || vec![("location", location.clone())];
        match request.method.as_str() {
            "GET" if request.target.contains(&part) => Deed::Answer(307, there(), Vec::new()),
            "POST" if request.header("authorization").is_some() => {
                Deed::Answer(202, there(), Vec::new())
            }
            _ => Deed::Pass,
        }
    });
    copy(&front.image("a:one"), &format!("oci:{}:x", place.path("to").display())).ok();
    assert_eq!(elsewhere.asked("GET", "/storage").len(), 1);
    // It says that it has the blobs and does not have them: the manifest is refused.
    copy(&from, &front.image("b:one")).refused().says("putting manifest one of b");
    assert_eq!(elsewhere.asked("PUT", "/storage?digest=").len(), 3);
    let log = elsewhere.log();
    assert!(log.iter().all(|request| request.header("authorization").is_none()), "{log:?}");
}

/// Nor does it get them with a challenge of its own.
#[test]
fn nobody_else_may_ask_who_we_are() {
    let (place, registry) =
        (Place::new(), Registry::of(Kind { password: true, ..Kind::default() }));
    image().write(&place.path("layout"));
    let from = format!("oci:{}", place.path("layout").display());
    let flags = [&["--insecure", "--quiet", "--retries", "0"][..], &ME].concat();
    let copy = |from: &str, to: &str| run(["copy", from, to].iter().chain(&flags));
    copy(&from, &registry.image("a:one")).ok();
    let thief =
        Arc::new(Front::alone(|_| Deed::Answer(200, Vec::new(), br#"{"token":"x"}"#.to_vec())));
    for question in
        [format!("Bearer realm=\"http://{}/token\"", thief.host()), "Basic realm=\"r\"".to_owned()]
    {
        let elsewhere = Front::alone(move |_| {
            Deed::Answer(401, vec![("www-authenticate", question.clone())], Vec::new())
        });
        let location = format!("http://{}/storage", elsewhere.host());
        let front = Front::before(&registry.host(), move |request| {
            let known = request.header("authorization").is_some();
            let away = known && (request.is("GET", "/blobs/") || request.is("POST", "/uploads/"));
            if away {
                Deed::Answer(307, vec![("location", location.clone())], Vec::new())
            } else {
                Deed::Pass
            }
        });
        copy(&front.image("a:one"), &format!("oci:{}:x", place.path("to").display()))
            .refused()
            .says("401");
        copy(&from, &front.image("b:one")).refused();
        let log = [elsewhere.log(), thief.log()].concat();
        assert!(log.iter().any(|request| request.target == "/storage"), "{log:?}");
        assert!(log.iter().all(|request| request.header("authorization").is_none()), "{log:?}");
    }
    assert_eq!(thief.log().len(), 0);
}
