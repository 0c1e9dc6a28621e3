//! `linux.personality`

use crate::support::{Bundle, json};

fn machine(domain: &str) -> String {
    let mut bundle = Bundle::busybox().set("/linux/personality", json!({ "domain": domain }));
    bundle.run(["uname", "-m"]).ok().line().to_owned()
}

#[test]
fn the_domain_is_set() {
    differs!();
    needs!(cfg!(target_arch = "x86_64"), "32-bit form of its name that is known here");
    assert_eq!(machine("LINUX"), "x86_64");
    assert_eq!(machine("LINUX32"), "i686");
}

#[test]
fn exec_has_the_containers() {
    differs!();
    needs!(cfg!(target_arch = "x86_64"), "32-bit form of its name that is known here");
    let personality = json!({ "domain": "LINUX32" });
    let c = Bundle::busybox()
        .set("/linux/personality", personality)
        .args(["sleep", "600"])
        .run_detached();
    assert_eq!(c.exec(&[], &["uname", "-m"]).ok().line(), "i686");
}

#[test]
fn unknown_domains_and_flags_are_refused() {
    differs!();
    for domain in ["linux", "BSD", ""] {
        let bundle = Bundle::busybox().set("/linux/personality", json!({ "domain": domain }));
        bundle.refused().says(domain).names("linux.personality.domain");
    }
    Bundle::busybox().set("/linux/personality", json!({})).refused().names("linux.personality");
    let flags = json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] });
    Bundle::busybox().set("/linux/personality", flags).refused().names("linux.personality.flags");
}
