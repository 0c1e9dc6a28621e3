//! Attacks from inside the container that other runtimes have fallen for. Those on mounts, devices
//! and masked paths are in the files of these objects.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::support::{Bundle, json, runtime, userland};

/// What the container sees of open files.
#[test]
fn no_descriptor_but_stdio_reaches_the_program() {
    let out = Bundle::busybox().run(["ls", "/proc/self/fd"]).ok();
    // 3 is the directory that ls is reading.
    assert_eq!(out.lines(), ["0", "1", "2", "3"]);
}

#[test]
fn descriptors_of_the_caller_do_not_reach_the_program() {
    let bundle = Bundle::busybox().after("exec 3</etc/passwd 7</etc/passwd 9</etc");
    let out = { bundle }.run(["ls", "/proc/self/fd"]).ok();
    assert_eq!(out.lines(), ["0", "1", "2", "3"]);
}

#[test]
fn a_detached_container_has_no_descriptor_but_stdio() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    c.start();
    let sleeping = || fs::read_to_string(format!("/proc/{}/comm", c.pid())).unwrap() == "sleep\n";
    assert!(crate::support::eventually(runtime::time_limit(), sleeping));
    let mut open = fs::read_dir(format!("/proc/{}/fd", c.pid()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(open.all(|name| ["0", "1", "2"].contains(&name.to_str().unwrap())));
}

/// A descriptor of a host directory that is open in the runtime must not become the working
/// directory (CVE-2024-21626).
#[test]
fn cwd_cannot_be_a_directory_of_the_host() {
    for n in 0..20 {
        let mut bundle = Bundle::busybox().set("/process/cwd", format!("/proc/self/fd/{n}"));
        let out = bundle.sh("pwd -P; ls ../..; ls ../../../../../../../..");
        // The host has a /usr, the container has none.
        let reached = out.stdout.contains("(unreachable)") || out.lines().contains(&"usr");
        assert!(!reached, "{n}: {out:?}");
        bundle.assert_nothing_left();
    }
}

#[test]
fn cwd_cannot_be_a_directory_of_the_host_through_a_symlink() {
    for n in 3..20 {
        let mut bundle = Bundle::busybox().set("/process/cwd", "/link");
        symlink(format!("/proc/self/fd/{n}"), bundle.rootfs("link")).unwrap();
        let out = bundle.sh("ls ../..; ls ../../../../../..");
        assert!(!out.lines().contains(&"usr"), "{n}: {out:?}");
    }
}

/// Nor the program a file of the host, through a link of the image and such a descriptor
/// (CVE-2024-21626).
#[test]
fn the_program_cannot_be_one_of_the_host() {
    let mut bundle = Bundle::busybox();
    for link in userland::links_to_a_program_of_the_host(&bundle) {
        let out = bundle.run([&link, "echo", "escaped"]);
        assert!(out.status != 0 && out.stdout.is_empty(), "{link}: {out:?}");
    }
    bundle.assert_nothing_left();
}

/// A copy of the runtime that this test alone uses.
fn with_a_runtime_of_its_own() -> (Bundle, PathBuf) {
    let bundle = Bundle::busybox();
    let file = bundle.scratch("runtime");
    userland::copy_program(&runtime::program_file(), &file);
    (bundle.program(file.clone()), file)
}

/// The program of the runtime must not be writable by way of /proc/PID/exe (CVE-2019-5736). While
/// it runs the kernel prevents that in any case, so the attacker takes a handle and uses it when
/// the runtime is gone.
#[test]
fn the_program_of_the_runtime_cannot_be_overwritten() {
    let (bundle, file) = with_a_runtime_of_its_own();
    let before = fs::read(&file).unwrap();
    let c = bundle.create();
    let exe = format!("/proc/{}/exe", c.pid());
    let handle =
        fs::OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(exe).unwrap();
    c.delete();
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    if let Ok(mut opened) = fs::OpenOptions::new().append(true).open(path) {
        let _ = opened.write_all(b"gotcha");
    }
    assert!(fs::read(&file).unwrap() == before, "the program has changed");
}

/// The classic way in: the container executes the runtime's program again by that link.
#[test]
fn the_program_of_the_runtime_survives_being_executed_by_the_container() {
    let (bundle, file) = with_a_runtime_of_its_own();
    let before = fs::read(&file).unwrap();
    symlink("/proc/self/exe", bundle.rootfs("link")).unwrap();
    let mut bundle = bundle;
    for args in [&["/proc/self/exe"][..], &["/proc/self/exe", "--version"], &["/link"]] {
        bundle.run(args.iter().copied());
        bundle.assert_nothing_left();
    }
    assert!(fs::read(&file).unwrap() == before, "the program has changed");
}

#[test]
fn the_hosts_processes_are_out_of_sight() {
    let out = Bundle::busybox().sh("ps | wc -l").ok();
    assert!(out.line().parse::<u32>().unwrap() < 6, "{out:?}");
}

#[test]
fn the_state_directory_is_out_of_sight() {
    let bundle = Bundle::busybox();
    let state = bundle.state_root().display().to_string();
    let out = { bundle }.run(["ls", &state]);
    assert_ne!(out.status, 0, "{out:?}");
}

#[test]
fn the_state_directory_is_closed_to_others() {
    let c = Bundle::busybox().create();
    let mode = fs::metadata(c.bundle.state_root()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o066, 0, "{mode:o}");
    let dir = c.bundle.state_root().join(c.id());
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let may_write = entry.file_name() == "exec.fifo";
        assert!(may_write || mode & 0o022 == 0, "{}: {mode:o}", entry.path().display());
    }
}

#[test]
fn a_symlink_in_the_place_of_an_identity_file_is_not_followed_out() {
    let mut bundle = Bundle::busybox().set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let outside = bundle.scratch("passwd");
    fs::write(&outside, "sailor:x:1000:1000::/from/the/host:/bin/sh\n").unwrap();
    fs::remove_file(bundle.rootfs("etc/passwd")).unwrap();
    symlink(&outside, bundle.rootfs("etc/passwd")).unwrap();
    let out = bundle.sh("echo $HOME");
    assert!(!out.stdout.contains("/from/the/host"), "{out:?}");
}

#[test]
fn a_fifo_in_the_place_of_a_file_does_not_hang_the_runtime() {
    differs!();
    let bundle = Bundle::busybox();
    fs::remove_file(bundle.rootfs("etc/passwd")).unwrap();
    nix::unistd::mkfifo(&bundle.rootfs("etc/passwd"), Mode::S_IRWXU).unwrap();
    bundle.run_as_is();
}
