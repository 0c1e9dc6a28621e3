//! `linux.intelRdt`, and the flags of `update` for it.
//!
//! What is written to a resctrl filesystem is tested in `src/resctrl/tests.rs`, on directories that
//! stand for one: the machines that these tests run on have none.

use std::path::Path;

use crate::support::{Bundle, Value, json};

/// Whether there is a resctrl filesystem. Then these refusals are none.
fn has_resctrl() -> bool {
    let mounted =
        || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ");
    Path::new("/sys/fs/resctrl").is_dir() && mounted()
}

#[test]
fn without_resctrl_it_is_refused() {
    differs!();
    needs!(!has_resctrl(), "lack of resctrl");
    for rdt in [
        json!({}),
        json!({ "closID": "x" }),
        json!({ "l3CacheSchema": "L3:0=f" }),
        json!({ "enableMonitoring": true }),
    ] {
        let bundle = Bundle::busybox().set("/linux/intelRdt", rdt);
        bundle
            .refused()
            .says("intelRdt is specified in config, but Intel RDT is not enabled")
            .names("linux.intelRdt");
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

/// A directory with the file of a group stands for the one that state.json would name.
#[test]
fn the_schemata_of_the_containers_group_are_in_its_statistics() {
    differs!();
    let c = Bundle::busybox().args(["sleep", "600"]).run_detached();
    let group = c.bundle.scratch("group");
    std::fs::create_dir(&group).unwrap();
    std::fs::write(group.join("schemata"), "    L2:0=f\n").unwrap();
    std::fs::write(group.with_file_name("schemata"), "    L2:0=ff\n").unwrap();
    let saved = c.bundle.state_root().join(c.id()).join("state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&saved).unwrap()).unwrap();
    state["intel_rdt_path"] = json!(group);
    std::fs::write(&saved, state.to_string()).unwrap();
    let out = c.bundle.call(&["events", "--stats", c.id()]).ok();
    let stats: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(stats["data"]["intel_rdt"], json!({ "schemata": ["L2:0=f"] }), "{out:?}");
}
