//! `mounts[].options`: `src-nofollow`, `dest-nofollow`, `copy-symlink`, for symbolic links at
//! either end of a bind mount

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::{Bundle, Value, json};

/// A bundle whose host has the file `of-the-host` and the link `link` to it, and whose image has
/// the file `/target` and the link `/link` to that.
fn bundle() -> (Bundle, PathBuf) {
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("source");
    fs::write(source.join("of-the-host"), "of the host\n").unwrap();
    symlink("of-the-host", source.join("link")).unwrap();
    fs::write(bundle.rootfs("target"), "of the image\n").unwrap();
    symlink("target", bundle.rootfs("link")).unwrap();
    (bundle, source)
}

fn mount(source: &std::path::Path, destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}

/// What is at /link and at /target then.
fn ends(options: &[&str]) -> Vec<String> {
    let (bundle, source) = bundle();
    let mut bundle = bundle.push("/mounts", mount(&source.join("link"), "/link", options));
    let out = bundle.sh("readlink /link; echo; cat /target; readlink /target").stdout;
    assert_eq!(
        fs::read_to_string(bundle.rootfs("target")).unwrap(),
        "of the image\n",
        "{options:?}"
    );
    assert_eq!(
        fs::read_link(bundle.rootfs("link")).unwrap(),
        PathBuf::from("target"),
        "{options:?}"
    );
    out.lines().map(str::to_owned).collect()
}

#[test]
fn either_end_may_be_a_link_that_is_not_followed() {
    differs!();
    assert_eq!(ends(&["bind"]), ["target", "", "of the host"]);
    // Over the link: what is there now is a file.
    assert_eq!(ends(&["bind", "dest-nofollow"]), ["", "of the image"]);
    assert_eq!(
        ends(&["rbind", "dest-nofollow", "src-nofollow"]),
        ["of-the-host", "", "of the image"]
    );
    // Over the target: what is there now is the host's link, which leads nowhere.
    let out = ends(&["bind", "src-nofollow"]);
    assert_eq!(out, ["target", "", "of-the-host"]);
}

#[test]
fn a_place_that_is_not_there_is_made() {
    differs!();
    let (bundle, source) = bundle();
    let mut bundle =
        bundle.push("/mounts", mount(&source, "/new/directory", &["bind", "dest-nofollow"])).push(
            "/mounts",
            mount(&source.join("of-the-host"), "/other/file", &["bind", "dest-nofollow", "ro"]),
        );
    assert_eq!(
        bundle.sh("cat /new/directory/of-the-host /other/file").ok().stdout,
        "of the host\nof the host\n"
    );
}

#[test]
fn a_link_can_be_copied() {
    differs!();
    let (bundle, source) = bundle();
    let mut bundle = bundle
        .push("/mounts", mount(&source.join("link"), "/a/b/copy", &["rbind", "copy-symlink"]))
        .push("/mounts", mount(&source.join("of-the-host"), "/file", &["bind", "copy-symlink"]));
    for _ in 0..2 {
        // The second time it is there already.
        let out = bundle.sh("readlink /a/b/copy; cat /file; grep -c copy /proc/self/mountinfo");
        assert_eq!(out.stdout, "of-the-host\nof the host\n0\n", "{out:?}");
    }
    assert_eq!(fs::read_link(bundle.rootfs("a/b/copy")).unwrap(), PathBuf::from("of-the-host"));
}

#[test]
fn a_link_is_not_copied_over_something_else() {
    differs!();
    for place in ["/link", "/target"] {
        let (bundle, source) = bundle();
        let mut bundle =
            bundle.push("/mounts", mount(&source.join("link"), place, &["bind", "copy-symlink"]));
        bundle.run(["true"]).refused().names("mounts[").because("file exists");
        bundle.assert_nothing_left();
    }
}

/// A user namespace has no rights over directories of the host's root.
#[test]
fn a_link_that_only_the_host_may_read_is_copied_and_mounted() {
    differs!();
    let (bundle, source) = bundle();
    fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let rootfs = bundle.rootfs("");
    let chown = std::process::Command::new("chown")
        .args(["-R", "-h", "100000:100000"])
        .arg(rootfs)
        .status();
    assert!(chown.unwrap().success());
    let mut bundle = bundle
        .push("/linux/namespaces", json!({ "type": "user" }))
        .set("/linux/uidMappings", ids.clone())
        .set("/linux/gidMappings", ids)
        .push("/mounts", mount(&source.join("link"), "/copy", &["bind", "copy-symlink"]))
        .push(
            "/mounts",
            mount(&source.join("link"), "/link", &["bind", "src-nofollow", "dest-nofollow"]),
        );
    let out = bundle.sh("readlink /copy; readlink /link").ok();
    assert_eq!(out.lines(), ["of-the-host", "of-the-host"]);
}

/// Whatever the image has there, what is made is made inside.
#[test]
fn links_of_the_image_do_not_lead_out() {
    differs!();
    let (bundle, source) = bundle();
    let outside = bundle.scratch_dir("outside");
    symlink(&outside, bundle.rootfs("way")).unwrap();
    symlink(outside.join("file"), bundle.rootfs("last")).unwrap();
    let mut bundle = bundle
        .push("/mounts", mount(&source.join("link"), "/way/copy", &["bind", "copy-symlink"]))
        .push(
            "/mounts",
            mount(&source.join("of-the-host"), "/way/file", &["bind", "dest-nofollow"]),
        )
        .push("/mounts", mount(&source.join("of-the-host"), "/last", &["bind", "dest-nofollow"]));
    let inside = outside.display().to_string();
    let out = bundle.sh(&format!("readlink {inside}/copy; cat {inside}/file /last")).ok();
    assert_eq!(out.lines(), ["of-the-host", "of the host", "of the host"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made outside");
}

/// What covers a link of a procfs could fake what we write and read there (CVE-2019-16884).
#[test]
fn a_link_of_a_procfs_is_not_covered() {
    let (bundle, source) = bundle();
    let options = ["bind", "src-nofollow", "dest-nofollow"];
    let mut bundle = bundle.push("/mounts", mount(&source.join("link"), "/proc/self", &options));
    bundle.run(["true"]).refused();
}

#[test]
fn what_makes_no_sense_is_refused() {
    differs!();
    for options in
        [&["bind", "copy-symlink", "src-nofollow"][..], &["bind", "copy-symlink", "dest-nofollow"]]
    {
        let (bundle, source) = bundle();
        bundle
            .push("/mounts", mount(&source.join("link"), "/x", options))
            .refused()
            .names("options");
    }
    let tmpfs = json!({ "destination": "/x", "type": "tmpfs", "options": ["src-nofollow"] });
    bundle().0.push("/mounts", tmpfs).refused().because("only for bind mounts");
}
