//! What a container gets from its image and from `run`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::image::Stored;
use crate::support::machine::{Machine, eventually, nginx_shaped, signal, unique};
use crate::support::program::{self, Output};
use crate::support::tree::xattrs;
use crate::support::{Image, Layer, json};
use tar::EntryType;

/// Signals reach the container, though `run` had handlers of its own before.
#[test]
fn signals_of_a_first_run() {
    let machine = Machine::new(&nginx_shaped());
    for name in ["first", "again"] {
        let output = machine.place.path(name);
        // It ends by itself, if the signal does not come again.
        let script = "trap 'echo got it; n=x$n; test $n = xx && exit 9' TERM; echo here; \
                      while test ${#t} -lt 400; do t=x$t; sleep 0.05; done";
        let mut command = machine.command(&[
            "--name",
            &unique(name),
            "--entrypoint",
            "/bin/sh",
            "--",
            "-c",
            script,
        ]);
        let mut child = command.stdout(fs::File::create(&output).unwrap()).spawn().unwrap();
        let said = |text: &str| eventually(|| fs::read_to_string(&output).unwrap().contains(text));
        said("here");
        signal(&child, "TERM");
        said("got it");
        signal(&child, "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(9), "{name}");
        assert_eq!(machine.containers(), 0);
    }
}

/// Volumes have the owner of the directory in the image, so its user can write to them.
#[test]
fn volumes_of_a_user() {
    let layer = Layer::new()
        .entry("srv/own", EntryType::Directory, b"", |header| {
            header.set_uid(101);
            header.set_gid(102);
            header.set_mode(0o750);
        })
        .file("srv/own/old", 0o644, b"")
        .link("srv/by", "own");
    let volumes = json!({"User": "nginx", "Volumes": {"/srv/by": {}, "/srv/new": {}, "/data": {}}});
    let machine = Machine::new(&nginx_shaped().layer(&layer, Stored::Gzip).config(volumes));
    let script = "echo x >/srv/own/new && ls /srv/own && ls -dn /srv/own /srv/new /data";
    let output = machine.run(&["--entrypoint", "/bin/sh", "--", "-c", script]).ok().stdout;
    let fields =
        |line: &str| line.split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = output.lines().map(fields).collect();
    assert_eq!(lines[..2].concat(), ["new", "old"], "{output}");
    let owners: Vec<String> =
        lines[2..].iter().map(|line| format!("{} {} {}", line[0], line[2], line[3])).collect();
    assert_eq!(owners, ["drwxr-xr-x 0 0", "drwxrwxrwt 0 0", "drwxr-x--- 101 102"]);
}

/// Directories that no layer describes have mode 0755, whatever our umask is. Others have the mode
/// of their entry.
#[test]
fn a_strict_umask() {
    let machine = Machine::new(&Image::of(&[
        Layer::new().file("a/x", 0o644, b""),
        Layer::new().file("b/x", 0o644, b"").file("c/.wh.x", 0o644, b""),
    ]));
    let strictly = |command: &Command| {
        let mut sh = Command::new("sh");
        sh.args(["-c", "umask 077; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        Output::from(sh.output().unwrap())
    };
    strictly(&machine.command(&["--entrypoint", "/no/such"])).says("/no/such");
    let (source, bundle) = (machine.place.path("layout"), machine.place.path("bundle"));
    let (source, orlop) = (format!("oci:{}", source.display()), program::orlop());
    let args = ["unpack", &source, bundle.to_str().unwrap(), "--runtime", orlop.to_str().unwrap()];
    strictly(&program::command(args)).ok();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    let layers = fs::read_dir(machine.store().join("layers"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("fs"));
    let mut seen = 0;
    for root in layers.filter(|path| path.is_dir()).chain([bundle.join("rootfs")]) {
        for path in
            [root.clone(), root.join("a"), root.join("b")].into_iter().filter(|path| path.exists())
        {
            assert_eq!(mode(&path), 0o755, "{}", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 7);
    assert_eq!(mode(&bundle.join("config.json")), 0o600);
}

/// Volumes of the command line cover what `run` mounts itself.
#[test]
fn a_file_of_hosts_of_ones_own() {
    let machine = Machine::new(&nginx_shaped());
    let hosts = machine.place.path("hosts");
    fs::write(&hosts, "127.0.0.1 mine\n").unwrap();
    let volume = format!("{}:/etc/hosts:ro", hosts.display());
    let run = ["--net", "host", "-v", &volume, "--entrypoint", "/bin/cat", "--", "/etc/hosts"];
    assert_eq!(machine.run(&run).ok().stdout, "127.0.0.1 mine\n");
}

/// ACLs come only from the image, not from the directory that it is unpacked in, nor from
/// directories of the image.
#[test]
fn default_acls() {
    let acl: Vec<u8> =
        [(1, 7, u32::MAX), (2, 7, 4711), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)]
            .iter()
            .fold(2_u32.to_le_bytes().to_vec(), |acl, (tag, permissions, id): &(u16, u16, u32)| {
                [&acl[..], &tag.to_le_bytes(), &permissions.to_le_bytes(), &id.to_le_bytes()]
                    .concat()
            });
    let name = "system.posix_acl_default";
    let machine = Machine::new(&Image::of(&[
        Layer::new().dir("a", 0o755).file("a/x", 0o644, b"").file("b/x", 0o644, b""),
        Layer::new()
            .pax(&[("SCHILY.xattr.system.posix_acl_default", &acl)])
            .dir("c", 0o755)
            .dir("c/d", 0o755)
            .file("c/d/x", 0o644, b"")
            .file("c/x", 0o644, b""),
    ]));
    rustix::fs::setxattr(machine.place.dir.path(), name, &acl, rustix::fs::XattrFlags::empty())
        .unwrap();
    machine.place.unpack(&[]).ok();
    machine.run(&["--entrypoint", "/no/such"]).says("/no/such");
    let layers = fs::read_dir(machine.store().join("layers"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("fs"));
    for root in layers.filter(|path| path.is_dir()).chain([machine.place.path("bundle/rootfs")]) {
        for path in ["", "a", "a/x", "b", "b/x", "c", "c/d", "c/d/x", "c/x"] {
            let (file, own) = (
                root.join(path),
                if path == "c" { vec![name.as_bytes().to_vec()] } else { Vec::new() },
            );
            if file.exists() {
                let found: Vec<_> =
                    xattrs(&file).into_keys().filter(|name| name.starts_with(b"system.")).collect();
                assert_eq!(found, own, "{}", file.display());
            }
        }
    }
}
