//! A neighbour lies in wait for whatever the runtime makes, from outside of the container: in the
//! runtime's own pid namespace, as a pod with `hostPID` is. `attack_exec` has those inside.
//!
//! Seen to fail at commit 84eb9f4, and with `set_dumpable(false)` left out of `begin` in
//! `sys/process.rs`.
//! These are races. `attack_joins` shows without one what the neighbour with a user namespace can
//! find in a bootstrap that joins it.

use std::fs;

use crate::checkpoint::{checkpoint, counting, criu_works, restore};
use crate::support::attack::rounds;
use crate::support::neighbour::{Neighbour, in_own_pid_namespace};
use crate::support::{Bundle, json};

/// With a user namespace of its own, or with that of a process.
pub fn in_user_namespace(bundle: Bundle, process: Option<i32>) -> Bundle {
    let bundle = bundle.set("/mounts/2/options", json!(["nosuid", "noexec", "newinstance"]));
    if let Some(pid) = process {
        let path = format!("/proc/{pid}/ns/user");
        return bundle.push("/linux/namespaces", json!({ "type": "user", "path": path }));
    }
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bundle = bundle.push("/linux/namespaces", json!({ "type": "user" }));
    bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids)
}

/// Gives birth again and again: in no user namespace, in one of its own, in that of a neighbour.
#[track_caller]
fn nothing_is_found(test: &str, mut births: impl FnMut(Bundle)) {
    in_own_pid_namespace(test, || {
        let place = Bundle::busybox();
        let ordinary = Neighbour::ordinary(test, &place.scratch_dir("ordinary"));
        let owner = Neighbour::with_user_namespace(test, &place.scratch_dir("owner"));
        births(Bundle::busybox());
        births(in_user_namespace(Bundle::busybox(), None));
        births(in_user_namespace(Bundle::busybox(), Some(owner.pid())));
        let found = [("ordinary", ordinary.found()), ("owner", owner.found())];
        assert!(found.iter().all(|(_, found)| found.is_empty()), "{found:#?}");
    });
}

#[test]
fn nothing_is_found_in_what_run_makes() {
    differs!();
    nothing_is_found("attack_births::nothing_is_found_in_what_run_makes", |mut bundle| {
        for _ in 0..rounds(5, 200) {
            bundle.run(["true"]).silent();
        }
    });
}

#[test]
fn nothing_is_found_in_what_create_makes() {
    differs!();
    nothing_is_found("attack_births::nothing_is_found_in_what_create_makes", |bundle| {
        let bundle = bundle.args(["true"]);
        bundle.write_config();
        for round in 0..rounds(3, 200) {
            let id = format!("{}-{round}", bundle.id());
            bundle.call(&["create", "--bundle", "bundle", &id]).silent();
            bundle.call(&["start", &id]).silent();
            bundle.call(&["delete", "--force", &id]).silent();
        }
    });
}

#[test]
fn nothing_is_found_in_what_exec_makes() {
    differs!();
    nothing_is_found("attack_births::nothing_is_found_in_what_exec_makes", |bundle| {
        let c = bundle.args(["sleep", "600"]).run_detached();
        for _ in 0..rounds(5, 200) {
            c.exec(&[], &["true"]).silent();
        }
    });
}

/// The process that holds a user namespace for a mount that has id mappings of its own.
#[test]
fn nothing_is_found_in_what_maps_the_ids_of_a_mount() {
    differs!();
    nothing_is_found("attack_births::nothing_is_found_in_what_maps_the_ids_of_a_mount", |bundle| {
        let ids = json!([{ "containerID": 0, "hostID": 300_000, "size": 65_536 }]);
        let source = bundle.scratch_dir("cargo");
        fs::write(source.join("letter"), "dear").unwrap();
        let mount = json!({ "destination": "/mnt", "type": "bind", "source": source, "options": ["bind", "idmap"],
                            "uidMappings": ids, "gidMappings": ids });
        let mut bundle = bundle.push("/mounts", mount);
        for _ in 0..rounds(5, 200) {
            bundle.run(["true"]).silent();
        }
    });
}

#[test]
fn nothing_is_found_in_what_checkpoint_and_restore_make() {
    const TEST: &str = "attack_births::nothing_is_found_in_what_checkpoint_and_restore_make";
    in_own_pid_namespace(TEST, || {
        needs!(criu_works(), "criu that works"); // in here: the neighbour, who may do less, is this test as well
        let place = Bundle::busybox();
        let ordinary = Neighbour::ordinary(TEST, &place.scratch_dir("ordinary"));
        let c = counting(Bundle::busybox());
        for _ in 0..rounds(2, 200) {
            checkpoint(&c, &[]);
            restore(&c, &[]);
        }
        assert!(ordinary.found().is_empty(), "{:#?}", ordinary.found());
    });
}
