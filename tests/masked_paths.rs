//! `linux.maskedPaths`, `linux.readonlyPaths`

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Bundle, json, mountinfo};

fn masking(paths: &[&str]) -> Bundle {
    Bundle::busybox().set("/linux/maskedPaths", json!(paths))
}

#[test]
fn a_masked_file_is_empty() {
    let mut bundle = masking(&["/etc/secret"]);
    fs::write(bundle.rootfs("etc/secret"), "treasure").unwrap();
    let out = bundle.sh("cat /etc/secret; ls -l /etc/secret | cut -c1").ok();
    assert_eq!(out.lines(), ["c"]);
    assert_eq!(fs::read_to_string(bundle.rootfs("etc/secret")).unwrap(), "treasure");
}

#[test]
fn a_masked_directory_is_empty_and_read_only() {
    let mut bundle = masking(&["/etc/secrets"]);
    fs::create_dir(bundle.rootfs("etc/secrets")).unwrap();
    fs::write(bundle.rootfs("etc/secrets/one"), "treasure").unwrap();
    let out = bundle.sh("ls -A /etc/secrets; touch /etc/secrets/x");
    assert_eq!(out.stdout, "");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

#[test]
fn a_masked_path_that_is_missing_is_ignored() {
    masking(&["/nowhere", "/etc/nowhere/at/all"]).run(["true"]).silent();
}

#[test]
fn masked_paths_in_proc_and_sys_are_hidden() {
    let out = Bundle::busybox()
        .sh("cat /proc/timer_list /proc/keys; ls -A /sys/firmware /proc/acpi 2>/dev/null");
    assert!(!out.stdout.contains(": "), "{out:?}");
}

#[test]
fn many_masked_directories_are_possible() {
    let mut bundle = masking(&[]);
    for n in 0..20 {
        fs::create_dir_all(bundle.rootfs(&format!("secrets/{n}/inner"))).unwrap();
        bundle = bundle.push("/linux/maskedPaths", format!("/secrets/{n}"));
    }
    assert_eq!(bundle.sh("ls -A /secrets/*/").ok().stdout.matches("inner").count(), 0);
}

#[test]
fn a_masked_mount_is_hidden() {
    let bundle = masking(&["/mnt"]);
    let source = bundle.scratch_dir("cargo");
    fs::write(source.join("crate"), "tea").unwrap();
    let entry = json!({ "destination": "/mnt", "type": "bind", "source": source.to_str(), "options": ["bind"] });
    assert_eq!(bundle.push("/mounts", entry).run(["ls", "/mnt"]).ok().stdout, "");
}

/// The image may put a symlink where a masked file is expected; the mask goes to its target inside,
/// never outside.
#[test]
fn a_masked_symlink_masks_nothing_of_the_host() {
    let bundle = masking(&["/link"]);
    let outside = bundle.scratch("outside");
    fs::write(&outside, "host").unwrap();
    symlink(&outside, bundle.rootfs("link")).unwrap();
    let mut bundle = bundle;
    bundle.run(["true"]);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "host");
}

/// Masks are made of the real /dev/null, not of what the image put there (CVE-2025-31133).
#[test]
fn the_images_dev_null_is_not_used_for_masking() {
    let mut bundle = masking(&["/etc/secret"]);
    fs::write(bundle.rootfs("etc/secret"), "treasure").unwrap();
    fs::write(bundle.rootfs("dev/null"), "forged").unwrap();
    let out = bundle.sh("cat /etc/secret");
    assert!(!out.stdout.contains("treasure") && !out.stdout.contains("forged"), "{out:?}");
}

fn readonly(paths: &[&str]) -> Bundle {
    Bundle::busybox().set("/linux/readonlyPaths", json!(paths))
}

#[test]
fn readonly_directories_and_files_cannot_be_written() {
    let mut bundle = readonly(&["/etc", "/home/letter"]);
    fs::write(bundle.rootfs("home/letter"), "dear").unwrap();
    let out = bundle.sh("touch /etc/x; echo x > /home/letter; cat /home/letter; touch /home/free");
    assert_eq!(out.stderr.matches("Read-only file system").count(), 2, "{out:?}");
    assert_eq!((out.stdout.as_str(), out.status), ("dear", 0));
}

#[test]
fn a_readonly_path_that_is_missing_is_ignored() {
    readonly(&["/nowhere", "/etc/nowhere/at/all"]).run(["true"]).silent();
}

#[test]
fn readonly_paths_keep_the_other_options_of_their_mount() {
    let entry = json!({
        "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec"],
    });
    let mut bundle = readonly(&["/mnt"]).push("/mounts", entry);
    let mount = mountinfo::at(&bundle.mountinfo(), "/mnt");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(mount.options.iter().any(|have| have == option), "{option}: {mount:?}");
    }
}

/// Of two mounts at one place the later is seen, and it is that one which has masks; so has the
/// copy of it that is read-only.
#[test]
fn what_covers_sys_is_masked_too() {
    let mut bundle = masking(&["/sys/firmware", "//sys/./block/", "/sys/../etc/secret"]);
    let second = bundle.scratch_dir("second");
    for name in ["firmware/acpi", "block/sda", "kernel"] {
        fs::create_dir_all(second.join(name)).unwrap();
    }
    fs::write(bundle.rootfs("etc/secret"), "treasure").unwrap();
    let entry =
        json!({ "destination": "/sys", "type": "bind", "source": second, "options": ["bind"] });
    bundle = bundle.push("/mounts", entry).set("/linux/readonlyPaths", json!(["/sys"]));
    let out = bundle.sh("cat /etc/secret; cd /sys; echo *; ls -A firmware block; touch here");
    assert_eq!(out.lines(), ["block firmware kernel", "block:", "", "firmware:"], "{out:?}");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

#[test]
fn proc_sys_is_read_only() {
    let out = Bundle::busybox().sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

#[test]
fn without_masked_and_readonly_paths_nothing_is_hidden() {
    let mut bundle = Bundle::busybox().remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    let info = bundle.mountinfo();
    assert!(
        !mountinfo::parse(&info).iter().any(|mount| mount.target.starts_with("/proc/")),
        "{info}"
    );
}

#[test]
fn relative_paths_are_refused() {
    differs!();
    masking(&["etc"]).refused().names("maskedPaths");
    readonly(&["etc"]).refused().names("readonlyPaths");
}

/// Seen to fail: the mask was the host's mount of /dev, writable and in its peer group.
#[test]
fn the_mask_of_a_file_is_a_private_mount_without_rights() {
    differs!();
    let mut bundle = masking(&["/etc/secret", "/etc/other"]).after("mount --make-rshared /dev");
    for name in ["etc/secret", "etc/other"] {
        fs::write(bundle.rootfs(name), "treasure").unwrap();
    }
    let out = bundle.sh("cat /proc/self/mountinfo; echo lost >/etc/secret").ok();
    for path in ["/etc/secret", "/etc/other"] {
        let mask = mountinfo::at(&out.stdout, path);
        assert!(
            ["ro", "nosuid", "noexec"]
                .iter()
                .all(|option| mask.options.iter().any(|have| have == option)),
            "{mask:?}"
        );
        assert!(mask.propagation.is_empty(), "{mask:?}");
    }
}

/// Seen to fail: each was mounted as often as it was listed.
#[test]
fn a_path_that_is_listed_twice_is_mounted_once() {
    differs!();
    let mut bundle = masking(&["/etc/secrets", "/etc/secret", "/etc//secrets/", "/etc/secret"])
        .set("/linux/readonlyPaths", json!(["/etc/fixed", "/etc/./fixed", "/etc/fixed"]));
    for name in ["etc/secrets", "etc/fixed"] {
        fs::create_dir(bundle.rootfs(name)).unwrap();
    }
    fs::write(bundle.rootfs("etc/secret"), "treasure").unwrap();
    let mounts = mountinfo::parse(&bundle.mountinfo());
    for path in ["/etc/secrets", "/etc/secret", "/etc/fixed"] {
        assert_eq!(
            mounts.iter().filter(|mount| mount.target == path).count(),
            1,
            "{path}: {mounts:?}"
        );
    }
}

/// What init and `exec` say to an attempt to write to the root.
fn writes_to_the_root(bundle: Bundle) -> [String; 2] {
    let c = bundle.script("touch /written 2>&1; echo over; sleep 60").run_detached();
    c.wait_for("over");
    let by_exec = c.exec(&[], &["touch", "/written"]).stderr;
    let by_init = c.stdout();
    c.delete_by_force();
    [by_init, by_exec]
}

/// Seen to fail: the root of init was below the read-only mount, that of `exec` above it.
#[test]
fn the_root_can_be_a_readonly_path_however_it_is_written() {
    differs!();
    for (path, flags) in
        [("/", &[][..]), ("//", &[]), ("/.", &["--no-pivot"]), ("/link", &[]), ("/etc/..", &[])]
    {
        let bundle = readonly(&[path]).flags(flags.iter().copied());
        symlink("/", bundle.rootfs("link")).unwrap();
        for error in writes_to_the_root(bundle) {
            assert!(error.contains("Read-only file system"), "{path}: {error:?}");
        }
    }
}

/// Seen to fail at commit 84eb9f4.
#[test]
fn the_root_can_be_a_readonly_path_in_a_user_namespace() {
    differs!();
    for error in writes_to_the_root(readonly(&["/"]).by_user(1000)) {
        assert!(error.contains("Read-only file system"), "{error:?}");
    }
}

/// Seen to fail at commit 84eb9f4.
#[test]
fn the_root_cannot_be_a_masked_path() {
    differs!();
    for path in ["/", "//", "/.", "/.."] {
        let bundle = masking(&[path]);
        bundle.verb("check");
        bundle.refused().names("linux.maskedPaths[0]").says("is the root, and cannot be hidden");
    }
    let bundle = masking(&["/link"]);
    symlink("/", bundle.rootfs("link")).unwrap();
    bundle
        .refused()
        .names("linux.maskedPaths[0]")
        .says("leads to the root, which cannot be hidden");
}
