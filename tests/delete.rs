//! `delete`

use crate::support::{Bundle, cgroups};

#[test]
fn delete_removes_a_stopped_container() {
    let c = Bundle::busybox().create();
    c.finish();
    assert!(!c.bundle.state_names().is_empty());
    c.delete();
    c.bundle.assert_nothing_left();
    c.verb("state").refused().says("container does not exist");
}

#[test]
fn delete_kills_a_created_container() {
    let c = Bundle::busybox().create();
    c.delete();
    c.bundle.assert_nothing_left();
}

#[test]
fn delete_of_a_running_container_is_refused_without_effect() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    c.start();
    let text = format!("cannot delete container {} that is not stopped: running", c.id());
    c.verb("delete").refused().says(&text);
    assert_eq!(c.status(), "running");
}

#[test]
fn delete_of_an_absent_container_is_refused() {
    Bundle::busybox().verb("delete").refused().says("container does not exist");
}

#[test]
fn force_kills_a_running_container() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    c.start();
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn force_has_a_short_form() {
    let c = Bundle::busybox().args(["sleep", "60"]).run_detached();
    c.bundle.call(&["delete", "-f", c.id()]).silent();
    c.bundle.assert_nothing_left();
}

#[test]
fn force_removes_created_and_stopped_containers() {
    let c = Bundle::busybox().create();
    c.delete_by_force();
    c.bundle.assert_nothing_left();
    c.bundle.try_create().silent();
    c.finish();
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn force_of_an_absent_container_succeeds() {
    let bundle = Bundle::busybox();
    bundle.call(&["delete", "--force", bundle.id()]).silent();
    bundle.assert_nothing_left();
}

#[test]
fn force_kills_all_processes_when_there_is_no_pid_namespace() {
    differs!();
    let bundle = Bundle::busybox().without_namespace("pid");
    let c = bundle.script("setsid sleep 60 & sleep 60 & echo ready; wait").create();
    c.start();
    c.wait_for("ready");
    c.bundle.call(&["delete", "--force", c.id()]).ok();
    c.bundle.assert_nothing_left();
}

#[test]
fn delete_removes_cgroups_the_container_made() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    let dirs = cgroups::named(c.id());
    assert!(!dirs.is_empty());
    for dir in &dirs {
        std::fs::create_dir(dir.join("child")).unwrap();
    }
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn delete_leaves_the_bundle_alone() {
    let c = Bundle::busybox().create();
    c.delete();
    assert!(c.bundle.path().join("config.json").exists());
    assert!(c.bundle.rootfs("bin/busybox").exists());
}

#[test]
fn delete_leaves_other_containers_alone() {
    let c = Bundle::busybox().create();
    let other = Bundle::busybox().create();
    c.delete();
    assert_eq!(other.status(), "created");
}
