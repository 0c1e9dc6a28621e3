//! Credentials: with helpers (`docker-credential-NAME`), and in auth files.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::front::{Deed, Front};
use crate::support::program::{self, Output};
use crate::support::{Image, Kind, Layer, Place, Registry, Stored, json};

/// A helper that stores all credentials in one file and logs its calls.
const CHEST: &str = r#"#!/bin/sh
given=$(cat)
echo "$1 $given" >>"$CHEST/asked"
case $1 in
store) echo "$given" >"$CHEST/kept" ;;
get)
    grep -qsF "\"ServerURL\":\"$given\"" "$CHEST/kept" || { echo "credentials not found in native keychain"; exit 1; }
    cat "$CHEST/kept"
    ;;
erase) rm "$CHEST/kept" ;;
esac
"#;

/// A registry with the user `me` and the password `secret`, an image for it, and helpers.
struct Stage {
    registry: Registry,
    place: Place,
}

impl Stage {
    fn new() -> Self {
        let stage = Self {
            registry: Registry::of(Kind { password: true, ..Kind::default() }),
            place: Place::new(),
        };
        Image::new()
            .layer(&Layer::new().file("a", 0o644, b"a"), Stored::Gzip)
            .write(&stage.place.path("layout"));
        fs::create_dir(stage.place.path("bin")).unwrap();
        fs::create_dir(stage.place.path("chest")).unwrap();
        stage.helper("chest", CHEST);
        stage
    }

    /// Written by another process: a test that forks meanwhile would inherit the open file, and
    /// executing it would fail with "text file busy".
    fn helper(&self, name: &str, text: &str) {
        let file = self.place.path(&format!("bin/docker-credential-{name}"));
        let mut writer = Command::new("sh");
        let writer =
            writer.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(file).stdin(Stdio::piped());
        let mut writer = writer.spawn().unwrap();
        writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
    }

    /// Writes an auth file. Returns its path.
    fn file(&self, name: &str, content: &Value) -> String {
        let path = self.place.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content.to_string()).unwrap();
        path.display().to_string()
    }

    /// With the helpers in PATH, and without other auth files.
    fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.place.path("bin").display());
        command
            .env("PATH", path)
            .env("CHEST", self.place.path("chest"))
            .env("HOME", self.place.path("home"))
            .env("XDG_RUNTIME_DIR", self.place.path("run"))
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("DOCKER_CONFIG")
            .env_remove("REGISTRY_AUTH_FILE")
    }

    fn push(&self, flags: &[&str]) -> Output {
        self.push_with(flags, &[])
    }

    fn push_with(&self, flags: &[&str], variables: &[(&str, &str)]) -> Output {
        let layout = format!("oci:{}", self.place.path("layout").display());
        let to = self.registry.image("a:one");
        let mut command =
            program::command(["copy", "--quiet", "--insecure", "--retries", "0", &layout, &to]);
        self.prepare(&mut command)
            .args(flags)
            .envs(variables.iter().copied())
            .output()
            .unwrap()
            .into()
    }

    fn login(&self, flags: &[&str]) -> Output {
        let host = self.registry.host();
        let mut command = program::command(["login", "--insecure", &host, "--creds", "me:secret"]);
        self.prepare(&mut command).args(flags).output().unwrap().into()
    }

    fn logout(&self, flags: &[&str]) -> Output {
        let mut command = program::command(["logout", &self.registry.host()]);
        self.prepare(&mut command).args(flags).output().unwrap().into()
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.place.path("chest/asked")).unwrap_or_default()
    }

    /// `auths` with a password for our registry.
    fn auths(&self, password: &str) -> Value {
        let mut auths = json!({});
        auths[self.registry.host()] = json!({ "auth": STANDARD.encode(format!("me:{password}")) });
        auths
    }

    fn helper_of_ours(&self, name: &str) -> Value {
        let mut helpers = json!({});
        helpers[self.registry.host()] = name.into();
        helpers
    }
}

#[test]
fn a_helper_keeps_them_and_the_file_does_not() {
    let stage = Stage::new();
    for content in
        [json!({ "credsStore": "chest" }), json!({ "credHelpers": stage.helper_of_ours("chest") })]
    {
        let file = stage.file("auth.json", &content);
        let flags = ["--authfile", file.as_str()];
        stage.push(&flags).refused().says("401");
        stage.login(&flags).ok();
        let kept: Value =
            serde_json::from_str(&fs::read_to_string(stage.place.path("chest/kept")).unwrap())
                .unwrap();
        assert_eq!(
            kept,
            json!({ "ServerURL": stage.registry.host(), "Username": "me", "Secret": "secret" })
        );
        let after: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(after, content, "the file knows no more than before");
        stage.push(&flags).ok();
        stage.logout(&flags).ok();
        assert!(
            stage.asked().ends_with(&format!("erase {}\n", stage.registry.host())),
            "{}",
            stage.asked()
        );
        stage.push(&flags).refused().says("401");
    }
}

/// skopeo gets what we have stored with a helper.
#[test]
fn skopeo_finds_what_we_gave_to_a_helper() {
    let stage = Stage::new();
    let file = stage.file("auth.json", &json!({ "credHelpers": stage.helper_of_ours("chest") }));
    let flags = ["--authfile", file.as_str()];
    stage.login(&flags).ok();
    stage.push(&flags).ok();
    let mut skopeo = Command::new("skopeo");
    let image = stage.registry.image("a:one");
    let skopeo = stage.prepare(&mut skopeo).args([
        "inspect",
        "--raw",
        "--tls-verify=false",
        "--authfile",
        &file,
        &image,
    ]);
    let seen = Output::from(skopeo.output().unwrap()).ok().stdout;
    assert!(seen.contains("application/vnd.oci.image.manifest.v1+json"), "{seen}");
}

#[test]
fn the_helper_of_a_registry_comes_before_all_else() {
    let stage = Stage::new();
    stage.helper("broken", "#!/bin/sh\necho nobody should ask me\nexit 1\n");
    let (helpers, auths) = (stage.helper_of_ours("chest"), stage.auths("wrong"));
    let all = json!({ "credHelpers": helpers, "auths": auths, "credsStore": "broken" });
    let file = stage.file("auth.json", &all);
    let flags = ["--authfile", file.as_str()];
    stage.login(&flags).ok();
    stage.push(&flags).ok();
    // The entry comes before `credsStore`.
    let file =
        stage.file("auth.json", &json!({ "auths": stage.auths("secret"), "credsStore": "broken" }));
    stage.push(&["--authfile", &file]).ok();
    // An empty entry, as `docker login` leaves it, does not count.
    let mut empty = json!({});
    empty[stage.registry.host()] = json!({});
    let file = stage.file("auth.json", &json!({ "auths": empty, "credsStore": "chest" }));
    stage.push(&["--authfile", &file]).ok();
}

#[test]
fn helpers_that_do_not_help() {
    let stage = Stage::new();
    stage.helper("locked", "#!/bin/sh\necho the chest is locked\nexit 1\n");
    stage.helper("babbling", "#!/bin/sh\necho ahoy\n");
    stage.helper("silent", "#!/bin/sh\nexit 1\n");
    for (name, says) in [
        ("missing", "docker-credential-missing"),
        ("locked", "the chest is locked"),
        ("babbling", "docker-credential-babbling get"),
        ("silent", "docker-credential-silent get"),
        ("../chest", "is not the name of a credential helper"),
    ] {
        let file = stage.file("auth.json", &json!({ "credsStore": name }));
        let before = fs::read_to_string(&file).unwrap();
        stage.push(&["--authfile", &file]).refused().says(says).says(&file);
        if name != "babbling" {
            stage.login(&["--authfile", &file]).refused();
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }
}

/// The order of containers-auth.json(5), then Docker's file.
#[test]
fn the_first_file_that_knows_the_registry_counts() {
    let stage = Stage::new();
    let files = [
        "run/containers/auth.json",
        "home/.config/containers/auth.json",
        "home/.docker/config.json",
    ];
    let of = |password: &str| json!({ "auths": stage.auths(password) });
    stage.push(&[]).refused().says("401");
    for (at, file) in files.iter().enumerate().rev() {
        stage.file(file, &of("secret"));
        stage.push(&[]).ok();
        // A file before it that does not have the registry is skipped.
        if let Some(before) = at.checked_sub(1) {
            stage.file(files[before], &of("wrong"));
            stage.push(&[]).refused().says("401");
            stage.file(files[before], &json!({ "auths": {} }));
            stage.push(&[]).ok();
        }
    }
    // A file that is named is the only one.
    let named = stage.file("named.json", &json!({}));
    stage.push_with(&[], &[("REGISTRY_AUTH_FILE", &named)]).refused().says("401");
    stage.push(&["--authfile", &named]).refused().says("401");
    stage.push(&["--authfile", "/nowhere/auth.json"]).refused().says("/nowhere/auth.json");
    // `login` writes to the first file, `logout` removes from all.
    fs::remove_dir_all(stage.place.path("run")).unwrap();
    stage.login(&[]).ok();
    assert!(stage.place.path(files[0]).exists());
    let told = stage.logout(&[]).ok().stdout;
    assert_eq!(told.lines().count(), 3, "{told}");
    stage.push(&[]).refused().says("401");
    stage.logout(&[]).refused().says("not logged in");
    let output = stage.logout(&["--insecure"]);
    assert!(output.stderr.contains("unexpected argument"), "no registry is asked: {output:?}");
}

/// --creds is for one registry only: with two, the command line must say which.
#[test]
fn two_registries_and_two_passwords() {
    let stage = Stage::new();
    let front = Front::before(&stage.registry.host(), |_| Deed::Pass);
    stage.push(&["--creds", "me:secret"]).ok();
    let copy = |to: &str, flags: &[&str]| {
        let from = stage.registry.image("a:one");
        let mut command =
            program::command(["copy", "--quiet", "--insecure", "--retries", "0", &from, to]);
        Output::from(stage.prepare(&mut command).args(flags).output().unwrap())
    };
    let to = front.image("b:one");
    copy(&to, &["--creds", "me:secret"]).refused().says("--src-creds");
    assert!(front.log().is_empty());
    copy(&to, &["--src-creds", "me:secret", "--dest-creds", "me:wrong"])
        .refused()
        .says("401")
        .says(&front.host());
    copy(&to, &["--src-creds", "me:wrong", "--dest-creds", "me:secret"]).refused().says("401");
    copy(&to, &["--src-creds", "me:secret"]).refused().says("not logged in").says(&front.host());
    copy(&to, &["--src-creds", "me:secret", "--dest-creds", "me:secret"]).ok();
    // Also with one registry.
    let to = stage.registry.image("b:one");
    copy(&to, &["--src-creds", "me:secret", "--dest-creds", "me:wrong"]).refused().says("401");
    copy(&to, &["--src-creds", "me:secret", "--dest-creds", "me:secret"]).ok();
    copy(&to, &["--creds", "me:secret"]).ok();
    let output = copy(&to, &["--creds", "me:secret", "--src-creds", "me:secret"]);
    assert!(output.stderr.contains("cannot be used with"), "{output:?}");
}
