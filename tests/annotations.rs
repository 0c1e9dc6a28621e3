//! `annotations` that the runtime obeys

use std::fs;

use crate::hooks::with_hook;
use crate::support::{Bundle, Value, json};

/// The supplementary groups of the program, whose runtime has the groups 7 and 4242.
fn groups(bundle: Bundle) -> String {
    let mut bundle = bundle.after("set -- setpriv --groups 7,4242 \"$@\"");
    let out = bundle.run(["grep", "^Groups:", "/proc/self/status"]).ok();
    out.line().split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

fn keeping_groups(value: &str) -> Bundle {
    Bundle::busybox().set("/annotations/run.oci.keep_original_groups", value)
}

#[test]
fn the_groups_of_the_caller_are_kept() {
    differs!();
    for (value, expected) in [("1", "7 4242"), ("true", "7 4242"), ("0", "")] {
        assert_eq!(groups(keeping_groups(value)), expected, "{value:?}");
    }
    assert_eq!(groups(Bundle::busybox()), "");
    let user = json!({ "uid": 1000, "gid": 1001 });
    assert_eq!(groups(keeping_groups("1").set("/process/user", user)), "7 4242");
}

/// They stand for rights over files of the host, also where the namespace has no number for them.
#[test]
fn in_a_user_namespace_the_kept_groups_still_count() {
    differs!();
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let bundle = keeping_groups("1").push("/linux/namespaces", json!({ "type": "user" }));
    let bundle = bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
    let secret = bundle.scratch("secret");
    fs::write(&secret, "of the crew\n").unwrap();
    std::os::unix::fs::chown(&secret, Some(0), Some(4242)).unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let mount = json!({ "destination": "/etc/passwd", "source": secret, "options": ["bind"] });
    let mut bundle = bundle.push("/mounts", mount).after("set -- setpriv --groups 4242 \"$@\"");
    assert_eq!(bundle.run(["cat", "/etc/passwd"]).ok().stdout, "of the crew\n");
}

/// And of its caller, not of the one of `create`.
#[test]
fn exec_keeps_the_groups_of_its_caller() {
    differs!();
    let c = keeping_groups("1")
        .args(["sleep", "60"])
        .after("set -- setpriv --groups 7 \"$@\"")
        .run_detached();
    let out = c.exec(&[], &["grep", "^Groups:", "/proc/self/status"]).ok();
    assert_eq!(out.line().split_whitespace().nth(1), Some("7"), "{out:?}");
}

#[test]
fn groups_that_are_asked_for_as_well_are_a_warning() {
    differs!();
    let mut bundle = keeping_groups("1").set("/process/user/additionalGids", json!([5]));
    let out = bundle.run(["true"]);
    assert!(
        out.status == 0 && out.stderr.contains("process.user.additionalGids: not set"),
        "{out:?}"
    );
}

const OF_THE_HOST: [&str; 5] =
    ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

/// With a hook of each moment, which prints its name to both streams; and where the annotations let
/// it go.
fn printing(annotations: &Value) -> Bundle {
    OF_THE_HOST
        .into_iter()
        .chain(["startContainer"])
        .fold(Bundle::busybox().set("/annotations", annotations.clone()), |bundle, kind| {
            with_hook(bundle, kind, &format!("echo {kind}; echo {kind} failed >&2"))
        })
}

/// All but those of `startContainer`, which are programs of the image and get nothing of the
/// host's.
#[test]
fn what_hooks_print_is_appended_to_the_files() {
    differs!();
    let place = Bundle::busybox();
    let (stdout, stderr) = (place.scratch("stdout"), place.scratch("stderr"));
    fs::write(&stdout, "before\n").unwrap();
    let annotations = json!({ "run.oci.hooks.stdout": stdout, "run.oci.hooks.stderr": stderr });
    let c = printing(&annotations).args(["sleep", "60"]).create();
    c.start();
    c.delete_by_force();
    let expected =
        |end: &str| OF_THE_HOST.iter().map(|kind| format!("{kind}{end}\n")).collect::<String>();
    assert_eq!(fs::read_to_string(&stdout).unwrap(), format!("before\n{}", expected("")));
    assert_eq!(fs::read_to_string(&stderr).unwrap(), expected(" failed"));
}

/// What has no file is still told when the hook fails.
#[test]
fn a_hook_that_fails_is_quoted_by_what_has_no_file() {
    differs!();
    let place = Bundle::busybox();
    let stdout = place.scratch("stdout");
    let bundle =
        Bundle::busybox().set("/annotations/run.oci.hooks.stdout", stdout.to_str().unwrap());
    let mut bundle =
        with_hook(bundle, "createRuntime", "echo for the file; echo for the message >&2; exit 3");
    let out = bundle.run(["true"]).refused().because("exit status 3: for the message");
    assert!(!out.stderr.contains("for the file"), "{out:?}");
    assert_eq!(fs::read_to_string(&stdout).unwrap(), "for the file\n");
    bundle.assert_nothing_left();
}

#[test]
fn a_file_for_hooks_that_cannot_be_is_refused() {
    differs!();
    let bundle = |path: &str| printing(&json!({ "run.oci.hooks.stderr": path })).args(["true"]);
    bundle("log").refused().names("annotations.run.oci.hooks.stderr").because("absolute");
    bundle("/nowhere/log").refused().because("/nowhere/log");
    bundle("/tmp").refused().because("directory");
    let place = Bundle::busybox();
    let fifo = place.scratch("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    bundle(fifo.to_str().unwrap()).refused().because("fifo");
}
