//! Terminals in an image that has other things where the terminal's files belong: nothing of the
//! host is touched.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Bundle, Container, json};

/// A bundle on a terminal whose /dev is the image's own, and the directory on the host that its
/// links lead to.
fn own_dev() -> (Bundle, String) {
    let mut bundle = Bundle::with_terminal();
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    fs::create_dir_all(bundle.rootfs("dev")).unwrap();
    let host = bundle.scratch("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "untouched").unwrap();
    (bundle, host.display().to_string())
}

fn devpts() -> serde_json::Value {
    json!({
        "destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    })
}

/// Nothing was made or written there.
#[track_caller]
fn untouched(host: &str) {
    let names: Vec<_> =
        fs::read_dir(host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(format!("{host}/file")).unwrap(), "untouched");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(host), "{mounts}");
}

#[test]
fn a_console_that_is_a_link_is_refused() {
    differs!();
    for target in ["file", "missing"] {
        let (bundle, host) = own_dev();
        symlink(format!("{host}/{target}"), bundle.rootfs("dev/console")).unwrap();
        let bundle = bundle.push("/mounts", devpts());
        let socket = bundle.console_socket();
        let out = bundle.begin("create", &socket.flags()).wait().refused();
        out.names("process.terminal")
            .says("/dev/console")
            .because("too many levels of symbolic links");
        untouched(&host);
        assert!(
            fs::symlink_metadata(bundle.rootfs("dev/console")).unwrap().file_type().is_symlink()
        );
        bundle.assert_nothing_left();
    }
}

#[test]
fn a_console_that_is_something_else_is_covered() {
    differs!();
    let (bundle, _) = own_dev();
    fs::write(bundle.rootfs("dev/console"), "the image's").unwrap();
    let (c, mut terminal) = bundle.push("/mounts", devpts()).run_with_socket();
    assert_eq!(
        terminal.ask("echo over it > /dev/console; stat -c %t:%T /dev/console"),
        "over it\n88:0"
    );
    assert_eq!(fs::read_to_string(c.bundle.rootfs("dev/console")).unwrap(), "the image's");
}

#[test]
fn the_multiplexer_of_the_image_is_not_used() {
    let (bundle, host) = own_dev();
    symlink(format!("{host}/file"), bundle.rootfs("dev/ptmx")).unwrap();
    let (_c, mut terminal) = bundle.push("/mounts", devpts()).run_with_socket();
    assert_eq!(terminal.ask("tty; readlink /dev/ptmx"), "/dev/pts/0\npts/ptmx");
    untouched(&host);
}

#[test]
fn without_a_devpts_there_is_no_terminal() {
    let (bundle, host) = own_dev();
    fs::create_dir(bundle.rootfs("dev/pts")).unwrap();
    for target in ["/dev/ptmx", &format!("{host}/file")] {
        symlink(target, bundle.rootfs("dev/pts/ptmx")).unwrap();
        let socket = bundle.console_socket();
        bundle
            .begin("create", &socket.flags())
            .wait()
            .refused()
            .names("process.terminal")
            .names("devpts");
        untouched(&host);
        bundle.assert_nothing_left();
        fs::remove_file(bundle.rootfs("dev/pts/ptmx")).unwrap();
        fs::remove_file(socket.path).unwrap();
    }
}

#[test]
fn what_is_mounted_over_the_multiplexer_is_not_opened() {
    differs!();
    let (bundle, host) = own_dev();
    let over = json!({ "destination": "/dev/pts/ptmx", "type": "bind", "source": format!("{host}/file"), "options": ["bind"] });
    let bundle = bundle.push("/mounts", devpts()).push("/mounts", over);
    let socket = bundle.console_socket();
    let out = bundle.begin("create", &socket.flags()).wait().refused();
    out.names("process.terminal").says("/dev/pts/ptmx");
    untouched(&host);
    bundle.assert_nothing_left();
}

#[test]
fn a_dev_that_is_a_link_stays_inside() {
    differs!();
    let (bundle, host) = own_dev();
    fs::remove_dir(bundle.rootfs("dev")).unwrap();
    symlink(&host, bundle.rootfs("dev")).unwrap();
    let (_c, mut terminal) = bundle.push("/mounts", devpts()).run_with_socket();
    // The path of the host, in the container.
    assert_eq!(
        terminal.ask(&format!("stat -c %t:%T $(tty) {host}/console /dev/console")),
        "88:0\n88:0\n88:0"
    );
    untouched(&host);
}

/// A mount there would be one of the host's.
#[test]
fn without_a_mount_namespace_there_is_no_console() {
    differs!();
    let mut bundle = own_dev().0.without_namespace("mount").set("/mounts", json!([]));
    for key in ["maskedPaths", "readonlyPaths"] {
        bundle = bundle.set(&format!("/linux/{key}"), json!([]));
    }
    fs::create_dir(bundle.rootfs("dev/pts")).unwrap();
    let mount = format!(
        "mount -t devpts -o newinstance,gid=5 devpts {}",
        bundle.rootfs("dev/pts").display()
    );
    let (c, mut terminal) = bundle.after(&mount).run_with_socket();
    assert_eq!(
        terminal.ask("tty; ls /dev/console"),
        "/dev/pts/0\nls: /dev/console: No such file or directory"
    );
    assert!(!c.bundle.rootfs("dev/console").exists());
}

/// exec opens the devpts that the container's processes have at the time.
#[test]
fn exec_takes_no_terminal_from_a_false_devpts() {
    let bundle =
        Bundle::busybox().script("umount /dev/pts && touch /dev/pts/ptmx && echo up && sleep 1000");
    let capabilities = ["CAP_SYS_ADMIN", "CAP_KILL"];
    let sets =
        json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
    let c: Container = bundle.set("/process/capabilities", sets).run_detached();
    c.wait_for("up");
    let socket = c.bundle.console_socket();
    let [flag, path] = socket.flags();
    c.exec(&["--detach", "--tty", flag, path], &["true"])
        .exec_refused()
        .names("process.terminal")
        .names("devpts");
}
