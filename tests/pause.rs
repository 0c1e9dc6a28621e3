//! `pause`, `resume`, and what other verbs make of a paused container

use std::time::Duration;

use crate::support::{Bundle, Container, eventually};

/// A container that counts as long as it runs.
fn counting() -> Container {
    let c = Bundle::busybox()
        .script("i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.01; done")
        .create();
    c.start();
    let counts = eventually(Duration::from_secs(10), || !count(&c).is_empty());
    assert!(counts, "it counts");
    c
}

fn count(c: &Container) -> String {
    std::fs::read_to_string(c.bundle.rootfs("count")).unwrap_or_default()
}

fn counts_on(c: &Container) -> bool {
    let before = count(c);
    eventually(Duration::from_millis(500), || !["", &before].contains(&count(c).as_str()))
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let c = counting();
    c.verb("pause").silent();
    assert_eq!(c.status(), "paused");
    assert!(!counts_on(&c));
    c.verb("resume").silent();
    assert_eq!(c.status(), "running");
    assert!(counts_on(&c));
}

#[test]
fn all_of_it_works_on_cgroup_v2() {
    let bundle = Bundle::busybox().on_cgroup_v2();
    let c =
        bundle.script("i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.01; done").create();
    c.start();
    assert!(eventually(Duration::from_secs(10), || !count(&c).is_empty()), "it counts");
    c.verb("pause").silent();
    assert_eq!(c.status(), "paused");
    assert!(!counts_on(&c));
    c.verb("resume").silent();
    assert!(counts_on(&c));
}

#[test]
fn pausing_twice_is_refused() {
    let c = counting();
    c.verb("pause").silent();
    c.verb("pause").refused().says("container not running");
    assert_eq!(c.status(), "paused");
}

#[test]
fn resuming_what_is_not_paused_is_refused() {
    let c = counting();
    c.verb("resume").refused().says("container not paused");
    assert_eq!(c.status(), "running");
    c.kill("KILL");
    c.wait_status("stopped");
    c.verb("resume").refused().says("container not paused");
}

#[test]
fn pausing_a_stopped_container_is_refused() {
    let c = Bundle::busybox().create();
    c.finish();
    c.verb("pause").refused().says("container not running");
}

#[test]
fn absent_containers_are_refused() {
    for verb in ["pause", "resume"] {
        Bundle::busybox().verb(verb).refused().says("container does not exist");
    }
}

#[test]
fn a_created_container_can_be_paused_and_does_not_start_then() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    c.verb("pause").silent();
    assert_eq!(c.status(), "paused");
    c.verb("start").refused().says("cannot start a container in the paused state");
    c.verb("resume").silent();
    assert_eq!(c.status(), "created");
    c.start();
    assert_eq!(c.status(), "running");
}

#[test]
fn a_paused_container_is_deleted_only_by_force() {
    let c = counting();
    c.verb("pause").silent();
    c.verb("delete").refused().says("that is not stopped: paused");
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn a_paused_container_can_be_killed() {
    let c = counting();
    c.verb("pause").silent();
    c.kill("KILL");
    c.wait_status("stopped");
}

#[test]
fn another_signal_waits_for_the_resume() {
    let c = Bundle::busybox()
        .script("trap 'echo got; exit' TERM; echo ready; while :; do sleep 0.01; done")
        .create();
    c.start();
    c.wait_for("ready\n");
    c.verb("pause").silent();
    c.kill("TERM");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((c.status().as_str(), c.stdout().as_str()), ("paused", "ready\n"));
    c.verb("resume").silent();
    c.wait_for("got\n");
}
