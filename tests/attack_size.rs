//! More of everything than anybody needs: what is too much is refused in one line, and what is not,
//! works and is gone afterwards. Where that is the container's doing, it must not keep the
//! container from being deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::attack::rounds;
use crate::support::{Bundle, Value, cgroups, json, mountinfo};

/// Removes directories that are nested deeper than a path is long, whatever becomes of the test.
struct Deep(PathBuf);

impl Drop for Deep {
    fn drop(&mut self) {
        let there: Vec<_> = cgroups::beginning_with(self.0.to_str().unwrap());
        for top in there {
            let find = ["-depth", "-type", "d", "-execdir", "rmdir", "{}", ";"];
            let _ = Command::new("find").arg(top).args(find).output();
        }
    }
}

/// A container that has its cgroup to itself makes others in there, nested so deep that no path
/// leads to them. Seen to fail while cgroups were found and removed by their paths
/// (`File name too long`); runc 1.1.5 leaves them.
#[test]
fn cgroups_that_a_container_has_nested_deep_are_removed() {
    differs!();
    let name = "a".repeat(100);
    let script = format!(
        "cd /sys/fs/cgroup; [ -d memory ] && cd memory
         n=0; while [ $n -lt 38 ] && mkdir {name} && cd {name}; do n=$((n+1)); done
         mkdir -p {}; echo $n",
        [name.as_str(); 10].join("/")
    );
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] });
    for on_v2 in [false, true] {
        let mut bundle = Bundle::busybox().push("/mounts", mount.clone());
        if on_v2 {
            bundle = bundle.on_cgroup_v2();
        }
        let _deep = Deep(bundle.id().into());
        let c = bundle.script(&format!("{script}; exec sleep 600")).run_detached();
        c.wait_for("38\n");
        c.delete_by_force();
        assert_eq!(cgroups::beginning_with(c.id()), Vec::<PathBuf>::new());
    }
}

/// CVE-2021-43784: more than 64 KiB of mappings, which a netlink attribute with a length of 16 bits
/// would cut off. Here nothing is serialised; the kernel takes 340 lines of less than a page.
#[test]
fn mappings_by_the_thousand_are_refused_and_leave_nothing() {
    let ids = |count: u32| -> Vec<Value> {
        let id = |n| json!({ "containerID": n, "hostID": 1000 + n, "size": 1 });
        (0..count).map(id).collect()
    };
    let bundle = |count| {
        let bundle = Bundle::busybox().push("/linux/namespaces", json!({ "type": "user" }));
        bundle.set("/linux/uidMappings", ids(count)).set("/linux/gidMappings", ids(count))
    };
    let out = bundle(8000).refused().names("linux.uidMappings");
    assert!(out.stderr.len() < 4000, "{out:?}");
    let out = bundle(340).run(["cat", "/proc/self/uid_map"]).ok();
    assert_eq!(out.lines().len(), 340, "the kernel's most");
}

/// As CVE-2021-43784, by a long path. Nothing behind the path may be taken for something else.
#[test]
fn a_namespace_path_beyond_all_limits_is_refused() {
    for length in [5000, 70_000] {
        let path = format!("/proc/1/ns/net{}", "/x".repeat(length));
        let bundle = Bundle::busybox().without_namespace("network");
        bundle.push("/linux/namespaces", json!({ "type": "network", "path": path })).refused();
    }
}

#[test]
fn ten_thousand_mounts_are_made_and_gone() {
    let most: usize = fs::read_to_string("/proc/sys/fs/mount-max").unwrap().trim().parse().unwrap();
    let count = rounds(1500, 10_000).min(most / 2);
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("source");
    let mount = |n| json!({ "destination": format!("/mnt/{n}"), "type": "bind", "source": source, "options": ["bind"] });
    let mounts = (0..count).map(mount);
    let mut bundle = bundle;
    bundle.config["mounts"].as_array_mut().unwrap().extend(mounts);
    let out = bundle.run(["grep", "-c", " /mnt/", "/proc/self/mountinfo"]).ok();
    assert_eq!(out.line(), count.to_string());
    bundle.assert_nothing_left();
}

/// The kernel's limit is met by the container, and not by the machine: what was made is gone with
/// the mount namespace.
#[test]
fn more_mounts_than_there_may_be_are_refused_and_gone() {
    let most: usize = fs::read_to_string("/proc/sys/fs/mount-max").unwrap().trim().parse().unwrap();
    let bundle = Bundle::busybox();
    let tree = bundle.scratch_dir("tree");
    // A tree of 4096 mounts, and one container's mounts of it that are too many.
    let prelude = (0..12)
        .fold(format!("cd {}\nmount -t tmpfs none .; cd $PWD\n", tree.display()), |script, n| {
            format!("{script}mkdir {n}; mount --rbind . {n}\n")
        });
    let mount =
        json!({ "destination": "/mnt", "type": "bind", "source": tree, "options": ["rbind"] });
    let mut bundle = bundle.after(&format!("{prelude}cd /"));
    bundle.config["mounts"].as_array_mut().unwrap().extend(vec![mount; most / 4096 + 1]);
    bundle.run_as_is().refused().because("no space left on device");
    bundle.assert_nothing_left();
}

fn long(base: &str) -> String {
    format!("{base}{}", "/deep".repeat(1000))
}

/// Longer than `PATH_MAX`, wherever the config has a path. Seen to fail: the reason was cut off on
/// its way from init, and the error was empty.
#[test]
fn paths_beyond_path_max_are_refused_and_leave_nothing() {
    let tmpfs = json!({ "destination": long("/mnt"), "type": "tmpfs", "source": "x" });
    Bundle::busybox().push("/mounts", tmpfs).refused().names("mounts[6]");
    let source = json!({ "destination": "/mnt", "type": "bind", "source": long("/tmp"), "options": ["bind"] });
    Bundle::busybox().push("/mounts", source).refused().names("mounts[6]");
    for key in ["/process/cwd", "/root/path", "/process/args/0"] {
        let bundle = Bundle::busybox().set(key, long("/tmp"));
        bundle.refused();
    }
    let device = json!({ "path": long("/dev"), "type": "c", "major": 1, "minor": 3 });
    Bundle::busybox().push("/linux/devices", device).refused().names("linux.devices[0]");
    for key in ["maskedPaths", "readonlyPaths"] {
        Bundle::busybox().push(&format!("/linux/{key}"), long("/etc")).refused().names(key);
    }
    let bundle = Bundle::busybox();
    let path = long(&format!("/{}", bundle.id()));
    bundle.set("/linux/cgroupsPath", path).refused();
}

/// A directory that is as deep as a path can be is made, entered and left.
#[test]
fn a_directory_as_deep_as_a_path_is_long_is_a_destination() {
    let deep = format!("/mnt{}", "/d".repeat(1900));
    let mut bundle = Bundle::busybox()
        .push("/mounts", json!({ "destination": deep, "type": "tmpfs", "source": "x" }));
    bundle = bundle.set("/process/cwd", deep.clone());
    let out = bundle.sh("cat /proc/self/mountinfo; touch here").ok();
    assert!(mountinfo::parse(&out.stdout).iter().any(|mount| mount.target == deep));
    bundle.assert_nothing_left();
}

/// The image decides how deep a tree is that we copy: it is copied, or that is said. Seen to fail
/// without the limit in `copy_up.rs`, by the number of open files (EMFILE).
#[test]
fn a_tree_too_deep_to_copy_is_refused() {
    let bundle = Bundle::busybox();
    deep_tree(&bundle.rootfs("var"), 1200);
    let mount =
        json!({ "destination": "/var", "type": "tmpfs", "source": "x", "options": ["tmpcopyup"] });
    let out = bundle.push("/mounts", mount).after("ulimit -n 1024").run_as_is();
    assert!(out.status == 0 || out.refused().stderr.contains("deep"));
}

fn deep_tree(top: &Path, depth: usize) {
    let mut path = top.to_owned();
    path.extend(std::iter::repeat_n("d", depth));
    fs::create_dir_all(path).unwrap();
}

/// What execve(2) does not take is an error that says so.
#[test]
fn arguments_and_variables_that_are_too_long_are_told() {
    let long = "x".repeat(140_000);
    for key in ["/process/args", "/process/env"] {
        let bundle = Bundle::busybox().args(["true"]).push(key, format!("A={long}"));
        let out = bundle.run_as_is();
        assert!(out.status != 0 && out.stdout.is_empty(), "{out:?}");
        out.because("argument list too long");
        bundle.assert_nothing_left();
    }
}

/// The id is a file's name and more: no length of it is cut off.
#[test]
fn long_ids_are_refused_or_work() {
    for length in [200, 255, 256, 5000] {
        let bundle = Bundle::busybox();
        let id = format!("{}{}", bundle.id(), "i".repeat(length - bundle.id().len()));
        let bundle = bundle.with_id(&id);
        let out = bundle.run_as_is();
        assert!(out.status == 0 || out.status == 1 && !out.stderr.is_empty(), "{length}: {out:?}");
        bundle.assert_nothing_left();
    }
}
