//! `linux.namespaces` of type user, `linux.uidMappings`, `linux.gidMappings`

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use crate::support::{Bundle, Value, host_namespace, json, mountinfo};

fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!([{ "containerID": container, "hostID": host, "size": size }])
}

/// Container ids 0–65535 are 100000–165535 outside, and the root filesystem belongs to them.
fn mapped() -> Bundle {
    let bundle = Bundle::busybox()
        .push("/linux/namespaces", json!({ "type": "user" }))
        .set("/linux/uidMappings", mapping(0, 100_000, 65536))
        .set("/linux/gidMappings", mapping(0, 200_000, 65536));
    own(&bundle);
    bundle
}

fn own(bundle: &Bundle) {
    let mut command = std::process::Command::new("chown");
    assert!(
        command
            .args(["-R", "-h", "100000:200000"])
            .arg(bundle.rootfs(""))
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_user_namespace_is_created() {
    let out = mapped().run(["readlink", "/proc/self/ns/user"]).ok();
    assert_ne!(out.line(), host_namespace("user"));
}

#[test]
fn the_mappings_are_in_force() {
    let out = mapped().run(["cat", "/proc/self/uid_map", "/proc/self/gid_map"]).ok();
    let words: Vec<Vec<_>> =
        out.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words, [["0", "100000", "65536"], ["0", "200000", "65536"]]);
}

#[test]
fn several_mappings_are_in_force() {
    let mut bundle = mapped();
    for key in ["uidMappings", "gidMappings"] {
        let second = json!({ "containerID": 70_000, "hostID": 300_000, "size": 10 });
        bundle = bundle.push(&format!("/linux/{key}"), second);
    }
    let out = bundle.run(["cat", "/proc/self/uid_map"]).ok();
    let words: Vec<Vec<_>> =
        out.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[1], ["70000", "300000", "10"]);
}

#[test]
fn the_owner_of_files_is_seen_through_the_mappings() {
    let mut bundle = mapped();
    fs::write(bundle.rootfs("letter"), "").unwrap();
    chown(bundle.rootfs("letter"), Some(100_005), Some(200_006)).unwrap();
    fs::write(bundle.rootfs("foreign"), "").unwrap();
    let out = bundle.sh("stat -c %u:%g /letter /foreign; touch /new").ok();
    assert_eq!(out.lines(), ["5:6", "65534:65534"]);
    let new = fs::metadata(bundle.rootfs("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (100_000, 200_000));
}

#[test]
fn root_in_the_container_is_an_ordinary_user_outside() {
    let c = mapped().args(["sleep", "60"]).run_detached();
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert!(status.contains("Uid:\t100000\t100000\t100000\t100000"), "{status}");
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn another_user_in_the_container_is_mapped_as_well() {
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7] });
    let c = mapped().set("/process/user", user).args(["sleep", "60"]).run_detached();
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert!(status.contains("Uid:\t101000") && status.contains("Gid:\t201001"), "{status}");
    assert!(status.contains("Groups:\t200007"), "{status}");
}

#[test]
fn all_other_namespaces_belong_to_the_user_namespace() {
    let out = mapped()
        .set("/hostname", "mine")
        .set("/linux/sysctl/kernel.msgmax", "4321")
        .run(["hostname"])
        .ok();
    assert_eq!(out.line(), "mine");
}

#[test]
fn the_usual_mounts_and_devices_work() {
    let out =
        mapped().sh("echo x > /dev/null; head -c 4 /dev/zero | wc -c; ls /dev/pts /dev/mqueue /sys/class/net").ok();
    assert_eq!(out.lines()[0], "4");
    assert!(out.lines().contains(&"lo"), "{out:?}");
}

/// Nodes cannot be made in a user namespace: the host's are bound instead, wherever the host has
/// them.
#[test]
fn a_configured_device_is_there() {
    let device = json!({ "path": "/dev/full", "type": "c", "major": 1, "minor": 7 });
    let out =
        mapped().push("/linux/devices", device).run(["stat", "-c", "%F %t:%T", "/dev/full"]).ok();
    assert_eq!(out.line(), "character special file 1:7");
}

/// A node that is bound cannot give way to the link.
#[test]
fn ptmx_stays_a_link_if_it_is_listed() {
    let device = json!({ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2 });
    let out = mapped().push("/linux/devices", device).run(["readlink", "/dev/ptmx"]).ok();
    assert_eq!(out.line(), "pts/ptmx");
}

#[test]
fn stdio_can_be_opened_again() {
    let out = mapped().sh("echo a > /dev/stdout; echo b > /dev/stderr");
    assert_eq!((out.status, out.stdout.as_str(), out.stderr.as_str()), (0, "a\n", "b\n"));
}

#[test]
fn create_start_and_delete_work() {
    let c = mapped().args(["echo", "mapped"]).create();
    assert_eq!(c.status(), "created");
    assert_eq!(c.finish(), "mapped\n");
    c.delete();
    c.bundle.assert_nothing_left();
}

#[test]
fn a_user_namespace_without_mappings_is_refused() {
    let bundle = Bundle::busybox().push("/linux/namespaces", json!({ "type": "user" }));
    bundle.refused().says("ser namespaces enabled, but no").names("uidMappings");
}

#[test]
fn mappings_without_a_user_namespace_are_refused() {
    differs!();
    let bundle = Bundle::busybox()
        .set("/linux/uidMappings", mapping(0, 100_000, 1))
        .set("/linux/gidMappings", mapping(0, 100_000, 1));
    bundle.refused().names("uidMappings");
}

#[test]
fn overlapping_mappings_are_refused() {
    let overlap = json!([
        { "containerID": 0, "hostID": 100_000, "size": 10 },
        { "containerID": 5, "hostID": 200_000, "size": 10 },
    ]);
    mapped().set("/linux/uidMappings", overlap).refused().names("uidMappings");
}

#[test]
fn a_user_without_a_mapping_is_refused() {
    mapped().set("/process/user/uid", 70_000).refused().names("uid");
}

/// A container whose user namespace can be joined.
fn owner_of_a_namespace() -> crate::support::Container {
    mapped().args(["sleep", "60"]).run_detached()
}

fn joining(pid: i32) -> Bundle {
    let bundle = Bundle::busybox();
    own(&bundle);
    bundle.push(
        "/linux/namespaces",
        json!({ "type": "user", "path": format!("/proc/{pid}/ns/user") }),
    )
}

#[test]
fn a_user_namespace_is_joined() {
    let owner = owner_of_a_namespace();
    let mut bundle = joining(owner.pid())
        .set("/linux/uidMappings", mapping(0, 100_000, 65536))
        .set("/linux/gidMappings", mapping(0, 200_000, 65536));
    let out = bundle.sh("readlink /proc/self/ns/user; id -u; cat /proc/self/uid_map").ok();
    assert_eq!(out.lines()[0], crate::support::link(format!("/proc/{}/ns/user", owner.pid())));
    assert_eq!(out.lines()[1], "0");
    assert!(out.lines()[2].contains("100000"), "{out:?}");
}

#[test]
fn a_user_namespace_is_joined_without_mappings() {
    differs!();
    let owner = owner_of_a_namespace();
    let out = joining(owner.pid()).sh("readlink /proc/self/ns/user; id -u").ok();
    assert_eq!(out.lines()[0], crate::support::link(format!("/proc/{}/ns/user", owner.pid())));
    assert_eq!(out.lines()[1], "0");
}

/// Whose they would be on the host is not known: certainly not the host's user of the same number.
#[test]
fn stdio_is_nobody_elses_where_the_mappings_are_not_known() {
    differs!();
    let owner = owner_of_a_namespace();
    let c =
        joining(owner.pid()).set("/process/user/uid", 1000).args(["sleep", "60"]).run_detached();
    c.exec(&[], &["true"]).ok();
    let mut files: Vec<_> =
        fs::read_dir(c.bundle.dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().contains("/std"));
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().uid(), 0, "{}", file.display());
    }
}

#[test]
fn joining_with_other_mappings_is_refused() {
    differs!();
    let owner = owner_of_a_namespace();
    let bundle = joining(owner.pid())
        .set("/linux/uidMappings", mapping(0, 300_000, 65536))
        .set("/linux/gidMappings", mapping(0, 300_000, 65536));
    bundle.refused().says("non-matching mapping").names("uidMappings");
}

/// The runtime opens what the user namespace keeps init from, and what the container mounts there
/// stays its own.
#[test]
fn a_source_that_only_the_host_may_open_is_bound_without_a_way_back() {
    let bundle = mapped();
    let vault = bundle.scratch_dir("vault");
    fs::create_dir(vault.join("cargo")).unwrap();
    fs::write(vault.join("cargo/crate"), "tea\n").unwrap();
    fs::set_permissions(&vault, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let entry = json!({ "destination": "/mnt", "type": "bind", "source": vault.join("cargo"), "options": ["rbind"] });
    let share = format!("mount --bind {0} {0}; mount --make-rshared {0}", vault.display());
    let out =
        bundle.after(&share).push("/mounts", entry).sh("cat /mnt/crate /proc/self/mountinfo").ok();
    assert_eq!(out.lines()[0], "tea");
    let mount = mountinfo::at(&out.lines()[1..].join("\n"), "/mnt");
    assert!(mount.propagates("master") && !mount.propagates("shared"), "{mount:?}");
}

/// In the order of the list, also where only the runtime may enter the directory that the rootfs is
/// in. Seen to fail: the runtime bound what is underneath.
#[test]
fn the_source_of_a_bind_mount_may_be_an_earlier_mount() {
    differs!();
    let mut bundle =
        mapped().push("/mounts", json!({ "destination": "/hold", "type": "tmpfs", "source": "first" })).push(
            "/mounts",
            json!({ "destination": "/mnt", "type": "bind", "source": "rootfs/hold", "options": ["rbind"] }),
        );
    fs::set_permissions(bundle.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let info = bundle.mountinfo();
    assert_eq!(mountinfo::at(&info, "/mnt").source, "first", "{info}");
}

#[test]
fn a_fifo_is_made() {
    differs!();
    let fifo = json!({ "path": "/dev/pipe", "type": "p", "fileMode": 0o622 });
    let out =
        mapped().push("/linux/devices", fifo).run(["stat", "-c", "%F %a %u:%g", "/dev/pipe"]).ok();
    assert_eq!(out.line(), "fifo 622 0:0");
}

/// What the host does not have cannot be bound by an ordinary user.
#[test]
fn a_device_that_the_host_does_not_have_is_refused() {
    let device = json!({ "path": "/dev/no-such-device", "type": "c", "major": 1, "minor": 229 });
    let bundle = Bundle::busybox().by_user(1000).push("/linux/devices", device);
    bundle.refused().says("/dev/no-such-device").names("linux.devices[0]");
}

/// Made by the runtime, which may. Seen to fail: the host has no such name.
#[test]
fn a_configured_device_has_its_own_name_mode_and_owner() {
    differs!();
    let device = |path, minor| json!({ "path": path, "type": "c", "major": 1, "minor": minor, "fileMode": 0o641, "uid": 12, "gid": 34 });
    let mut bundle = mapped()
        .push("/linux/devices", device("/dev/deck", 3))
        .push("/linux/devices", device("/dev/zero", 7))
        .push("/linux/devices", json!({ "path": "/dev/pipe", "type": "p" }))
        .push("/linux/devices", device("/deep/down/deck", 5))
        .push(
            "/linux/devices",
            json!({ "path": "/dev/plank", "type": "c", "major": 1, "minor": 5 }),
        )
        .after("umask 0077");
    let script =
        "stat -c '%t:%T %a %u:%g' /dev/deck /dev/zero /deep/down/deck; stat -c %F /dev/pipe
                  head -c 4 /dev/plank | wc -c; cat /proc/self/mountinfo";
    let out = bundle.sh(script).ok();
    assert_eq!(out.lines()[..5], ["1:3 641 12:34", "1:7 641 12:34", "1:5 641 12:34", "fifo", "4"]);
    for path in ["/dev/deck", "/dev/null"] {
        let mount = mountinfo::at(&out.lines()[5..].join("\n"), path);
        assert!(
            ["nosuid", "noexec"].iter().all(|option| mount.options.iter().any(|has| has == option)),
            "{mount:?}"
        );
        assert!(mount.propagation.is_empty(), "{mount:?}");
    }
    bundle.assert_nothing_left();
}

/// By an ordinary user, and where the mappings are not known: the host's of the same number. Seen
/// to fail as above.
#[test]
fn a_configured_device_is_found_by_its_number() {
    differs!();
    let device = json!({ "path": "/dev/deck", "type": "c", "major": 1, "minor": 3 });
    let owner = owner_of_a_namespace();
    for bundle in [Bundle::busybox().by_user(1000), joining(owner.pid())] {
        let out = bundle
            .push("/linux/devices", device.clone())
            .sh("stat -c %t:%T /dev/deck; echo x >/dev/deck")
            .ok();
        assert_eq!(out.line(), "1:3");
    }
}

/// A sysfs shows a network namespace, and the host's belongs to another user namespace. Seen to
/// fail: it was refused.
#[test]
fn the_sysfs_of_the_hosts_network_is_the_hosts() {
    differs!();
    let mut bundle = mapped().without_namespace("network");
    let out = bundle
        .sh("ls -d /sys/class/net/lo; ls -A /sys/firmware; touch /sys/x; cat /proc/self/mountinfo");
    let lines = out.lines();
    assert_eq!(lines[0], "/sys/class/net/lo", "{out:?}");
    let mounts = mountinfo::parse(&lines[1..].join("\n"));
    let sys: Vec<_> = mounts.iter().filter(|mount| mount.target.starts_with("/sys")).collect();
    assert_eq!(sys[0].kind, "sysfs");
    assert!(
        sys.iter()
            .all(|mount| mount.has("ro") && mount.has("nosuid") && mount.propagation.is_empty()),
        "{sys:?}"
    );
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

/// A bind mount of a directory whose mount has options that a user namespace must not take away.
fn with_locked_options(options: &[&str]) -> Bundle {
    let bundle = mapped();
    let source = bundle.scratch_dir("cargo").display().to_string();
    let entry =
        json!({ "destination": "/mnt", "type": "bind", "source": source, "options": options });
    let script = format!(
        "mount -t tmpfs -o nosuid,nodev,noexec,ro,noatime cargo {source}; mount -o remount,bind,nosuid,nodev,noexec,ro,noatime,nosymfollow {source}"
    );
    bundle.after(&script).push("/mounts", entry)
}

#[test]
fn locked_options_are_kept() {
    differs!();
    for options in [&["bind"][..], &["rbind", "nosuid"], &["bind", "ro"]] {
        let info = with_locked_options(options).mountinfo();
        let mount = mountinfo::at(&info, "/mnt");
        for option in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
            assert!(
                mount.options.iter().any(|have| have == option),
                "{options:?}: no {option} in {mount:?}"
            );
        }
        // That one cannot be locked: it goes as it does without a user namespace.
        assert_eq!(mount.has("nosymfollow"), options == ["bind"], "{options:?}: {mount:?}");
    }
}

/// Seen to fail at commit 84eb9f4.
#[test]
fn locked_options_are_not_taken_away() {
    differs!();
    for (option, locked) in [
        ("rw", "ro"),
        ("suid", "nosuid"),
        ("dev", "nodev"),
        ("exec", "noexec"),
        ("strictatime", "noatime"),
        ("rsuid", "nosuid"),
        ("rrw", "ro"),
    ] {
        let out = with_locked_options(&["bind", option]).refused();
        let out = out.because("operation not permitted").says("/mnt").names("mounts[6]");
        out.says(&format!("cannot clear locked flags: {locked}"));
    }
}

/// The runtime's own namespace, in which it is root and may make neither nodes nor groups.
#[test]
fn the_runtime_may_be_root_of_a_user_namespace_itself() {
    let mut bundle = Bundle::busybox()
        .after("set -- unshare --user --map-root-user \"$@\"")
        .without_namespace("cgroup")
        .set("/mounts/2/options", json!(["newinstance", "ptmxmode=0666"]))
        .set("/process/rlimits", json!([]));
    let out = bundle
        .sh("cat /proc/self/uid_map; id -u; stat -c %t:%T /dev/null; echo x > /dev/null; hostname");
    let lines = out.lines();
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["0", "0", "1"]);
    assert_eq!(lines[1..], ["0", "1:3", "orlop"]);
}

/// Seen to fail: `mount(MS_REMOUNT|0x1001, ""): operation not permitted`.
#[test]
fn a_remount_keeps_locked_options() {
    differs!();
    let remount =
        json!({ "destination": "/mnt", "type": "none", "options": ["bind", "remount", "ro"] });
    let info = with_locked_options(&["bind"]).push("/mounts", remount).mountinfo();
    let mount = mountinfo::at(&info, "/mnt");
    assert!(
        ["ro", "nosuid", "nodev", "noexec"].iter().all(|option| mount.has(option)),
        "{mount:?}"
    );
}
