//! `linux.personality`

use crate::support::{Bundle, json};

#[test]
fn the_program_sees_another_machine() {
    differs!();
    needs!(cfg!(target_arch = "x86_64"), "machine with a 32-bit name");
    for (domain, machine) in [("LINUX32", "i686"), ("LINUX", "x86_64")] {
        let mut bundle = Bundle::busybox().set("/linux/personality", json!({ "domain": domain }));
        assert_eq!(bundle.run(["uname", "-m"]).ok().line(), machine);
    }
}

#[test]
fn an_unknown_domain_and_flags_are_refused() {
    differs!();
    for (personality, key) in [
        (json!({ "domain": "SHIP" }), "linux.personality.domain"),
        (json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }), "linux.personality.flags"),
    ] {
        Bundle::busybox().set("/linux/personality", personality).refused().names(key);
    }
}
