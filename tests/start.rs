//! `start`

use crate::support::Bundle;

#[test]
fn start_runs_the_program() {
    let c = Bundle::busybox().args(["echo", "started"]).create();
    assert_eq!(c.stdout(), "");
    assert_eq!(c.finish(), "started\n");
}

#[test]
fn start_keeps_the_process_that_create_made() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    let pid = c.pid();
    c.start();
    assert_eq!((c.status().as_str(), c.pid()), ("running", pid));
}

#[test]
fn starting_a_running_container_is_refused_without_effect() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    c.start();
    c.verb("start").refused().says("cannot start an already running container");
    assert_eq!(c.status(), "running");
}

#[test]
fn starting_a_stopped_container_is_refused_without_effect() {
    let c = Bundle::busybox().create();
    c.finish();
    c.verb("start").refused().says("cannot start a container that has stopped");
    assert_eq!(c.status(), "stopped");
    c.delete();
}

#[test]
fn starting_a_created_container_that_was_killed_is_refused() {
    let c = Bundle::busybox().create();
    c.kill("KILL");
    c.wait_status("stopped");
    c.verb("start").refused().says("cannot start a container that has stopped");
}

#[test]
fn starting_an_absent_container_is_refused() {
    Bundle::busybox().verb("start").refused().says("container does not exist");
}

#[test]
fn stdin_of_create_is_the_programs() {
    let c = Bundle::busybox().input("ahoy\n").args(["cat"]).create();
    assert_eq!(c.finish(), "ahoy\n");
}
