//! Configurations that are refused, and that nothing is left behind then. What belongs to one
//! config object is refused in the file of that object; here is the rest.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Bundle, Output, json, userland};

/// Refuses a bundle whose config.json is this text.
#[track_caller]
fn with_config(text: &str) -> Output {
    let bundle = Bundle::busybox();
    fs::write(bundle.path().join("config.json"), text).unwrap();
    let path = bundle.path();
    let out = bundle.call(&["create", "--bundle", path.to_str().unwrap(), bundle.id()]).refused();
    bundle.assert_nothing_left();
    out
}

#[test]
fn a_missing_config_is_refused() {
    let bundle = Bundle::busybox();
    let out = bundle.call(&["create", "--bundle", bundle.path().to_str().unwrap(), bundle.id()]);
    out.refused().says("JSON specification file config.json not found");
    bundle.assert_nothing_left();
}

#[test]
fn a_missing_bundle_is_refused() {
    let bundle = Bundle::busybox();
    let out = bundle.call(&["create", "--bundle", "/nowhere", bundle.id()]);
    out.refused().says("/nowhere").because("no such file or directory");
    bundle.assert_nothing_left();
}

#[test]
fn a_config_that_is_no_json_is_refused() {
    for text in ["", "{", "captain", "{\"process\": }", "\0"] {
        with_config(text).names("config.json");
    }
}

#[test]
fn a_config_that_is_no_object_is_refused() {
    with_config("[]").names("config.json");
    with_config("\"captain\"").names("config.json");
}

#[test]
fn a_config_that_cannot_be_read_is_refused() {
    let bundle = Bundle::busybox();
    fs::create_dir(bundle.path().join("config.json")).unwrap();
    let out = bundle.call(&["create", "--bundle", bundle.path().to_str().unwrap(), bundle.id()]);
    out.refused().because("is a directory").names("config.json");
    bundle.assert_nothing_left();
}

#[test]
fn values_of_the_wrong_type_are_refused_by_name() {
    for (pointer, value) in [
        ("/process/args", json!("true")),
        ("/process/cwd", json!(7)),
        ("/process/env", json!({ "A": "1" })),
        ("/process/terminal", json!("no")),
        ("/process/user/uid", json!("root")),
        ("/process/capabilities/bounding", json!("CAP_KILL")),
        ("/process/rlimits", json!({})),
        ("/process/oomScoreAdj", json!("high")),
        ("/root", json!("rootfs")),
        ("/root/readonly", json!("yes")),
        ("/hostname", json!(["a"])),
        ("/mounts", json!({})),
        ("/hooks/createRuntime", json!("/bin/true")),
        ("/annotations", json!(["a"])),
        ("/linux/namespaces", json!("pid")),
        ("/linux/sysctl", json!([])),
        ("/linux/resources/pids/limit", json!("many")),
        ("/linux/maskedPaths", json!("/proc/kcore")),
        ("/linux/seccomp", json!("strict")),
    ] {
        let key = pointer.rsplit('/').next().unwrap();
        Bundle::busybox().set(pointer, value).refused().names(key);
    }
}

#[test]
fn unknown_properties_are_ignored() {
    Bundle::busybox()
        .set("/captain", json!({ "name": "Ahab" }))
        .set("/process/captain", 1)
        .set("/process/user/captain", true)
        .set("/linux/captain", json!([]))
        .set("/linux/resources/captain", "x")
        .set("/mounts/0/captain", "x")
        .set("/root/captain", json!(null))
        .run(["true"])
        .silent();
}

#[test]
fn a_missing_process_is_refused() {
    Bundle::busybox().remove("/process").refused().says("process property must not be empty");
}

#[test]
fn empty_args_are_refused() {
    Bundle::busybox()
        .set("/process/args", json!([]))
        .refused()
        .says("args must not be empty")
        .names("args");
    Bundle::busybox()
        .remove("/process/args")
        .refused()
        .says("args must not be empty")
        .names("args");
}

#[test]
fn a_relative_cwd_is_refused() {
    Bundle::busybox()
        .set("/process/cwd", "home")
        .refused()
        .says("Cwd must be an absolute path")
        .names("cwd");
    Bundle::busybox().set("/process/cwd", "").refused();
    Bundle::busybox().remove("/process/cwd").refused();
}

#[test]
fn a_missing_root_is_refused() {
    Bundle::busybox().remove("/root").refused().says("root must be specified");
}

#[test]
fn a_missing_root_path_is_refused() {
    Bundle::busybox().set("/root", json!({})).refused().names("path");
}

/// Without a mount namespace whatever is mounted is mounted on the host: hence the namespace around
/// the runtime.
#[test]
fn a_missing_linux_object_means_no_isolation_or_is_refused() {
    let bundle =
        Bundle::busybox().remove("/linux").remove("/hostname").set("/mounts", json!([])).after(":");
    let out = bundle.args(["true"]).run_as_is();
    assert!(out.status == 0 || out.status == 1, "{out:?}");
}

#[test]
fn a_program_that_does_not_exist_is_refused() {
    Bundle::busybox()
        .args(["nosuch"])
        .refused()
        .says("executable file not found in $PATH")
        .says("nosuch");
    Bundle::busybox().args(["/nosuch"]).refused().says("no such file or directory").says("/nosuch");
    Bundle::busybox().args([""]).refused().says("executable file not found in $PATH");
}

#[test]
fn a_program_that_cannot_be_executed_is_refused() {
    let bundle = Bundle::busybox().args(["/letter"]);
    fs::write(bundle.rootfs("letter"), "dear").unwrap();
    bundle.refused().says("permission denied").says("/letter");
    Bundle::busybox().args(["/etc"]).refused().says("/etc");
}

#[test]
fn a_program_nobody_may_search_for_is_refused() {
    let user = json!({ "uid": 1000, "gid": 1000 });
    let bundle = Bundle::busybox().args(["/private/true"]).set("/process/user", user);
    fs::create_dir(bundle.rootfs("private")).unwrap();
    userland::copy_program(&bundle.rootfs("bin/busybox"), &bundle.rootfs("private/true"));
    fs::set_permissions(bundle.rootfs("private"), fs::Permissions::from_mode(0o700)).unwrap();
    bundle.refused().says("permission denied").says("/private/true");
}

/// The format is known only when the kernel looks at it, which is at start.
#[test]
fn a_program_of_no_known_format_fails_at_start() {
    let mut bundle = Bundle::busybox();
    userland::write_program(&bundle.rootfs("letter"), "dear");
    let out = bundle.run(["/letter"]);
    assert_ne!(out.status, 0);
    out.because("exec format error").says("/letter");
    bundle.assert_nothing_left();
}

#[test]
fn null_bytes_are_refused() {
    for pointer in ["/process/args/0", "/process/cwd", "/root/path"] {
        let bundle = Bundle::busybox().set(pointer, "a\0b");
        let out = bundle.try_create();
        assert_eq!(out.status, 1, "{pointer}: {out:?}");
        bundle.assert_nothing_left();
    }
}

#[test]
fn a_null_byte_in_a_variable_is_refused() {
    let bundle = Bundle::busybox().push("/process/env", "A=a\0b");
    bundle.refused().names("env");
}

#[test]
fn a_mount_without_a_destination_is_refused() {
    Bundle::busybox()
        .push("/mounts", json!({ "type": "tmpfs", "source": "x" }))
        .refused()
        .names("destination");
}

#[test]
fn an_error_deep_inside_leaves_nothing() {
    // Each of these fails later than the one before.
    let mount = json!({ "destination": "/mnt", "type": "nosuchfs", "source": "none" });
    Bundle::busybox().push("/mounts", mount).refused();
    Bundle::busybox().set("/linux/sysctl/net.ipv4.no_such_thing", "1").refused();
    Bundle::busybox().set("/process/cwd", "/etc/passwd").refused();
    Bundle::busybox().args(["/nosuch"]).refused();
}

#[test]
fn a_refused_run_leaves_nothing() {
    let mut bundle = Bundle::busybox();
    for args in [&["nosuch"][..], &["/nosuch"], &["/etc"]] {
        bundle.run(args.iter().copied()).refused();
        bundle.assert_nothing_left();
    }
}

#[test]
fn a_refusal_does_not_change_the_bundle() {
    let bundle = Bundle::busybox().args(["/nosuch"]);
    bundle.write_config();
    let before = fs::read(bundle.path().join("config.json")).unwrap();
    bundle.refused();
    assert_eq!(fs::read(bundle.path().join("config.json")).unwrap(), before);
    assert_eq!(fs::read_dir(bundle.path()).unwrap().count(), 2);
}

#[test]
fn another_major_version_of_the_specification_is_refused() {
    differs!();
    for version in ["2.0.0", "0.6.0", "one"] {
        Bundle::busybox().set("/ociVersion", version).refused().says(version).names("ociVersion");
    }
    Bundle::busybox().set("/ociVersion", "1.0.2-dev").run(["true"]).ok();
}
