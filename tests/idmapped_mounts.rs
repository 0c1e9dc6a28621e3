//! `mounts[].uidMappings`, `gidMappings`, and the options `idmap` and `ridmap`

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::support::{Bundle, Value, json, kernel_since, mountinfo};

fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!([{ "containerID": container, "hostID": host, "size": size }])
}

/// A bind mount of `source` on /mnt with these options and mappings: what user 0 owns on the disk
/// belongs to 100000, and to 200000 for groups.
fn mapped(source: &Path, options: &[&str]) -> Value {
    let mut mount = plain(source, options);
    mount["uidMappings"] = mapping(0, 100_000, 65536);
    mount["gidMappings"] = mapping(0, 200_000, 65536);
    mount
}

fn plain(source: &Path, options: &[&str]) -> Value {
    json!({ "destination": "/mnt", "type": "bind", "source": source, "options": options })
}

/// A host directory with a letter of user 5 and group 6.
fn cargo(bundle: &Bundle) -> std::path::PathBuf {
    let source = bundle.scratch_dir("cargo");
    fs::write(source.join("letter"), "dear\n").unwrap();
    chown(source.join("letter"), Some(5), Some(6)).unwrap();
    source
}

/// A container with a user namespace whose mappings are those of [`mapped`].
fn in_user_namespace(bundle: Bundle) -> Bundle {
    let rootfs = bundle.rootfs("");
    assert!(
        Command::new("chown")
            .args(["-R", "-h", "100000:200000"])
            .arg(rootfs)
            .status()
            .unwrap()
            .success()
    );
    bundle
        .push("/linux/namespaces", json!({ "type": "user" }))
        .set("/linux/uidMappings", mapping(0, 100_000, 65536))
        .set("/linux/gidMappings", mapping(0, 200_000, 65536))
}

#[track_caller]
fn owner(bundle: &mut Bundle, file: &str) -> String {
    bundle.run(["stat", "-c", "%u:%g", file]).ok().line().to_owned()
}

#[test]
fn owners_are_shown_through_the_mapping() {
    differs!();
    for options in [&["bind", "idmap"][..], &["rbind", "ridmap"], &["bind"]] {
        let bundle = Bundle::busybox();
        let source = cargo(&bundle);
        let mut bundle = bundle.push("/mounts", mapped(&source, options));
        assert_eq!(owner(&mut bundle, "/mnt/letter"), "100005:200006", "{options:?}");
    }
}

#[test]
fn a_file_can_be_mapped() {
    differs!();
    let bundle = Bundle::busybox();
    let source = cargo(&bundle).join("letter");
    let mut mount = mapped(&source, &["bind", "idmap"]);
    mount["destination"] = json!("/etc/letter");
    let mut bundle = bundle.push("/mounts", mount);
    assert_eq!(owner(&mut bundle, "/etc/letter"), "100005:200006");
}

#[test]
fn in_a_user_namespace_the_owners_are_those_of_the_disk() {
    differs!();
    for mount in [mapped, plain] {
        let bundle = Bundle::busybox();
        let source = cargo(&bundle);
        let mut bundle =
            in_user_namespace(bundle).push("/mounts", mount(&source, &["bind", "idmap"]));
        let out = bundle.sh("stat -c %u:%g /mnt/letter; echo new > /mnt/new").ok();
        assert_eq!(out.line(), "5:6");
        let new = fs::metadata(source.join("new")).unwrap();
        assert_eq!((new.uid(), new.gid()), (0, 0), "root of the container writes as user 0");
    }
}

#[test]
fn a_mount_in_a_user_namespace_can_have_a_mapping_of_its_own() {
    differs!();
    let bundle = in_user_namespace(Bundle::busybox());
    let source = cargo(&bundle);
    let mut mount = plain(&source, &["bind", "idmap"]);
    mount["uidMappings"] = mapping(0, 101_000, 1000);
    mount["gidMappings"] = mapping(0, 202_000, 1000);
    assert_eq!(owner(&mut bundle.push("/mounts", mount), "/mnt/letter"), "1005:2006");
}

#[test]
fn a_joined_user_namespace_can_be_the_mapping() {
    differs!();
    let other = in_user_namespace(Bundle::busybox()).args(["sleep", "60"]).run_detached();
    let bundle = Bundle::busybox();
    let source = cargo(&bundle);
    let rootfs = bundle.rootfs("");
    assert!(
        Command::new("chown")
            .args(["-R", "-h", "100000:200000"])
            .arg(rootfs)
            .status()
            .unwrap()
            .success()
    );
    let mut bundle = bundle
        .push(
            "/linux/namespaces",
            json!({ "type": "user", "path": format!("/proc/{}/ns/user", other.pid()) }),
        )
        .push("/mounts", plain(&source, &["bind", "idmap"]));
    assert_eq!(owner(&mut bundle, "/mnt/letter"), "5:6");
}

/// A user namespace has no rights over the host's directories, the runtime has.
#[test]
fn a_source_that_only_the_host_may_open_is_mapped() {
    differs!();
    let bundle = in_user_namespace(Bundle::busybox());
    let vault = bundle.scratch_dir("vault");
    fs::create_dir(vault.join("cargo")).unwrap();
    fs::write(vault.join("cargo/letter"), "dear\n").unwrap();
    fs::set_permissions(&vault, PermissionsExt::from_mode(0o700)).unwrap();
    let mut bundle =
        bundle.push("/mounts", mapped(&vault.join("cargo"), &["rbind", "ridmap", "ro"]));
    let out = bundle.sh("stat -c %u:%g /mnt/letter; touch /mnt/new");
    assert_eq!(out.line(), "0:0");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

/// `idmap` stops at the top, `ridmap` does not.
#[test]
fn only_ridmap_reaches_submounts() {
    differs!();
    needs!(kernel_since(6, 3), "id-mapped mounts of tmpfs");
    for (option, inner) in [("idmap", "7:8"), ("ridmap", "100007:200008")] {
        let bundle = Bundle::busybox();
        let source = cargo(&bundle);
        fs::create_dir(source.join("inner")).unwrap();
        let (at, file) = (source.join("inner"), source.join("inner/deep"));
        let (at, file) = (at.display(), file.display());
        let script = format!("mount -t tmpfs inner {at}; echo > {file}; chown 7:8 {file}");
        let mut bundle = bundle.after(&script).push("/mounts", mapped(&source, &["rbind", option]));
        let out = bundle.run(["stat", "-c", "%u:%g", "/mnt/letter", "/mnt/inner/deep"]).ok();
        assert_eq!(out.lines(), ["100005:200006", inner], "{option}");
    }
}

/// As many as there are, with a limit on descriptors that is far below their number, and several
/// mappings.
#[test]
fn many_mounts_have_their_mappings() {
    differs!();
    let mut bundle = in_user_namespace(Bundle::busybox())
        .set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 20, "hard": 20 }]));
    let source = cargo(&bundle);
    let mut script = String::new();
    for n in 0..30 {
        let mut mount = mapped(&source, &["bind", "idmap"]);
        mount["destination"] = json!(format!("/mnt/{n}"));
        mount["uidMappings"] = mapping(0, 100_000 + n % 3, 1000);
        bundle = bundle.push("/mounts", mount);
        script += &format!("[ $(stat -c %u:%g /mnt/{n}/letter) = {}:6 ] || echo {n};", 5 + n % 3);
    }
    bundle.sh(&script).silent();
    bundle.assert_nothing_left();
}

#[test]
fn several_ranges_make_one_mapping() {
    differs!();
    let bundle = Bundle::busybox();
    let source = cargo(&bundle);
    fs::write(source.join("foreign"), "").unwrap();
    chown(source.join("foreign"), Some(50), Some(6)).unwrap();
    let mut mount = mapped(&source, &["bind", "idmap"]);
    mount["uidMappings"] = json!([
        { "containerID": 0, "hostID": 1000, "size": 5 },
        { "containerID": 5, "hostID": 3000, "size": 5 },
    ]);
    let out = bundle
        .push("/mounts", mount)
        .run(["stat", "-c", "%u:%g", "/mnt/letter", "/mnt/foreign"])
        .ok();
    assert_eq!(out.lines(), ["3000:200006", "65534:200006"]);
}

#[test]
fn propagation_applies_to_mapped_mounts() {
    for (options, shared, slave) in
        [(&["bind", "idmap"][..], false, true), (&["bind", "idmap", "shared"], true, true)]
    {
        let bundle = in_user_namespace(Bundle::busybox());
        let source = cargo(&bundle);
        let script = format!("mount --bind {0} {0}; mount --make-shared {0}", source.display());
        let mut bundle = bundle.after(&script).push("/mounts", mapped(&source, options));
        let info = bundle.mountinfo();
        let mount = mountinfo::at(&info, "/mnt");
        assert_eq!(
            (mount.propagates("shared"), mount.propagates("master")),
            (shared, slave),
            "{options:?} {mount:?}"
        );
    }
}

#[test]
fn idmap_without_any_mapping_is_refused() {
    differs!();
    for option in ["idmap", "ridmap"] {
        let bundle = Bundle::busybox();
        let source = cargo(&bundle);
        let bundle = bundle.push("/mounts", plain(&source, &["bind", option]));
        bundle
            .refused()
            .says("id-mapped mounts must have both uid and gid mappings specified")
            .names("mounts[6]");
    }
}

#[test]
fn one_mapping_without_the_other_is_refused() {
    differs!();
    for missing in ["uidMappings", "gidMappings"] {
        let bundle = Bundle::busybox();
        let mut mount = mapped(&cargo(&bundle), &["bind", "idmap"]);
        mount.as_object_mut().unwrap().remove(missing);
        bundle.push("/mounts", mount).refused().says("both uid and gid mappings").names(missing);
    }
}

#[test]
fn mappings_of_what_is_no_mount_of_its_own_are_refused() {
    differs!();
    for (kind, options) in
        [("tmpfs", &["silent"][..]), ("tmpfs", &["remount"]), ("cgroup", &["ro"])]
    {
        let mut mount = mapped(Path::new("tmpfs"), options);
        mount["type"] = json!(kind);
        let text = "id-mapped mounts are only supported for bind mounts and new filesystems";
        Bundle::busybox().push("/mounts", mount).refused().says(text).names("mounts[6]");
    }
}

#[test]
fn a_filesystem_that_cannot_map_is_refused_by_name() {
    differs!();
    for option in ["idmap", "ridmap"] {
        let mount = mapped(Path::new("/sys/kernel"), &["rbind", option]);
        let out = Bundle::busybox().push("/mounts", mount).refused();
        out.says("(sysfs)")
            .says("may not support id-mapped mounts")
            .because("invalid argument")
            .names("mounts[6]");
    }
}

#[test]
fn what_is_no_mapping_is_refused() {
    differs!();
    let overlap = json!([
        { "containerID": 0, "hostID": 1000, "size": 10 },
        { "containerID": 5, "hostID": 3000, "size": 10 },
    ]);
    for list in [overlap, mapping(0, 0, 0), mapping(0, u32::MAX, 2)] {
        let bundle = Bundle::busybox();
        let mut mount = mapped(&cargo(&bundle), &["bind", "idmap"]);
        mount["gidMappings"] = list;
        bundle.push("/mounts", mount).refused().names("gidMappings").names("mounts[6]");
    }
}

#[test]
fn a_missing_source_of_a_mapped_mount_is_refused() {
    let mount = mapped(Path::new("/nowhere/at/all"), &["bind", "idmap"]);
    let out = Bundle::busybox().push("/mounts", mount).refused();
    out.because("no such file or directory").says("/nowhere/at/all").names("mounts[6].source");
}

/// A mapped bind mount of a source with `nosuid,nodev,noexec`, in a user namespace. What only the
/// host may open is in a directory that the user namespace may not enter.
fn of_a_locked_source(options: &[&str], only_the_host: bool) -> Bundle {
    let bundle = in_user_namespace(Bundle::busybox());
    let vault = bundle.scratch_dir("vault");
    let source = vault.join("cargo");
    fs::create_dir(&source).unwrap();
    fs::set_permissions(
        &vault,
        PermissionsExt::from_mode(if only_the_host { 0o700 } else { 0o755 }),
    )
    .unwrap();
    let path = source.display();
    let script =
        format!("mount --bind {path} {path}; mount -o remount,bind,nosuid,nodev,noexec {path}");
    bundle.after(&script).push("/mounts", mapped(&source, options))
}

/// Seen to fail: none of them was left.
#[test]
fn a_mapped_mount_keeps_what_its_source_has() {
    differs!();
    for only_the_host in [false, true] {
        for options in [&["rbind", "rprivate", "rw"][..], &["rbind", "rprivate", "ro"], &["rbind"]]
        {
            let mount =
                mountinfo::at(&of_a_locked_source(options, only_the_host).mountinfo(), "/mnt");
            let kept = ["nosuid", "nodev", "noexec"]
                .iter()
                .all(|option| mount.options.iter().any(|has| has == option));
            assert!(kept, "{options:?}: {mount:?}");
        }
    }
}

/// The same for a source that is not mapped, but that only the host may open. Seen to fail as
/// above.
#[test]
fn a_mount_that_the_host_opens_keeps_what_its_source_has() {
    let mut bundle = of_a_locked_source(&["rbind", "rw"], true);
    let mount = bundle.config["mounts"]
        .as_array_mut()
        .unwrap()
        .last_mut()
        .unwrap()
        .as_object_mut()
        .unwrap();
    mount.remove("uidMappings");
    mount.remove("gidMappings");
    let mount = mountinfo::at(&bundle.mountinfo(), "/mnt");
    assert!(
        ["nosuid", "nodev", "noexec"]
            .iter()
            .all(|option| mount.options.iter().any(|has| has == option)),
        "{mount:?}"
    );
}

/// Seen to fail: they were taken away.
#[test]
fn what_the_source_of_a_mapped_mount_has_is_not_taken_away() {
    differs!();
    for (option, name) in
        [("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"), ("rexec", "noexec")]
    {
        let out = of_a_locked_source(&["rbind", option], true).refused();
        out.says(&format!("cannot clear locked flags: {name}")).names("mounts[6]");
    }
}

/// In the order of the list: the source is what an earlier entry has mounted. Seen to fail: the
/// runtime, which maps the ids, saw the directory underneath.
#[test]
fn the_source_of_a_mapped_mount_may_be_an_earlier_mount() {
    differs!();
    for in_a_user_namespace in [false, true] {
        let bundle = Bundle::busybox();
        let cargo = cargo(&bundle);
        let first =
            json!({ "destination": "/hold", "type": "bind", "source": cargo, "options": ["bind"] });
        let second = mapped(&bundle.rootfs("hold"), &["bind", "idmap"]);
        let bundle = if in_a_user_namespace { in_user_namespace(bundle) } else { bundle };
        let mut bundle = bundle.push("/mounts", first).push("/mounts", second);
        let expected = if in_a_user_namespace { "5:6" } else { "100005:200006" };
        assert_eq!(owner(&mut bundle, "/mnt/letter"), expected);
    }
}

/// crun's way to write them: on the disk, on the host, how many.
#[test]
fn the_mapping_can_stand_in_the_option() {
    differs!();
    for option in
        ["idmap=uids=0-100000-65536;gids=0-200000-65536", "ridmap=gids=6-7-1;uids=4-3-1#5-9-1"]
    {
        let bundle = Bundle::busybox();
        let source = cargo(&bundle);
        let mut bundle = bundle.push("/mounts", plain(&source, &["rbind", option]));
        let expected = if option.starts_with("ridmap") { "9:7" } else { "100005:200006" };
        assert_eq!(owner(&mut bundle, "/mnt/letter"), expected, "{option}");
    }
}

/// As Podman writes it (`-v a:/b:idmap=uids=@5-1000-1;gids=@6-2000-1`): an `@` makes the second an
/// id of the container.
#[test]
fn the_mapping_in_the_option_can_be_seen_from_the_container() {
    differs!();
    let bundle = in_user_namespace(Bundle::busybox());
    let source = cargo(&bundle);
    let option = "idmap=uids=@5-1000-1;gids=@6-2000-1";
    assert_eq!(
        owner(&mut bundle.push("/mounts", plain(&source, &["rbind", option])), "/mnt/letter"),
        "1000:2000"
    );
}

#[test]
fn a_mapping_in_the_option_that_cannot_be_is_refused() {
    differs!();
    for (option, text) in [
        ("idmap=uids=0-1-2", "both uid and gid"),
        ("idmap=users=0-1-2;gids=0-1-2", "neither uids"),
        ("idmap=uids=0-1;gids=0-1-2", "needs the form"),
        ("idmap=uids=0-x-1;gids=0-1-2", "not made of numbers"),
        // The container has 65536 ids: the last of these would be somebody else's.
        ("idmap=uids=@0-1-65536;gids=@0-0-1", "not within one range"),
    ] {
        let bundle = in_user_namespace(Bundle::busybox());
        let source = cargo(&bundle);
        bundle
            .push("/mounts", plain(&source, &["bind", option]))
            .refused()
            .says(text)
            .names("mounts[6].options[1]");
    }
}

/// A tmpfs of the host's with the container's ids, and its mode is that of the directory which it
/// covers.
#[test]
fn a_new_filesystem_can_be_mapped() {
    differs!();
    let tmpfs = |options: &[&str]| json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options });
    let script = "stat -c %u:%g:%a /mnt; touch /mnt/x && stat -c %u:%g /mnt/x; grep -c ' /mnt .*ro,' /proc/self/mountinfo";
    let mut bundle =
        in_user_namespace(Bundle::busybox()).push("/mounts", tmpfs(&["idmap", "size=64k"]));
    fs::create_dir_all(bundle.rootfs("mnt")).unwrap();
    fs::set_permissions(bundle.rootfs("mnt"), PermissionsExt::from_mode(0o1777)).unwrap();
    assert_eq!(bundle.sh(script).stdout, "0:0:1777\n0:0\n0\n");
    let own = "idmap=uids=0-1000-1;gids=0-1001-1";
    let mut bundle = Bundle::busybox().push("/mounts", tmpfs(&[own, "mode=700"]));
    let bundle_user = json!({ "uid": 1000, "gid": 1001 });
    bundle = bundle.set("/process/user", bundle_user);
    assert_eq!(bundle.sh(script).stdout, "1000:1001:700\n1000:1001\n0\n");
    let mut bundle = in_user_namespace(Bundle::busybox()).push("/mounts", tmpfs(&["idmap", "ro"]));
    assert_eq!(bundle.sh(script).stdout.lines().last(), Some("1"));
}

#[test]
fn a_new_filesystem_that_cannot_map_is_refused_by_name() {
    differs!();
    let mount = json!({ "destination": "/proc", "type": "proc", "options": ["idmap=uids=0-1-1;gids=0-1-1"] });
    let out = Bundle::busybox().set("/mounts", json!([mount])).refused();
    out.says("filesystem proc may not support id-mapped mounts").names("mounts[0]");
}
