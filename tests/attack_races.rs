//! A sibling shares a volume, or even the rootfs, and exchanges a directory with a link to the host
//! there, while the runtime is at work in it. Some runs are refused for that; none may touch the
//! host.
//!
//! Each test says how it was seen to fail.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::attack::{Racer, for_a_while};
use crate::support::{Bundle, Output, Value, config, json, mountinfo};

/// A directory of the host that nobody has business in.
struct Outside(PathBuf);

impl Outside {
    fn of(bundle: &Bundle) -> Self {
        let outside = bundle.scratch_dir("outside");
        fs::write(outside.join("treasure"), "gold\n").unwrap();
        Outside(outside)
    }

    #[track_caller]
    fn assert_untouched(&self, out: &Output) {
        let names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["treasure"], "the host was touched: {out:?}");
        assert_eq!(fs::read_to_string(self.0.join("treasure")).unwrap(), "gold\n", "{out:?}");
    }
}

/// A bundle with a volume at /mnt, in which `swap` is now a directory and now a link out.
fn on_a_volume() -> (Bundle, Outside, Racer) {
    let bundle = Bundle::busybox();
    let outside = Outside::of(&bundle);
    let volume = bundle.scratch_dir("volume");
    let racer = swapping(&volume.join("swap"), &volume.join("link"), &outside.0);
    (bundle.push("/mounts", bind(&volume, "/mnt")), outside, racer)
}

/// Makes a directory, unless it is there, and a link, and begins to exchange them.
fn swapping(directory: &Path, link: &Path, target: &Path) -> Racer {
    fs::create_dir_all(directory).unwrap();
    for name in ["secret", "reading"] {
        fs::write(directory.join(name), "tea\n").unwrap();
    }
    symlink(target, link).unwrap();
    Racer::exchanging(directory.to_owned(), link.to_owned())
}

fn bind(source: &Path, target: &str) -> Value {
    json!({ "destination": target, "type": "bind", "source": source, "options": ["bind"] })
}

/// The program ran, or the runtime said why not.
#[track_caller]
fn ran_or_refused(out: Output) -> Output {
    if out.status == 0 { out } else { out.refused() }
}

/// Runs while the race goes on, with the `n`th change of the config; what is made is new each time.
#[track_caller]
fn race(
    bundle: &mut Bundle,
    outside: &Outside,
    mut change: impl FnMut(&mut Value, usize),
    check: impl Fn(&Output),
) {
    let (before, mut n) = (bundle.config.clone(), 0);
    for_a_while(|| {
        n += 1;
        bundle.config = before.clone();
        change(&mut bundle.config, n);
        let out = ran_or_refused(bundle.run_as_is());
        outside.assert_untouched(&out);
        if out.status == 0 {
            check(&out);
        }
        out.status == 0
    });
    bundle.assert_nothing_left();
}

/// CVE-2021-30465, CVE-2024-45310. Seen to fail with `RESOLVE_IN_ROOT` left out of `sys/root.rs`,
/// and on runc 1.1.5, which makes directories on the host.
#[test]
fn mounts_stay_inside() {
    differs!();
    let (bundle, outside, _racer) = on_a_volume();
    let letter = bundle.scratch("letter");
    fs::write(&letter, "dear\n").unwrap();
    let mut bundle = bundle.args(["cat", "/proc/self/mountinfo"]);
    let change = |config: &mut Value, n| {
        let hold = json!({ "destination": format!("/mnt/swap/{n}/new"), "type": "tmpfs", "source": "hold" });
        config::push(config, "/mounts", hold);
        config::push(config, "/mounts", bind(&letter, &format!("/mnt/swap/letter{n}")));
    };
    race(&mut bundle, &outside, change, |out| {
        assert_eq!(
            mountinfo::parse(&out.stdout).iter().filter(|mount| mount.source == "hold").count(),
            1,
            "{out:?}"
        );
    });
}

/// CVE-2026-41579 and CVE-2021-30465, by a device. Seen to fail as above; on runc 1.1.5 only now
/// and then.
#[test]
fn devices_are_made_inside() {
    differs!();
    let (mut bundle, outside, _racer) = on_a_volume();
    let change = |config: &mut Value, n| {
        let device =
            json!({ "path": format!("/mnt/swap/{n}/null"), "type": "c", "major": 1, "minor": 3 });
        config::push(config, "/linux/devices", device);
    };
    race(&mut bundle, &outside, change, |_| {});
}

/// CVE-2024-45310, by the working directory. Seen to fail as above.
#[test]
fn the_working_directory_is_made_inside() {
    let (mut bundle, outside, _racer) = on_a_volume();
    race(
        &mut bundle,
        &outside,
        |config, n| config["process"]["cwd"] = format!("/mnt/swap/{n}/cwd").into(),
        |_| {},
    );
}

/// What a tmpfs covers is copied into it: never what is outside. Seen to fail as above.
#[test]
fn nothing_of_the_host_is_copied_up() {
    let (bundle, outside, _racer) = on_a_volume();
    let mount = json!({ "destination": "/mnt/swap", "type": "tmpfs", "source": "x", "options": ["tmpcopyup"] });
    let look = "find / -xdev -name treasure; find /mnt/ -name treasure; cat /proc/self/mountinfo";
    let mut bundle = bundle.push("/mounts", mount).script(look);
    let check = |out: &Output| {
        assert!(!out.stdout.contains("/treasure"), "the host's: {out:?}");
        assert!(
            mountinfo::parse(&out.stdout).iter().any(|mount| mount.source == "x"),
            "not in the container: {out:?}"
        );
    };
    race(&mut bundle, &outside, |_, _| {}, check);
}

/// What was a file is a device when it is to be read: one that never ends, which fills whatever it
/// is copied to. Seen to fail with devices allowed in the tree that is read, and on runc 1.1.5.
#[test]
fn no_device_is_copied_up() {
    differs!();
    let bundle = Bundle::busybox();
    let volume = bundle.scratch_dir("volume");
    make_node(&volume.join("node"), &["c", "1", "5"]);
    fs::write(volume.join("file"), "tea\n").unwrap();
    let _racer = Racer::exchanging(volume.join("file"), volume.join("node"));
    let options = ["tmpcopyup", "size=64k"];
    let mount =
        json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options });
    let bundle =
        bundle.push("/mounts", bind(&volume, "/mnt")).push("/mounts", mount).args(["true"]);
    for_a_while(|| {
        let out = ran_or_refused(bundle.run_as_is());
        assert!(!out.stderr.contains("no space left"), "a device was read: {out:?}");
        out.status == 0
    });
    bundle.assert_nothing_left();
}

/// GHSA-3q8j-pf29-vwv8: what is hidden and made read-only is that of the container, where the link
/// leads to something, too. Seen to fail as above: the link led to the host's.
#[test]
fn masked_and_readonly_paths_are_the_containers() {
    let (bundle, outside, _racer) = on_a_volume();
    let inside = bundle.rootfs(outside.0.to_str().unwrap().trim_start_matches('/'));
    fs::create_dir_all(&inside).unwrap();
    fs::write(inside.join("secret"), "tea\n").unwrap();
    fs::write(inside.join("reading"), "tea\n").unwrap();
    let bundle = bundle.set("/linux/maskedPaths", json!(["/mnt/swap/secret"]));
    let mut bundle = bundle
        .set("/linux/readonlyPaths", json!(["/mnt/swap/reading"]))
        .args(["cat", "/proc/self/mountinfo"]);
    let check = |out: &Output| {
        for name in ["/secret", "/reading"] {
            let at = |mount: &&mountinfo::Mount| mount.target.ends_with(name);
            assert_eq!(
                mountinfo::parse(&out.stdout).iter().filter(at).count(),
                1,
                "{name}: {out:?}"
            );
        }
    };
    race(&mut bundle, &outside, |_, _| {}, check);
}

/// A null device in a /dev on a volume.
fn make_null(dev: &Path) {
    make_node(&dev.join("null"), &["c", "1", "3"]);
}

fn make_node(path: &Path, kind_and_numbers: &[&str]) {
    let status = Command::new("mknod").arg(path).args(kind_and_numbers).status().unwrap();
    assert!(status.success());
}

/// CVE-2025-31133: the image's /dev/null is now one, now a link to what the image would rather
/// show. Seen to fail on runc 1.1.5.
#[test]
fn masks_are_the_hosts_null() {
    differs!();
    let bundle = Bundle::busybox();
    let outside = Outside::of(&bundle);
    let dev = bundle.scratch_dir("dev");
    make_null(&dev);
    symlink("/etc/forged", dev.join("link")).unwrap();
    fs::write(bundle.rootfs("etc/forged"), "forged\n").unwrap();
    fs::write(bundle.rootfs("etc/secret"), "secret\n").unwrap();
    let _racer = Racer::exchanging(dev.join("null"), dev.join("link"));
    let mut bundle = bundle
        .set("/mounts/1", bind(&dev, "/dev"))
        .set("/linux/maskedPaths", json!(["/etc/secret"]));
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(name)).unwrap();
    }
    bundle = bundle.args(["cat", "/etc/secret"]);
    race(&mut bundle, &outside, |_, _| {}, |out| assert_eq!(out.stdout, ""));
}

/// CVE-2025-52565, CVE-2026-88264: the place of the console is now a file, now a link out. Seen to
/// fail with `O_NOFOLLOW` and the question for a link left out of `init/terminal.rs`, where the
/// host's file was covered.
#[test]
fn the_console_stays_inside() {
    let bundle = Bundle::with_terminal();
    let outside = Outside::of(&bundle);
    let dev = bundle.scratch_dir("dev");
    make_null(&dev);
    fs::create_dir(dev.join("pts")).unwrap();
    symlink("pts/ptmx", dev.join("ptmx")).unwrap();
    fs::write(dev.join("console"), "").unwrap();
    symlink(outside.0.join("treasure"), dev.join("link")).unwrap();
    let _racer = Racer::exchanging(dev.join("console"), dev.join("link"));
    let pts = bundle.config["mounts"][2].clone();
    let proc = bundle.config["mounts"][0].clone();
    let bundle = bundle.set("/mounts", json!([proc, bind(&dev, "/dev"), pts])).args(["true"]);
    for_a_while(|| {
        let socket = bundle.console_socket();
        let out = ran_or_refused(bundle.begin("create", &socket.flags()).wait());
        outside.assert_untouched(&out);
        if out.status == 0 {
            let _terminal = socket.receive();
            let state: Value = serde_json::from_str(&bundle.verb("state").ok().stdout).unwrap();
            let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", state["pid"])).unwrap();
            let is_console =
                |mount: &mountinfo::Mount| mount.kind == "devpts" && mount.target != "/dev/pts";
            assert!(
                mountinfo::parse(&mounts).iter().any(is_console),
                "it is not in the container: {mounts}"
            );
            bundle.call(&["delete", "--force", bundle.id()]).silent();
        }
        fs::remove_file(socket.path).unwrap();
        out.status == 0
    });
    bundle.assert_nothing_left();
}

/// CVE-2019-19921, CVE-2023-27561: the rootfs itself is shared, and its /proc and /sys are now
/// directories, now links. Seen to fail as the first, with `NO_SYMLINKS` left out, too: the
/// filesystem was not in the container.
#[test]
fn proc_and_sys_stay_inside() {
    for (name, kind) in [("proc", "proc"), ("sys", "sysfs")] {
        let bundle = Bundle::busybox();
        let outside = Outside::of(&bundle);
        let _racer = swapping(&bundle.rootfs(name), &bundle.rootfs("other"), &outside.0);
        let mut bundle =
            bundle.script("cat /proc/self/mountinfo /other/self/mountinfo 2>/dev/null; true");
        for key in ["maskedPaths", "readonlyPaths"] {
            bundle = bundle.set(&format!("/linux/{key}"), json!([]));
        }
        let check = |out: &Output| {
            let mounts = mountinfo::parse(&out.stdout);
            assert!(mounts.is_empty() || mounts.iter().any(|mount| mount.kind == kind), "{out:?}");
        };
        race(&mut bundle, &outside, |_, _| {}, check);
    }
}

/// There is a moment when procfs is mounted and its masks are not. Whoever renames its directory
/// then has a procfs somewhere else, but with all of them. Seen to fail with the masks' places
/// looked up from the root of the rootfs.
#[test]
fn a_procfs_that_is_moved_keeps_its_masks() {
    differs!();
    for (name, kind, (masked, readonly)) in
        [("proc", "proc", ("/keys", "/sys")), ("sys", "sysfs", ("/firmware", "/kernel"))]
    {
        let bundle = Bundle::busybox();
        let outside = Outside::of(&bundle);
        let _racer = swapping(&bundle.rootfs(name), &bundle.rootfs("other"), &outside.0);
        let mut bundle = bundle
            .set("/linux/maskedPaths", json!([format!("/{name}{masked}")]))
            .set("/linux/readonlyPaths", json!([format!("/{name}{readonly}")]))
            .script("until cat /proc/self/mountinfo || cat /other/self/mountinfo; do :; done 2>/dev/null");
        let check = |out: &Output| {
            // Its directory may have had either name in any line.
            let at = |place: &str| {
                let names = [format!("/{name}{place}"), format!("/other{place}")];
                mountinfo::parse(&out.stdout)
                    .into_iter()
                    .rfind(|mount| names.contains(&mount.target))
            };
            assert!(at("").is_some_and(|mount| mount.kind == kind), "{out:?}");
            assert!(at(masked).is_some(), "{masked}: {out:?}");
            assert!(at(readonly).is_some_and(|mount| mount.has("ro")), "{readonly}: {out:?}");
        };
        race(&mut bundle, &outside, |_, _| {}, check);
    }
}

/// CVE-2026-41579: so is its /dev. Seen to fail as the first, and on runc 1.1.5.
#[test]
fn dev_stays_inside() {
    differs!();
    let bundle = Bundle::busybox();
    let outside = Outside::of(&bundle);
    let _racer = swapping(&bundle.rootfs("dev"), &bundle.rootfs("other"), &outside.0);
    let proc = bundle.config["mounts"][0].clone();
    let mut bundle = bundle.set("/mounts", json!([proc])).args(["true"]);
    race(&mut bundle, &outside, |_, _| {}, |_| {});
}
