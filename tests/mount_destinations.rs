//! `mounts[].destination`: made when missing, and always inside the root filesystem, whatever the
//! image contains.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{Bundle, Value, json, mountinfo};

fn tmpfs(target: &str) -> Value {
    json!({ "destination": target, "type": "tmpfs", "source": "hold" })
}

fn bind(source: &Path, target: &str) -> Value {
    json!({ "destination": target, "type": "bind", "source": source.to_str(), "options": ["bind"] })
}

#[test]
fn a_missing_directory_is_made() {
    let mut bundle = Bundle::busybox().push("/mounts", tmpfs("/a/b/c"));
    assert_eq!(mountinfo::at(&bundle.mountinfo(), "/a/b/c").kind, "tmpfs");
    assert!(bundle.rootfs("a/b/c").is_dir());
}

#[test]
fn a_missing_file_is_made_for_a_bound_file() {
    let bundle = Bundle::busybox();
    let source = bundle.scratch("letter");
    fs::write(&source, "dear\n").unwrap();
    let mut bundle = bundle.push("/mounts", bind(&source, "/a/b/letter"));
    assert_eq!(bundle.run(["cat", "/a/b/letter"]).ok().stdout, "dear\n");
    assert!(bundle.rootfs("a/b/letter").is_file());
}

#[test]
fn a_directory_on_a_file_is_refused() {
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("cargo");
    bundle
        .push("/mounts", bind(&source, "/etc/passwd"))
        .refused()
        .because("not a directory")
        .says("/etc/passwd");
}

#[test]
fn a_relative_destination_is_below_the_root() {
    let mut bundle = Bundle::busybox().push("/mounts", tmpfs("mnt"));
    let out = bundle.run(["cat", "/proc/self/mountinfo"]);
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(mountinfo::at(&out.stdout, "/mnt").source, "hold");
}

/// Docker once wrote destinations as the host has them. A directory of that name in the rootfs is
/// not made.
#[test]
fn the_rootfs_in_front_of_a_destination_is_left_out() {
    differs!();
    let bundle = Bundle::busybox();
    let inside = bundle.rootfs("inside/it");
    let mut bundle = bundle.push("/mounts", tmpfs(inside.to_str().unwrap()));
    assert_eq!(mountinfo::at(&bundle.mountinfo(), "/inside/it").source, "hold");
    assert!(!bundle.rootfs(inside.strip_prefix("/").unwrap().to_str().unwrap()).exists());
}

#[test]
fn dots_do_not_lead_out_of_the_root() {
    let mut bundle = Bundle::busybox().push("/mounts", tmpfs("/../../../mnt/./x/../hold"));
    assert_eq!(mountinfo::at(&bundle.mountinfo(), "/mnt/hold").source, "hold");
}

#[test]
fn symlinks_in_the_root_filesystem_are_followed_inside() {
    let mut bundle = Bundle::busybox().push("/mounts", tmpfs("/link/hold"));
    symlink("/mnt", bundle.rootfs("link")).unwrap();
    assert_eq!(mountinfo::at(&bundle.mountinfo(), "/mnt/hold").source, "hold");
}

/// Mounts on `/link/new`, where `/link` leads to an existing directory of the host.
#[track_caller]
fn stays_inside(link: impl Fn(&Path) -> String) {
    let bundle = Bundle::busybox();
    let outside = bundle.scratch_dir("outside");
    symlink(link(&outside), bundle.rootfs("link")).unwrap();
    let letter = bundle.scratch("letter");
    fs::write(&letter, "dear\n").unwrap();
    let mut bundle =
        bundle.push("/mounts", tmpfs("/link/new")).push("/mounts", bind(&letter, "/link/file"));
    let out = bundle.run(["cat", "/proc/self/mountinfo"]);
    assert!(fs::read_dir(&outside).unwrap().next().is_none(), "the host was touched: {out:?}");
    if out.status == 0 {
        assert!(
            mountinfo::parse(&out.stdout).iter().any(|mount| mount.source == "hold"),
            "{out:?}"
        );
    }
}

#[test]
fn absolute_symlinks_stay_inside() {
    stays_inside(|outside| outside.display().to_string());
}

#[test]
fn symlinks_with_dots_stay_inside() {
    stays_inside(|outside| format!("../../../../../../../../..{}", outside.display()));
    stays_inside(|outside| format!("/../..{}", outside.display()));
}

#[test]
fn symlinks_through_magic_links_stay_inside() {
    stays_inside(|outside| format!("/proc/self/root{}", outside.display()));
    stays_inside(|outside| format!("/proc/1/root{}", outside.display()));
    stays_inside(|_| "/proc/self/cwd".to_owned());
}

#[test]
fn a_symlink_to_itself_is_refused() {
    let bundle = Bundle::busybox().push("/mounts", tmpfs("/loop/hold"));
    symlink("loop", bundle.rootfs("loop")).unwrap();
    bundle.refused().because("too many levels of symbolic links").says("/loop/hold");
}

#[test]
fn a_dangling_symlink_is_completed_inside() {
    let bundle = Bundle::busybox();
    let outside = bundle.scratch("outside");
    symlink(&outside, bundle.rootfs("link")).unwrap();
    let mut bundle = bundle.push("/mounts", tmpfs("/link"));
    bundle.run(["true"]);
    assert!(!outside.exists());
}

/// A label written to a forged /proc goes nowhere (CVE-2019-19921, CVE-2023-27561).
#[test]
fn proc_and_sys_must_be_directories() {
    for name in ["proc", "sys"] {
        let bundle = Bundle::busybox();
        fs::remove_dir(bundle.rootfs(name)).unwrap();
        fs::create_dir(bundle.rootfs("elsewhere")).unwrap();
        symlink("elsewhere", bundle.rootfs(name)).unwrap();
        bundle.refused().says("must be mounted on ordinary directory").says(&format!("/{name}"));
    }
}

/// The same attack by way of a volume (CVE-2019-16884).
#[test]
fn nothing_is_mounted_over_proc() {
    let bundle = Bundle::busybox();
    let volume = bundle.scratch_dir("volume");
    for target in ["/proc", "/proc/self", "/proc/sys/net"] {
        let entry = bind(&volume, target);
        let out = Bundle::busybox().push("/mounts", entry).refused();
        assert!(out.stderr.contains("/proc"), "{out:?}");
    }
}

#[test]
fn lxcfs_files_may_be_mounted_over_their_originals() {
    let bundle = Bundle::busybox();
    let source = bundle.scratch("uptime");
    fs::write(&source, "1.00 2.00\n").unwrap();
    let mut bundle = bundle.push("/mounts", bind(&source, "/proc/uptime"));
    assert_eq!(bundle.run(["cat", "/proc/uptime"]).ok().stdout, "1.00 2.00\n");
}

/// Device nodes and links are made in /dev, which the image may have made a symlink
/// (CVE-2026-41579).
#[test]
fn a_symlinked_dev_does_not_touch_the_host() {
    differs!();
    let bundle = Bundle::busybox();
    let outside = bundle.scratch_dir("outside");
    fs::write(outside.join("ptmx"), "").unwrap();
    fs::remove_dir(bundle.rootfs("dev")).unwrap();
    symlink(&outside, bundle.rootfs("dev")).unwrap();
    let mut bundle = bundle
        .set("/mounts", json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]));
    bundle.run(["true"]);
    let names: Vec<_> =
        fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["ptmx"]);
    assert!(outside.join("ptmx").symlink_metadata().unwrap().is_file());
}

/// Seen to fail: the program saw its root, and what `exec` ran saw the mount that covered it.
#[test]
fn a_link_to_the_root_is_no_destination() {
    differs!();
    for mount in [
        json!({ "destination": "/link", "type": "tmpfs", "source": "tmpfs" }),
        json!({ "destination": "/link/etc/..", "type": "tmpfs", "source": "tmpfs" }),
        json!({ "destination": "/link", "type": "bind", "source": "/etc", "options": ["rbind"] }),
    ] {
        let bundle = Bundle::busybox().push("/mounts", mount);
        symlink("/", bundle.rootfs("link")).unwrap();
        bundle.refused().names("mounts[6]").says("leads to /, on which nothing can be mounted");
    }
}

/// Callers tell by the text that one is a file and the other is none. Seen to fail:
/// `move_mount(): Invalid argument`.
#[test]
fn a_file_over_a_directory_is_not_a_directory() {
    for what in ["file", "socket"] {
        let bundle = Bundle::busybox();
        let source = bundle.scratch("source");
        match what {
            "file" => fs::write(&source, "").unwrap(),
            _ => drop(std::os::unix::net::UnixListener::bind(&source).unwrap()),
        }
        let mount = json!({ "destination": "/etc", "type": "bind", "source": source.to_str(), "options": ["bind"] });
        bundle.push("/mounts", mount).refused().because("not a directory").says("/etc");
    }
    let bundle = Bundle::busybox();
    fs::write(bundle.rootfs("file"), "").unwrap();
    let mount =
        json!({ "destination": "/file", "type": "bind", "source": "/etc", "options": ["bind"] });
    bundle.push("/mounts", mount).refused().because("not a directory").says("/file");
}
