//! `linux.intelRdt`, and the flags of `update` for it.
//!
//! What is written to a resctrl filesystem is tested in `src/resctrl/tests.rs`, on directories that stand for one: the
//! machines that these tests run on have none.

use std::path::Path;

use crate::support::{Bundle, json};

/// Whether there is a resctrl filesystem. Then these refusals are none.
fn has_resctrl() -> bool {
    let mounted = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ");
    Path::new("/sys/fs/resctrl").is_dir() && mounted()
}

#[test]
fn without_resctrl_it_is_refused() {
    differs!();
    needs!(!has_resctrl(), "lack of resctrl");
    for rdt in
        [json!({}), json!({ "closID": "x" }), json!({ "l3CacheSchema": "L3:0=f" }), json!({ "enableMonitoring": true })]
    {
        let bundle = Bundle::busybox().set("/linux/intelRdt", rdt);
        bundle.refused().says("intelRdt is specified in config, but Intel RDT is not enabled").names("linux.intelRdt");
    }
}

#[test]
fn without_resctrl_its_schemata_cannot_be_updated() {
    needs!(!has_resctrl(), "lack of resctrl");
    let c = Bundle::busybox().args(["sleep", "600"]).run_detached();
    for (flag, schema, text) in [
        ("--l3-cache-schema", "L3:0=f", "Intel RDT/CAT: l3 cache schema is not enabled"),
        ("--mem-bw-schema", "MB:0=20", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ] {
        c.bundle.call(&["update", flag, schema, c.id()]).refused().says(text);
        c.bundle.call(&["update", flag, "", c.id()]).silent();
    }
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    differs!();
    for (pointer, value) in [
        ("/linux/intelRdt", json!([])),
        ("/linux/intelRdt/closID", json!(7)),
        ("/linux/intelRdt/schemata", json!("L3:0=f")),
        ("/linux/intelRdt/enableMonitoring", json!("yes")),
    ] {
        Bundle::busybox().set(pointer, value).refused().names("linux.intelRdt");
    }
}
