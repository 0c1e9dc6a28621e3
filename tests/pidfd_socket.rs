//! `--pidfd-socket`: a descriptor for the process.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::{Bundle, json, runtime, sockets};

/// What is sent to the next who connects: the text, and the process that the descriptor stands for,
/// as /proc says.
#[track_caller]
fn receive(listener: &UnixListener) -> (String, i32) {
    assert!(sockets::readable(listener, runtime::time_limit()), "nobody connects");
    let (stream, _) = listener.accept().unwrap();
    let (text, descriptors) = sockets::receive(stream);
    let [descriptor] = &descriptors[..] else { panic!("one descriptor, not {descriptors:?}") };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd())).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd");
    (text, pid.trim().parse().unwrap())
}

fn listen(path: &Path) -> UnixListener {
    UnixListener::bind(path).unwrap()
}

#[test]
fn create_and_run_send_init() {
    differs!();
    for verb in ["create", "run"] {
        let bundle = Bundle::busybox().args(["sleep", "60"]);
        let path = bundle.scratch("pidfd.sock");
        let listener = listen(&path);
        let bundle = bundle.flags(["--pidfd-socket", path.to_str().unwrap()]);
        let c = if verb == "create" { bundle.create() } else { bundle.run_detached() };
        assert_eq!(receive(&listener), ("standard".to_owned(), c.pid()), "{verb}");
    }
}

/// crun's users name the socket in an annotation; beside the flag, both are served.
#[test]
fn an_annotation_names_the_socket_as_well() {
    differs!();
    let bundle = Bundle::busybox().args(["sleep", "60"]);
    let (path, other) = (bundle.scratch("annotated.sock"), bundle.scratch("flag.sock"));
    let (listener, flagged) = (listen(&path), listen(&other));
    let bundle = bundle.set("/annotations/run.oci.pidfd_receiver", path.to_str().unwrap());
    let c = bundle.flags(["--pidfd-socket", other.to_str().unwrap()]).create();
    assert_eq!(receive(&listener).1, c.pid());
    assert_eq!(receive(&flagged).1, c.pid());
    let gone = Bundle::busybox().set("/annotations/run.oci.pidfd_receiver", "/nowhere/socket");
    gone.refused().because("/nowhere/socket");
}

#[test]
fn exec_sends_its_process() {
    differs!();
    let c = Bundle::busybox().args(["sleep", "60"]).run_detached();
    let listener = listen(&c.bundle.scratch("pidfd.sock"));
    // Relative to the working directory, as all paths of flags.
    c.exec(&["--pidfd-socket", "pidfd.sock", "--detach", "--pid-file", "pid"], &["sleep", "60"])
        .silent();
    let pid = c.bundle.read("pid").parse().unwrap();
    assert_eq!(receive(&listener), ("setns".to_owned(), pid));
    assert_ne!(pid, c.pid());
}

/// An address holds 107 bytes.
#[test]
fn the_path_may_be_long() {
    differs!();
    let bundle = Bundle::busybox().args(["sleep", "60"]);
    let dir = bundle.scratch_dir(&"long".repeat(50));
    let handle = fs::File::open(&dir).unwrap();
    let listener = listen(Path::new(&format!("/proc/self/fd/{}/s", handle.as_raw_fd())));
    let c = bundle.flags(["--pidfd-socket", dir.join("s").to_str().unwrap()]).create();
    assert_eq!(receive(&listener), ("standard".to_owned(), c.pid()));
}

#[test]
fn a_socket_that_is_not_there_is_refused() {
    differs!();
    let bundle = Bundle::busybox().flags(["--pidfd-socket", "/nowhere/socket"]);
    bundle.refused().says("/nowhere/socket (--pidfd-socket)").because("no such file or directory");
    let bundle = Bundle::busybox();
    let path = bundle.scratch("dead.sock");
    drop(listen(&path));
    let bundle = bundle.flags(["--pidfd-socket", path.to_str().unwrap()]);
    bundle.refused().says("dead.sock (--pidfd-socket)").because("connection refused");
}

#[test]
fn exec_to_a_socket_that_is_not_there_is_refused() {
    differs!();
    let c = Bundle::busybox().args(["sleep", "60"]).run_detached();
    let out = c.exec(&["--pidfd-socket", "/nowhere/socket"], &["touch", "/ran"]).exec_refused();
    out.says("/nowhere/socket (--pidfd-socket)");
    assert!(!c.bundle.rootfs("ran").exists());
}

/// Who takes no message gets none, and there is no container.
#[test]
fn a_listener_that_hangs_up_is_an_error_and_leaves_nothing() {
    differs!();
    let bundle = Bundle::busybox();
    let path = bundle.scratch("pidfd.sock");
    let listener = listen(&path);
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "sleep 1"] });
    let bundle =
        bundle.flags(["--pidfd-socket", path.to_str().unwrap()]).push("/hooks/createRuntime", hook);
    let running = bundle.begin("create", &[]);
    assert!(sockets::readable(&listener, runtime::time_limit()), "nobody connects");
    drop(listener.accept().unwrap());
    running.wait().refused().says("sending the pidfd (--pidfd-socket)").because("broken pipe");
    bundle.assert_nothing_left();
}
