//! The store: its limits, and what it makes of what is old or broken.

use crate::support::machine::Machine;
use crate::support::{Image, Layer};

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
