//! `exec`: the verb. What the process is made of is in `exec_process`, its cgroup in `exec_cgroup`.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{
    Bundle, Container, Output, eventually, host_namespace, json, link, runtime, userland,
};

/// A container that sleeps.
fn sleeping() -> Container {
    Bundle::busybox().args(["sleep", "600"]).run_detached()
}

#[test]
fn exec_prints_what_the_program_prints_and_nothing_else() {
    let out = sleeping().exec_sh("echo out; echo err >&2").ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn exec_passes_stdin_and_large_output_on() {
    let c = Bundle::busybox().input("one\ntwo\n").args(["sleep", "600"]).run_detached();
    assert_eq!(c.exec(&[], &["wc", "-l"]).ok().line(), "2");
    assert_eq!(c.exec_sh("yes 0123456 | head -c 4000000").ok().stdout.len(), 4_000_000);
}

#[test]
fn exec_returns_the_exit_status() {
    let c = sleeping();
    for status in [0, 1, 7, 255] {
        let out = c.exec_sh(&format!("exit {status}"));
        assert_eq!((out.status, out.stderr.as_str()), (status, ""));
    }
    for (signal, status) in [("KILL", 137), ("TERM", 143), ("USR1", 138)] {
        let out = c.exec_sh(&format!("kill -{signal} $$"));
        assert_eq!((out.status, out.stderr.as_str()), (status, ""), "{signal}");
    }
}

#[test]
fn a_program_that_cannot_be_run_is_told() {
    let c = sleeping();
    c.exec(&[], &["nosuch"]).exec_refused().says("executable file not found in $PATH");
    c.exec(&[], &["/nosuch"]).exec_refused().says("no such file or directory");
    c.exec(&[], &["/etc/passwd"]).exec_refused().says("permission denied");
    c.exec(&[], &["/etc"]).exec_refused().says("permission denied");
    userland::write_program(&c.bundle.rootfs("run.sh"), "#!/mmnnttbb foo\n");
    let out = c.exec(&[], &["/run.sh"]);
    assert_ne!(out.status, 0);
    out.says("exec /run.sh: no such file or directory");
    assert_eq!(c.status(), "running");
}

#[test]
fn a_container_that_does_not_run_is_refused() {
    let bundle = Bundle::busybox();
    bundle.call(&["exec", bundle.id(), "true"]).exec_refused().says("container does not exist");
    let c = bundle.run_detached();
    c.wait_status("stopped");
    c.exec(&[], &["true"]).exec_refused().says("cannot exec in a stopped container");
}

#[test]
fn a_created_container_takes_a_program() {
    let c = Bundle::busybox().args(["echo", "started"]).create();
    assert_eq!(c.exec(&[], &["echo", "before"]).ok().stdout, "before\n");
    assert_eq!(c.status(), "created");
    assert_eq!(c.finish(), "started\n");
}

#[test]
fn a_missing_program_or_id_is_refused() {
    let c = sleeping();
    c.exec(&[], &[]).exec_refused().says("args cannot be empty");
    assert_eq!(c.bundle.call(&["exec"]).status, 1);
}

#[test]
fn flags_end_at_the_id() {
    let c = sleeping();
    assert_eq!(
        c.exec(&[], &["echo", "-e", "--cwd", "--", "-p", "--help"]).ok().stdout,
        "-e --cwd -- -p --help\n".replace("-e ", "")
    );
    assert_eq!(
        c.exec(&[], &["printf", "%s ", "-d", "--user", "--", "x"]).ok().stdout,
        "-d --user -- x "
    );
    assert_eq!(c.exec(&["--"], &["echo", "x"]).ok().stdout, "x\n");
    c.exec(&[], &["--", "true"]).exec_refused();
    assert_eq!(c.exec(&["--nosuch"], &["true"]).status, 1);
}

/// The namespaces of `exec`'s process by their links in /proc.
fn namespaces(c: &Container) -> Vec<(&'static str, String)> {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let out = c
        .exec_sh("cd /proc/self/ns; for n in cgroup ipc mnt net pid user uts; do readlink $n; done")
        .ok();
    kinds.into_iter().zip(out.lines().into_iter().map(str::to_owned)).collect()
}

#[test]
fn all_namespaces_of_the_container_are_joined() {
    let c = sleeping();
    for (kind, file) in namespaces(&c) {
        assert_eq!(file, link(format!("/proc/{}/ns/{kind}", c.pid())));
        assert_eq!(file == host_namespace(kind), kind == "user", "{kind}");
    }
    let out = c.exec_sh("echo $$; cut -d' ' -f5,6 /proc/$$/stat; hostname; ls /").ok();
    assert_eq!(out.lines()[2], "orlop");
    let pid = out.lines()[0];
    assert_eq!(out.lines()[1], format!("{pid} {pid}"), "a session of its own");
    assert!(!out.lines().contains(&"usr"), "{out:?}");
}

#[test]
fn namespaces_that_are_the_hosts_stay_so() {
    let mut bundle = Bundle::busybox().remove("/hostname").args(["sleep", "600"]);
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        bundle = bundle.without_namespace(kind);
    }
    let c = bundle.run_detached();
    for (kind, file) in namespaces(&c) {
        assert_eq!(file, link(format!("/proc/{}/ns/{kind}", c.pid())));
        assert_eq!(file == host_namespace(kind), kind != "mnt", "{kind}");
    }
}

#[test]
fn namespaces_joined_by_path_are_joined_again() {
    let other = sleeping();
    let mut bundle = Bundle::busybox().remove("/hostname").args(["sleep", "600"]);
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
        let path = format!("/proc/{}/ns/{file}", other.pid());
        bundle = bundle
            .without_namespace(kind)
            .push("/linux/namespaces", json!({ "type": kind, "path": path }));
    }
    let c = bundle.run_detached();
    for (kind, file) in namespaces(&c) {
        assert_eq!(file, link(format!("/proc/{}/ns/{kind}", c.pid())), "{kind}");
        let shared = ["net", "ipc", "uts", "pid", "user"].contains(&kind);
        assert_eq!(file == link(format!("/proc/{}/ns/{kind}", other.pid())), shared, "{kind}");
    }
}

#[test]
fn a_time_namespace_is_joined() {
    differs!();
    let bundle = Bundle::busybox()
        .args(["sleep", "600"])
        .push("/linux/namespaces", json!({ "type": "time" }));
    let c = bundle
        .set("/linux/timeOffsets/boottime", json!({ "secs": 1_000_000, "nanosecs": 0 }))
        .run_detached();
    let out = c.exec_sh("readlink /proc/self/ns/time; cut -d. -f1 /proc/uptime").ok();
    assert_eq!(out.lines()[0], link(format!("/proc/{}/ns/time", c.pid())));
    assert!(out.lines()[1].parse::<u64>().unwrap() > 1_000_000, "{out:?}");
}

/// Such a container is held by chroot alone, and so must be what joins it.
#[test]
fn a_container_without_a_mount_namespace_keeps_its_root() {
    differs!();
    let mut bundle = Bundle::busybox()
        .without_namespace("mount")
        .set("/mounts", json!([]))
        .args(["sleep", "600"]);
    for key in ["maskedPaths", "readonlyPaths"] {
        bundle = bundle.remove(&format!("/linux/{key}"));
    }
    let out = bundle.run_detached().exec_sh("pwd; ls /; ls ..").ok();
    assert_eq!(out.lines()[0], "/");
    assert!(!out.lines().contains(&"usr"), "{out:?}");
}

#[test]
fn no_pivot_makes_no_difference() {
    let c = Bundle::busybox().flags(["--no-pivot"]).args(["sleep", "600"]).run_detached();
    assert!(!c.exec(&[], &["ls", "/"]).ok().lines().contains(&"usr"));
}

#[test]
fn detach_returns_while_the_program_runs() {
    let c = sleeping();
    c.exec(&["--detach"], &["sh", "-c", "echo up > /said; sleep 600"]).silent();
    assert!(
        eventually(runtime::time_limit(), || fs::read_to_string(c.bundle.rootfs("said")).is_ok())
    );
    c.exec(&["-d"], &["true"]).silent();
    c.exec(&["-d"], &["nosuch"]).exec_refused();
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

/// Of a process that is alive: its parent and the inode of its pid namespace.
fn parent_of(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_pid_file_names_the_process() {
    let c = sleeping();
    c.exec(&["-d", "--pid-file", "pid"], &["sleep", "599"]).silent();
    let text = c.bundle.read("pid");
    let pid: i32 = text.parse().unwrap_or_else(|error| panic!("{error}: {text:?}"));
    assert_ne!(pid, c.pid());
    assert_eq!(link(format!("/proc/{pid}/ns/pid")), link(format!("/proc/{}/ns/pid", c.pid())));
    let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert!(eventually(runtime::time_limit(), || name() == "sleep\n"), "{}", name());
    // The runtime is gone, so its child belongs to whoever takes orphans in.
    assert_ne!(parent_of(pid), 0);
    assert_eq!(parent_of(pid), parent_of(c.pid()));
    let running = c.start_exec(&["--pid-file", "other"], &["sh", "-c", "echo ready; sleep 599"]);
    running.wait_for("ready");
    // The program may be faster than the runtime.
    assert!(eventually(runtime::time_limit(), || !c.bundle.read("other").is_empty()));
    let other: i32 = c.bundle.read("other").parse().unwrap();
    assert_eq!(parent_of(other), running.pid());
}

#[test]
fn a_pid_file_that_cannot_be_written_fails() {
    let c = sleeping();
    c.exec(&["--pid-file", "/nosuch/pid"], &["true"])
        .exec_refused()
        .because("no such file or directory");
}

#[test]
fn no_program_runs_without_its_pid_file() {
    differs!();
    let c = sleeping();
    c.exec(&["--pid-file", "/nosuch/pid"], &["touch", "/ran"]).exec_refused();
    assert!(!c.bundle.rootfs("ran").exists());
}

#[test]
fn a_program_that_cannot_be_run_leaves_no_pid_file() {
    let c = sleeping();
    c.exec(&["--pid-file", "pid"], &["/nosuch"]).exec_refused();
    assert_eq!(c.bundle.read("pid"), "");
}

#[test]
fn signals_are_forwarded() {
    let c = sleeping();
    for name in ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2"] {
        let script = format!(
            "trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
        );
        let running = c.start_exec(&[], &["sh", "-c", &script]);
        running.wait_for("ready");
        running.signal(format!("SIG{name}").parse::<Signal>().unwrap());
        let out = running.wait();
        assert_eq!((out.status, out.stdout), (9, format!("ready\ngot {name}\n")));
    }
}

#[test]
fn exec_ends_when_the_container_does() {
    let c = sleeping();
    let running = c.start_exec(&[], &["sh", "-c", "echo ready; sleep 599"]);
    running.wait_for("ready");
    c.kill("KILL");
    assert_eq!(running.wait().status, 137);
}

#[test]
fn the_container_outlives_the_runtime_of_exec() {
    let c = sleeping();
    for _ in 0..10 {
        c.exec(&[], &["true"]).silent();
    }
    assert_eq!(c.status(), "running");
    let left: Vec<_> = c.bundle.processes().into_iter().filter(|pid| *pid != c.pid()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn many_at_once() {
    let c = sleeping();
    let all: Vec<_> =
        (0..20).map(|n| c.start_exec(&[], &["sh", "-c", &format!("echo {n}; exit {n}")])).collect();
    for (n, running) in all.into_iter().enumerate() {
        let out = running.wait();
        assert_eq!((out.status, out.stdout), (i32::try_from(n).unwrap(), format!("{n}\n")));
    }
}

/// Whatever the moment at which the container dies, `exec` ends with a status or a reason.
#[test]
fn a_container_that_dies_meanwhile_is_told() {
    for delay in 0..15 {
        let c = sleeping();
        let running = c.start_exec(&[], &["sleep", "599"]);
        std::thread::sleep(Duration::from_millis(delay * 2));
        c.kill("KILL");
        let out = running.wait();
        assert!(out.status == 137 || out.status == 255 && !out.stderr.is_empty(), "{out:?}");
        c.wait_status("stopped");
        c.delete();
        c.bundle.assert_nothing_left();
    }
}

/// What is in the container must not be changed by an image's links before the program runs.
#[test]
fn cwd_cannot_be_a_directory_of_the_host() {
    let c = sleeping();
    for n in 0..20 {
        let path = format!("/proc/self/fd/{n}");
        let out = c
            .exec(&["--cwd", &path], &["sh", "-c", "pwd -P; ls ../..; ls ../../../../../../../.."]);
        // The host has a /usr, the container has none.
        let reached = out.stdout.contains("(unreachable)") || out.lines().contains(&"usr");
        assert!(!reached, "{n}: {out:?}");
    }
}

/// The same for the program: a link of the image must not lead through a descriptor of ours to one
/// of the host's.
#[test]
fn the_program_cannot_be_one_of_the_host() {
    let c = sleeping();
    for link in userland::links_to_a_program_of_the_host(&c.bundle) {
        let out = c.exec(&[], &[&link, "echo", "escaped"]);
        assert!(out.status != 0 && out.stdout.is_empty(), "{link}: {out:?}");
    }
}

#[test]
fn no_descriptor_but_stdio_reaches_the_program() {
    let bundle =
        Bundle::busybox().after("exec 3</etc/passwd 7</etc/passwd 9</etc").args(["sleep", "600"]);
    let c = bundle.run_detached();
    // 3 is the directory that ls is reading.
    assert_eq!(c.exec(&[], &["ls", "/proc/self/fd"]).ok().lines(), ["0", "1", "2", "3"]);
}

/// CVE-2019-5736, by `exec`.
#[test]
fn the_program_of_the_runtime_cannot_be_overwritten() {
    let bundle = Bundle::busybox();
    let file = bundle.scratch("runtime");
    userland::copy_program(&runtime::program_file(), &file);
    let before = fs::read(&file).unwrap();
    symlink("/proc/self/exe", bundle.rootfs("link")).unwrap();
    let c = bundle.program(file.clone()).args(["sleep", "600"]).run_detached();
    for program in ["/proc/self/exe", "/link"] {
        c.exec(&[], &[program, "--version"]);
    }
    // A process of the container waits for ours to come by, and holds on to its program.
    let script = "cd /proc; while :; do for p in [0-9]*; do readlink $p/exe | grep -q -e busybox || command exec 4<$p/exe && break 2; done; done; \
                  sleep 1; echo gotcha > /proc/self/fd/4; echo $? > /done";
    c.exec(&["-d"], &["sh", "-c", script]).silent();
    for _ in 0..30 {
        c.exec(&[], &["true"]).ok();
    }
    c.delete_by_force();
    assert!(fs::read(&file).unwrap() == before, "the program has changed");
}

#[test]
fn the_error_is_logged_for_programs_to_read() {
    let c = sleeping();
    let log = c.bundle.scratch("log");
    let out: Output = c.bundle.call(&[
        "--log",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "exec",
        c.id(),
        "nosuch",
    ]);
    assert_eq!(out.status, 255, "{out:?}");
    let line = c.bundle.read("log").lines().last().unwrap().to_owned();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().unwrap().contains("executable file not found in $PATH"), "{line}");
}
