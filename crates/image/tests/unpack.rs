//! `unpack`: the tree that layers make, compared with umoci.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use tar::EntryType;

use crate::support::image::TAG;
use crate::support::layer::MTIME;
use crate::support::tree::{assert_same, xattrs};
use crate::support::{Image, Layer, Place, Stored, judge};

/// v2, permitted and effective 0x0a0a0a0a: with newlines in it.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 10, 10, 10, 10, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0];

/// The tree that umoci makes of the image in `place`.
fn umoci(place: &Place) -> std::path::PathBuf {
    let image = format!("{}:{TAG}", place.path("layout").display());
    judge("umoci", &["unpack", "--image", &image, place.path("umoci").to_str().unwrap()]);
    place.path("umoci/rootfs")
}

fn base() -> Layer {
    let long = "long-".repeat(30);
    Layer::new()
        .dir("./", 0o755)
        .dir("etc/", 0o755)
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\n")
        .owned("etc/shadow", 0o640, (0, 42), b"")
        .dir("bin", 0o755)
        .owned("bin/su", 0o4755, (1000, 1000), b"#!/bin/false\n")
        .pax(&[
            ("SCHILY.xattr.security.capability", CAPABILITY),
            ("SCHILY.xattr.user.note", b"a\nb=c"),
        ])
        .owned("bin/ping", 0o755, (7, 7), b"ping")
        .hard_link("bin/ping6", "bin/ping")
        .link("sbin", "bin")
        .link("bin/dangling", "/nowhere/at/all")
        .hard_link("bin/dangling2", "./bin/dangling")
        .dir("tmp", 0o1777)
        .dir("shared", 0o2775)
        .file("shared/file", 0o600, &[7; 100_000])
        .node("null", EntryType::Char, 1, 3)
        .node("disk", EntryType::Block, 259, 70_000)
        .node("fifo", EntryType::Fifo, 0, 0)
        .entry("huge-ids", EntryType::Regular, b"", |header| {
            header.set_uid(3_000_000_000);
            header.set_gid(4_000_000_000);
        })
        .dir("pax", 0o755)
        .pax(&[("mtime", b"1234567890.123456789"), ("uid", b"70000"), ("path", b"pax/name")])
        .file("ignored", 0o444, b"x")
        .pax(&[("mtime", b"-1.5")])
        .file("before-1970", 0o644, b"")
        .entry("l", EntryType::GNULongName, format!("{long}name\0").as_bytes(), |_| {})
        .file("cut-off", 0o644, b"long name")
        .pax(&[("mtime", b"1000000000.5"), ("SCHILY.xattr.user.dir", b"1")])
        .dir("dir-with-time", 0o750)
        .file("dir-with-time/file", 0o644, b"later")
        .dir("keep", 0o700)
        .file("keep/old", 0o644, b"old")
        .dir("gone", 0o755)
        .dir("gone/deep", 0o755)
        .file("gone/deep/file", 0o644, b"")
        .dir("was-dir", 0o755)
        .file("was-dir/file", 0o644, b"")
        .file("was-file", 0o644, b"")
        .link("was-link", "etc")
        .dir("opaque", 0o755)
        .file("opaque/old", 0o644, b"")
        .dir("opaque/sub", 0o755)
        .file("opaque/sub/old", 0o644, b"")
}

fn upper() -> Layer {
    Layer::new()
        .file("etc/added", 0o644, b"without an entry for etc")
        .file("sbin/tool", 0o755, b"through a link")
        .file(".wh.gone", 0o644, b"")
        .file("keep/.wh.old", 0o644, b"")
        .file("keep/.wh.never-there", 0o644, b"")
        .file("was-dir", 0o644, b"now a file")
        .dir("was-file", 0o711)
        .dir("was-link", 0o755)
        .file("was-link/file", 0o644, b"")
        .file("opaque/new", 0o644, b"before the mark")
        .file("opaque/.wh..wh..opq", 0o644, b"")
        .dir("opaque/sub", 0o700)
        .file("opaque/sub/new", 0o644, b"after the mark")
        .dir("dir-with-time", 0o755)
        .file("bin/ping", 0o755, b"new ping")
        .hard_link("bin/su2", "bin/su")
        .dir("./", 0o711)
}

#[test]
fn the_same_tree_as_umoci() {
    let place = Place::new();
    let last = Layer::new()
        .file(".wh.shared", 0o644, b"")
        .dir("shared", 0o755)
        .file("shared/x", 0o644, b"x");
    let image = Image::new()
        .layer(&base(), Stored::Gzip)
        .layer(&upper(), Stored::Plain)
        .layer(&last, Stored::Gzip);
    let ours = place.rootfs(&image);
    assert_same(&ours, &umoci(&place));
    // Some things are checked directly, in case both are wrong.
    let status = |name: &str| fs::symlink_metadata(ours.join(name)).unwrap();
    assert_eq!((status("bin/su").mode() & 0o7777, status("bin/su").uid()), (0o4755, 1000));
    assert_eq!(xattrs(&ours.join("bin/ping6"))[&b"security.capability"[..]], CAPABILITY);
    assert_eq!(
        (status("pax/name").mtime(), status("pax/name").mtime_nsec()),
        (1_234_567_890, 123_456_789)
    );
    assert_eq!(
        (status("before-1970").mtime(), status("before-1970").mtime_nsec()),
        (-2, 500_000_000)
    );
    assert_eq!(
        (status("disk").rdev(), status("disk").file_type().is_block_device()),
        (rustix::fs::makedev(259, 70_000), true)
    );
    assert_eq!(
        status("etc").mtime(),
        MTIME.cast_signed(),
        "a file more in it is no change of a directory"
    );
    assert!(status("was-link").is_dir() && !ours.join("etc/file").exists());
    assert!(ours.join("opaque/new").exists() && ours.join("opaque/sub/new").exists());
    assert!(!ours.join("opaque/old").exists() && !ours.join("opaque/sub/old").exists());
    assert_eq!(xattrs(&ours.join("dir-with-time")).len(), 0);
    assert_eq!(status("").mode() & 0o7777, 0o711);
}

/// umoci 0.4 does not support zstd. Its tree of the same layers in gzip is compared.
#[test]
fn zstd_is_as_gzip() {
    let (gzip, zstd) = (Place::new(), Place::new());
    let theirs =
        gzip.rootfs(&Image::new().layer(&base(), Stored::Gzip).layer(&upper(), Stored::Gzip));
    let ours =
        zstd.rootfs(&Image::new().layer(&base(), Stored::Zstd).layer(&upper(), Stored::Zstd));
    assert_same(&ours, &theirs);
}

/// A layer of several gzip members, as stargz and pigz write it.
#[test]
fn gzip_in_members() {
    let place = Place::new();
    let layer = base();
    let image = Image::new().layer(&layer, Stored::Gzip);
    image.write(&place.path("layout"));
    place.unpack(&[]).ok();
    let whole = place.path("whole");
    fs::rename(place.path("bundle"), &whole).unwrap();
    let bytes = layer.bytes();
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let members =
        [crate::support::image::gzip(first), crate::support::image::gzip(second)].concat();
    let layout = place.path("layout");
    let mut manifest = crate::support::image::manifest(&layout);
    let kind = manifest["layers"][0]["mediaType"].as_str().unwrap().to_owned();
    manifest["layers"][0] = crate::support::image::put_blob(&layout, &members, &kind);
    let layers = [manifest["layers"][0].clone()];
    let manifest = crate::support::image::put_manifest(&layout, &manifest["config"], &layers);
    crate::support::image::write_index(&layout, &[manifest]);
    place.unpack(&[]).ok();
    assert_same(&place.path("bundle/rootfs"), &whole.join("rootfs"));
}

/// A layer that umoci has written for a changed tree.
#[test]
fn what_umoci_repacks() {
    let place = Place::new();
    let layout = place.path("layout");
    let image = format!("{}:{TAG}", layout.display());
    judge("umoci", &["init", "--layout", layout.to_str().unwrap()]);
    judge("umoci", &["new", "--image", &image]);
    for (at, script) in [
        "mkdir -p bin etc usr/lib/deep/er; cp $(command -v busybox) bin/busybox; ln bin/busybox bin/sh; \
         ln -s usr/lib lib; echo x >usr/lib/x; chmod 2755 usr; chown 12:34 usr/lib; mkfifo p; touch -d @1.5 etc/t",
        "rm -r usr/lib/deep; echo y >lib/y; rm bin/sh; mkdir bin/sh; ln -sfn etc lib; chmod 700 etc; setfattr -n user.a -v b usr || true",
        "rm lib; mkdir lib; echo z >lib/z; rm -r bin/sh; rm etc/t; mkdir etc/t",
    ]
    .iter()
    .enumerate()
    {
        let bundle = place.path(&format!("work{at}"));
        judge("umoci", &["unpack", "--image", &image, bundle.to_str().unwrap()]);
        judge("sh", &["-c", &format!("cd {}/rootfs && {script}", bundle.display())]);
        judge("umoci", &["repack", "--image", &image, bundle.to_str().unwrap()]);
    }
    place.unpack(&[]).ok();
    assert_same(&place.path("bundle/rootfs"), &umoci(&place));
}

/// All formats of GNU tar for sparse files. Holes stay holes.
#[test]
fn sparse_files() {
    for (format, version) in [("gnu", ""), ("pax", "0.0"), ("pax", "0.1"), ("pax", "1.0")] {
        let place = Place::new();
        let tree = place.path("tree");
        fs::create_dir(&tree).unwrap();
        // Forty segments, more than an old header has; a hole at the beginning and at the end.
        judge(
            "sh",
            &[
                "-c",
                &format!(
                    "cd {} && for i in $(seq 1 40); do printf $i | dd of=holes bs=1 seek=$((i * 65536)) conv=notrunc status=none; done; \
             truncate -s 4M holes; truncate -s 3M empty; echo plain >plain",
                    tree.display()
                ),
            ],
        );
        let archive = place.path("layer.tar");
        let mut args = vec![
            "--sparse",
            "--format",
            format,
            "-cf",
            archive.to_str().unwrap(),
            "-C",
            tree.to_str().unwrap(),
        ];
        let version = format!("--sparse-version={version}");
        if format == "pax" {
            args.insert(0, &version);
        }
        args.push(".");
        judge("tar", &args);
        let layer = Layer::new().raw(&fs::read(&archive).unwrap());
        let rootfs = place.rootfs(&Image::of(&[layer]));
        for name in ["holes", "empty", "plain"] {
            assert_eq!(
                fs::read(rootfs.join(name)).unwrap(),
                fs::read(tree.join(name)).unwrap(),
                "{format} {version} {name}"
            );
        }
        assert!(
            rootfs.join("holes").metadata().unwrap().blocks() < 1000,
            "{format} {version}: the holes were filled"
        );
        assert_eq!(rootfs.join("empty").metadata().unwrap().blocks(), 0, "{format} {version}");
    }
}

/// Directories that no entry describes, also behind dangling links.
#[test]
fn missing_directories_are_made() {
    let place = Place::new();
    let layers = [
        Layer::new().link("run", "var/run").link("lock", "/run/lock").link("up", "a/../b"),
        Layer::new()
            .file("x/y/z", 0o644, b"")
            .file("lock/file", 0o644, b"")
            .file("up/file", 0o644, b""),
    ];
    let rootfs = place.rootfs(&Image::of(&layers));
    for name in ["x/y/z", "var/run/lock/file", "b/file"] {
        assert!(rootfs.join(name).exists(), "{name}");
    }
    assert_eq!(fs::metadata(rootfs.join("x/y")).unwrap().mode() & 0o7777, 0o755);
}

/// A whiteout applies to the layers below, whatever its position in its own layer is (layer.md,
/// "Whiteouts").
#[test]
fn whiteouts_spare_their_own_layer() {
    let lower = || {
        Layer::new()
            .dir("a", 0o755)
            .file("a/old", 0o644, b"")
            .dir("a/b", 0o755)
            .file("a/b/old", 0o644, b"")
    };
    let new = |layer: Layer| layer.dir("a/b", 0o755).file("a/b/new", 0o644, b"");
    for (case, upper, left) in [
        (
            "first",
            new(Layer::new().file(".wh.a", 0o644, b"").dir("a", 0o755)),
            vec!["a/b", "a/b/new"],
        ),
        (
            "last",
            new(Layer::new().dir("a", 0o755)).file(".wh.a", 0o644, b""),
            vec!["a/b", "a/b/new"],
        ),
        ("last, implied", new(Layer::new()).file(".wh.a", 0o644, b""), vec!["a/b", "a/b/new"]),
        (
            "opaque last",
            new(Layer::new()).file("a/.wh..wh..opq", 0o644, b""),
            vec!["a/b", "a/b/new"],
        ),
        (
            "a name last",
            new(Layer::new()).file("a/.wh.b", 0o644, b""),
            vec!["a/b", "a/b/new", "a/old"],
        ),
        (
            "a file first",
            Layer::new().file("a/.wh.old", 0o644, b"").file("a/old", 0o644, b"new"),
            vec!["a/b", "a/b/old", "a/old"],
        ),
        (
            "a file last",
            Layer::new().file("a/old", 0o644, b"new").file("a/.wh.old", 0o644, b""),
            vec!["a/b", "a/b/old", "a/old"],
        ),
        ("twice", Layer::new().file(".wh.a", 0o644, b"").file(".wh.a", 0o644, b""), vec![]),
        ("aufs's own", Layer::new().dir("a/.wh..wh.plnk", 0o755), vec!["a/b", "a/b/old", "a/old"]),
        (
            "in nothing",
            Layer::new().file("n/.wh.x", 0o644, b"").file("a/old/.wh.x", 0o644, b""),
            vec!["a/b", "a/b/old", "a/old"],
        ),
    ] {
        let place = Place::new();
        let rootfs = place.rootfs(&Image::of(&[lower(), upper]));
        let found: Vec<String> =
            crate::support::tree::scan(&rootfs).into_keys().filter(|name| name.len() > 2).collect();
        let expected: Vec<String> = left.iter().map(|name| format!("/{name}")).collect();
        assert_eq!(found, expected, "{case}");
    }
}

fn as_nobody(program: &str, args: &[&str]) {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]).args(args);
    let output = command.env("HOME", "/nonexistent").output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Compared with umoci as the same ordinary user.
#[test]
fn rootless() {
    let place = Place::new();
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let closed = Layer::new().dir("closed", 0).file("closed/file", 0, b"x").dir("read-only", 0o555);
    let layers = [
        base(),
        upper(),
        closed,
        Layer::new().file("read-only/later", 0o644, b"").file("closed/.wh.file", 0o644, b""),
    ];
    Image::of(&layers[..2]).write(&place.path("layout"));
    let ours = |image: &str, bundle: &Path| {
        let orlop = crate::support::program::orlop();
        let args = [
            "unpack",
            "--rootless",
            image,
            bundle.to_str().unwrap(),
            "--runtime",
            orlop.to_str().unwrap(),
        ];
        as_nobody(env!("CARGO_BIN_EXE_orlop-image"), &args);
    };
    let layout = place.path("layout");
    ours(&format!("oci:{}", layout.display()), &place.path("bundle"));
    let image = format!("{}:{TAG}", layout.display());
    as_nobody(
        "umoci",
        &["unpack", "--rootless", "--image", &image, place.path("umoci").to_str().unwrap()],
    );
    let rootfs = place.path("bundle/rootfs");
    assert_eq!(
        xattrs(&rootfs.join("etc/shadow"))[&b"user.rootlesscontainers"[..]],
        [8, 255, 255, 255, 255, 15, 16, 42]
    );
    // Two things that umoci cannot do: a capability of the user namespace, and a record on a file
    // that is read-only.
    assert_eq!(
        xattrs(&rootfs.join("pax/name"))[&b"user.rootlesscontainers"[..]][..4],
        [8, 240, 162, 4]
    );
    assert_eq!(
        xattrs(&rootfs.join("bin/ping6"))[&b"security.capability"[..]][20..],
        65534_u32.to_le_bytes()
    );
    judge(
        "setfattr",
        &["-x", "user.rootlesscontainers", rootfs.join("pax/name").to_str().unwrap()],
    );
    judge("setfattr", &["-x", "security.capability", rootfs.join("bin/ping6").to_str().unwrap()]);
    assert_same(&rootfs, &place.path("umoci/rootfs"));
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("bundle/config.json")).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], 65534);
    // What umoci cannot do either.
    Image::of(&layers).write(&layout);
    ours(&format!("oci:{}", layout.display()), &place.path("closed"));
    assert_eq!(fs::metadata(place.path("closed/rootfs/read-only")).unwrap().mode() & 0o7777, 0o555);
    assert!(
        place.path("closed/rootfs/read-only/later").exists()
            && !place.path("closed/rootfs/closed/file").exists()
    );
}
