//! `root`, `linux.rootfsPropagation` and `--no-pivot`

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::support::{Bundle, config, json, mountinfo};

#[test]
fn the_root_filesystem_is_writable_by_default() {
    let mut bundle = Bundle::busybox();
    bundle.run(["touch", "/written"]).silent();
    assert!(bundle.rootfs("written").exists());
}

#[test]
fn a_read_only_root_cannot_be_written() {
    let mut bundle = Bundle::busybox().set("/root/readonly", true);
    let out = bundle.run(["touch", "/written"]);
    assert!(out.status != 0 && out.stderr.contains("Read-only file system"), "{out:?}");
    assert!(!bundle.rootfs("written").exists());
}

#[test]
fn a_read_only_root_leaves_mounts_writable() {
    let mount = json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs" });
    let mut bundle = Bundle::busybox().set("/root/readonly", true).push("/mounts", mount);
    bundle.sh("touch /mnt/x /dev/shm/x").ok();
}

#[test]
fn destinations_are_made_in_a_root_that_will_be_read_only() {
    let mount = json!({ "destination": "/new/dir", "type": "tmpfs", "source": "tmpfs" });
    let mut bundle = Bundle::busybox().set("/root/readonly", true).push("/mounts", mount);
    bundle.run(["touch", "/new/dir/x"]).silent();
}

#[test]
fn an_absolute_root_path_is_taken_as_it_is() {
    let bundle = Bundle::busybox();
    let elsewhere = bundle.scratch("elsewhere");
    fs::rename(bundle.rootfs(""), &elsewhere).unwrap();
    let mut bundle = bundle.set("/root/path", elsewhere.to_str());
    bundle.run(["touch", "/written"]).silent();
    assert!(elsewhere.join("written").exists());
}

#[test]
fn a_missing_root_directory_is_refused() {
    let bundle = Bundle::busybox().set("/root/path", "nowhere");
    bundle.refused().because("no such file or directory").says("nowhere");
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let bundle = Bundle::busybox().set("/root/path", "config.json");
    bundle.refused().names("root.path");
}

#[test]
fn a_symlink_as_root_is_followed_or_refused_but_never_written_to() {
    let mut bundle = Bundle::busybox().set("/root/path", "link");
    symlink("rootfs", bundle.path().join("link")).unwrap();
    bundle.run(["true"]);
    assert!(bundle.path().join("link").is_symlink());
    bundle.assert_nothing_left();
}

fn root_mount(bundle: &mut Bundle) -> mountinfo::Mount {
    mountinfo::at(&bundle.mountinfo(), "/")
}

/// A bundle whose filesystem is shared on the host, as systemd makes it.
fn on_a_shared_host() -> Bundle {
    let bundle = Bundle::busybox();
    let dir = bundle.dir().display().to_string();
    bundle.after(&format!("mount --bind {dir} {dir}; mount --make-shared {dir}; cd {dir}"))
}

#[test]
fn the_root_is_a_slave_or_private_by_default() {
    let root = root_mount(&mut on_a_shared_host());
    assert!(!root.propagates("shared"), "{root:?}");
}

/// Seen to fail: the mount appeared in the container.
#[test]
fn what_the_host_mounts_below_the_rootfs_later_stays_outside() {
    differs!();
    let bundle = on_a_shared_host();
    let below = bundle.rootfs("mnt/below");
    fs::create_dir_all(&below).unwrap();
    let (etc, below) = (bundle.rootfs("etc"), below.display());
    let bundle = bundle.after(&format!(
        "mount -t tmpfs below {below}; mount --make-shared {below}; mkdir {below}/in"
    ));
    let late = format!("mount -t tmpfs late {} && mount -t tmpfs late {below}/in", etc.display());
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", late], "env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"] });
    let mounts = bundle.push("/hooks/createRuntime", hook).mountinfo();
    assert_eq!(mountinfo::at(&mounts, "/mnt/below").source, "below");
    assert!(!mounts.contains(" late "), "{mounts}");
}

#[test]
fn propagation_shared_and_rshared_make_the_root_shared() {
    differs!();
    for value in ["shared", "rshared"] {
        let root = root_mount(&mut on_a_shared_host().set("/linux/rootfsPropagation", value));
        assert!(root.propagates("shared"), "{value}: {root:?}");
    }
}

#[test]
fn propagation_slave_and_rslave_make_the_root_a_slave() {
    differs!();
    for value in ["slave", "rslave"] {
        let root = root_mount(&mut on_a_shared_host().set("/linux/rootfsPropagation", value));
        assert!(root.propagates("master") && !root.propagates("shared"), "{value}: {root:?}");
    }
}

#[test]
fn propagation_private_and_rprivate_make_the_root_private() {
    for value in ["private", "rprivate"] {
        let root = root_mount(&mut on_a_shared_host().set("/linux/rootfsPropagation", value));
        assert!(root.propagation.is_empty(), "{value}: {root:?}");
    }
}

#[test]
fn propagation_unbindable_and_runbindable_make_the_root_unbindable() {
    differs!();
    for value in ["unbindable", "runbindable"] {
        let root = root_mount(&mut on_a_shared_host().set("/linux/rootfsPropagation", value));
        assert!(root.propagates("unbindable"), "{value}: {root:?}");
    }
}

#[test]
fn an_unknown_propagation_is_refused() {
    let bundle = Bundle::busybox().set("/linux/rootfsPropagation", "sideways");
    bundle.refused().says("rootfsPropagation=sideways is not supported");
}

#[test]
fn mounts_do_not_propagate_to_a_shared_host() {
    let bundle = on_a_shared_host();
    let mount = json!({ "destination": "/mnt/deep", "type": "tmpfs", "source": "hold" });
    let mut bundle = bundle.push("/mounts", mount);
    bundle.run(["true"]).silent();
    assert!(bundle.rootfs("mnt/deep").is_dir());
    bundle.assert_nothing_left();
}

/// There is no mount namespace but the host's, whose propagation is not the container's to change
/// (runc 1.5.3). Seen to fail with `Enter::Chroot` treated as the others in `init/rootfs/mod.rs`.
#[test]
fn without_a_mount_namespace_the_host_keeps_its_propagation() {
    differs!();
    let mut bundle = Bundle::busybox().without_namespace("mount").set("/mounts", json!([]));
    for key in ["maskedPaths", "readonlyPaths"] {
        bundle = bundle.set(&format!("/linux/{key}"), json!([]));
    }
    let (before, after) = (bundle.scratch("before"), bundle.scratch("after"));
    let bundle = bundle.after(&format!(
        "mount --make-rshared /; cat /proc/self/mountinfo >{}\n\
         set -- sh -c '\"$0\" \"$@\"; code=$?; cat /proc/self/mountinfo >{}; exit $code' \"$@\"",
        before.display(),
        after.display()
    ));
    let out = bundle.run_as_is();
    let shared = |name| {
        mountinfo::parse(&bundle.read(name))
            .iter()
            .filter(|mount| mount.propagates("shared"))
            .count()
    };
    assert!(shared("before") > 0, "{out:?}");
    assert_eq!(shared("after"), shared("before"), "{out:?}");
}

/// Options that only mount(2) takes need a place for a moment. Seen to fail: the host's /proc was
/// covered, for good.
#[test]
fn what_is_mounted_for_a_moment_does_not_propagate_to_a_shared_host() {
    let bundle = on_a_shared_host()
        .after("mount --make-rshared /")
        .set("/linux/rootfsPropagation", "shared");
    let mount = json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["silent", "size=64k"] });
    let seen = bundle.scratch("seen");
    let look = format!(
        "set -- sh -c '\"$0\" \"$@\"; code=$?; cat /proc/self/mountinfo >{}; exit $code' \"$@\"",
        seen.display()
    );
    let mut bundle = bundle.push("/mounts", mount).after(&look);
    assert_eq!(mountinfo::at(&bundle.mountinfo(), "/mnt").kind, "tmpfs");
    assert_eq!(mountinfo::at(&bundle.read("seen"), "/proc").kind, "proc");
}

#[test]
fn no_pivot_runs_the_container_all_the_same() {
    let mut bundle = Bundle::busybox().flags(["--no-pivot"]);
    assert_eq!(bundle.run(["ls", "/"]).ok().lines().first(), Some(&"bin"));
    bundle.assert_nothing_left();
}

/// The kernel does not escape it in mountinfo.
#[test]
fn no_pivot_does_not_mind_a_mount_whose_path_is_not_utf8() {
    let bundle = Bundle::busybox().flags(["--no-pivot"]).args(["ls", "/"]);
    let place = bundle.scratch_dir("mounts").join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&place).unwrap();
    let mount = "for place in mounts/*; do mount -t tmpfs none \"$place\"; done";
    assert_eq!(bundle.after(mount).run_as_is().ok().lines().first(), Some(&"bin"));
}

/// Without pivot_root the host's /proc must not stay mounted below the new root: a user namespace
/// may mount a fresh /proc only where an unmasked one is visible already.
#[test]
fn no_pivot_leaves_no_bare_proc() {
    let capabilities = config::capabilities(&["CAP_SETFCAP"]);
    for flags in [&[][..], &["--no-pivot"]] {
        let mut bundle = Bundle::busybox().flags(flags.iter().copied());
        bundle = bundle.set("/process/capabilities", capabilities.clone());
        let out = bundle.run(["unshare", "-mrpf", "mount", "-t", "proc", "none", "/proc"]);
        assert!(out.status != 0 && out.stderr.contains("ermission denied"), "{flags:?}: {out:?}");
    }
}

/// Where pivot_root is not possible, as it is not on a ramdisk: the mount that our root is on is a
/// shared one, which cannot be seen, and so not be changed, from within.
fn where_pivot_root_is_impossible(bundle: Bundle) -> Bundle {
    let (outside, jail) = (bundle.scratch_dir("outside"), bundle.scratch("outside/jail"));
    let (outside, jail) = (outside.display(), jail.display());
    bundle.after(&format!(
        "mount -t tmpfs none {outside}; mkdir {jail}; mount --bind {jail} {jail}\n\
         for dir in /*; do [ -d $dir ] && [ ! -L $dir ] && mkdir {jail}$dir && mount --rbind $dir {jail}$dir; done\n\
         for link in /*; do [ -L $link ] && cp -P $link {jail}; done\n\
         mount --make-shared {outside}; set -- chroot {jail} \"$@\""
    ))
}

#[test]
fn no_pivot_does_without_pivot_root() {
    let bundle = where_pivot_root_is_impossible(Bundle::busybox().args(["ls", "/"]));
    bundle.refused().says("pivot_root");
    let bundle = bundle.flags(["--no-pivot"]);
    assert_eq!(bundle.run_as_is().ok().lines().first(), Some(&"bin"));
    bundle.assert_nothing_left();
    assert!(bundle.create().finish().starts_with("bin\n"));
}
