//! The store: its limits, and what it makes of what is old or broken.

use std::fs;

use crate::support::machine::{Machine, nginx_shaped};
use crate::support::{Image, Layer, Place, Stored, run};

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

/// An archive that was built anew is another image.
#[test]
fn archives_change() {
    for kind in ["oci-archive", "docker-archive"] {
        let place = Place::new();
        let (layout, file) = (format!("oci:{}", place.path("layout").display()), place.path("image.tar"));
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
            // The second time, the store has it.
            assert_eq!(fs::read_dir(machine.store().join("images")).unwrap().count(), 1);
            fs::remove_file(&file).unwrap();
        }
    }
}
