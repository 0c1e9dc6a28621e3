//! `NOTIFY_SOCKET`: the program says that it is ready, and whoever started the runtime hears it.
//!
//! What the program would say is said by the test, on the socket that the container sees: busybox
//! has nothing that sends datagrams.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::runtime::{Running, time_limit};
use crate::support::{Bundle, Container, differences, eventually, json, sockets};

/// Whoever started the runtime, and waits to hear from it.
struct Host(UnixDatagram);

impl Host {
    fn new(bundle: Bundle) -> (Self, Bundle) {
        let path = bundle.scratch("host.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        (Self(socket), bundle.env("NOTIFY_SOCKET", path.to_str().unwrap()))
    }

    #[track_caller]
    fn hears(&self, expected: &str) {
        let (text, descriptors) = sockets::receive(&self.0);
        assert_eq!((text.as_str(), descriptors.len()), (expected, 0));
    }

    /// The last of the messages; as long as the descriptor is open, the runtime waits.
    #[track_caller]
    fn hears_barrier(&self) -> OwnedFd {
        let (text, mut descriptors) = sockets::receive(&self.0);
        assert_eq!((text.as_str(), descriptors.len()), ("BARRIER=1", 1));
        descriptors.remove(0)
    }

    /// All three, and answers.
    #[track_caller]
    fn hears_ready(&self, pid: i32) {
        self.hears("READY=1\n");
        self.hears(&format!("MAINPID={pid}\n"));
        if differences::notify_has_a_barrier() {
            self.hears_barrier();
        }
    }

    fn hears_nothing(&self) -> bool {
        !sockets::readable(&self.0, Duration::from_millis(300))
    }
}

/// Says something on the socket that the container sees.
#[track_caller]
fn say(pid: i32, text: &str) {
    let path = format!("/proc/{pid}/root/run/notify/notify.sock");
    let socket = UnixDatagram::unbound().unwrap();
    let said = eventually(time_limit(), || socket.send_to(text.as_bytes(), &path).is_ok());
    assert!(said, "{:?}", socket.send_to(text.as_bytes(), &path));
}

/// The container's first process, which `run` may not have made yet.
#[track_caller]
fn pid_of(bundle: &Bundle) -> i32 {
    let mut pid = 0;
    let state = || {
        let out = bundle.verb("state");
        let state: serde_json::Value = serde_json::from_str(&out.stdout).unwrap_or_default();
        pid = state["pid"].as_i64().unwrap_or_default() as i32;
        state["status"] == "running"
    };
    assert!(eventually(time_limit(), state));
    pid
}

/// Not ended; nobody has waited for it yet.
fn is_running(runtime: &Running) -> bool {
    !fs::read_to_string(format!("/proc/{}/stat", runtime.pid())).unwrap().contains(") Z ")
}

fn sleeping() -> (Host, Bundle) {
    Host::new(Bundle::busybox().args(["sleep", "60"]))
}

#[test]
fn start_waits_until_the_program_is_ready() {
    let (host, bundle) = sleeping();
    let c = bundle.create();
    let start = c.bundle.start(&["start", c.id()]);
    c.wait_status("running");
    say(c.pid(), "STATUS=coming up");
    say(c.pid(), "WATCHDOG=1\n");
    assert!(host.hears_nothing() && is_running(&start));
    say(c.pid(), "READY=1");
    host.hears_ready(c.pid());
    start.wait().silent();
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn start_waits_for_the_answer_of_the_host() {
    differs!();
    let (host, bundle) = sleeping();
    let c = bundle.create();
    let start = c.bundle.start(&["start", c.id()]);
    c.wait_status("running");
    say(c.pid(), "READY=1");
    host.hears("READY=1\n");
    host.hears(&format!("MAINPID={}\n", c.pid()));
    let descriptor = host.hears_barrier();
    assert!(host.hears_nothing() && is_running(&start));
    drop(descriptor);
    start.wait().silent();
}

#[test]
fn a_detached_run_waits_until_the_program_is_ready() {
    let (host, bundle) = sleeping();
    let run = bundle.begin("run", &["--detach"]);
    let pid = pid_of(&bundle);
    assert!(host.hears_nothing());
    say(pid, "READY=1\nSTATUS=fine");
    host.hears_ready(pid);
    run.wait().silent();
    assert_eq!(pid_of(&bundle), pid);
}

/// There the runtime is what has to be watched: it ends with the container, and with its status.
#[test]
fn a_foreground_run_says_its_own_pid() {
    let (host, bundle) =
        Host::new(Bundle::busybox().script("while [ ! -e /end ]; do sleep 0.05; done; exit 7"));
    let run = bundle.run_in_background();
    say(pid_of(&bundle), "READY=1");
    host.hears_ready(run.pid());
    fs::write(bundle.rootfs("end"), "").unwrap();
    assert_eq!(run.wait().status, 7);
    bundle.assert_nothing_left();
}

#[test]
fn a_foreground_run_passes_signals_on_before_the_program_is_ready() {
    differs!();
    let script = "trap 'echo hup' HUP; trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let (host, bundle) = Host::new(Bundle::busybox().script(script));
    let run = bundle.run_in_background();
    run.wait_for("up");
    run.signal(Signal::SIGHUP);
    run.wait_for("hup");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.wait().status, 5);
    assert!(host.hears_nothing());
    bundle.assert_nothing_left();
}

#[test]
fn a_program_that_never_says_so_ends_as_any_other() {
    differs!();
    let (host, bundle) = Host::new(Bundle::busybox().script("exit 3"));
    assert_eq!(bundle.run_as_is().status, 3);
    bundle.assert_nothing_left();
    let c = bundle.create();
    c.start();
    c.wait_status("stopped");
    c.delete();
    c.bundle.begin("run", &["--detach"]).wait().silent();
    assert!(host.hears_nothing());
}

/// What it said right before its end is said.
#[test]
fn the_last_word_counts() {
    let (host, bundle) =
        Host::new(Bundle::busybox().script("echo up; while [ ! -e /end ]; do sleep 0.05; done"));
    let run = bundle.run_in_background();
    run.wait_for("up");
    let pid = pid_of(&bundle);
    run.signal(Signal::SIGSTOP);
    say(pid, "READY=1");
    fs::write(bundle.rootfs("end"), "").unwrap();
    let ended = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z ");
    assert!(eventually(time_limit(), ended));
    run.signal(Signal::SIGCONT);
    host.hears_ready(run.pid());
    assert_eq!(run.wait().status, 0);
}

/// What the container sees of it.
fn view(bundle: Bundle) -> (String, Container) {
    let script = "echo $NOTIFY_SOCKET; ls -l /run/notify; grep ' /run/notify ' /proc/self/mountinfo; touch /run/notify/x";
    let c = bundle.script(script).create();
    (c.finish(), c)
}

#[test]
fn the_container_has_a_socket_of_its_own() {
    let (_host, bundle) =
        Host::new(Bundle::busybox().push("/process/env", "NOTIFY_SOCKET=/of/the/config"));
    let (seen, _c) = view(bundle);
    let lines: Vec<&str> = seen.lines().filter(|line| !line.starts_with("total")).collect();
    assert_eq!(lines[0], "/run/notify/notify.sock");
    assert!(lines[1].starts_with("srwxrwxrwx"), "{seen}");
    let options = lines[2].split(' ').nth(5).unwrap();
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(options.split(',').any(|other| other == option), "{seen}");
    }
    assert_eq!(lines.len(), 3, "{seen}");
}

#[test]
fn a_user_namespace_has_it_too() {
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let (host, bundle) = sleeping();
    let bundle = bundle.push("/linux/namespaces", json!({ "type": "user" }));
    let bundle = bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
    for directory in [bundle.path(), bundle.rootfs(""), bundle.rootfs("dev"), bundle.rootfs("run")]
    {
        fs::create_dir_all(&directory).unwrap();
        std::os::unix::fs::chown(&directory, Some(100_000), Some(100_000)).unwrap();
    }
    let run = bundle.begin("run", &["--detach"]);
    let pid = pid_of(&bundle);
    say(pid, "READY=1");
    host.hears_ready(pid);
    run.wait().silent();
}

/// The rootfs is the enemy.
#[test]
fn a_link_in_its_place_does_not_lead_out() {
    let (_host, bundle) = Host::new(Bundle::busybox());
    let outside = bundle.scratch_dir("outside");
    std::os::unix::fs::symlink(&outside, bundle.rootfs("run")).unwrap();
    let (seen, _c) = view(bundle);
    assert!(seen.starts_with("/run/notify/notify.sock\n"), "{seen}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn without_the_variable_there_is_nothing_of_it() {
    for bundle in [Bundle::busybox(), Bundle::busybox().env("NOTIFY_SOCKET", "")] {
        let c = bundle.script("echo $NOTIFY_SOCKET; ls /run/notify").create();
        assert!(!c.bundle.state_root().join(c.id()).join("notify").exists());
        assert_eq!(c.finish(), "\n");
    }
}

#[test]
fn exec_has_nothing_of_it() {
    let (host, bundle) = sleeping();
    let run = bundle.begin("run", &["--detach"]);
    let pid = pid_of(&bundle);
    say(pid, "READY=1");
    host.hears_ready(pid);
    run.wait().silent();
    let out = bundle.call(&["exec", bundle.id(), "sh", "-c", "echo .$NOTIFY_SOCKET."]).ok();
    assert_eq!(out.stdout, "..\n");
}

/// `start` tells before it has opened the gate.
#[test]
fn nobody_at_the_socket_is_an_error_of_start() {
    differs!();
    let bundle = Bundle::busybox().env("NOTIFY_SOCKET", "/nowhere/notify.sock");
    let c = bundle.create();
    c.verb("start").refused().says("$NOTIFY_SOCKET").because("no such file or directory");
    assert_eq!(c.status(), "created");
}

#[test]
fn nobody_at_the_socket_does_not_keep_run_from_running() {
    let mut bundle = Bundle::busybox().env("NOTIFY_SOCKET", "/nowhere/notify.sock");
    assert_eq!(bundle.run(["echo", "hi"]).ok().stdout, "hi\n");
    bundle.assert_nothing_left();
}

#[test]
fn a_container_that_was_created_without_it_cannot_be_started_with_it() {
    let (_host, with) = Host::new(Bundle::busybox());
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    let root = c.bundle.state_root();
    let out = with.call(&["--root", root.to_str().unwrap(), "start", c.id()]);
    assert_eq!(out.status, 1, "{out:?}");
    assert_eq!(c.status(), "created");
}

/// `delete` of a container whose `start` still waits.
#[test]
fn a_waiting_start_holds_nobody_off() {
    let (_host, bundle) = sleeping();
    let c: Container = bundle.create();
    let start = c.bundle.start(&["start", c.id()]);
    c.wait_status("running");
    c.delete_by_force();
    assert_eq!(start.wait().status, 0);
    c.bundle.assert_nothing_left();
}

/// systemd listens at such addresses, too.
#[test]
fn the_address_may_be_an_abstract_one() {
    use std::os::linux::net::SocketAddrExt;
    let bundle = Bundle::busybox().args(["sleep", "60"]);
    let name = format!("orlop-test-{}", bundle.name());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let host = Host(UnixDatagram::bind_addr(&address).unwrap());
    let bundle = bundle.env("NOTIFY_SOCKET", &format!("@{name}"));
    let run = bundle.begin("run", &["--detach"]);
    let pid = pid_of(&bundle);
    say(pid, "READY=1");
    host.hears_ready(pid);
    run.wait().silent();
}
