//! `mounts[]`: filesystem types, sources and order. Options and destinations have files of their
//! own.

use std::fs;

use crate::support::{Bundle, Value, cgroups, json, kernel_since, mountinfo};

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

#[test]
fn the_usual_filesystems_are_mounted() {
    let info = Bundle::busybox().mountinfo();
    for (target, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
    ] {
        assert_eq!(mountinfo::at(&info, target).kind, kind, "{target}");
    }
}

#[test]
fn only_the_configured_filesystems_are_mounted() {
    let mut bundle = Bundle::busybox()
        .set("/mounts", json!([mount("/proc", "proc", "proc", &[])]))
        .remove("/linux/maskedPaths")
        .remove("/linux/readonlyPaths");
    let info = bundle.mountinfo();
    let mut targets: Vec<_> =
        mountinfo::parse(&info).into_iter().map(|mount| mount.target).collect();
    targets.retain(|target| !target.starts_with("/dev/"));
    assert_eq!(targets, ["/", "/proc"]);
}

#[test]
fn proc_is_that_of_the_pid_namespace() {
    let out = Bundle::busybox().run(["sh", "-c", "ls -d /proc/[0-9]*"]).ok();
    assert_eq!(out.lines()[0], "/proc/1");
    assert!(out.lines().len() <= 2, "{out:?}");
}

#[test]
fn sysfs_is_that_of_the_network_namespace() {
    let out = Bundle::busybox().run(["ls", "/sys/class/net"]).ok();
    assert!(out.lines().contains(&"lo") && !out.lines().contains(&"eth0"), "{out:?}");
}

#[test]
fn devpts_is_a_new_instance() {
    let out = Bundle::busybox().run(["ls", "/dev/pts"]).ok();
    assert_eq!(out.lines(), ["ptmx"]);
}

#[test]
fn devpts_options_reach_the_filesystem() {
    let info = Bundle::busybox().mountinfo();
    let devpts = mountinfo::at(&info, "/dev/pts");
    for option in ["gid=5", "mode=620", "ptmxmode=666"] {
        assert!(devpts.has(option), "{option} in {devpts:?}");
    }
}

#[test]
fn tmpfs_takes_size_and_mode() {
    differs!();
    let options = ["size=1m", "mode=0710", "uid=7", "gid=8"];
    let mut bundle = Bundle::busybox().push("/mounts", mount("/mnt", "tmpfs", "hold", &options));
    let out = bundle.sh("stat -c '%a %u %g' /mnt; cat /proc/self/mountinfo >&2").ok();
    assert_eq!(out.line(), "710 7 8");
    let tmpfs = mountinfo::at(&out.stderr, "/mnt");
    assert!(tmpfs.has("size=1024k"), "{tmpfs:?}");
    assert_eq!(tmpfs.source, "hold");
}

#[test]
fn tmpfs_without_mode_takes_that_of_the_directory() {
    let mut bundle = Bundle::busybox().push("/mounts", mount("/mnt", "tmpfs", "tmpfs", &[]));
    fs::set_permissions(bundle.rootfs("mnt"), std::os::unix::fs::PermissionsExt::from_mode(0o1741))
        .unwrap();
    assert_eq!(bundle.run(["stat", "-c", "%a", "/mnt"]).line(), "1741");
}

#[test]
fn tmpcopyup_copies_what_the_mount_hides() {
    let mut bundle =
        Bundle::busybox().push("/mounts", mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup"]));
    let out = bundle.sh("head -n1 /etc/passwd; echo changed > /etc/passwd").ok();
    assert_eq!(out.line(), "root:x:0:0:root:/root:/bin/sh");
    let kept = fs::read_to_string(bundle.rootfs("etc/passwd")).unwrap();
    assert!(kept.starts_with("root:"), "{kept}");
}

#[test]
fn mqueue_is_that_of_the_ipc_namespace() {
    let out = Bundle::busybox().run(["ls", "/dev/mqueue"]).ok();
    assert_eq!(out.stdout, "");
}

#[test]
fn overlay_shows_the_lower_and_writes_to_the_upper_directory() {
    let bundle = Bundle::busybox();
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| bundle.scratch_dir(name));
    fs::write(lower.join("chart"), "here be dragons\n").unwrap();
    let layers = [
        format!("lowerdir={}", lower.display()),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    let options = layers.each_ref().map(String::as_str);
    let mut bundle = bundle.push("/mounts", mount("/mnt", "overlay", "overlay", &options));
    let out = bundle.sh("cat /mnt/chart; echo new > /mnt/new").ok();
    assert_eq!(out.stdout, "here be dragons\n");
    assert_eq!(fs::read_to_string(upper.join("new")).unwrap(), "new\n");
    assert!(!lower.join("new").exists());
}

#[test]
fn mounts_are_made_in_the_order_of_the_list() {
    let bundle = Bundle::busybox()
        .push("/mounts", mount("/mnt", "tmpfs", "first", &[]))
        .push("/mounts", mount("/mnt/inner", "tmpfs", "second", &[]))
        .push("/mounts", mount("/mnt", "tmpfs", "third", &[]));
    let mut bundle = bundle;
    let info = bundle.mountinfo();
    let sources: Vec<_> = mountinfo::parse(&info)
        .into_iter()
        .filter(|mount| mount.target.starts_with("/mnt"))
        .map(|mount| mount.source)
        .collect();
    assert_eq!(sources, ["first", "second", "third"]);
}

#[test]
fn the_source_of_a_bind_mount_may_be_an_earlier_mount() {
    for user_namespace in [false, true] {
        let bundle = Bundle::busybox();
        let bundle = if user_namespace { bundle.by_user(100_000) } else { bundle };
        let source = bundle.rootfs("hold");
        let source = source.to_str().unwrap();
        let mut bundle = bundle
            .push("/mounts", mount("/hold", "tmpfs", "first", &["mode=755"]))
            .push("/mounts", mount("/hold/inner", "tmpfs", "inner", &["mode=755"]))
            .push("/mounts", mount("/mnt", "bind", source, &["rbind"]));
        let info = bundle.mountinfo();
        assert_eq!(mountinfo::at(&info, "/mnt").source, "first", "{info}");
        assert_eq!(mountinfo::at(&info, "/mnt/inner").source, "inner", "{info}");
    }
}

#[test]
fn a_directory_is_bound() {
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("cargo");
    fs::write(source.join("crate"), "tea\n").unwrap();
    let mut bundle =
        bundle.push("/mounts", mount("/mnt", "bind", source.to_str().unwrap(), &["bind"]));
    let out = bundle.sh("cat /mnt/crate; echo rum > /mnt/barrel").ok();
    assert_eq!(out.stdout, "tea\n");
    assert_eq!(fs::read_to_string(source.join("barrel")).unwrap(), "rum\n");
}

#[test]
fn the_bind_option_alone_makes_a_bind_mount() {
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("cargo");
    fs::write(source.join("crate"), "tea\n").unwrap();
    for kind in ["none", "", "bind"] {
        let entry = mount("/mnt", kind, source.to_str().unwrap(), &["bind"]);
        let mut bundle = Bundle::busybox().push("/mounts", entry);
        assert_eq!(bundle.run(["cat", "/mnt/crate"]).ok().stdout, "tea\n", "{kind:?}");
    }
}

#[test]
fn a_bind_mount_needs_no_type() {
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("cargo");
    fs::write(source.join("crate"), "tea\n").unwrap();
    let entry = json!({ "destination": "/mnt", "source": source.to_str(), "options": ["rbind"] });
    let mut bundle = bundle.push("/mounts", entry);
    assert_eq!(bundle.run(["cat", "/mnt/crate"]).ok().stdout, "tea\n");
}

#[test]
fn a_file_is_bound() {
    let bundle = Bundle::busybox();
    let source = bundle.scratch("resolv.conf");
    fs::write(&source, "nameserver 192.0.2.1\n").unwrap();
    let entry = mount("/etc/resolv.conf", "bind", source.to_str().unwrap(), &["bind", "ro"]);
    let mut bundle = bundle.push("/mounts", entry);
    let out = bundle.sh("cat /etc/resolv.conf; echo x > /etc/resolv.conf");
    assert_eq!(out.stdout, "nameserver 192.0.2.1\n");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

#[test]
fn a_relative_bind_source_is_below_the_bundle() {
    let bundle = Bundle::busybox();
    fs::create_dir(bundle.path().join("cargo")).unwrap();
    fs::write(bundle.path().join("cargo/crate"), "tea\n").unwrap();
    let mut bundle = bundle.push("/mounts", mount("/mnt", "bind", "cargo", &["bind"]));
    assert_eq!(bundle.run(["cat", "/mnt/crate"]).ok().stdout, "tea\n");
}

/// A host directory with a second filesystem mounted on `DIR/inner`, in the runtime's view of the
/// machine.
fn with_submount(bundle: Bundle) -> (Bundle, String) {
    let source = bundle.scratch_dir("cargo").to_str().unwrap().to_owned();
    fs::create_dir(format!("{source}/inner")).unwrap();
    let script = format!("mount -t tmpfs inner {source}/inner; echo deep > {source}/inner/deep");
    (bundle.after(&script), source)
}

#[test]
fn bind_leaves_submounts_out() {
    let (bundle, source) = with_submount(Bundle::busybox());
    let mut bundle = bundle.push("/mounts", mount("/mnt", "bind", &source, &["bind"]));
    assert_eq!(bundle.run(["ls", "/mnt/inner"]).ok().stdout, "");
}

#[test]
fn rbind_takes_submounts_along() {
    let (bundle, source) = with_submount(Bundle::busybox());
    let mut bundle = bundle.push("/mounts", mount("/mnt", "bind", &source, &["rbind"]));
    assert_eq!(bundle.run(["cat", "/mnt/inner/deep"]).ok().stdout, "deep\n");
}

#[test]
fn a_bind_mount_with_filesystem_options_is_refused() {
    differs!();
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("cargo");
    let entry = mount("/mnt", "bind", source.to_str().unwrap(), &["bind", "size=1m"]);
    let text = "bind mounts cannot have any filesystem-specific options applied";
    bundle.push("/mounts", entry).refused().says(text);
}

#[test]
fn a_missing_source_is_refused() {
    let bundle =
        Bundle::busybox().push("/mounts", mount("/mnt", "bind", "/nowhere/at/all", &["bind"]));
    bundle.refused().because("no such file or directory").says("/nowhere/at/all");
}

#[test]
fn an_unknown_filesystem_type_is_refused() {
    let bundle = Bundle::busybox().push("/mounts", mount("/mnt", "nosuchfs", "none", &[]));
    bundle.refused().because("no such device").says("/mnt");
}

#[test]
fn an_option_the_filesystem_refuses_is_an_error() {
    let bundle =
        Bundle::busybox().push("/mounts", mount("/mnt", "tmpfs", "none", &["nosuchoption"]));
    bundle.refused().because("invalid argument").says("/mnt");
}

#[test]
fn cgroup_shows_v1_controllers_read_only() {
    needs!(!cgroups::is_pure_v2(), "cgroup v1");
    let options = ["nosuid", "noexec", "nodev", "ro"];
    for bundle in [Bundle::busybox(), Bundle::busybox().without_namespace("cgroup")] {
        let mut bundle =
            bundle.push("/mounts", mount("/sys/fs/cgroup", "cgroup", "cgroup", &options));
        let info = bundle.mountinfo();
        assert_eq!(mountinfo::at(&info, "/sys/fs/cgroup").kind, "tmpfs");
        for controller in ["memory", "devices", "freezer"] {
            let target = format!("/sys/fs/cgroup/{controller}");
            let mount = mountinfo::at(&info, &target);
            assert!(mount.kind == "cgroup" && mount.has(controller), "{mount:?}");
            assert!(mount.options.iter().any(|option| option == "ro"), "{mount:?}");
        }
        let out = bundle.sh("cat /sys/fs/cgroup/devices/cgroup.procs").ok();
        assert!(out.lines().contains(&"1"), "its own cgroup: {out:?}");
    }
}

#[test]
fn cgroup_without_cgroup_namespace_shows_the_containers_own_v1_cgroup() {
    needs!(!cgroups::is_pure_v2(), "cgroup v1");
    let mut bundle = Bundle::busybox()
        .without_namespace("cgroup")
        .push("/mounts", mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]));
    let info = bundle.mountinfo();
    let root = mountinfo::at(&info, "/sys/fs/cgroup/memory").root;
    assert!(root.ends_with(bundle.id()), "{root}");
}

#[test]
fn cgroup_shows_the_containers_own_v2_cgroup() {
    let options = ["nosuid", "noexec", "nodev", "ro"];
    let mut bundle = Bundle::busybox()
        .on_cgroup_v2()
        .push("/mounts", mount("/sys/fs/cgroup", "cgroup", "cgroup", &options));
    let out = bundle.sh("cat /sys/fs/cgroup/cgroup.procs; cat /proc/self/mountinfo >&2").ok();
    assert!(out.lines().contains(&"1"), "{out:?}");
    let mount = mountinfo::at(&out.stderr, "/sys/fs/cgroup");
    assert!(mount.kind == "cgroup2" && mount.options.contains(&"ro".to_owned()), "{mount:?}");
}

#[test]
fn cgroup_without_cgroup_namespace_is_read_only_v2() {
    let mut bundle = Bundle::busybox()
        .on_cgroup_v2()
        .without_namespace("cgroup")
        .push("/mounts", mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]));
    let out = bundle.sh("mkdir /sys/fs/cgroup/new; cat /proc/self/mountinfo");
    assert_eq!(mountinfo::at(&out.stdout, "/sys/fs/cgroup").kind, "cgroup2");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

#[test]
fn options_of_a_cgroup_mount_go_to_the_kernel() {
    let with = |options: &[&str]| {
        Bundle::busybox()
            .on_cgroup_v2()
            .push("/mounts", mount("/sys/fs/cgroup", "cgroup", "cgroup", options))
    };
    with(&["ro", "nsdelegate"]).run(["true"]).silent();
    with(&["ro", "nosuchoption"]).refused().because("invalid argument").says("/sys/fs/cgroup");
}

#[test]
fn options_of_a_v1_cgroup_mount_are_refused() {
    differs!();
    needs!(!cgroups::is_pure_v2(), "cgroup v1");
    let bundle = Bundle::busybox()
        .push("/mounts", mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuchoption"]));
    bundle.refused().says("takes no options").names("options");
}

#[test]
fn recursive_options_of_a_cgroup_mount_are_in_force() {
    differs!();
    let options = ["rro", "rnosuid", "rnoexec"];
    for bundle in [Bundle::busybox(), Bundle::busybox().on_cgroup_v2()] {
        let info = bundle
            .push("/mounts", mount("/sys/fs/cgroup", "cgroup", "cgroup", &options))
            .mountinfo();
        let mounts = mountinfo::parse(&info);
        let mut below = mounts.iter().filter(|mount| mount.kind.starts_with("cgroup")).peekable();
        assert!(below.peek().is_some(), "{info}");
        for mount in below {
            let all = ["ro", "nosuid", "noexec"].map(String::from);
            assert!(all.iter().all(|option| mount.options.contains(option)), "{mount:?}");
        }
    }
}

#[test]
fn mounts_of_the_container_do_not_reach_the_host() {
    let c = Bundle::busybox().push("/mounts", mount("/mnt", "tmpfs", "hold", &[])).create();
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains(c.bundle.dir().to_str().unwrap()), "{host}");
}

#[test]
fn the_host_file_system_is_out_of_reach() {
    let out = Bundle::busybox().mountinfo();
    let root = mountinfo::at(&out, "/");
    assert!(root.root.ends_with("/rootfs"), "{root:?}");
    assert_eq!(
        mountinfo::parse(&out).iter().filter(|mount| mount.target == "/").count(),
        1,
        "{out}"
    );
}

/// Paths with what separates options.
#[test]
fn options_may_have_spaces_and_commas() {
    differs!();
    needs!(kernel_since(6, 5), "overlay that takes its options one by one");
    let bundle = Bundle::busybox();
    let [lower, upper, work] =
        ["lower one, two", "upper, one", "work, one"].map(|name| bundle.scratch_dir(name));
    fs::write(lower.join("chart"), "here be dragons\n").unwrap();
    let layers = [
        format!("lowerdir={}", lower.display()),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    let source = bundle.scratch_dir("tea, and rum");
    fs::write(source.join("crate"), "tea\n").unwrap();
    let mut bundle = bundle
        .push(
            "/mounts",
            mount("/mnt", "overlay", "a source, too", &layers.each_ref().map(String::as_str)),
        )
        .push("/mounts", mount("/hold, with space", "bind", source.to_str().unwrap(), &["bind"]));
    let out = bundle.sh("cat /mnt/chart '/hold, with space/crate'; echo new > /mnt/new").ok();
    assert_eq!(out.stdout, "here be dragons\ntea\n");
    assert_eq!(fs::read_to_string(upper.join("new")).unwrap(), "new\n");
}

#[test]
fn a_comma_that_the_kernel_would_misread_is_refused() {
    differs!();
    let options = ["lowerdir=/a,redirect_dir=on", "silent"];
    let bundle = Bundle::busybox().push("/mounts", mount("/mnt", "overlay", "overlay", &options));
    bundle.refused().says("option lowerdir has a comma").names("mounts[6].options");
}

#[test]
fn tmpcopyup_is_for_tmpfs_only() {
    differs!();
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("cargo");
    let entry = mount("/mnt", "bind", source.to_str().unwrap(), &["bind", "tmpcopyup"]);
    bundle
        .push("/mounts", entry)
        .refused()
        .says("tmpcopyup is only for tmpfs")
        .names("mounts[6].options");
}
