//! Limits whose meaning depends on something else: on the version of the config, or on another
//! limit

use crate::support::{Bundle, cgroups, json};

/// Engines that wrote 0 meant this, until version 1.3.0 of the specification made it a limit.
#[test]
fn a_pids_limit_of_0_was_none_before_version_1_3() {
    differs!();
    needs!(cgroups::has("pids"), "pids controller");
    let c = Bundle::busybox()
        .set("/linux/resources/pids/limit", 0)
        .set("/ociVersion", "1.2.1")
        .create();
    assert_eq!(cgroups::value_of(&c, "pids", "pids.max", "pids.max"), "max");
}

#[test]
fn a_pids_limit_of_0_is_one_process_since_version_1_3() {
    differs!();
    needs!(cgroups::has("pids"), "pids controller");
    let c = Bundle::busybox()
        .set("/linux/resources/pids/limit", 0)
        .set("/ociVersion", "1.3.0")
        .create();
    assert_eq!(cgroups::value_of(&c, "pids", "pids.max", "pids.max"), "1");
}

#[test]
fn shares_of_an_idle_cgroup_are_ignored_with_a_warning() {
    differs!();
    needs!(cgroups::has("cpu"), "cpu controller");
    let bundle = Bundle::busybox()
        .set("/linux/resources/cpu", json!({ "shares": 500, "idle": 1 }))
        .script("echo runs");
    let out = bundle.run_as_is().ok();
    assert_eq!(out.stdout, "runs\n");
    out.says("linux.resources.cpu.shares").says("ignored");
}
