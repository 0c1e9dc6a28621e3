//! Layers that try to leave the rootfs or to use too much. Nothing outside may change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use tar::EntryType;

use crate::support::tree::{scan, xattrs};
use crate::support::{Image, Layer, Place, Stored};

/// A test directory with a file outside of the bundle.
struct Victim {
    place: Place,
    outside: tempfile::TempDir,
}

impl Victim {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::create_dir(outside.path().join("dir")).unwrap();
        Self { place: Place::new(), outside }
    }

    /// The path of the directory outside, for the links of a layer.
    fn name(&self) -> &str {
        self.outside.path().to_str().unwrap()
    }

    /// Unpacks, and checks that nothing has changed outside.
    #[track_caller]
    fn unpack(&self, layers: &[Layer]) -> PathBuf {
        let before = scan(self.outside.path());
        let rootfs = self.place.rootfs(&Image::of(layers));
        assert_eq!(scan(self.outside.path()), before, "the layer got out");
        rootfs
    }

    /// The image is refused; nothing has changed outside, and nothing is left.
    #[track_caller]
    fn refused(&self, layers: &[Layer], why: &str) {
        let before = scan(self.outside.path());
        self.place.refused(&Image::of(layers)).says(why);
        assert_eq!(scan(self.outside.path()), before, "the layer got out");
    }

    /// Where a link to the outside leads inside of the rootfs.
    fn inside(&self, rootfs: &std::path::Path) -> PathBuf {
        rootfs.join(self.name().trim_start_matches('/'))
    }
}

#[test]
fn absolute_names_are_names_in_the_tree() {
    let victim = Victim::new();
    let evil = format!("{}/evil", victim.name());
    let rootfs = victim.unpack(&[Layer::new().file(&evil, 0o644, b"")]);
    assert!(victim.inside(&rootfs).join("evil").exists());
}

#[test]
fn dots_are_refused() {
    for name in ["../evil", "a/../../evil", "..", "a/..", "/../evil", "./.././evil"] {
        Victim::new().refused(&[Layer::new().file(name, 0o644, b"")], "\"..\"");
        Victim::new().refused(
            &[Layer::new().pax(&[("path", name.as_bytes())]).file("x", 0o644, b"")],
            "\"..\"",
        );
        Victim::new().refused(&[Layer::new().hard_link("x", name)], "\"..\"");
        Victim::new().refused(&[Layer::new().dir(name, 0o777)], "\"..\"");
    }
}

#[test]
fn writing_through_a_link() {
    for relative in [false, true] {
        let victim = Victim::new();
        let target = if relative {
            format!("{}{}", "../".repeat(20), &victim.name()[1..])
        } else {
            victim.name().to_owned()
        };
        let rootfs = victim
            .unpack(&[Layer::new().link("x", &target).file("x/evil", 0o644, b"").dir("x/dir", 0)]);
        assert!(victim.inside(&rootfs).join("evil").exists());
    }
}

#[test]
fn writing_over_a_link() {
    let victim = Victim::new();
    let secret = format!("{}/secret", victim.name());
    let rootfs = victim.unpack(&[Layer::new().link("x", &secret).file("x", 0o777, b"evil")]);
    assert!(rootfs.join("x").symlink_metadata().unwrap().is_file());
}

#[test]
fn a_directory_over_a_link() {
    let victim = Victim::new();
    let layer = Layer::new().link("x", &format!("{}/dir", victim.name()));
    let layer = layer.entry("x", EntryType::Directory, b"", |header| {
        header.set_mode(0o777);
        header.set_uid(4711);
    });
    let rootfs = victim.unpack(&[layer]);
    assert!(rootfs.join("x").symlink_metadata().unwrap().is_dir());
}

#[test]
fn a_link_swapped_in_by_a_later_layer() {
    let victim = Victim::new();
    let layers = [
        Layer::new().dir("d", 0o755).dir("d/e", 0o755).file("d/e/f", 0o644, b""),
        Layer::new()
            .file("d/e/g", 0o644, b"")
            .link("d", victim.name())
            .file("d/e/evil", 0o644, b"")
            .dir("d", 0o755),
        Layer::new().file("d/evil", 0o644, b"").file("d/.wh.secret", 0o644, b""),
    ];
    let rootfs = victim.unpack(&layers);
    assert!(victim.inside(&rootfs).join("e/evil").exists());
}

#[test]
fn hard_links_to_the_outside() {
    let victim = Victim::new();
    let secret = format!("{}/secret", victim.name());
    victim.refused(&[Layer::new().hard_link("x", &secret)], "which is not there");
    victim.refused(
        &[Layer::new().link("l", victim.name()).hard_link("x", "l/secret")],
        "which is not there",
    );
    // A hard link to a symbolic link, and an entry through it: it is replaced, not followed.
    let layer = Layer::new().link("l", &secret).hard_link("x", "l").file("x", 0o644, b"evil");
    let rootfs = victim.unpack(&[layer]);
    assert!(rootfs.join("x").symlink_metadata().unwrap().is_file());
}

#[test]
fn hard_links_that_make_no_sense() {
    Victim::new().refused(&[Layer::new().dir("d", 0o755).hard_link("x", "d")], "linkat");
    Victim::new().refused(&[Layer::new().hard_link("x", "x")], "which is not there");
    // The target is removed with the link that is replaced.
    Victim::new().refused(&[Layer::new().file("d/f", 0o644, b"").hard_link("d", "d/f")], "linkat");
}

#[test]
fn whiteouts_through_a_link() {
    for name in ["l/.wh.secret", "l/.wh.dir", "l/.wh..wh..opq"] {
        let victim = Victim::new();
        let link = Layer::new().link("l", victim.name());
        victim.unpack(&[link.clone(), Layer::new().file(name, 0o644, b"")]);
    }
    // The link itself may be removed.
    let victim = Victim::new();
    let rootfs = victim
        .unpack(&[Layer::new().link("l", victim.name()), Layer::new().file(".wh.l", 0o644, b"")]);
    assert!(rootfs.join("l").symlink_metadata().is_err());
}

#[test]
fn whiteouts_of_dots() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        let layers = [Layer::new().dir("a", 0o755), Layer::new().file(name, 0o644, b"")];
        Victim::new().refused(&layers, "a whiteout without a name");
    }
}

#[test]
fn what_is_removed_is_not_followed() {
    let victim = Victim::new();
    let lower = Layer::new()
        .dir("d", 0o755)
        .link("d/l", victim.name())
        .link("d/s", &format!("{}/secret", victim.name()));
    victim.unpack(&[lower.clone(), Layer::new().file(".wh.d", 0o644, b"")]);
    let victim = Victim::new();
    victim.unpack(&[lower, Layer::new().file("d", 0o644, b"")]);
}

/// No device is written to and no fifo blocks: they are replaced, or it is an error.
#[test]
fn devices_and_fifos_are_not_opened() {
    for (kind, major, minor) in
        [(EntryType::Char, 1, 3), (EntryType::Block, 7, 0), (EntryType::Fifo, 0, 0)]
    {
        let node = || Layer::new().node("x", kind, major, minor);
        for layers in [
            vec![node().file("x", 0o644, b"new")],
            vec![node(), Layer::new().file("x", 0o644, b"new")],
        ] {
            let victim = Victim::new();
            let rootfs = victim.unpack(&layers);
            assert_eq!(fs::read(rootfs.join("x")).unwrap(), b"new");
        }
        // By a hard link.
        let victim = Victim::new();
        let rootfs = victim.unpack(&[node().hard_link("y", "x").file("y", 0o644, b"new")]);
        assert!(!rootfs.join("x").symlink_metadata().unwrap().is_file());
        Victim::new().refused(&[node().file("x/y", 0o644, b"")], "exists and is not a directory");
        Victim::new().refused(
            &[node(), Layer::new().file("x/.wh..wh..opq", 0o644, b"").file("x/y", 0o644, b"")],
            "x",
        );
        let victim = Victim::new();
        let rootfs = victim.unpack(&[node(), Layer::new().file(".wh.x", 0o644, b"")]);
        assert!(rootfs.join("x").symlink_metadata().is_err());
        // Attributes are set on the node itself.
        let victim = Victim::new();
        let rootfs =
            victim.unpack(&[Layer::new().pax(&[("mtime", b"5")]).node("x", kind, major, minor)]);
        assert_eq!(rootfs.join("x").symlink_metadata().unwrap().mtime(), 5);
    }
}

#[test]
fn magic_links() {
    let victim = Victim::new();
    let root = format!("/proc/self/root{}", victim.name());
    let rootfs = victim.unpack(&[Layer::new().link("x", &root).file("x/evil", 0o644, b"")]);
    assert!(rootfs.join(&root[1..]).join("evil").exists());
}

#[test]
fn the_root_stays_a_directory() {
    let victim = Victim::new();
    victim.refused(
        &[Layer::new().link("./", victim.name())],
        "the entry of the root is not a directory",
    );
    victim.refused(&[Layer::new().node(".", EntryType::Fifo, 0, 0)], "the root");
}

#[test]
fn a_file_in_the_way() {
    let layer = Layer::new().file("a", 0o644, b"").file("a/b/c", 0o644, b"");
    Victim::new().refused(&[layer], "\"a\" exists and is not a directory");
}

#[test]
fn loops_of_links() {
    let layer = Layer::new().link("a", "b").link("b", "a").file("a/x", 0o644, b"");
    Victim::new().refused(&[layer], "a/x");
    let layer = Layer::new().link("a", "a/b").file("a/x", 0o644, b"");
    Victim::new().refused(&[layer], "a/x");
}

/// Deeper than PATH_MAX, by links that shorten the path.
#[test]
fn deeper_than_a_path() {
    let step = "d/".repeat(45);
    let mut layer = Layer::new().dir(&step, 0o755).link("0", &step);
    for at in 0..60 {
        layer = layer
            .dir(&format!("{at}/{step}"), 0o755)
            .link(&format!("{}", at + 1), &format!("{at}/{step}"));
    }
    Victim::new().refused(&[layer], "entry");
}

#[test]
fn attributes_of_overlayfs() {
    let victim = Victim::new();
    let layer = Layer::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:etc_t:s0"),
            ("SCHILY.xattr.user.fine", b"1"),
        ])
        .dir("d", 0o755);
    let rootfs = victim.unpack(&[layer]);
    let names: Vec<_> = xattrs(&rootfs.join("d")).into_keys().collect();
    assert_eq!(names, [b"user.fine"]);
}

#[test]
fn archives_that_lie() {
    let sparse = |size: &'static [u8], map: &'static [u8]| {
        Layer::new().pax(&[("GNU.sparse.size", size), ("GNU.sparse.map", map)]).file(
            "x",
            0o644,
            b"12345678",
        )
    };
    let cases = [
        (Layer::new().raw(b"this is no archive"), "checksum"),
        (
            Layer::new().entry("x", EntryType::Regular, b"", |header| header.set_size(1 << 40)),
            "ends within a file",
        ),
        (
            Layer::new().entry("x", EntryType::XHeader, b"", |header| header.set_size(1 << 40)),
            "names and records",
        ),
        (
            Layer::new().entry("x", EntryType::GNULongName, b"", |header| header.set_size(1 << 33)),
            "names and records",
        ),
        (
            Layer::new().entry("x", EntryType::Regular, b"", |h| h.as_old_mut().size = [0xff; 12]),
            "negative",
        ),
        (
            Layer::new()
                .entry("x", EntryType::Regular, b"", |h| h.as_old_mut().mode = *b"99999999"),
            "mode",
        ),
        (Layer::new().entry("x", EntryType::new(b'Z'), b"", |_| {}), "cannot be in a layer"),
        (
            Layer::new().pax(&[("size", b"99999999999999999999")]).file("x", 0o644, b""),
            "PAX record",
        ),
        (Layer::new().pax(&[("uid", b"4294967295")]).file("x", 0o644, b""), "is not an id"),
        (Layer::new().pax(&[("path", b"a\0b")]).file("x", 0o644, b""), "NUL"),
        (Layer::new().link("x", ""), "a link without a target"),
        (sparse(b"100", b"0,4,2,4"), "overlap"),
        (sparse(b"7", b"0,8"), "shorter"),
        (sparse(b"100", b"0,9"), "its data"),
        (sparse(b"100", b"0"), "incomplete"),
        (sparse(b"100", b"18446744073709551615,8"), "too long"),
        (sparse(b"18446744073709551615", b"0,8"), "shorter"),
    ];
    for (layer, why) in cases {
        Victim::new().refused(&[layer], why);
    }
    // The PAX size of the first entry says where the second one begins. Parsers that ignore it see
    // other entries.
    let inner = Layer::new().file("smuggled", 0o644, b"").0;
    let outer = Layer::new()
        .pax(&[("size", b"512")])
        .entry("x", EntryType::Regular, b"", |_| {})
        .raw(&inner);
    let victim = Victim::new();
    let rootfs = victim.unpack(&[outer]);
    assert_eq!(rootfs.join("x").metadata().unwrap().size(), 512);
    assert!(!rootfs.join("smuggled").exists());
}

#[test]
fn bombs() {
    let place = Place::new();
    let zeros = vec![0; 32 << 20];
    Image::new()
        .layer(&Layer::new().file("zeros", 0o644, &zeros), Stored::Gzip)
        .write(&place.path("layout"));
    place.unpack(&["--max-size", "16m"]).refused().says("--max-size");
    place.is_clean();
    // The limit is for all layers together.
    let half = Layer::new().file("zeros", 0o644, &zeros[..10 << 20]);
    Image::new().layer(&half, Stored::Zstd).layer(&half, Stored::Gzip).write(&place.path("layout"));
    place.unpack(&["--max-size", "16m"]).refused().says("--max-size");
    place.is_clean();
    let many = (0..100).fold(Layer::new(), |layer, at| layer.dir(&format!("{at}"), 0o755));
    Image::of(&[many.clone(), many]).write(&place.path("layout"));
    place.unpack(&["--max-entries", "199"]).refused().says("--max-entries");
    place.is_clean();
    place.unpack(&["--max-entries", "200"]).ok();
}

/// Users are looked up in the image, by handle.
#[test]
fn passwd_that_leads_away() {
    for (layer, why) in [
        (Layer::new().link("etc/passwd", "/proc/1/environ"), "no user \"web\""),
        (Layer::new().node("etc/passwd", EntryType::Fifo, 0, 0), "not a regular file"),
        // Opening this device would fail: nobody opens it.
        (Layer::new().node("etc/passwd", EntryType::Char, 4000, 0), "not a regular file"),
        (Layer::new().node("etc/passwd", EntryType::Block, 4000, 0), "not a regular file"),
        (Layer::new().dir("etc/passwd", 0o755), "not a regular file"),
        (Layer::new().link("etc", "etc"), "etc/passwd"),
        (Layer::new(), "no user \"web\""),
    ] {
        let place = Place::new();
        let image = Image::of(&[layer]).config(crate::support::json!({"User": "web"}));
        place.refused(&image).says(why);
    }
}
