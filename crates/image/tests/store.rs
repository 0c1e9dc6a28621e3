//! The store: its limits, and how it treats old and broken content.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::support::image::digest;
use crate::support::machine::{Machine, eventually, nginx_shaped};
use crate::support::program::Output;
use crate::support::{Image, Layer, Place, Registry, Stored, run};

/// Limits are for all layers together, and for what overlayfs copies.
#[test]
fn bombs() {
    let many = (0..100).fold(Layer::new(), |layer, at| layer.dir(&format!("{at}"), 0o755));
    let image = Image::of(&[many.clone(), many]);
    let machine = Machine::new(&image);
    machine.run(&["--max-entries", "199"]).refused().says("--max-entries");
    assert_eq!(machine.layers(), 1);
    let machine = Machine::new(&image);
    machine.run(&["--max-entries", "200", "--entrypoint", "/no/such"]).says("/no/such");
    let large = Layer::new().file("a", 0o644, &vec![7; 10 << 20]);
    let link = |name: &str| Layer::new().hard_link(name, "a").hard_link(&format!("{name}2"), "a");
    let image = Image::of(&[large, link("b"), link("c")]);
    let machine = Machine::new(&image);
    machine.run(&["--max-size", "16m"]).refused().says("--max-size").says("hard links");
    assert_eq!(machine.layers(), 2);
    let machine = Machine::new(&image);
    machine.run(&["--max-size", "24m", "--entrypoint", "/no/such"]).says("/no/such");
}

/// A rebuilt archive is another image.
#[test]
fn archives_change() {
    for kind in ["oci-archive", "docker-archive"] {
        let place = Place::new();
        let (layout, file) =
            (format!("oci:{}", place.path("layout").display()), place.path("image.tar"));
        let archive = format!("{kind}:{}", file.display());
        let machine = Machine::of(&archive, &["--quiet"]);
        for motd in ["one\n", "two\n"] {
            let layer = Layer::new().file("etc/motd", 0o644, motd.as_bytes());
            nginx_shaped().layer(&layer, Stored::Gzip).write(&place.path("layout"));
            run(["copy", "--quiet", &layout, &archive]).ok();
            for _ in 0..2 {
                let output = machine.run(&["--entrypoint", "/bin/cat", "--", "/etc/motd"]).ok();
                assert_eq!(output.stdout, motd, "{kind}");
            }
            // The second time it is in the store.
            assert_eq!(fs::read_dir(machine.store().join("images")).unwrap().count(), 1);
            fs::remove_file(&file).unwrap();
        }
    }
}

/// An empty record, as a power failure leaves it, is ignored, and gc removes it.
#[test]
fn records_that_make_no_sense() {
    let (place, registry) = (Place::new(), Registry::start());
    nginx_shaped().write(&place.path("layout"));
    let (from, to) = (format!("oci:{}", place.path("layout").display()), registry.image("a:one"));
    run(["copy", "--insecure", "--quiet", &from, &to]).ok();
    let machine = Machine::of(&to, &["--insecure", "--quiet"]);
    let record = || {
        let mut records = fs::read_dir(machine.store().join("images")).unwrap();
        let record = records.next().unwrap().unwrap().path();
        assert!(records.next().is_none());
        record
    };
    for content in ["", "{}", "{\"reference\":"] {
        machine.run(&["--entrypoint", "/bin/ls"]).ok();
        fs::write(record(), content).unwrap();
        assert_eq!(machine.store_command(&["list"]).ok().stdout.lines().count(), 1);
        machine.run(&["--entrypoint", "/bin/ls"]).ok();
        assert_eq!(machine.store_command(&["list"]).ok().stdout.lines().count(), 2);
        fs::write(record(), content).unwrap();
        machine.run(&["--pull", "--entrypoint", "/bin/ls"]).ok();
        fs::write(record(), content).unwrap();
        machine.store_command(&["gc"]).ok();
        assert_eq!(
            (fs::read_dir(machine.store().join("images")).unwrap().count(), machine.layers()),
            (0, 0)
        );
    }
}

/// An incomplete layer of a process that had the same id.
#[test]
fn half_a_layer() {
    let layer = Layer::new().file("a", 0o644, b"");
    let machine = Machine::new(&Image::of(std::slice::from_ref(&layer)));
    let name = digest(&layer.bytes()).replace("sha256:", "");
    let draft = machine.store().join("layers").join(format!(".{name}"));
    let command = machine.command(&["--entrypoint", "/no/such"]);
    let mut sh = Command::new("sh");
    // `exec`: our process id is the one of the shell.
    sh.args(["-c", "mkdir -p $0.$$/fs/a/b; exec \"$@\""]).arg(draft);
    sh.arg(command.get_program()).args(command.get_args());
    Output::from(sh.output().unwrap()).says("/no/such");
    assert_eq!(machine.layers(), 1);
}

/// The flags for a short program.
const CAT: [&str; 4] = ["--entrypoint", "/bin/cat", "--", "/etc/passwd"];

/// Another user could plant layers, configs and hooks in a store that is his or that he may write
/// to.
#[test]
fn a_store_of_another_user_is_refused() {
    let owned = |path: &Path| chown(path, Some(1000), Some(1000)).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let belongs = "belongs to user 1000";
    let everybody = "can be written to by every user";
    type Spoil<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Spoil<'_>, &str); 6] = [
        ("", &|store| owned(store), belongs),
        ("", &|store| mode(store, 0o777), everybody),
        ("", &|store| mode(store, 0o1777), everybody),
        ("", &|store| mode(store, 0o770), "by members of group 0"),
        ("specs", &|specs| owned(specs), belongs),
        ("images", &|images| mode(images, 0o777), everybody),
    ];
    for (name, spoil, why) in cases {
        let machine = Machine::new(&nginx_shaped());
        machine.run(&CAT).ok();
        assert!(eventually_empty(&machine));
        spoil(&machine.store().join(name));
        let before = names(&machine.store());
        for refused in [
            machine.run(&CAT),
            machine.store_command(&["list"]),
            machine.store_command(&["gc", "--all"]),
        ] {
            refused.refused().says("--store").says(why);
        }
        assert_eq!(names(&machine.store()), before, "{name:?}: {why}");
    }
}

/// A store that does not exist is not created below a directory that another user can replace.
#[test]
fn a_store_in_a_directory_of_another_user_is_refused() {
    for (owner, mode, why) in [
        (1000, 0o755, Some("belongs to user 1000")),
        (0, 0o777, Some("can be written to by every user")),
        // Like /tmp: there only the owner of a file can rename it.
        (0, 0o1777, None),
    ] {
        let machine = Machine::new(&nginx_shaped());
        let directory = machine.place.path("");
        chown(&directory, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        let output = machine.run(&CAT);
        match why {
            Some(why) => {
                output.refused().says("--store").says(why);
                assert!(!machine.store().exists());
            }
            None => {
                output.ok();
            }
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until the containers of earlier runs are removed.
fn eventually_empty(machine: &Machine) -> bool {
    eventually(|| machine.gone().is_empty());
    machine.containers() == 0
}
