//! `run` and `store`: containers on shared layers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tar::EntryType;

use crate::support::program::Output;
use crate::support::tree::{assert_same, scan};
use crate::support::{Image, Layer, Place, Stored, json, program};

/// Six layers as an image of nginx has: a base, packages, scripts; the service is a shell script.
fn nginx_shaped() -> Image {
    let busybox = Command::new("sh").args(["-c", "command -v busybox"]).output().unwrap().stdout;
    let busybox = fs::read(String::from_utf8(busybox).unwrap().trim()).unwrap();
    let mut base = Layer::new().dir("./", 0o755).dir("bin", 0o755).dir("tmp", 0o1777).dir("etc", 0o755);
    base = base.file("bin/busybox", 0o755, &busybox).file("etc/motd", 0o644, b"base\n").file("etc/gone", 0o644, b"");
    for applet in ["sh", "cat", "id", "ls", "sleep", "echo", "touch", "kill", "mkdir", "rm", "test", "hostname"] {
        base = base.link(&format!("bin/{applet}"), "busybox");
    }
    let users = Layer::new()
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nnginx:x:101:101::/:/bin/false\n")
        .file("etc/group", 0o644, b"root:x:0:\nnginx:x:101:\n");
    let entrypoint = b"#!/bin/sh\nset -e\necho entrypoint: \"$@\"\nexec \"$@\"\n";
    let service = b"#!/bin/sh\ntrap 'echo quit; exit 7' QUIT\necho listening as $(id -u) on $PORT\n\
                    while :; do sleep 0.05; done\n";
    Image::new()
        .layer(&base, Stored::Gzip)
        .layer(&users, Stored::Gzip)
        .layer(&Layer::new().file("docker-entrypoint.sh", 0o755, entrypoint), Stored::Zstd)
        .layer(
            &Layer::new().dir("usr", 0o755).dir("usr/sbin", 0o755).file("usr/sbin/nginx", 0o755, service),
            Stored::Plain,
        )
        .layer(&Layer::new().file("etc/.wh.gone", 0o644, b"").file("etc/motd", 0o644, b"nginx\n"), Stored::Gzip)
        .layer(
            &Layer::new().hard_link("etc/motd2", "etc/motd").dir("data", 0o755).file("data/x", 0o644, b"x"),
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

/// A layout and a store of a test's own.
struct Machine {
    place: Place,
}

impl Machine {
    fn new(image: &Image) -> Self {
        let place = Place::new();
        image.write(&place.path("layout"));
        Self { place }
    }

    fn store(&self) -> PathBuf {
        self.place.path("store")
    }

    fn command(&self, more: &[&str]) -> Command {
        let source = format!("oci:{}", self.place.path("layout").display());
        let (store, orlop) = (self.store(), program::orlop());
        let mut args = vec!["run", "--store", store.to_str().unwrap(), "--runtime", orlop.to_str().unwrap(), &source];
        // Flags come before the image.
        let (flags, rest) = more.split_at(more.iter().position(|word| *word == "--").unwrap_or(more.len()));
        args.splice(1..1, flags.iter().copied());
        args.extend(rest);
        program::command(args)
    }

    #[track_caller]
    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap().into()
    }

    #[track_caller]
    fn store_command(&self, args: &[&str]) -> Output {
        let (store, orlop) = (self.store(), program::orlop());
        let mut all = vec!["store"];
        all.extend(args);
        all.extend(["--store", store.to_str().unwrap()]);
        if args[0] == "gc" {
            all.extend(["--runtime", orlop.to_str().unwrap()]);
        }
        program::run(all)
    }

    fn containers(&self) -> usize {
        fs::read_dir(self.store().join("containers")).unwrap().count()
    }

    fn layers(&self) -> usize {
        let layers = fs::read_dir(self.store().join("layers")).unwrap();
        layers.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    }

    /// Starts the image's own service and waits until it says that it listens.
    fn serve(&self, name: &str) -> (Child, PathBuf) {
        let output = self.place.path(&format!("{name}.out"));
        let child = self.command(&["--name", name]).stdout(fs::File::create(&output).unwrap()).spawn().unwrap();
        eventually(|| fs::read_to_string(&output).unwrap().contains("listening"));
        (child, output)
    }
}

#[track_caller]
fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A name that no other test, and no other run of the tests, has.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn signal(child: &Child, name: &str) {
    crate::support::judge("kill", &[&format!("-{name}"), &child.id().to_string()]);
}

#[test]
fn a_service_from_end_to_end() {
    for platforms in [&[][..], &["arm64", "amd64", "s390x"]] {
        let machine = Machine::new(&nginx_shaped());
        if !platforms.is_empty() {
            fs::remove_dir_all(machine.place.path("layout")).unwrap();
            nginx_shaped().write_for(&machine.place.path("layout"), platforms);
        }
        let id = unique(&format!("service{}", platforms.len()));
        let (mut child, output) = machine.serve(&id);
        assert_eq!(machine.containers(), 1);
        let orlop = program::orlop();
        let state = crate::support::judge(orlop.to_str().unwrap(), &["state", &id]);
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        assert_eq!(state["status"], "running");
        assert_eq!(state["annotations"]["org.opencontainers.image.stopSignal"], "SIGQUIT");
        assert_eq!(state["annotations"]["org.opencontainers.image.exposedPorts"], "80/tcp");
        assert_eq!(state["annotations"]["maintainer"], "nobody");
        // It holds its layers.
        machine.store_command(&["gc", "--all"]).ok();
        assert_eq!((machine.layers(), machine.containers()), (6, 1));
        signal(&child, "QUIT");
        assert_eq!(child.wait().unwrap().code(), Some(7), "the code of the service");
        let output = fs::read_to_string(output).unwrap();
        assert_eq!(output, "entrypoint: nginx -g daemon off;\nlistening as 0 on 80\nquit\n");
        assert_eq!(machine.containers(), 0, "nothing is left of it");
    }
}

#[test]
fn what_the_user_says() {
    let machine = Machine::new(&nginx_shaped());
    for (args, expected) in [
        (&["--", "cat", "/etc/motd", "/etc/motd2"][..], "entrypoint: cat /etc/motd /etc/motd2\nnginx\nnginx\n"),
        (&["--entrypoint", "/bin/echo"], "\n"),
        (&["--entrypoint", "/bin/echo", "--", "-n", "a"], "a"),
        (&["--entrypoint", "/bin/id", "--user", "nginx"], "uid=101(nginx) gid=101(nginx)\n"),
        (
            &["--entrypoint", "/bin/sh", "-e", "PORT=1", "--env", "NEW=x", "--", "-c", "echo $PORT $NEW $PATH"],
            "1 x /usr/sbin:/bin\n",
        ),
        (&["--entrypoint", "/bin/sh", "-w", "/data", "--", "-c", "ls"], "x\n"),
        (&["--entrypoint", "/bin/sh", "--", "-c", "test ! -e /etc/gone && echo gone"], "gone\n"),
        (&["--entrypoint", "/bin/ls", "-v", "/proc/sys/kernel:/mnt:ro", "--", "/mnt/ostype"], "/mnt/ostype\n"),
        (&["--entrypoint", "/bin/ls", "--", "/sys/class/net"], "lo\n"),
    ] {
        let output = machine.run(args).ok();
        assert_eq!(output.stdout, expected, "{args:?}");
    }
    let host = machine.run(&["--net", "host", "--entrypoint", "/bin/ls", "--", "/sys/class/net"]).ok();
    let devices = fs::read_dir("/sys/class/net").unwrap().count();
    assert_eq!(host.stdout.split_whitespace().count(), devices);
    assert_eq!(machine.run(&["--entrypoint", "/bin/sh", "--", "-c", "exit 42"]).status, 42);
    machine.run(&["--entrypoint", "/no/such"]).says("/no/such");
    machine.run(&["--user", "stranger"]).refused().says("no user \"stranger\"");
    machine.run(&["--name", "a/b"]).refused().says("no name for a container");
    assert_eq!(machine.containers(), 0);
}

/// Layers are unpacked once, whatever containers write.
#[test]
fn layers_are_shared_and_stay_as_they_are() {
    let machine = Machine::new(&nginx_shaped());
    let write = ["--entrypoint", "/bin/sh", "--", "-c", "rm -r /data /etc/motd; echo y >/x; touch /bin/busybox; ls / "];
    machine.run(&write).ok();
    let before = scan(&machine.store().join("layers"));
    let inodes = |name: &str| fs::metadata(machine.store().join("layers").join(name)).unwrap().ino();
    let names: Vec<String> = fs::read_dir(machine.store().join("layers"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    let inodes_before: Vec<u64> = names.iter().map(|name| inodes(name)).collect();
    let again = machine.run(&write).ok();
    assert!(again.stdout.contains('x'), "{again:?}");
    assert_eq!(scan(&machine.store().join("layers")), before);
    assert_eq!(names.iter().map(|name| inodes(name)).collect::<Vec<_>>(), inodes_before);
    // Not even read again: the blobs may be gone.
    let manifest = crate::support::image::manifest(&machine.place.path("layout"));
    for layer in manifest["layers"].as_array().unwrap() {
        fs::remove_file(crate::support::image::blob(&machine.place.path("layout"), layer["digest"].as_str().unwrap()))
            .unwrap();
    }
    machine.run(&["--entrypoint", "/bin/ls", "--", "/data/x"]).ok();
}

/// What a container sees is what `unpack` gives, which umoci judges.
#[test]
fn the_overlay_is_the_unpacked_tree() {
    let lower = Layer::new()
        .dir("./", 0o711)
        .dir("d", 0o755)
        .file("d/old", 0o644, b"old")
        .file("d/keep", 0o4711, b"keep")
        .dir("opaque", 0o755)
        .file("opaque/old", 0o644, b"")
        .link("l", "d")
        .dir("gone", 0o755)
        .file("gone/x", 0o644, b"")
        .node("null", EntryType::Char, 1, 3);
    let upper = Layer::new()
        .file("l/new", 0o644, b"through a link")
        .file("d/.wh.old", 0o644, b"")
        .hard_link("d/keep2", "d/keep")
        .file("opaque/new", 0o644, b"")
        .file("opaque/.wh..wh..opq", 0o644, b"")
        .file(".wh.gone", 0o644, b"")
        .pax(&[("SCHILY.xattr.user.a", b"b")])
        .dir("d", 0o700);
    let again = Layer::new().dir("gone", 0o700).file("gone/y", 0o644, b"").file("opaque/last", 0o644, b"");
    let layers = [nginx_shaped_base(), lower, upper, again];
    let machine = Machine::new(&Image::of(&layers));
    machine.place.unpack(&[]).ok();
    let copy = machine.place.path("copy");
    fs::create_dir(&copy).unwrap();
    let volume = format!("{}:/out", copy.display());
    // With xattrs and all, by the host's tar from the same mount: the runtime's root is the overlay.
    let id = unique("tree");
    let mut child = machine
        .command(&["--name", &id, "-v", &volume, "--entrypoint", "/bin/sleep", "--", "60"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let orlop = program::orlop();
    let state = || {
        let output = Command::new(&orlop).args(["state", &id]).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default()
    };
    eventually(|| state()["status"] == "running");
    let root = format!("/proc/{}/root", state()["pid"]);
    let script = format!(
        "tar -C {root} --one-file-system --numeric-owner --xattrs --xattrs-include='*' --format=pax -cf - . | \
         tar -C {} --numeric-owner --xattrs --xattrs-include='*' -xpf -",
        copy.display()
    );
    crate::support::judge("sh", &["-c", &script]);
    signal(&child, "KILL");
    child.wait().unwrap();
    // What the runtime made for its mounts, and their times.
    for name in ["proc", "dev", "sys", "out"] {
        let _ = fs::remove_dir(copy.join(name));
    }
    let unpacked = machine.place.path("bundle/rootfs");
    crate::support::judge("touch", &["-r", unpacked.to_str().unwrap(), copy.to_str().unwrap()]);
    assert_same(&copy, &unpacked);
    // The run was killed, the container lives: gc leaves it alone, and removes it when it has ended.
    machine.store_command(&["gc"]).ok();
    assert_eq!((state()["status"].as_str(), machine.containers()), (Some("running"), 1));
    crate::support::judge(orlop.to_str().unwrap(), &["kill", &id, "KILL"]);
    eventually(|| {
        machine.store_command(&["gc"]).ok();
        machine.containers() == 0
    });
}

fn nginx_shaped_base() -> Layer {
    let busybox = Command::new("sh").args(["-c", "command -v busybox"]).output().unwrap().stdout;
    let busybox = fs::read(String::from_utf8(busybox).unwrap().trim()).unwrap();
    Layer::new().dir("bin", 0o755).file("bin/busybox", 0o755, &busybox).link("bin/sleep", "busybox")
}

#[test]
fn list_and_gc() {
    let machine = Machine::new(&nginx_shaped());
    machine.store_command(&["list"]).ok();
    machine.run(&["--entrypoint", "/bin/ls"]).ok();
    let list = machine.store_command(&["list"]).ok();
    assert!(list.stdout.lines().count() == 2 && list.stdout.contains("oci:"), "{list:?}");
    let list: serde_json::Value =
        serde_json::from_str(&machine.store_command(&["list", "--json"]).ok().stdout).unwrap();
    assert_eq!(list[0]["layers"].as_array().unwrap().len(), 6);
    assert!(list[0]["size"].as_u64().unwrap() > 1 << 20);
    machine.store_command(&["gc"]).ok();
    assert_eq!(machine.layers(), 6, "an image that was run is kept");
    // The same reference leads to another image: the layers that both have are kept.
    fs::remove_dir_all(machine.place.path("layout")).unwrap();
    let mut other = nginx_shaped();
    other = other.layer(&Layer::new().file("more", 0o644, b""), Stored::Gzip);
    other.write(&machine.place.path("layout"));
    machine.run(&["--entrypoint", "/bin/ls", "--", "/more"]).ok();
    assert_eq!(machine.layers(), 7);
    nginx_shaped().layer(&Layer::new().file("less", 0o644, b""), Stored::Gzip).write(&machine.place.path("layout"));
    machine.run(&["--entrypoint", "/bin/ls", "--", "/less"]).ok();
    assert_eq!(machine.layers(), 8);
    machine.store_command(&["gc"]).ok();
    assert_eq!(machine.layers(), 7);
    // What a killed unpack left.
    fs::create_dir_all(machine.store().join("layers/.half.1/fs/deep")).unwrap();
    machine.store_command(&["gc", "--all"]).ok();
    let left: Vec<_> = fs::read_dir(machine.store().join("layers")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    machine.run(&["--entrypoint", "/bin/ls"]).ok();
}

/// Many at once, the layers not there yet: each is unpacked by one, and all run.
#[test]
fn side_by_side() {
    let machine = Machine::new(&nginx_shaped());
    let children: Vec<Child> = (0..4)
        .map(|_| {
            let mut command = machine.command(&["--entrypoint", "/bin/cat", "--", "/etc/motd"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let gc = machine.store_command(&["gc"]).ok();
    assert!(gc.stdout.contains("removed"));
    for child in children {
        assert_eq!(Output::from(child.wait_with_output().unwrap()).ok().stdout, "nginx\n");
    }
    assert_eq!((machine.layers(), machine.containers()), (6, 0));
}

/// A bad layer leaves nothing in the store.
#[test]
fn a_bad_image() {
    let machine = Machine::new(&nginx_shaped().layer(&Layer::new().hard_link("a", "nowhere"), Stored::Gzip));
    machine.run(&[]).refused().says("hard link to \"nowhere\"");
    assert_eq!((machine.layers(), machine.containers()), (6, 0), "the six good ones");
    let hidden = fs::read_dir(machine.store().join("layers")).unwrap();
    assert!(hidden.map(|e| e.unwrap().file_name().into_string().unwrap()).all(|name| !name.starts_with('.')));
}
