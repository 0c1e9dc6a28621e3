//! `state`

use crate::support::{Bundle, json};

#[test]
fn state_has_exactly_the_specified_keys() {
    let bundle = Bundle::busybox().set("/annotations/org.example.key", "value");
    let c = bundle.args(["sleep", "60"]).create();
    let state = c.state();
    let mut keys: Vec<_> = state.as_object().unwrap().keys().collect();
    keys.sort();
    let all = [
        "annotations",
        "bundle",
        "created",
        "id",
        "ociVersion",
        "owner",
        "pid",
        "rootfs",
        "status",
    ];
    assert_eq!(keys, all);
    assert_eq!(state["id"], c.id());
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], c.bundle.path().to_str().unwrap());
    assert_eq!(state["rootfs"], c.bundle.rootfs("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(state["owner"], "");
    assert_eq!(state["annotations"], json!({ "org.example.key": "value" }));
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."));
}

#[test]
fn state_is_indented_by_two_spaces_and_ends_without_a_newline() {
    let c = Bundle::busybox().create();
    let text = c.verb("state").ok().stdout;
    assert!(text.starts_with("{\n  \"ociVersion\": \"1."), "{text}");
    assert!(text.ends_with("\n}"), "{text}");
}

#[test]
fn keys_come_in_the_order_tools_know() {
    let c = Bundle::busybox().set("/annotations/a", "b").create();
    let text = c.verb("state").ok().stdout;
    let keys: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  \""))
        .filter_map(|line| line.split('"').next())
        .collect();
    let order = [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ];
    assert_eq!(keys, order);
}

#[test]
fn annotations_are_left_out_when_there_are_none() {
    let c = Bundle::busybox().create();
    assert!(c.state().get("annotations").is_none());
    let c = Bundle::busybox().set("/annotations", json!({})).create();
    assert!(c.state().get("annotations").is_none());
}

#[test]
fn created_is_an_rfc3339_time_in_utc() {
    let c = Bundle::busybox().create();
    let state = c.state();
    let created = state["created"].as_str().unwrap();
    assert!(crate::logging::is_rfc3339(created) && created.ends_with('Z'), "{created}");
    c.start();
    assert_eq!(c.state()["created"], created, "start does not change it");
}

#[test]
fn status_goes_from_created_over_running_to_stopped() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    assert_eq!(c.status(), "created");
    c.start();
    assert_eq!(c.status(), "running");
    c.kill("KILL");
    c.wait_status("stopped");
}

#[test]
fn pid_is_zero_when_stopped() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    assert!(c.pid() > 1);
    c.start();
    assert!(c.pid() > 1);
    c.kill("KILL");
    c.wait_status("stopped");
    assert_eq!(c.pid(), 0);
}

#[test]
fn pid_is_the_containers_first_process_as_the_host_sees_it() {
    let c = Bundle::busybox().script("echo $$; while :; do sleep 1; done").create();
    c.start();
    c.wait_for("1\n");
    let name = std::fs::read_to_string(format!("/proc/{}/comm", c.pid())).unwrap();
    assert_eq!(name, "sh\n");
}

#[test]
fn state_of_an_absent_container_is_refused() {
    Bundle::busybox().verb("state").refused().says("container does not exist");
}

#[test]
fn state_is_silent_on_stderr() {
    let c = Bundle::busybox().create();
    assert_eq!(c.verb("state").ok().stderr, "");
}
