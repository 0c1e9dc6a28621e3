//! `checkpoint` and `restore`: what is refused, and that nothing is left of it

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::criu::{NEW, OLD, with_stand_in};
use crate::support::{Bundle, Container, Value, json};

fn running(bundle: Bundle) -> Container {
    with_stand_in(bundle, NEW).args(["sleep", "1000"]).run_detached()
}

#[test]
fn a_criu_that_is_too_old_is_refused() {
    differs!();
    let c = with_stand_in(Bundle::busybox(), OLD).args(["sleep", "1000"]).run_detached();
    let output = c.verb("checkpoint").refused();
    output.says("criu version 31500 is too old, it must be 31600 or higher").says("install");
    assert!(!c.bundle.scratch("checkpoint").exists(), "nothing was made");
    assert_eq!(c.status(), "running");
}

#[test]
fn a_criu_that_talks_nonsense_is_refused() {
    for nonsense in
        [r"\x08", r"\x08\x01\x10\x01", r"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "hello"]
    {
        let c = with_stand_in(Bundle::busybox(), nonsense).args(["sleep", "1000"]).run_detached();
        c.verb("checkpoint").refused();
        assert_eq!(c.status(), "running");
    }
}

#[test]
fn without_criu_the_error_says_so() {
    let c = Bundle::busybox().env("PATH", "/nowhere").args(["sleep", "1000"]).run_detached();
    c.verb("checkpoint").refused().says("executable file not found in $PATH");
    assert_eq!(c.status(), "running");
}

/// criu follows the paths of mounts.
#[test]
fn mounts_of_links_are_refused() {
    differs!();
    for option in ["src-nofollow", "dest-nofollow"] {
        let bundle = Bundle::busybox();
        let mount = json!({ "destination": "/x", "source": bundle.scratch_dir("source"), "options": ["bind", option] });
        let c = running(bundle.push("/mounts", mount));
        c.verb("checkpoint")
            .refused()
            .says("criu cannot save mounts with")
            .names("mounts[6].options");
        assert_eq!(c.status(), "running");
    }
}

/// What it binds is not in the rootfs, but on an earlier mount.
#[test]
fn mounts_of_what_an_earlier_one_brings_are_refused() {
    differs!();
    for source in ["given", "given/below"] {
        let bundle = Bundle::busybox();
        let given = bundle.scratch_dir("given");
        fs::create_dir(std::path::Path::new(&given).join("below")).unwrap();
        let source = bundle.rootfs(source);
        let first = json!({ "destination": "/given", "source": given, "options": ["bind"] });
        let second = json!({ "destination": "/again", "source": source, "options": ["bind"] });
        let c = running(bundle.push("/mounts", first).push("/mounts", second));
        c.verb("checkpoint")
            .refused()
            .says("criu cannot save a mount whose source is on the one of mounts[6], /given")
            .names("mounts[7].source");
        assert_eq!(c.status(), "running");
    }
}

/// The link is no mount, and would be missing in another rootfs. Where the source is no link, the
/// mount is as any other.
#[test]
fn links_that_were_copied_are_refused() {
    differs!();
    let bundle = Bundle::busybox();
    let source = bundle.scratch("link");
    symlink("/proc", &source).unwrap();
    let mount = |source| json!({ "destination": "/x", "source": source, "options": ["bind", "copy-symlink"] });
    let c = running(bundle.push("/mounts", mount(source)));
    c.verb("checkpoint").refused().says("criu cannot save the link /x").names("mounts[6].options");
    assert_eq!(c.status(), "running");
    let bundle = Bundle::busybox();
    let directory = bundle.scratch_dir("directory");
    let c = running(bundle.push("/mounts", mount(directory)));
    c.verb("checkpoint").refused(); // by the stand-in
    assert!(c.bundle.scratch("stand-in/1").exists(), "criu was not asked");
}

/// `restore` would not know of them. A tmpfs is the container's, as if it had made it itself.
#[test]
fn mounts_that_were_added_are_refused() {
    differs!();
    let c = running(Bundle::busybox());
    let source = c.bundle.scratch_dir("source");
    let mounts = |action: &str, list: Value| {
        let file = c.bundle.scratch("list.json");
        fs::write(&file, list.to_string()).unwrap();
        c.bundle.call(&["mounts", action, c.id(), file.to_str().unwrap()])
    };
    let bad = json!([{ "destination": "/y", "source": source, "options": ["bind"] },
                     { "destination": "/z", "source": "/nowhere", "options": ["bind"] }]);
    mounts("add", bad).refused();
    mounts("add", json!([{ "destination": "/t", "type": "tmpfs" }])).silent();
    let asked = || c.bundle.scratch("stand-in/1").exists();
    let bind = json!([{ "destination": "/x/y", "source": source, "options": ["bind"] }]);
    mounts("add", bind.clone()).silent();
    c.verb("checkpoint").refused().says("criu cannot save the mount on /x/y").says("mounts remove");
    assert!(!asked() && c.status() == "running");
    mounts("remove", bind).silent();
    c.verb("checkpoint").refused(); // by the stand-in
    assert!(asked(), "criu was not asked");
}

/// Where the host's /sys stands in for a sysfs. Seen to fail with `refuse_stand_ins` left out of
/// `commands/checkpoint.rs`: criu was asked.
#[test]
fn a_sysfs_that_is_the_hosts_is_refused() {
    differs!();
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bundle = Bundle::busybox()
        .push("/linux/namespaces", json!({ "type": "user" }))
        .without_namespace("network");
    let c = running(bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids));
    c.verb("checkpoint")
        .refused()
        .names("mounts[5]")
        .says("criu cannot save /sys, which is the host's");
    assert!(!c.bundle.scratch("stand-in/1").exists(), "criu was not asked");
    assert_eq!(c.status(), "running");
}

#[test]
fn bad_flags_are_refused_and_nothing_is_made() {
    let c = running(Bundle::busybox());
    let images = c.bundle.scratch("images");
    for flags in [
        &["--manage-cgroups-mode", "moon"][..],
        &["--empty-ns", "pid"],
        &["--page-server", "4711"],
        &["--page-server", "host:moon"],
        &["--status-fd", "77", "--lazy-pages"],
        &["--parent-path", "/absolute"],
        &["--parent-path", "../missing"],
        &["--image-path", "/proc/moon/images"],
        &["--work-path", "/proc/moon/work"],
    ] {
        let args = ["checkpoint", "--image-path", images.to_str().unwrap()];
        let all: Vec<&str> = args.iter().chain(flags).chain([&c.id()]).copied().collect();
        c.bundle.call(&all).refused();
        assert!(!c.bundle.scratch("stand-in/1").exists(), "criu was asked with {flags:?}");
    }
    assert_eq!(c.status(), "running");
}

#[test]
fn only_what_runs_can_be_saved() {
    let c = with_stand_in(Bundle::busybox(), NEW).create();
    c.verb("checkpoint").refused().says("Container cannot be checkpointed in created state");
    c.finish();
    c.verb("checkpoint").refused().says("Container cannot be checkpointed in stopped state");
    c.bundle.call(&["checkpoint", "moon"]).refused().says("container does not exist");
    assert!(!c.bundle.scratch("checkpoint").exists());
}

#[test]
fn what_cannot_be_restored_leaves_nothing() {
    let bundle = with_stand_in(Bundle::busybox(), NEW);
    bundle.write_config();
    let (path, images) = (bundle.path(), bundle.scratch_dir("empty"));
    for flags in [
        &["--image-path", "/proc/moon/images"][..],
        &["--image-path", images.to_str().unwrap()],
        &["--image-path", images.to_str().unwrap(), "--manage-cgroups-mode", "moon"],
        &["--image-path", images.to_str().unwrap(), "--empty-ns", "moon"],
        &["--image-path", images.to_str().unwrap(), "--console-socket", "/moon"],
    ] {
        let all: Vec<&str> = ["restore", "--bundle", path.to_str().unwrap()]
            .iter()
            .chain(flags)
            .chain([&bundle.id()])
            .copied()
            .collect();
        bundle.call(&all).refused();
        bundle.assert_nothing_left();
    }
}

#[test]
fn an_id_that_is_taken_is_refused() {
    let c = running(Bundle::busybox());
    fs::write(c.bundle.scratch_dir("images").join("descriptors.json"), "[]").unwrap();
    let (path, images) = (c.bundle.path(), c.bundle.scratch("images"));
    let args = [
        "restore",
        "--bundle",
        path.to_str().unwrap(),
        "--image-path",
        images.to_str().unwrap(),
        c.id(),
    ];
    c.bundle.call(&args).refused().says("container with given ID already exists");
    assert_eq!(c.status(), "running");
}

#[test]
fn help_is_there_for_those_who_ask_whether_it_can() {
    let bundle = Bundle::busybox();
    for verb in ["checkpoint", "restore"] {
        assert!(bundle.call(&[verb, "--help"]).ok().stdout.contains("--image-path"));
    }
}
