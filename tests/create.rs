//! `create`

use std::fs;

use crate::support::Bundle;

#[test]
fn create_does_not_run_the_program() {
    let c = Bundle::busybox().args(["touch", "/ran"]).create();
    assert_eq!(c.status(), "created");
    assert!(!c.bundle.rootfs("ran").exists());
    c.finish();
    assert!(c.bundle.rootfs("ran").exists());
}

#[test]
fn the_created_container_is_a_process_that_waits() {
    let c = Bundle::busybox().create();
    assert!(c.bundle.processes().contains(&c.pid()));
}

#[test]
fn pid_file_holds_the_pid_without_a_newline() {
    let bundle = Bundle::busybox();
    let file = bundle.scratch("pid");
    let c = bundle.flags(["--pid-file", file.to_str().unwrap()]).create();
    assert_eq!(c.bundle.read("pid"), c.pid().to_string());
}

#[test]
fn relative_pid_file_is_below_the_current_directory() {
    let c = Bundle::busybox().flags(["--pid-file", "relative.pid"]).create();
    assert_eq!(c.bundle.read("relative.pid"), c.pid().to_string());
}

#[test]
fn pid_file_that_cannot_be_written_fails_and_leaves_nothing() {
    let bundle = Bundle::busybox().flags(["--pid-file", "/nowhere/pid"]);
    bundle.refused().because("no such file or directory").names("/nowhere");
}

#[test]
fn bundle_is_the_current_directory_by_default() {
    let bundle = Bundle::busybox();
    let dir = bundle.path();
    let bundle = bundle.current_dir(dir);
    bundle.write_config();
    bundle.call(&["create", bundle.id()]).silent();
    let state = bundle.verb("state").ok().stdout;
    assert!(state.contains(&format!("\"bundle\": \"{}\"", bundle.path().display())), "{state}");
}

#[test]
fn bundle_may_be_relative_and_its_flag_short() {
    let bundle = Bundle::busybox();
    bundle.write_config();
    bundle.call(&["create", "-b", "bundle", bundle.id()]).silent();
    let state = bundle.verb("state").ok().stdout;
    assert!(state.contains(&format!("\"bundle\": \"{}\"", bundle.path().display())), "{state}");
}

#[test]
fn flags_may_follow_the_id_and_use_an_equals_sign() {
    let bundle = Bundle::busybox();
    bundle.write_config();
    bundle.call(&["create", bundle.id(), "--pid-file=pid", "--bundle=bundle"]).silent();
    assert!(bundle.read("pid").parse::<i32>().is_ok());
}

#[test]
fn ids_of_all_allowed_characters_are_accepted() {
    for suffix in ["A", "z.0", "_", "+", "-", "..."] {
        let bundle = Bundle::busybox();
        let id = format!("{}{suffix}", bundle.id());
        let c = bundle.with_id(&id).create();
        assert_eq!(c.state()["id"], id);
    }
}

#[test]
fn ids_of_other_characters_are_refused() {
    for id in [".", "..", "a/b", "../a", "/a", "a b", "a:b", "a\nb", "é", "a*", "~"] {
        let bundle = Bundle::busybox().with_id(id);
        bundle.try_create().refused().says("invalid container ID format");
        assert_eq!(bundle.state_names(), [""; 0], "{id:?}");
    }
}

#[test]
fn an_empty_id_is_refused() {
    let bundle = Bundle::busybox().with_id("");
    bundle.try_create().refused();
    assert_eq!(bundle.state_names(), [""; 0]);
}

#[test]
fn an_id_in_use_is_refused_and_the_container_unharmed() {
    let c = Bundle::busybox().args(["echo", "still here"]).create();
    c.bundle.try_create().refused().says("container with given ID already exists");
    assert_eq!(c.status(), "created");
    assert_eq!(c.finish(), "still here\n");
    c.bundle.try_create().refused().says("container with given ID already exists");
    c.delete();
    c.bundle.assert_nothing_left();
}

#[test]
fn an_id_is_free_again_after_delete() {
    let c = Bundle::busybox().create();
    c.delete();
    c.bundle.try_create().silent();
}

#[test]
fn changes_of_the_configuration_after_create_have_no_effect() {
    let mut c = Bundle::busybox().args(["echo", "before"]).create();
    c.bundle.config["process"]["args"][1] = "after".into();
    c.bundle.write_config();
    assert_eq!(c.finish(), "before\n");
}

#[test]
fn the_configuration_may_be_gone_after_create() {
    let c = Bundle::busybox().args(["echo", "before"]).create();
    fs::remove_file(c.bundle.path().join("config.json")).unwrap();
    assert_eq!(c.finish(), "before\n");
    c.delete();
}

#[test]
fn a_program_that_is_not_found_fails_create() {
    Bundle::busybox().args(["nosuch"]).refused().says("executable file not found in $PATH");
}

#[test]
fn containers_of_different_state_roots_are_strangers() {
    let c = Bundle::busybox().create();
    let other = Bundle::busybox().with_id(c.id());
    other.verb("state").refused().says("container does not exist");
}

#[test]
fn every_container_gets_a_session_keyring_of_its_own() {
    needs!(std::path::Path::new("/proc/keys").exists(), "keyrings");
    let mut bundle = Bundle::busybox().remove("/linux/maskedPaths");
    let name = format!("_ses.{}", bundle.id());
    let keys = bundle.run(["cat", "/proc/keys"]).ok().stdout;
    assert!(keys.contains(&name), "{keys}");
}

#[test]
fn no_new_keyring_keeps_the_session_keyring() {
    needs!(std::path::Path::new("/proc/keys").exists(), "keyrings");
    let bundle = Bundle::busybox()
        .remove("/linux/maskedPaths")
        .flags(["--no-new-keyring"])
        .args(["cat", "/proc/keys"]);
    let name = format!("_ses.{}", bundle.id());
    let keys = bundle.run_as_is().ok().stdout;
    assert!(!keys.contains(&name), "{keys}");
    let keys = bundle.create().finish();
    assert!(!keys.contains(&name), "{keys}");
}
