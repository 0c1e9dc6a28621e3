//! `run` and `store`: containers on shared layers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tar::EntryType;

use crate::support::machine::{Machine, eventually, nginx_shaped, signal, unique};
use crate::support::program::Output;
use crate::support::tree::{assert_same, scan};
use crate::support::{Image, Layer, Place, Registry, Stored, program};

/// One image, or an index of three.
const SHAPES: [&[&str]; 2] = [&[], &["arm64", "amd64", "s390x"]];

fn write(layout: &Path, platforms: &[&str]) {
    if platforms.is_empty() {
        nginx_shaped().write(layout)
    } else {
        nginx_shaped().write_for(layout, platforms)
    }
}

/// The service of the image runs, and is stopped with its stop signal.
#[track_caller]
fn serves(machine: &Machine, id: &str) {
    let (mut child, output) = machine.serve(id);
    assert_eq!(machine.containers(), 1);
    let orlop = program::orlop();
    let state = crate::support::judge(orlop.to_str().unwrap(), &["state", id]);
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["status"], "running");
    assert_eq!(state["annotations"]["org.opencontainers.image.stopSignal"], "SIGQUIT");
    assert_eq!(state["annotations"]["org.opencontainers.image.exposedPorts"], "80/tcp");
    assert_eq!(state["annotations"]["maintainer"], "nobody");
    // Its layers are kept.
    machine.store_command(&["gc", "--all"]).ok();
    assert_eq!((machine.layers(), machine.containers()), (6, 1));
    signal(&child, "QUIT");
    assert_eq!(child.wait().unwrap().code(), Some(7), "the code of the service");
    let output = fs::read_to_string(output).unwrap();
    assert!(
        output.ends_with("entrypoint: nginx -g daemon off;\nlistening as 0 on 80\nquit\n"),
        "{output}"
    );
    assert_eq!(machine.containers(), 0, "nothing is left of it");
}

#[test]
fn a_service_from_a_layout() {
    for platforms in SHAPES {
        let place = Place::new();
        write(&place.path("layout"), platforms);
        let machine = Machine::of(&format!("oci:{}", place.path("layout").display()), &[]);
        serves(&machine, &unique(&format!("layout{}", platforms.len())));
    }
}

#[test]
fn a_service_from_a_registry() {
    for platforms in SHAPES {
        let (place, registry) = (Place::new(), Registry::start());
        write(&place.path("layout"), platforms);
        let (from, to) =
            (format!("oci:{}", place.path("layout").display()), registry.image("nginx:shaped"));
        program::run(["copy", "--all", "--insecure", "--quiet", &from, &to]).ok();
        drop(place);
        let machine = Machine::of(&to, &["--insecure", "--quiet"]);
        serves(&machine, &unique(&format!("registry{}", platforms.len())));
        // gc --all has removed the image. It is fetched again, and then the registry is not needed
        // any more.
        machine.run(&["--entrypoint", "/bin/ls"]).ok();
        drop(registry);
        assert_eq!(
            machine.run(&["--entrypoint", "/bin/cat", "--", "/etc/motd"]).ok().stdout,
            "nginx\n"
        );
        machine.run(&["--pull"]).refused();
    }
}

#[test]
fn what_the_user_says() {
    let machine = Machine::new(&nginx_shaped());
    for (args, expected) in [
        (
            &["--", "cat", "/etc/motd", "/etc/motd2"][..],
            "entrypoint: cat /etc/motd /etc/motd2\nnginx\nnginx\n",
        ),
        (&["--entrypoint", "/bin/echo"], "\n"),
        (&["--entrypoint", "/bin/echo", "--", "-n", "a"], "a"),
        (&["--entrypoint", "/bin/id", "--user", "nginx"], "uid=101(nginx) gid=101(nginx)\n"),
        (
            &[
                "--entrypoint",
                "/bin/sh",
                "-e",
                "PORT=1",
                "--env",
                "NEW=x",
                "--",
                "-c",
                "echo $PORT $NEW $PATH",
            ],
            "1 x /usr/sbin:/bin\n",
        ),
        (&["--entrypoint", "/bin/sh", "-w", "/data", "--", "-c", "ls"], "x\n"),
        (&["--entrypoint", "/bin/sh", "--", "-c", "test ! -e /etc/gone && echo gone"], "gone\n"),
        (
            &["--entrypoint", "/bin/ls", "-v", "/proc/sys/kernel:/mnt:ro", "--", "/mnt/ostype"],
            "/mnt/ostype\n",
        ),
        (&["--entrypoint", "/bin/ls", "--", "/sys/class/net"], "lo\n"),
    ] {
        let output = machine.run(args).ok();
        assert_eq!(output.stdout, expected, "{args:?}");
    }
    let host =
        machine.run(&["--net", "host", "--entrypoint", "/bin/ls", "--", "/sys/class/net"]).ok();
    let devices = fs::read_dir("/sys/class/net").unwrap().count();
    assert_eq!(host.stdout.split_whitespace().count(), devices);
    assert_eq!(machine.run(&["--entrypoint", "/bin/sh", "--", "-c", "exit 42"]).status, 42);
    machine.run(&["--entrypoint", "/no/such"]).says("/no/such");
    machine.run(&["--user", "stranger"]).refused().says("no user \"stranger\"");
    machine.run(&["--name", "a/b"]).refused().says("cannot be the name of a container");
    assert_eq!(machine.containers(), 0);
}

/// The directory of containers has FS_TOPDIR_FL: without it, many containers one after the other
/// make the next one slow.
#[test]
fn ext4_keeps_containers_apart() {
    const EXT4: i64 = 0xef53;
    let machine = Machine::new(&nginx_shaped());
    machine.run(&["--entrypoint", "/bin/ls"]).ok();
    let containers = fs::File::open(machine.store().join("containers")).unwrap();
    if rustix::fs::fstatfs(&containers).unwrap().f_type == EXT4 {
        let flags = rustix::fs::ioctl_getflags(&containers).unwrap();
        assert!(flags.contains(rustix::fs::IFlags::TOPDIR), "{flags:?}");
    }
}

/// Layers are unpacked once, whatever containers write.
#[test]
fn layers_are_shared_and_stay_as_they_are() {
    let machine = Machine::new(&nginx_shaped());
    let write = [
        "--entrypoint",
        "/bin/sh",
        "--",
        "-c",
        "rm -r /data /etc/motd; echo y >/x; touch /bin/busybox; ls / ",
    ];
    machine.run(&write).ok();
    let before = scan(&machine.store().join("layers"));
    let inodes =
        |name: &str| fs::metadata(machine.store().join("layers").join(name)).unwrap().ino();
    let names: Vec<String> = fs::read_dir(machine.store().join("layers"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    let inodes_before: Vec<u64> = names.iter().map(|name| inodes(name)).collect();
    let again = machine.run(&write).ok();
    assert!(again.stdout.contains('x'), "{again:?}");
    assert_eq!(scan(&machine.store().join("layers")), before);
    assert_eq!(names.iter().map(|name| inodes(name)).collect::<Vec<_>>(), inodes_before);
    // They are not even read again: the blobs may be missing.
    let manifest = crate::support::image::manifest(&machine.place.path("layout"));
    for layer in manifest["layers"].as_array().unwrap() {
        fs::remove_file(crate::support::image::blob(
            &machine.place.path("layout"),
            layer["digest"].as_str().unwrap(),
        ))
        .unwrap();
    }
    machine.run(&["--entrypoint", "/bin/ls", "--", "/data/x"]).ok();
}

/// The container has the tree of `unpack`, which is compared with umoci.
#[test]
fn the_overlay_is_the_unpacked_tree() {
    let machine = Machine::new(&Image::of(&layers_that_change_each_other()));
    machine.place.unpack(&[]).ok();
    let copy = machine.place.path("copy");
    fs::create_dir(&copy).unwrap();
    let volume = format!("{}:/out", copy.display());
    // With xattrs, by the tar of the host from the same mount: the root of the container is the
    // overlay.
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
    // Directories that the runtime has made for mounts, and their times.
    for name in ["proc", "dev", "sys", "out"] {
        let _ = fs::remove_dir(copy.join(name));
    }
    let unpacked = machine.place.path("bundle/rootfs");
    crate::support::judge("touch", &["-r", unpacked.to_str().unwrap(), copy.to_str().unwrap()]);
    assert_same(&copy, &unpacked);
    // The run was killed and the container lives: gc keeps it, and removes it when it has ended.
    machine.store_command(&["gc"]).ok();
    assert_eq!((state()["status"].as_str(), machine.containers()), (Some("running"), 1));
    crate::support::judge(orlop.to_str().unwrap(), &["kill", &id, "KILL"]);
    eventually(|| {
        machine.store_command(&["gc"]).ok();
        machine.containers() == 0
    });
}

/// Links, whiteouts, attributes and modes, over an nginx.
fn layers_that_change_each_other() -> [Layer; 4] {
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
    let again =
        Layer::new().dir("gone", 0o700).file("gone/y", 0o644, b"").file("opaque/last", 0o644, b"");
    [nginx_shaped_base(), lower, upper, again]
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
    // The reference names another image now. Layers that both have are kept.
    fs::remove_dir_all(machine.place.path("layout")).unwrap();
    let mut other = nginx_shaped();
    other = other.layer(&Layer::new().file("more", 0o644, b""), Stored::Gzip);
    other.write(&machine.place.path("layout"));
    machine.run(&["--entrypoint", "/bin/ls", "--", "/more"]).ok();
    assert_eq!(machine.layers(), 7);
    nginx_shaped()
        .layer(&Layer::new().file("less", 0o644, b""), Stored::Gzip)
        .write(&machine.place.path("layout"));
    machine.run(&["--entrypoint", "/bin/ls", "--", "/less"]).ok();
    assert_eq!(machine.layers(), 8);
    machine.store_command(&["gc"]).ok();
    assert_eq!(machine.layers(), 7);
    // What a killed `unpack` has left.
    fs::create_dir_all(machine.store().join("layers/.half.1/fs/deep")).unwrap();
    machine.store_command(&["gc", "--all"]).ok();
    let left: Vec<_> = fs::read_dir(machine.store().join("layers")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    machine.run(&["--entrypoint", "/bin/ls"]).ok();
}

/// Many at the same time, without unpacked layers: each layer is unpacked by one process, and all
/// containers run.
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

/// The directory of a container is removed soon after its end, and a reader of a pipe does not wait
/// for that. If the process that removes it is killed, gc removes it.
#[test]
fn what_containers_leave_is_swept() {
    let machine = Machine::new(&nginx_shaped());
    let write = "for at in 1 2 3 4 5 6 7 8 9; do mkdir -p /a/$at/b/c; echo x >/a/$at/b/x; done; rm -r /data";
    let id = unique("swept");
    for _ in 0..3 {
        machine.run(&["--name", &id, "--entrypoint", "/bin/sh", "--", "-c", write]).ok();
        assert_eq!(machine.containers(), 0);
    }
    eventually(|| machine.gone().is_empty());
    let killed = machine.store().join(".gone-killed.1");
    fs::create_dir_all(killed.join("upper/deep")).unwrap();
    machine.store_command(&["gc"]).ok();
    assert!(machine.gone().is_empty());
    for name in ["layers", ".gone-x/../layers", "..", ""] {
        machine
            .store_command(&["sweep", name])
            .refused()
            .says("is not the name of a removed container");
    }
    assert_eq!(machine.layers(), 6);
}

/// The runtime is killed and the container lives: its files are kept until it has ended.
#[test]
fn the_runtime_is_killed() {
    let machine = Machine::new(&nginx_shaped());
    let id = unique("orphan");
    let (mut child, _) = machine.serve(&id);
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let runtime = fs::read_to_string(children).unwrap().trim().to_owned();
    crate::support::judge("kill", &["-KILL", &runtime]);
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert_eq!((machine.containers(), machine.gone().len()), (1, 0));
    let orlop = program::orlop();
    let orlop = orlop.to_str().unwrap();
    assert!(crate::support::judge(orlop, &["state", &id]).contains("running"));
    crate::support::judge(orlop, &["exec", &id, "/bin/touch", "/here"]);
    machine.store_command(&["gc", "--all"]).ok();
    assert_eq!((machine.layers(), machine.containers()), (6, 1));
    crate::support::judge(orlop, &["kill", &id, "KILL"]);
    eventually(|| {
        machine.store_command(&["gc"]).ok();
        machine.containers() == 0
    });
}

/// A store on a disk that is too small: an error, and no incomplete layer. With more space it
/// continues.
#[test]
fn a_full_disk() {
    let machine = Machine::new(&nginx_shaped());
    let script = r#"
        set -eu
        cd "$1"; image=$2; orlop=$3
        mkdir store; mount -t tmpfs -o size=1m,mode=700 tmpfs store
        if "$image" run --store store --runtime "$orlop" --entrypoint /bin/ls oci:layout 2>error; then exit 9; fi
        grep -q "No space left on device" error || { cat error >&2; exit 8; }
        test "$(wc -l <error)" = 1
        test -z "$(find store/layers -mindepth 1 -maxdepth 1 -type d)"
        test -z "$(ls -A store/containers)"
        mount -o remount,size=20m store
        "$image" run --store store --runtime "$orlop" --entrypoint /bin/ls oci:layout -- /etc/motd
        sleep 1
    "#;
    let (own, orlop) = (env!("CARGO_BIN_EXE_orlop-image"), program::orlop());
    let place = machine.place.dir.path().to_str().unwrap();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh", place, own, orlop.to_str().unwrap()]);
    assert_eq!(Output::from(command.output().unwrap()).ok().stdout, "/etc/motd\n");
}

/// A bad layer leaves nothing in the store.
#[test]
fn a_bad_image() {
    let machine =
        Machine::new(&nginx_shaped().layer(&Layer::new().hard_link("a", "nowhere"), Stored::Gzip));
    machine.run(&[]).refused().says("hard link to \"nowhere\"");
    assert_eq!((machine.layers(), machine.containers()), (6, 0), "the six good ones");
    let hidden = fs::read_dir(machine.store().join("layers")).unwrap();
    assert!(
        hidden
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .all(|name| !name.starts_with('.'))
    );
}
