//! `linux.devices`, and the devices and links every container has

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::{Bundle, Value, json, mountinfo};

fn device(path: &str, kind: &str, major: i64, minor: i64) -> Value {
    json!({ "path": path, "type": kind, "major": major, "minor": minor })
}

/// Type, major and minor number, mode and owner of a file in the container.
#[track_caller]
fn stat(bundle: &mut Bundle, path: &str) -> String {
    bundle.run(["stat", "-c", "%F %t:%T %a %u:%g", path]).ok().line().to_owned()
}

#[test]
fn the_default_devices_exist() {
    let paths = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
    let mut args = vec!["stat", "-c", "%n %F %t:%T %a %u:%g"];
    args.extend(paths);
    let out = Bundle::busybox().run(args).ok();
    let expected: Vec<_> = paths
        .iter()
        .zip(["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"])
        .map(|(path, number)| format!("{path} character special file {number} 666 0:0"))
        .collect();
    assert_eq!(out.lines(), expected);
}

#[test]
fn the_default_links_exist() {
    let mut links = vec!["fd /proc/self/fd", "ptmx pts/ptmx"];
    links.extend(["stdin /proc/self/fd/0", "stdout /proc/self/fd/1", "stderr /proc/self/fd/2"]);
    if Path::new("/proc/kcore").exists() {
        links.push("core /proc/kcore");
    }
    let script = "for f in fd ptmx stdin stdout stderr core; do [ -L /dev/$f ] && echo $f $(readlink /dev/$f); done";
    assert_eq!(Bundle::busybox().sh(script).lines(), links);
}

#[test]
fn the_default_devices_work() {
    let script = "echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/full";
    let out = Bundle::busybox().sh(script);
    assert_eq!(out.lines(), ["4", "4"]);
    assert!(out.stderr.contains("No space left on device"), "{out:?}");
}

#[test]
fn dev_has_nothing_else() {
    let out = Bundle::busybox().sh("ls /dev | grep -v core").ok();
    let expected = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(out.lines().join(" "), expected);
}

#[test]
fn character_block_and_unbuffered_devices_are_made() {
    let mut bundle = Bundle::busybox()
        .push("/linux/devices", device("/dev/deck", "c", 10, 229))
        .push("/linux/devices", device("/dev/hold", "b", 8, 0))
        .push("/linux/devices", device("/dev/plank", "u", 10, 230));
    let out = bundle.run(["stat", "-c", "%F %t:%T", "/dev/deck", "/dev/hold", "/dev/plank"]).ok();
    let expected =
        ["character special file a:e5", "block special file 8:0", "character special file a:e6"];
    assert_eq!(out.lines(), expected);
}

#[test]
fn a_fifo_is_made() {
    let mut bundle =
        Bundle::busybox().push("/linux/devices", json!({ "path": "/dev/pipe", "type": "p" }));
    assert_eq!(bundle.run(["stat", "-c", "%F", "/dev/pipe"]).ok().line(), "fifo");
}

#[test]
fn mode_and_owner_are_exact() {
    let entry = json!({
        "path": "/dev/deck", "type": "c", "major": 10, "minor": 229, "fileMode": 0o641, "uid": 12, "gid": 34,
    });
    let mut bundle = Bundle::busybox().push("/linux/devices", entry).after("umask 0077");
    assert_eq!(stat(&mut bundle, "/dev/deck"), "character special file a:e5 641 12:34");
}

#[test]
fn a_device_may_be_anywhere_in_the_root_filesystem() {
    let mut bundle =
        Bundle::busybox().push("/linux/devices", device("/deep/down/deck", "c", 10, 229));
    assert!(stat(&mut bundle, "/deep/down/deck").starts_with("character special file a:e5"));
}

#[test]
fn a_default_device_may_be_listed_too() {
    let entry =
        json!({ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 });
    let rule = json!({ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" });
    let mut bundle =
        Bundle::busybox().push("/linux/devices", entry).push("/linux/resources/devices", rule);
    assert_eq!(stat(&mut bundle, "/dev/null"), "character special file 1:3 666 0:0");
}

/// As with runc: the node of that name is the container's own devpts's.
#[test]
fn ptmx_stays_a_link_if_it_is_listed() {
    let mut bundle = Bundle::busybox().push("/linux/devices", device("/dev//ptmx", "c", 5, 2));
    assert_eq!(bundle.run(["readlink", "/dev/ptmx"]).ok().line(), "pts/ptmx");
}

#[test]
fn the_devices_of_the_image_are_not_used() {
    let mut bundle = Bundle::busybox();
    fs::write(bundle.rootfs("dev/null"), "forged").unwrap();
    assert_eq!(bundle.run(["cat", "/dev/null"]).ok().stdout, "");
}

#[test]
fn an_unknown_device_type_is_refused() {
    Bundle::busybox()
        .push("/linux/devices", device("/dev/deck", "x", 1, 1))
        .refused()
        .says("invalid device type")
        .names("devices");
}

#[test]
fn a_device_without_a_path_is_refused() {
    differs!();
    let entry = json!({ "type": "c", "major": 1, "minor": 1 });
    Bundle::busybox().push("/linux/devices", entry).refused().names("path");
}

#[test]
fn a_different_file_in_the_place_of_a_device_is_refused() {
    differs!();
    let bundle = Bundle::busybox().push("/linux/devices", device("/deck", "c", 10, 229));
    fs::write(bundle.rootfs("deck"), "forged").unwrap();
    bundle.refused().says("/deck").names("devices");
}

#[test]
fn devices_are_made_without_a_dev_mount_as_well() {
    let mut bundle = Bundle::busybox().set(
        "/mounts",
        json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
        ]),
    );
    assert_eq!(stat(&mut bundle, "/dev/null"), "character special file 1:3 666 0:0");
}

#[test]
fn a_bind_mounted_dev_is_left_alone() {
    let bundle = Bundle::busybox();
    let dev = bundle.scratch_dir("dev");
    let status = Command::new("mknod")
        .args(["-m", "666"])
        .arg(dev.join("null"))
        .args(["c", "1", "3"])
        .status();
    assert!(status.unwrap().success());
    let mut bundle = bundle.set(
        "/mounts",
        json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "bind", "source": dev.to_str(), "options": ["bind"] },
        ]),
    );
    assert_eq!(bundle.run(["ls", "/dev"]).ok().stdout, "null\n");
    assert_eq!(fs::read_dir(&dev).unwrap().count(), 1);
}

/// What the kernel does not have it would cut off: 4097:3 would be /dev/null.
#[test]
fn numbers_that_the_kernel_does_not_have_are_refused() {
    differs!();
    for (major, minor) in [(4097, 3), (4096, 0), (1, 1 << 20), (-1, 0), (1, -1)] {
        let bundle =
            Bundle::busybox().push("/linux/devices", device("/dev/deck", "c", major, minor));
        bundle.refused().names("linux.devices[0]");
    }
    let mut bundle =
        Bundle::busybox().push("/linux/devices", device("/dev/deck", "c", 4095, (1 << 20) - 1));
    assert!(stat(&mut bundle, "/dev/deck").starts_with("character special file fff:fffff"));
}

#[test]
fn a_mode_may_come_with_the_type_of_the_file() {
    let entry = json!({ "path": "/dev/deck", "type": "c", "major": 10, "minor": 229, "fileMode": 0o20_604 });
    let mut bundle = Bundle::busybox().push("/linux/devices", entry);
    assert_eq!(stat(&mut bundle, "/dev/deck"), "character special file a:e5 604 0:0");
}

/// A second run of the same rootfs finds the nodes of the first.
#[test]
fn a_node_that_is_there_is_given_its_mode_and_owner() {
    differs!();
    let entry = |mode: u32, uid: u32| json!({ "path": "/deck", "type": "c", "major": 10, "minor": 229, "fileMode": mode, "uid": uid });
    let mut bundle = Bundle::busybox().push("/linux/devices", entry(0o600, 0));
    assert_eq!(stat(&mut bundle, "/deck"), "character special file a:e5 600 0:0");
    assert_eq!(stat(&mut bundle, "/deck"), "character special file a:e5 600 0:0");
    let mut bundle = bundle.set("/linux/devices", json!([entry(0o640, 12)]));
    assert_eq!(stat(&mut bundle, "/deck"), "character special file a:e5 640 12:0");
}

#[test]
fn another_device_or_a_link_in_the_place_of_a_device_is_refused() {
    differs!();
    for make in [
        "mknod DECK c 1 3",
        "mknod DECK b 10 229",
        "mkfifo DECK",
        "ln -s dev/null DECK",
        "mkdir DECK",
    ] {
        let bundle = Bundle::busybox().push("/linux/devices", device("/deck", "c", 10, 229));
        let script = make.replace("DECK", bundle.rootfs("deck").to_str().unwrap());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        bundle
            .refused()
            .says("/deck exists in the rootfs and is not this device")
            .names("linux.devices[0]");
    }
}

/// A mount of /proc and these.
fn only(mounts: &[Value]) -> Value {
    let mut all = vec![json!({ "destination": "/proc", "type": "proc", "source": "proc" })];
    all.extend_from_slice(mounts);
    json!(all)
}

fn bound(source: &Path, destination: &str) -> Value {
    json!({ "destination": destination, "type": "bind", "source": source, "options": ["rbind"] })
}

#[track_caller]
fn shell(script: &str) {
    assert!(Command::new("sh").args(["-ec", script]).status().unwrap().success(), "{script}");
}

/// The image decides where /dev leads. Seen to fail: nodes and links were made in the host's
/// directory.
#[test]
fn nothing_is_made_in_a_directory_of_the_host() {
    differs!();
    for (dev, destination) in
        [("/data", "/data"), ("/data/deep", "/data"), ("/data/below/x", "/data/below")]
    {
        let bundle = Bundle::busybox();
        let cargo = bundle.scratch_dir("cargo");
        fs::write(cargo.join("ptmx"), "kept").unwrap();
        fs::remove_dir_all(bundle.rootfs("dev")).unwrap();
        symlink(dev, bundle.rootfs("dev")).unwrap();
        let bundle = bundle.set("/mounts", only(&[bound(&cargo, destination)]));
        bundle.refused().says("leads to a directory of the host, in which nothing is made");
        assert_eq!(fs::read_dir(&cargo).unwrap().count(), 1, "{dev}");
        assert_eq!(fs::read_to_string(cargo.join("ptmx")).unwrap(), "kept");
    }
}

/// Below a bind mount there may be more mounts of the host.
#[test]
fn nothing_is_made_in_what_is_mounted_in_a_directory_of_the_host() {
    differs!();
    let bundle = Bundle::busybox();
    let cargo = bundle.scratch_dir("cargo");
    fs::create_dir(cargo.join("inner")).unwrap();
    fs::remove_dir_all(bundle.rootfs("dev")).unwrap();
    symlink("/data/inner", bundle.rootfs("dev")).unwrap();
    let (inner, seen) = (cargo.join("inner"), bundle.scratch("seen"));
    let (inner, seen) = (inner.display(), seen.display());
    let bundle = bundle.set("/mounts", only(&[bound(&cargo, "/data")])).after(&format!(
        "mount -t tmpfs none {inner}; set -- sh -c '\"$0\" \"$@\"; code=$?; ls {inner} >{seen}; exit $code' \"$@\""
    ));
    bundle.refused().says("leads to a directory of the host, in which nothing is made");
    assert_eq!(bundle.read("seen"), "");
}

/// Seen to fail: the host's node was made anew, with the mode that the container's should have.
#[test]
fn a_directory_of_the_host_keeps_its_nodes() {
    differs!();
    let bundle = Bundle::busybox();
    let cargo = bundle.scratch_dir("cargo");
    shell(&format!("mknod -m 600 {}/deck c 10 229", cargo.display()));
    let mut bundle = bundle.push("/mounts", bound(&cargo, "/dev/hold")).push(
        "/linux/devices",
        json!({ "path": "/dev/hold/deck", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666 }),
    );
    assert_eq!(stat(&mut bundle, "/dev/hold/deck"), "character special file a:e5 600 0:0");
    let bundle = bundle.push("/linux/devices", device("/dev/hold/new", "c", 10, 230));
    bundle.refused().names("linux.devices[1]").says("in which nothing is made");
    assert_eq!(fs::read_dir(&cargo).unwrap().count(), 1);
}

/// Seen to fail: `exists in the rootfs and is not this device`.
#[test]
fn what_mounts_have_put_in_the_place_of_a_device_stays() {
    let bundle = Bundle::busybox();
    let file = bundle.scratch("file");
    fs::write(&file, "mine\n").unwrap();
    let mut bundle = bundle
        .push("/mounts", bound(Path::new("/dev/urandom"), "/dev/random"))
        .push("/mounts", bound(Path::new("/dev/null"), "/dev/null"))
        .push("/mounts", bound(&file, "/dev/zero"))
        .push(
            "/linux/devices",
            json!({ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600 }),
        )
        .push(
            "/linux/resources/devices", // with runc, what `devices` lists is not among the default devices
            json!({ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" }),
        );
    let out =
        bundle.sh("stat -c %t:%T /dev/random /dev/null; cat /dev/zero; echo x >/dev/null").ok();
    assert_eq!(out.lines(), ["1:9", "1:3", "mine"]);
}

/// Seen to fail: `unlinkat("dev/null"): device or resource busy`.
#[test]
fn what_mounts_have_put_in_the_place_of_a_device_stays_without_root() {
    differs!();
    let bundle = || {
        let mut bundle = Bundle::busybox();
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let path = format!("/dev/{name}");
            bundle = bundle.push("/mounts", bound(Path::new(&path), &path));
        }
        bundle
            .push("/mounts", bound(Path::new("/dev/urandom"), "/dev/random"))
            .push("/linux/devices", device("/dev/null", "c", 1, 3))
    };
    let in_a_user_namespace = bundle()
        .after("set -- unshare --user --map-root-user \"$@\"")
        .without_namespace("cgroup")
        .set("/mounts/2/options", json!(["newinstance", "ptmxmode=0666"]))
        .set("/process/rlimits", json!([]));
    for mut bundle in [in_a_user_namespace, bundle().by_user(1000)] {
        let out = bundle
            .sh("stat -c %t:%T /dev/random /dev/null; grep -c ' /dev/null ' /proc/self/mountinfo")
            .ok();
        assert_eq!(out.lines(), ["1:9", "1:3", "1"]);
    }
}

/// Nothing has to be made in a /dev that has everything. Seen to fail:
/// `unlinkat("dev/ptmx"): read-only file system`.
#[test]
fn a_read_only_rootfs_with_a_complete_dev_will_do() {
    differs!();
    for ptmx in ["pts/ptmx", "/dev/pts/ptmx"] {
        let bundle = Bundle::busybox();
        let dev = bundle.rootfs("dev");
        fs::remove_dir_all(&dev).unwrap();
        shell(&format!(
            "mkdir {0}; cd {0}; mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 full c 1 7
             mknod -m 666 random c 1 8; mknod -m 644 urandom c 1 9; \
              mknod -m 666 tty c 5 0; ln -s {ptmx} ptmx
             ln -s /proc/self/fd fd; for n in 0 1 2; do ln -s /proc/self/fd/$n $n; done
             mv 0 stdin; mv 1 stdout; mv 2 stderr",
            dev.display()
        ));
        let rootfs = bundle.rootfs("").display().to_string();
        let rootfs = rootfs.trim_end_matches('/');
        let mut bundle = bundle
            .set("/mounts", only(&[]))
            .set("/linux/maskedPaths", json!([]))
            .after(&format!("mount --bind {rootfs} {rootfs}; mount -o remount,bind,ro {rootfs}"));
        let out = bundle.sh("touch /x; readlink /dev/ptmx; stat -c %t:%T /dev/null");
        assert_eq!(out.lines(), [ptmx, "1:3"], "{out:?}");
        assert!(out.stderr.contains("Read-only file system"), "{out:?}");
    }
}

/// The host's nodes that are bound are private mounts, without rights. Seen to fail: they were
/// slaves of the host's.
#[test]
fn bound_devices_are_private_and_without_rights() {
    differs!();
    let mounts = Bundle::busybox().after("mount --make-rshared /dev").by_user(1000).mountinfo();
    let null = mountinfo::at(&mounts, "/dev/null");
    assert!(null.propagation.is_empty(), "{null:?}");
    assert!(
        ["nosuid", "noexec"].iter().all(|option| null.options.iter().any(|has| has == option)),
        "{null:?}"
    );
}
