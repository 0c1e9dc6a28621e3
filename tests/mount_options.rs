//! `mounts[].options`: what each of the specified options does, as far as the kernel shows it.

use crate::support::{Bundle, Value, json, mountinfo};
use mountinfo::Mount;

/// Every option on a tmpfs of its own, in one container: option, seen in the mount, not seen in the
/// mount.
const VISIBLE: &[(&[&str], &str, &str)] = &[
    (&["rw"], "rw relatime", "ro nosuid nodev noexec noatime nodiratime sync dirsync"),
    (&["ro"], "ro", "rw"),
    (&["ro", "rw"], "rw", "ro"),
    (&["nosuid"], "nosuid", ""),
    (&["nosuid", "suid"], "", "nosuid"),
    (&["nodev"], "nodev", ""),
    (&["nodev", "dev"], "", "nodev"),
    (&["noexec"], "noexec", ""),
    (&["noexec", "exec"], "", "noexec"),
    (&["noatime"], "noatime", "relatime"),
    (&["noatime", "atime"], "relatime", "noatime"),
    (&["nodiratime"], "nodiratime relatime", ""),
    (&["nodiratime", "diratime"], "relatime", "nodiratime"),
    (&["relatime"], "relatime", ""),
    (&["strictatime"], "", "relatime noatime"),
    (&["strictatime", "nostrictatime"], "relatime", "noatime"),
    (&["sync"], "sync", ""),
    (&["sync", "async"], "", "sync"),
    (&["dirsync"], "dirsync", ""),
    (&["nosuid", "nodev", "noexec", "ro"], "nosuid nodev noexec ro", "rw"),
];

/// Options whose effect the kernel shows nowhere on a tmpfs, and which must be understood all the
/// same.
const INVISIBLE: &[&str] =
    &["norelatime", "mand", "nomand", "iversion", "noiversion", "silent", "loud", "nolazytime"];

fn tmpfs(target: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": "tmpfs", "source": "tmpfs", "options": options })
}

fn bind(source: &str, target: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": "bind", "source": source, "options": options })
}

#[track_caller]
fn assert_options(mount: &Mount, seen: &str, unseen: &str) {
    // The flags of the filesystem (the superblock) count for those that a single mount does not
    // have.
    let shown = |option: &str| match option {
        "sync" | "dirsync" | "lazytime" => mount.data.iter().any(|have| have == option),
        _ => mount.options.iter().any(|have| have == option),
    };
    let missing: Vec<_> = seen.split_whitespace().filter(|option| !shown(option)).collect();
    let surplus: Vec<_> = unseen.split_whitespace().filter(|option| shown(option)).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing {missing:?}, surplus {surplus:?} in {mount:?}"
    );
}

#[test]
fn every_option_has_its_effect_on_a_new_filesystem() {
    let mut bundle = Bundle::busybox();
    for (n, (options, ..)) in VISIBLE.iter().enumerate() {
        bundle = bundle.push("/mounts", tmpfs(&format!("/mnt/{n}"), options));
    }
    let info = bundle.mountinfo();
    for (n, (_, seen, unseen)) in VISIBLE.iter().enumerate() {
        assert_options(&mountinfo::at(&info, &format!("/mnt/{n}")), seen, unseen);
    }
}

#[test]
fn options_without_a_visible_effect_are_understood() {
    let mut bundle = Bundle::busybox();
    for option in INVISIBLE {
        bundle = bundle.push("/mounts", tmpfs(&format!("/mnt/{option}"), &[option]));
    }
    let info = bundle.mountinfo();
    for option in INVISIBLE {
        assert_options(&mountinfo::at(&info, &format!("/mnt/{option}")), "rw", "ro");
    }
}

#[test]
fn defaults_means_nothing_special() {
    differs!();
    let mut bundle = Bundle::busybox().push("/mounts", tmpfs("/mnt", &["defaults"]));
    assert_options(
        &mountinfo::at(&bundle.mountinfo(), "/mnt"),
        "rw relatime",
        "nosuid nodev noexec",
    );
}

#[test]
fn lazytime_is_a_property_of_the_filesystem() {
    let mut bundle = Bundle::busybox().push("/mounts", tmpfs("/mnt", &["lazytime"]));
    assert_options(&mountinfo::at(&bundle.mountinfo(), "/mnt"), "lazytime", "");
}

#[test]
fn every_option_has_its_effect_on_a_bind_mount() {
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("cargo").to_str().unwrap().to_owned();
    let cases = VISIBLE.iter().filter(|(_, seen, _)| !seen.contains("sync"));
    let cases: Vec<_> = cases.filter(|(options, ..)| options[0] != "sync").collect();
    let mut bundle = bundle;
    for (n, (options, ..)) in cases.iter().enumerate() {
        let options: Vec<_> = ["bind"].iter().chain(*options).copied().collect();
        bundle = bundle.push("/mounts", bind(&source, &format!("/mnt/{n}"), &options));
    }
    let info = bundle.mountinfo();
    for (n, (_, seen, unseen)) in cases.iter().enumerate() {
        assert_options(&mountinfo::at(&info, &format!("/mnt/{n}")), seen, unseen);
    }
}

/// A container with its own view of a host directory that is a mount with the attributes `made`,
/// bound with `options`.
fn bound_over(bundle: Bundle, made: &str, options: &[&str]) -> Bundle {
    let source = bundle.scratch_dir("cargo").to_str().unwrap().to_owned();
    let script = format!("mount -t tmpfs cargo {source}; mount -o remount,bind,{made} {source}");
    bundle.after(&script).push("/mounts", bind(&source, "/mnt", options))
}

#[test]
fn a_bind_mount_without_attributes_is_as_its_source() {
    for options in [&["bind"][..], &["rbind", "rprivate"]] {
        let info = bound_over(Bundle::busybox(), "ro,nosuid,noexec", options).mountinfo();
        assert_options(&mountinfo::at(&info, "/mnt"), "ro nosuid noexec", "rw nodev");
    }
}

#[test]
fn a_bind_mount_with_attributes_has_no_others() {
    let info =
        bound_over(Bundle::busybox(), "nosuid,nodev,noexec,noatime", &["rbind", "ro"]).mountinfo();
    assert_options(&mountinfo::at(&info, "/mnt"), "ro noatime", "nosuid nodev noexec");
    let info = bound_over(Bundle::busybox(), "ro,noexec", &["bind", "nosuid"]).mountinfo();
    assert_options(&mountinfo::at(&info, "/mnt"), "rw nosuid", "ro noexec");
}

/// That one is cleared is as good as a name.
#[test]
fn a_bind_mount_that_clears_attributes_has_no_others() {
    differs!();
    for option in ["dev", "rw", "suid"] {
        let info = bound_over(Bundle::busybox(), "ro,nosuid,noexec,nodiratime", &["bind", option])
            .mountinfo();
        assert_options(&mountinfo::at(&info, "/mnt"), "rw nodiratime", "ro nosuid noexec");
    }
}

#[test]
fn nosymfollow_follows_no_symbolic_link() {
    let mut bundle = Bundle::busybox()
        .push("/mounts", tmpfs("/mnt/no", &["nosymfollow"]))
        .push("/mounts", tmpfs("/mnt/yes", &["nosymfollow", "symfollow"]));
    let script = "for d in no yes; do echo hi > /mnt/$d/file; ln -s file /mnt/$d/link; cat /mnt/$d/link; done";
    let out = bundle.sh(&format!("{script}; cat /proc/self/mountinfo >&2"));
    assert_eq!(out.stdout, "hi\n");
    assert!(out.stderr.contains("Too many levels of symbolic links"), "{out:?}");
    assert!(out.stderr.contains("nosymfollow"), "{out:?}");
}

#[test]
fn noexec_and_nodev_bite() {
    let mut bundle = Bundle::busybox()
        .set("/process/capabilities", crate::support::config::capabilities(&["CAP_MKNOD"]))
        .push("/mounts", tmpfs("/mnt", &["noexec", "nodev"]));
    let script = "cp /bin/busybox /mnt/true; /mnt/true; mknod /mnt/null c 1 3; echo x > /mnt/null";
    let out = bundle.sh(script);
    assert_eq!(
        out.stderr.matches("Permission denied").count()
            + out.stderr.matches("can't create").count(),
        3,
        "{out:?}"
    );
}

#[test]
fn a_read_only_mount_cannot_be_written() {
    let mut bundle = Bundle::busybox().push("/mounts", tmpfs("/mnt", &["ro"]));
    let out = bundle.run(["touch", "/mnt/file"]);
    assert!(out.status != 0 && out.stderr.contains("Read-only file system"), "{out:?}");
}

#[test]
fn remount_changes_an_earlier_mount() {
    let again = json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro", "nosuid"] });
    let mut bundle = Bundle::busybox().push("/mounts", tmpfs("/mnt", &[])).push("/mounts", again);
    let info = bundle.mountinfo();
    assert_options(&mountinfo::at(&info, "/mnt"), "ro nosuid", "rw");
    assert_eq!(mountinfo::parse(&info).iter().filter(|mount| mount.target == "/mnt").count(), 1);
}

/// A host directory with a second filesystem on `DIR/inner`, both of them shared, in the runtime's
/// view of the machine.
fn shared_source() -> (Bundle, String) {
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("cargo").to_str().unwrap().to_owned();
    let script = format!(
        "mount -t tmpfs outer {source}; mkdir {source}/inner; mount -t tmpfs inner {source}/inner; \
         mount --make-rshared {source}"
    );
    (bundle.after(&script), source)
}

/// The outer and the inner mount of such a directory, bound to /mnt with these options.
#[track_caller]
fn bound(options: &[&str]) -> (Mount, Mount) {
    let (bundle, source) = shared_source();
    let mut bundle = bundle.push("/mounts", bind(&source, "/mnt", options));
    let info = bundle.mountinfo();
    (mountinfo::at(&info, "/mnt"), mountinfo::at(&info, "/mnt/inner"))
}

#[test]
fn private_makes_the_mount_private() {
    let (outer, inner) = bound(&["rbind", "private"]);
    assert!(outer.propagation.is_empty(), "{outer:?}");
    assert!(!inner.propagation.is_empty(), "{inner:?}");
}

#[test]
fn rprivate_makes_submounts_private_too() {
    let (outer, inner) = bound(&["rbind", "rprivate"]);
    assert!(outer.propagation.is_empty() && inner.propagation.is_empty(), "{outer:?} {inner:?}");
}

#[test]
fn shared_makes_the_mount_shared() {
    let (outer, inner) = bound(&["rbind", "shared"]);
    assert!(outer.propagates("shared"), "{outer:?}");
    assert!(!inner.propagates("shared"), "{inner:?}");
}

#[test]
fn rshared_makes_submounts_shared_too() {
    let (outer, inner) = bound(&["rbind", "rshared"]);
    assert!(outer.propagates("shared") && inner.propagates("shared"), "{outer:?} {inner:?}");
}

#[test]
fn slave_and_rslave_receive_and_do_not_send() {
    for option in ["slave", "rslave"] {
        let (outer, inner) = bound(&["rbind", option]);
        for mount in [outer, inner] {
            assert!(
                mount.propagates("master") && !mount.propagates("shared"),
                "{option}: {mount:?}"
            );
        }
    }
}

#[test]
fn unbindable_makes_the_mount_unbindable() {
    let (outer, inner) = bound(&["rbind", "unbindable"]);
    assert!(outer.propagates("unbindable"), "{outer:?}");
    assert!(!inner.propagates("unbindable"), "{inner:?}");
}

#[test]
fn runbindable_makes_submounts_unbindable_too() {
    let (outer, inner) = bound(&["rbind", "runbindable"]);
    assert!(
        outer.propagates("unbindable") && inner.propagates("unbindable"),
        "{outer:?} {inner:?}"
    );
}

#[test]
fn propagation_applies_to_new_filesystems() {
    let mut bundle = Bundle::busybox()
        .push("/mounts", tmpfs("/mnt/a", &["shared"]))
        .push("/mounts", tmpfs("/mnt/b", &["unbindable"]))
        .push("/mounts", tmpfs("/mnt/c", &["private"]));
    let info = bundle.mountinfo();
    assert!(mountinfo::at(&info, "/mnt/a").propagates("shared"), "{info}");
    assert!(mountinfo::at(&info, "/mnt/b").propagates("unbindable"), "{info}");
    assert!(mountinfo::at(&info, "/mnt/c").propagation.is_empty(), "{info}");
}

/// Plain options stop at the top of an rbind; recursive ones do not.
#[test]
fn plain_options_leave_submounts_alone() {
    let (outer, inner) = bound(&["rbind", "ro", "nosuid", "nodev", "noexec"]);
    assert_options(&outer, "ro nosuid nodev noexec", "rw");
    assert_options(&inner, "rw", "ro nosuid nodev noexec");
}

#[test]
fn recursive_options_reach_submounts() {
    for (option, seen, unseen) in [
        ("rro", "ro", "rw"),
        ("rnosuid", "nosuid", ""),
        ("rnodev", "nodev", ""),
        ("rnoexec", "noexec", ""),
        ("rnoatime", "noatime", "relatime"),
        ("rnodiratime", "nodiratime", ""),
        ("rrelatime", "relatime", "noatime"),
        ("rstrictatime", "", "relatime noatime"),
    ] {
        let (outer, inner) = bound(&["rbind", option]);
        assert_options(&outer, seen, unseen);
        assert_options(&inner, seen, unseen);
    }
}

#[test]
fn recursive_nosymfollow_reaches_submounts() {
    let (outer, inner) = bound(&["rbind", "rnosymfollow"]);
    assert_options(&outer, "nosymfollow", "");
    assert_options(&inner, "nosymfollow", "");
}

/// Clears a recursive option in a source that has `made` on both of its mounts.
#[track_caller]
fn clears(option: &str, made: &str, unseen: &str) {
    let (bundle, source) = shared_source();
    let script =
        format!("for m in {source} {source}/inner; do mount -o remount,bind,{made} $m; done");
    let mut bundle =
        bundle.after(&script).push("/mounts", bind(&source, "/mnt", &["rbind", option]));
    let info = bundle.mountinfo();
    for target in ["/mnt", "/mnt/inner"] {
        assert_options(&mountinfo::at(&info, target), "", unseen);
    }
}

#[test]
fn recursive_options_are_cleared_in_submounts() {
    for (option, made, unseen) in [
        ("rrw", "ro", "ro"),
        ("rsuid", "nosuid", "nosuid"),
        ("rdev", "nodev", "nodev"),
        ("rexec", "noexec", "noexec"),
        ("rdiratime", "nodiratime", "nodiratime"),
        ("rsymfollow", "nodev", ""),
    ] {
        clears(option, made, unseen);
    }
}

/// The kernel takes the access time mode as a whole or not at all, so clearing one of its values is
/// not that simple.
#[test]
fn recursive_access_time_modes_are_cleared_in_submounts() {
    differs!();
    clears("ratime", "noatime", "noatime");
    clears("rnorelatime", "nodev", "");
    clears("rnostrictatime", "strictatime", "noatime");
}

/// `atime` is the kernel's default, as mount(8) has it, whatever the source has
/// (docs/config/mounts.md).
#[test]
fn atime_takes_noatime_off_a_bind_mount() {
    differs!();
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("cargo").display().to_string();
    let script = format!("mount --bind {source} {source}; mount -o remount,bind,noatime {source}");
    let mut bundle = bundle
        .after(&script)
        .push("/mounts", bind(&source, "/mnt/default", &["bind", "atime"]))
        .push("/mounts", bind(&source, "/mnt/kept", &["bind", "ro"]));
    let info = bundle.mountinfo();
    let has = |target, option| mountinfo::at(&info, target).has(option);
    assert!(has("/mnt/default", "relatime") && !has("/mnt/default", "noatime"), "{info}");
    assert!(has("/mnt/kept", "noatime"), "{info}");
}
