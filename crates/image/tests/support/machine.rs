//! A store, an image for `run`, and the service in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::image::{Image, Stored};
use super::layer::Layer;
use super::program::{self, Output, judge};
use super::{Place, json};

/// Six layers like those of an image of nginx: a base, packages, scripts. The service is a shell
/// script.
pub fn nginx_shaped() -> Image {
    let busybox = Command::new("sh").args(["-c", "command -v busybox"]).output().unwrap().stdout;
    let busybox = fs::read(String::from_utf8(busybox).unwrap().trim()).unwrap();
    let mut base =
        Layer::new().dir("./", 0o755).dir("bin", 0o755).dir("tmp", 0o1777).dir("etc", 0o755);
    base = base
        .file("bin/busybox", 0o755, &busybox)
        .file("etc/motd", 0o644, b"base\n")
        .file("etc/gone", 0o644, b"");
    for applet in [
        "sh", "cat", "id", "ls", "sleep", "echo", "touch", "kill", "mkdir", "rm", "test",
        "hostname",
    ] {
        base = base.link(&format!("bin/{applet}"), "busybox");
    }
    let users = Layer::new()
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nnginx:x:101:101::/:/bin/false\n")
        .file("etc/group", 0o644, b"root:x:0:\nnginx:x:101:\n");
    let entrypoint = b"#!/bin/sh\nset -e\necho entrypoint: \"$@\"\nexec \"$@\"\n";
    let service =
        b"#!/bin/sh\ntrap 'echo quit; exit 7' QUIT\necho listening as $(id -u) on $PORT\n\
                    while :; do sleep 0.05; done\n";
    Image::new()
        .layer(&base, Stored::Gzip)
        .layer(&users, Stored::Gzip)
        .layer(&Layer::new().file("docker-entrypoint.sh", 0o755, entrypoint), Stored::Zstd)
        .layer(
            &Layer::new().dir("usr", 0o755).dir("usr/sbin", 0o755).file(
                "usr/sbin/nginx",
                0o755,
                service,
            ),
            Stored::Plain,
        )
        .layer(
            &Layer::new().file("etc/.wh.gone", 0o644, b"").file("etc/motd", 0o644, b"nginx\n"),
            Stored::Gzip,
        )
        .layer(
            &Layer::new()
                .hard_link("etc/motd2", "etc/motd")
                .dir("data", 0o755)
                .file("data/x", 0o644, b"x"),
            Stored::Gzip,
        )
        .config(json!({
            "Env": ["PATH=/usr/sbin:/bin", "PORT=80"],
            "Entrypoint": ["/docker-entrypoint.sh"],
            "Cmd": ["nginx", "-g", "daemon off;"],
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGQUIT",
            "Labels": {"maintainer": "nobody"},
        }))
}

/// A layout and a store of one test.
#[derive(Debug)]
pub struct Machine {
    pub place: Place,
    /// The reference for `run`.
    source: String,
    flags: Vec<String>,
}

impl Machine {
    pub fn new(image: &Image) -> Self {
        let place = Place::new();
        image.write(&place.path("layout"));
        let source = format!("oci:{}", place.path("layout").display());
        Self { place, source, flags: Vec::new() }
    }

    /// Without an image of its own.
    pub fn of(source: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self { place: Place::new(), source: source.to_owned(), flags }
    }

    pub fn store(&self) -> PathBuf {
        self.place.path("store")
    }

    pub fn command(&self, more: &[&str]) -> Command {
        let (store, orlop) = (self.store(), program::orlop());
        let mut args =
            vec!["run", "--store", store.to_str().unwrap(), "--runtime", orlop.to_str().unwrap()];
        args.extend(self.flags.iter().map(String::as_str));
        args.push(&self.source);
        // Flags come before the image.
        let (flags, rest) =
            more.split_at(more.iter().position(|word| *word == "--").unwrap_or(more.len()));
        args.splice(1..1, flags.iter().copied());
        args.extend(rest);
        program::command(args)
    }

    #[track_caller]
    pub fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap().into()
    }

    #[track_caller]
    pub fn store_command(&self, args: &[&str]) -> Output {
        let (store, orlop) = (self.store(), program::orlop());
        let mut all = vec!["store"];
        all.extend(args);
        all.extend(["--store", store.to_str().unwrap()]);
        if args[0] == "gc" {
            all.extend(["--runtime", orlop.to_str().unwrap()]);
        }
        program::run(all)
    }

    pub fn containers(&self) -> usize {
        fs::read_dir(self.store().join("containers")).unwrap().count()
    }

    /// Directories of ended containers that are not removed yet.
    pub fn gone(&self) -> Vec<String> {
        let entries = fs::read_dir(self.store()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".gone")).collect()
    }

    pub fn layers(&self) -> usize {
        let layers = fs::read_dir(self.store().join("layers")).unwrap();
        layers.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    }

    /// Starts the service of the image and waits until it says that it listens.
    pub fn serve(&self, name: &str) -> (Child, PathBuf) {
        let output = self.place.path(&format!("{name}.out"));
        let child = self
            .command(&["--name", name])
            .stdout(fs::File::create(&output).unwrap())
            .spawn()
            .unwrap();
        eventually(|| fs::read_to_string(&output).unwrap().contains("listening"));
        (child, output)
    }
}

#[track_caller]
pub fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A name that is unique among all tests and runs.
pub fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

pub fn signal(child: &Child, name: &str) {
    judge("kill", &[&format!("-{name}"), &child.id().to_string()]);
}
