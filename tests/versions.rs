//! A container that an older version made is looked after by this one: an upgrade does not touch
//! what runs. `data/state/VERSION.json` is the state.json that VERSION wrote (docs/versions.md).

use serde_json::{Value, json};

use crate::support::Bundle;
use crate::support::container::Container;

const WRITTEN_BY_0_1_0: &str = include_str!("data/state/0.1.0.json");

fn state_file(c: &Container) -> std::path::PathBuf {
    c.bundle.state_root().join(c.id()).join("state.json")
}

/// Gives a container the state.json that 0.1.0 would have written for it: its keys and no others,
/// with the container's values where the recorded ones belong to another container.
fn as_if_made_by_0_1_0(c: &Container) {
    let now: Value =
        serde_json::from_str(&std::fs::read_to_string(state_file(c)).unwrap()).unwrap();
    let mut old: Value = serde_json::from_str(WRITTEN_BY_0_1_0).unwrap();
    let ours = ["id", "init_process_pid", "init_process_start", "bundle", "rootfs", "cgroup_paths"];
    for key in ours {
        assert!(!now[key].is_null(), "{key} is not in {now}");
        old[key] = now[key].clone();
    }
    for path in old["namespace_paths"].as_object_mut().unwrap().values_mut() {
        *path = path.as_str().unwrap().replace("/27628/", &format!("/{}/", c.pid())).into();
    }
    let gone = c.bundle.scratch("gone").display().to_string();
    old["hooks"]["poststop"][0]["path"] = "/bin/sh".into();
    old["hooks"]["poststop"][0]["args"] = json!(["sh", "-c", format!("echo $A > {gone}")]);
    std::fs::write(state_file(c), old.to_string()).unwrap();
}

#[test]
fn a_container_of_0_1_0_is_looked_after() {
    differs!();
    let c = Bundle::busybox().args(["sleep", "1000"]).create();
    as_if_made_by_0_1_0(&c);
    let state = c.state();
    assert_eq!(state["status"], "created", "{state}");
    assert_eq!(state["annotations"]["org.example.of"], "0.1.0", "{state}");
    c.start();
    assert_eq!(c.status(), "running");
    assert_eq!(c.exec_sh("echo inside").stdout, "inside\n");
    let list = c.bundle.call(&["list", "--format", "json"]);
    let containers: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(containers[0]["created"], "2026-11-28T22:01:17.575694747Z", "{list:?}");
    c.kill("KILL");
    c.wait_status("stopped");
    c.delete();
    assert_eq!(c.bundle.read("gone"), "b\n", "the poststop hook of its state.json has run");
    assert!(c.bundle.state_names().is_empty(), "{:?}", c.bundle.state_names());
}

/// A newer version may add a key: whoever goes back to this one keeps the container.
#[test]
fn a_key_of_a_newer_version_is_ignored() {
    let c = Bundle::busybox().args(["sleep", "1000"]).create();
    let text = std::fs::read_to_string(state_file(&c)).unwrap();
    let mut newer: Value = serde_json::from_str(&text).unwrap();
    newer["of_a_newer_version"] = json!({ "a": [1] });
    std::fs::write(state_file(&c), newer.to_string()).unwrap();
    c.start();
    assert_eq!(c.status(), "running");
    c.delete_by_force();
}
