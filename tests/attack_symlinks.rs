//! An image that has links to the host, or no file at all, where the runtime expects a directory or
//! a file.
//!
//! Each test says how it was seen to fail. "The naive build" is one whose look-ups in `sys/root.rs`
//! have neither `RESOLVE_IN_ROOT` nor `RESOLVE_NO_MAGICLINKS` nor `RESOLVE_NO_SYMLINKS`, as those
//! by paths have not.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::support::attack::rounds;
use crate::support::{Bundle, Output, Value, json, mountinfo};

/// A directory of the host: a file, and an empty directory.
struct Outside(PathBuf);

impl Outside {
    fn of(bundle: &Bundle) -> Self {
        let outside = bundle.scratch_dir("outside");
        fs::write(outside.join("file"), "untouched").unwrap();
        fs::create_dir(outside.join("dir")).unwrap();
        Outside(outside)
    }

    /// Links that lead to `name` in here: as the image may write them, existing or not.
    fn links(&self, name: &str) -> [String; 4] {
        let path = self.0.join(name).display().to_string();
        [
            path.clone(),
            format!("../../../../../../../../../../..{path}"),
            format!("/proc/self/root{path}"),
            format!("/proc/1/root{path}"),
        ]
    }

    #[track_caller]
    fn assert_untouched(&self, how: &str, out: &Output) {
        let names = |dir: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&self.0), ["dir", "file"], "{how}: {out:?}");
        assert!(names(&self.0.join("dir")).is_empty(), "{how}: {out:?}");
        assert_eq!(fs::read_to_string(self.0.join("file")).unwrap(), "untouched", "{how}: {out:?}");
    }
}

fn bind(source: &Path, target: &str) -> Value {
    json!({ "destination": target, "type": "bind", "source": source, "options": ["bind"] })
}

fn remove(path: &Path) {
    if fs::remove_file(path).is_err() {
        let _ = fs::remove_dir_all(path);
    }
}

/// A bundle whose /dev is the image's own.
fn own_dev() -> Bundle {
    let mut bundle = Bundle::busybox();
    bundle.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
    bundle
}

/// Every place that something is mounted on or made in is a link out. CVE-2019-18837,
/// CVE-2021-30465, CVE-2026-41579, CVE-2025-54867. Seen to fail in the naive build, and with /dev
/// on runc 1.1.5.
#[test]
fn places_of_mounts_and_devices_may_be_links() {
    differs!();
    for name in ["proc", "sys", "dev", "dev/pts", "dev/shm", "dev/mqueue", "mnt", "mnt/hosts"] {
        for (to, skip) in [("dir", 0), ("missing", 1), ("file", 2)] {
            let bundle = own_dev();
            let outside = Outside::of(&bundle);
            let letter = bundle.scratch("letter");
            fs::write(&letter, "dear\n").unwrap();
            fs::create_dir_all(bundle.rootfs("dev")).unwrap();
            let mut bundle = bundle
                .push(
                    "/mounts",
                    json!({ "destination": "/mnt/new/hold", "type": "tmpfs", "source": "hold" }),
                )
                .push("/mounts", bind(&letter, "/mnt/hosts"));
            for link in outside.links(to).iter().cycle().skip(skip).take(rounds(1, 4)) {
                remove(&bundle.rootfs(name));
                symlink(link, bundle.rootfs(name)).unwrap();
                let out = bundle.run(["true"]);
                outside.assert_untouched(&format!("/{name} -> {link}"), &out);
                assert!(out.status == 0 || out.status == 1, "{name}: {out:?}");
            }
            bundle.assert_nothing_left();
        }
    }
}

/// The host's /proc must not be shown, nor anything else be taken for one: CVE-2023-27561,
/// CVE-2025-54867. Seen to fail with the question for a directory left out of
/// `init/rootfs/mounts.rs`, by what the error says.
#[test]
fn what_is_no_directory_is_no_place_for_proc_or_sys() {
    for name in ["proc", "sys"] {
        for kind in ["file", "fifo", "socket", "link", "dangling"] {
            let bundle = Bundle::busybox();
            let place = bundle.rootfs(name);
            fs::remove_dir(&place).unwrap();
            let mut socket = None;
            match kind {
                "file" => fs::write(&place, "").unwrap(),
                "fifo" => mkfifo(&place, Mode::S_IRWXU).unwrap(),
                "socket" => socket = Some(UnixListener::bind(&place).unwrap()),
                "link" => symlink("/tmp", &place).unwrap(),
                _ => symlink("/missing", &place).unwrap(),
            }
            bundle
                .refused()
                .says("must be mounted on ordinary directory")
                .says(&format!("/{name}"));
            drop(socket);
        }
    }
}

/// CVE-2019-16884: a volume over a part of /proc, written in every way that leads there. Seen to
/// fail with `allowed_over_proc` left out of `init/rootfs/mounts.rs`.
#[test]
fn no_way_of_writing_it_mounts_over_proc() {
    differs!();
    for destination in [
        "/p",
        "/p/self/attr",
        "/p/sys/net",
        "//proc//sys/net",
        "/proc/../proc/self",
        "/proc/self/../sys",
        "/etc/../proc",
        "/up/proc/self/fd",
    ] {
        let bundle = Bundle::busybox();
        let volume = bundle.scratch_dir("volume");
        let tmpfs = json!({ "destination": destination, "type": "tmpfs", "source": "forged" });
        for mount in [bind(&volume, destination), tmpfs] {
            let bundle = Bundle::busybox().push("/mounts", mount);
            symlink("proc", bundle.rootfs("p")).unwrap();
            symlink("..", bundle.rootfs("up")).unwrap();
            let out = bundle.try_create();
            assert_eq!(out.status, 1, "{destination}: {out:?}");
            out.says("proc");
            bundle.assert_nothing_left();
        }
    }
}

/// CVE-2025-31133, CVE-2026-88265: whatever the image has as /dev/null, a mask is not made of it,
/// nothing of the host is written to, and standard input is what the caller gave. Seen to fail on
/// runc 1.1.5.
#[test]
fn the_images_null_is_nobodys() {
    differs!();
    for kind in ["link", "dangling", "file", "fifo", "zero", "dir"] {
        let bundle = own_dev();
        let outside = Outside::of(&bundle);
        let null = bundle.rootfs("dev/null");
        fs::write(bundle.rootfs("etc/forged"), "forged\n").unwrap();
        fs::write(bundle.rootfs("etc/secret"), "secret\n").unwrap();
        match kind {
            "link" => symlink("/etc/forged", &null).unwrap(),
            "dangling" => symlink(outside.0.join("made"), &null).unwrap(),
            "file" => fs::write(&null, "forged\n").unwrap(),
            "fifo" => mkfifo(&null, Mode::S_IRWXU).unwrap(),
            "dir" => fs::create_dir(&null).unwrap(),
            _ => assert!(
                Command::new("mknod").arg(&null).args(["c", "1", "5"]).status().unwrap().success()
            ),
        }
        // A /dev of the image's own that the runtime leaves alone, and one that it fills.
        let dev = bundle.rootfs("dev");
        for mount in [
            Some(
                json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"] }),
            ),
            None,
        ] {
            let mut bundle = Bundle::busybox();
            let forged = bundle.rootfs("etc/forged");
            fs::write(forged, "forged\n").unwrap();
            fs::write(bundle.rootfs("etc/secret"), "secret\n").unwrap();
            if let Some(mount) = mount {
                for name in ["pts", "shm", "mqueue"] {
                    fs::create_dir_all(dev.join(name)).unwrap();
                }
                bundle = bundle.set("/mounts/1", mount);
            } else {
                bundle.config["mounts"]
                    .as_array_mut()
                    .unwrap()
                    .retain(|mount| mount["destination"] != "/dev");
                fs::remove_dir_all(bundle.rootfs("dev")).unwrap();
                let copied = Command::new("cp")
                    .arg("-a")
                    .arg(&dev)
                    .arg(bundle.rootfs("dev"))
                    .status()
                    .unwrap();
                assert!(copied.success());
            }
            let mut bundle = bundle.set("/linux/maskedPaths", json!(["/etc/secret"]));
            let out =
                bundle.sh("head -c 100 /etc/secret; head -c 100; stat -L -c %t:%T /proc/self/fd/0");
            assert!(
                out.status == 1 && out.stdout.is_empty() || out.stdout == "1:3\n",
                "{kind}: {out:?}"
            );
            outside.assert_untouched(kind, &out);
            bundle.assert_nothing_left();
        }
    }
}

/// Nobody opens a fifo or a socket of the image, and so waits for its other end. Seen to fail (by
/// the time limit) with a mount's target opened for reading in `sys/root.rs`; runc 1.1.5 waits at
/// /etc/passwd.
#[test]
fn fifos_and_sockets_in_the_place_of_files_do_no_harm() {
    differs!();
    for is_fifo in [true, false] {
        let bundle = own_dev();
        let letter = bundle.scratch("letter");
        fs::write(&letter, "dear\n").unwrap();
        let mut sockets = Vec::new();
        for name in
            ["etc/passwd", "etc/group", "etc/target", "etc/secret", "etc/reading", "dev/console"]
        {
            let place = bundle.rootfs(name);
            remove(&place);
            if is_fifo {
                mkfifo(&place, Mode::S_IRWXU).unwrap();
            } else {
                sockets.push(UnixListener::bind(&place).unwrap());
            }
        }
        let mut bundle = bundle
            .push("/mounts", bind(&letter, "/etc/target"))
            .set("/linux/maskedPaths", json!(["/etc/secret"]))
            .set("/linux/readonlyPaths", json!(["/etc/reading"]))
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
        let out = bundle.sh("cat /etc/target; stat -c %t:%T /etc/secret; echo $HOME").ok();
        assert_eq!(out.lines(), ["dear", "1:3", "/"]);
        bundle.assert_nothing_left();
    }
}

/// Nor a device of the image, while no rules for devices are in force. Seen to fail with the file
/// opened before its kind was looked at, and on runc 1.1.5.
#[test]
fn no_device_in_the_place_of_passwd_is_opened() {
    differs!();
    let bundle = Bundle::busybox().remove("/process/env").args(["/bin/true"]);
    let passwd = bundle.rootfs("etc/passwd");
    remove(&passwd);
    assert!(Command::new("mknod").arg(&passwd).args(["c", "1", "3"]).status().unwrap().success());
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, &passwd, inotify::WatchFlags::OPEN).unwrap();
    bundle.run_as_is().ok();
    assert_eq!(rustix::io::read(&watch, &mut [0; 512]), Err(Errno::AGAIN), "it was opened");
    fs::File::open(&passwd).unwrap();
    assert!(rustix::io::read(&watch, &mut [0; 512]).is_ok(), "nothing was watched");
}

/// CVE-2024-45310 without a race: a working directory that is not there yet is made inside. Seen to
/// fail in the naive build.
#[test]
fn a_working_directory_behind_a_link_is_made_inside() {
    let mut bundle = Bundle::busybox();
    let outside = Outside::of(&bundle);
    for (n, link) in outside.links("dir").iter().enumerate() {
        symlink(link, bundle.rootfs(&format!("link{n}"))).unwrap();
        bundle = bundle.set("/process/cwd", format!("/link{n}/new/cwd"));
        let out = bundle.sh("pwd");
        outside.assert_untouched(link, &out);
    }
    bundle.assert_nothing_left();
}

/// What a tmpfs covers is copied as it is: links stay links, and nobody waits at a fifo. Seen to
/// fail with `NOFOLLOW` and the copying of links left out of `copy_up.rs`.
#[test]
fn links_are_copied_as_links() {
    differs!();
    let bundle = Bundle::busybox();
    let outside = Outside::of(&bundle);
    for (n, link) in outside.links("file").iter().enumerate() {
        symlink(link, bundle.rootfs(&format!("var/link{n}"))).unwrap();
    }
    symlink(outside.0.join("dir"), bundle.rootfs("var/dir")).unwrap();
    mkfifo(&bundle.rootfs("var/fifo"), Mode::S_IRWXU).unwrap();
    let mount = json!({ "destination": "/var", "type": "tmpfs", "source": "hold", "options": ["tmpcopyup"] });
    let mut bundle = bundle.push("/mounts", mount);
    let out = bundle.sh("cd /var; stat -c '%n %F' *; cat link*");
    let kinds: Vec<_> = out.lines().iter().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(kinds.len(), 6, "{out:?}");
    let is_kept = |(name, kind): &(&str, &str)| {
        *kind == if *name == "fifo" { "fifo" } else { "symbolic link" }
    };
    assert!(kinds.iter().all(is_kept) && !out.stdout.contains("untouched"), "{out:?}");
    assert_eq!(mountinfo::at(&bundle.mountinfo(), "/var").source, "hold");
}

/// CVE-2025-52881: kernel parameters are told the kernel, whatever the image has as its /proc. Seen
/// to fail on runc 1.1.5, which goes by the image's path.
#[test]
fn a_sysctl_is_not_written_to_the_image() {
    differs!();
    let mut bundle = Bundle::busybox().set("/mounts", json!([]));
    for key in ["maskedPaths", "readonlyPaths"] {
        bundle = bundle.set(&format!("/linux/{key}"), json!([]));
    }
    let outside = Outside::of(&bundle);
    let place = bundle.rootfs("proc/sys/net/ipv4");
    fs::create_dir_all(&place).unwrap();
    symlink(outside.0.join("file"), place.join("ip_forward")).unwrap();
    fs::write(place.join("ip_default_ttl"), "untouched").unwrap();
    let sysctl = json!({ "net.ipv4.ip_forward": "1", "net.ipv4.ip_default_ttl": "77" });
    let c = bundle.set("/linux/sysctl", sysctl).args(["sleep", "600"]).create();
    outside.assert_untouched("a sysctl", &c.verb("state"));
    assert_eq!(fs::read_to_string(place.join("ip_default_ttl")).unwrap(), "untouched");
    let mut ask = Command::new("nsenter");
    ask.args([
        "--net",
        "--target",
        &c.pid().to_string(),
        "cat",
        "/proc/sys/net/ipv4/ip_default_ttl",
    ]);
    assert_eq!(String::from_utf8(ask.output().unwrap().stdout).unwrap(), "77\n");
}
