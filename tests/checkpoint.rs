//! `checkpoint` and `restore`, where criu works

use std::fs;
use std::process::{Command, Stdio};

use crate::support::runtime::{Output, time_limit};
use crate::support::{Bundle, Container, eventually, json, link};

/// Whether criu can save and restore processes on this kernel.
pub fn criu_works() -> bool {
    let check =
        Command::new("criu").arg("check").stdout(Stdio::null()).stderr(Stdio::null()).status();
    check.is_ok_and(|status| status.success())
}

/// Whether there is one at all.
fn criu_is_there() -> bool {
    Command::new("criu").arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// Whether the kernel tells criu which pages were written to.
fn changes_of_memory_are_seen() -> bool {
    let check = Command::new("criu").args(["check", "--feature", "mem_dirty_track"]).output();
    check.is_ok_and(|check| check.status.success())
}

/// Whether a pipe can be as large as criu's page server wants.
fn a_pipe_can_be_large() -> bool {
    let (read, _write) = rustix::pipe::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&read, 4 << 20).is_ok()
}

/// Counts, in a file of the rootfs, and has no standard stream that is outside of the container.
pub const COUNT: &str = "exec </dev/null >/log 2>&1; i=0; while :; do echo $((i=i+1)) >/count.new; mv /count.new /count; sleep 0.1; done";

fn count(bundle: &Bundle) -> u64 {
    fs::read_to_string(bundle.rootfs("count"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

#[track_caller]
fn counts_on(bundle: &Bundle) {
    let before = count(bundle);
    assert!(
        eventually(time_limit(), || count(bundle) > before + 1),
        "it counts no further than {before}"
    );
}

pub fn counting(bundle: Bundle) -> Container {
    let c = bundle.script(COUNT).run_detached();
    counts_on(&c.bundle);
    c
}

/// Calls `verb` with the directories of the images and the work, these flags, and the id.
fn call(bundle: &Bundle, verb: &str, flags: &[&str]) -> Output {
    bundle.call(&args(bundle, verb, flags).iter().map(String::as_str).collect::<Vec<_>>())
}

fn args(bundle: &Bundle, verb: &str, flags: &[&str]) -> Vec<String> {
    let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let mut args = vec![verb.to_owned(), "--image-path".to_owned(), path(bundle.scratch("images"))];
    args.extend(["--work-path".to_owned(), path(bundle.scratch("work"))]);
    if verb == "restore" {
        args.extend(["--bundle".to_owned(), path(bundle.path())]);
    }
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    args.push(bundle.id().to_owned());
    args
}

#[track_caller]
pub fn checkpoint(c: &Container, flags: &[&str]) {
    call(&c.bundle, "checkpoint", flags).silent();
}

#[track_caller]
pub fn restore(c: &Container, flags: &[&str]) {
    let flags: Vec<&str> = ["--detach"].iter().chain(flags).copied().collect();
    call(&c.bundle, "restore", &flags).silent();
    assert_eq!(c.status(), "running");
}

#[test]
fn processes_go_on_where_they_were() {
    needs!(criu_works(), "criu that works");
    let c = counting(Bundle::busybox().set("/linux/resources/pids/limit", 77));
    for _ in 0..2 {
        checkpoint(&c, &[]);
        c.verb("state").refused().says("does not exist");
        c.bundle.assert_nothing_left();
        let reached = count(&c.bundle);
        assert!(reached > 1 && c.bundle.scratch("images/inventory.img").exists());
        restore(&c, &[]);
        counts_on(&c.bundle);
        assert!(count(&c.bundle) > reached, "it does not begin anew");
        assert_eq!(
            c.exec_sh("hostname; cat /proc/1/comm; ulimit -n").ok().stdout,
            "orlop\nsh\n1024\n"
        );
    }
    assert_eq!(c.exec_sh("cat /sys/fs/cgroup/pids.max 2>/dev/null || echo 77").ok().line(), "77");
    c.kill("KILL");
    c.wait_status("stopped");
    c.delete();
    c.bundle.assert_nothing_left();
}

#[test]
fn leave_running_leaves_it_running() {
    needs!(criu_works(), "criu that works");
    let c = counting(Bundle::busybox());
    let pid = c.pid();
    checkpoint(&c, &["--leave-running"]);
    assert_eq!((c.status().as_str(), c.pid()), ("running", pid));
    counts_on(&c.bundle);
    c.delete_by_force();
    restore(&c, &[]);
    counts_on(&c.bundle);
}

/// What criu cannot save: a connection, unless it is told to. Where criu does not work, that is the
/// reason.
#[test]
fn a_checkpoint_that_fails_leaves_all_as_it_was() {
    needs!(criu_is_there(), "criu");
    let c = counting(Bundle::busybox());
    let script = "(sleep 1000 | nc -l -p 7000) >/dev/null & sleep 1; (sleep 1000 | nc 127.0.0.1 7000) >/dev/null & sleep 1";
    c.exec_sh(&format!("exec </dev/null >/dev/null 2>&1; {script}")).ok();
    let pid = c.pid();
    let output = call(&c.bundle, "checkpoint", &[]).refused();
    let log = c.bundle.scratch("work/dump.log");
    output.says("criu failed: type ").says(&format!("log file: {}", log.display()));
    assert!(!c.bundle.read("work/dump.log").is_empty());
    assert_eq!((c.status().as_str(), c.pid()), ("running", pid));
    counts_on(&c.bundle);
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn images_of_which_nothing_can_be_restored_leave_nothing() {
    needs!(criu_is_there(), "criu");
    let bundle = Bundle::busybox();
    bundle.write_config();
    fs::write(bundle.scratch_dir("images").join("descriptors.json"), "[]").unwrap();
    let pid_file = bundle.scratch("pid");
    let output =
        call(&bundle, "restore", &["--detach", "--pid-file", pid_file.to_str().unwrap()]).refused();
    output
        .says("criu failed: type RESTORE errno")
        .says(&format!("{}", bundle.scratch("work/restore.log").display()));
    assert!(!pid_file.exists());
    bundle.assert_nothing_left();
}

/// criu brings processes back in a time namespace, so that their clocks go on from where they
/// stood.
#[test]
fn exec_has_the_clocks_of_what_was_restored() {
    differs!();
    needs!(criu_works(), "criu that works");
    let c = counting(Bundle::busybox());
    checkpoint(&c, &[]);
    restore(&c, &[]);
    let clocks = c.exec_sh("readlink /proc/self/ns/time; readlink /proc/1/ns/time").ok();
    assert_eq!(clocks.lines()[0], clocks.lines()[1]);
    assert_ne!(clocks.lines()[0], crate::support::host_namespace("time"));
}

#[test]
fn the_pid_file_names_the_restored_process() {
    needs!(criu_works(), "criu that works");
    let c = counting(Bundle::busybox());
    checkpoint(&c, &[]);
    let pid_file = c.bundle.scratch("pid");
    restore(&c, &["--pid-file", pid_file.to_str().unwrap()]);
    assert_eq!(c.bundle.read("pid"), c.pid().to_string());
    assert!(c.bundle.scratch("work/restore.log").exists());
}

#[test]
fn restore_in_the_foreground_ends_as_the_program() {
    needs!(criu_works(), "criu that works");
    let script = "exec </dev/null >/log 2>&1; echo $$ >/count; until [ -e /end ]; do sleep 0.1; done; exit 7";
    let c = Bundle::busybox().script(script).run_detached();
    assert!(eventually(time_limit(), || count(&c.bundle) == 1));
    checkpoint(&c, &[]);
    let args = args(&c.bundle, "restore", &[]);
    let running = c.bundle.start(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(eventually(time_limit(), || c.verb("state").stdout.contains("\"running\"")));
    fs::write(c.bundle.rootfs("end"), "").unwrap();
    assert_eq!(running.wait().status, 7);
    c.bundle.assert_nothing_left();
}

/// The ends that the container had are gone with whoever held the others.
#[test]
fn standard_streams_are_those_of_the_restore() {
    needs!(criu_works(), "criu that works");
    let bundle =
        Bundle::busybox().script("while read -r line; do echo \"heard $line\"; done; echo the end");
    bundle.write_config();
    let path = bundle.path();
    let piped = |args: &[&str]| {
        let mut command = bundle.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut first = piped(&["run", "--detach", "--bundle", path.to_str().unwrap(), bundle.id()]);
    let ends = (first.stdin.take(), first.stdout.take(), first.stderr.take());
    assert!(first.wait().unwrap().success());
    call(&bundle, "checkpoint", &[]).silent();
    drop(ends);
    let args = args(&bundle, "restore", &["--detach"]);
    let mut second = piped(&args.iter().map(String::as_str).collect::<Vec<_>>());
    use std::io::Write;
    second.stdin.take().unwrap().write_all(b"me\n").unwrap();
    let out = second.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "heard me\nthe end\n", "{out:?}");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}

/// Where there is nothing to read, callers give the container the host's.
#[test]
fn the_null_device_of_the_host_may_be_a_stream() {
    needs!(criu_works(), "criu that works");
    let c = Bundle::busybox().script(&COUNT.replace("</dev/null ", "")).run_detached();
    counts_on(&c.bundle);
    checkpoint(&c, &[]);
    restore(&c, &[]);
    counts_on(&c.bundle);
}

#[test]
fn a_terminal_goes_to_the_new_console_socket() {
    needs!(criu_works(), "criu that works");
    let (c, mut terminal) = Bundle::with_terminal().run_with_socket();
    assert_eq!(terminal.ask("x=kept; echo here"), "here");
    checkpoint(&c, &[]);
    fs::remove_file(c.bundle.scratch("console")).unwrap();
    let socket = c.bundle.console_socket();
    restore(&c, &["--console-socket", socket.path.to_str().unwrap()]);
    let mut terminal = socket.receive();
    assert_eq!(terminal.ask("echo $x"), "kept");
    c.delete_by_force();
}

#[test]
fn memory_can_be_saved_before() {
    needs!(criu_works(), "criu that works");
    needs!(changes_of_memory_are_seen(), "CONFIG_MEM_SOFT_DIRTY");
    let c = counting(Bundle::busybox());
    let parent = c.bundle.scratch("parent");
    c.bundle
        .call(&["checkpoint", "--pre-dump", "--image-path", parent.to_str().unwrap(), c.id()])
        .silent();
    assert_eq!(c.status(), "running");
    assert!(
        fs::read_dir(&parent)
            .unwrap()
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("pages-"))
    );
    counts_on(&c.bundle);
    checkpoint(&c, &["--parent-path", "../parent"]);
    assert!(c.bundle.scratch("images/parent").exists());
    restore(&c, &[]);
    counts_on(&c.bundle);
}

#[test]
fn joined_namespaces_are_joined_again() {
    needs!(criu_works(), "criu that works");
    let other = Bundle::busybox().args(["sleep", "1000"]).run_detached();
    let mut bundle = Bundle::busybox()
        .without_namespace("network")
        .without_namespace("uts")
        .without_namespace("ipc");
    for (kind, file) in [("network", "net"), ("uts", "uts"), ("ipc", "ipc")] {
        let path = format!("/proc/{}/ns/{file}", other.pid());
        bundle = bundle.push("/linux/namespaces", json!({ "type": kind, "path": path }));
    }
    let c = counting(bundle.remove("/hostname"));
    checkpoint(&c, &[]);
    restore(&c, &[]);
    for file in ["net", "uts", "ipc"] {
        let of = |c: &Container| link(format!("/proc/{}/ns/{file}", c.pid()));
        assert_eq!(of(&c), of(&other));
    }
    counts_on(&c.bundle);
}

#[test]
fn hooks_run_when_the_namespaces_are_there() {
    needs!(criu_works(), "criu that works");
    let bundle = Bundle::busybox();
    let hook = |name: &str| {
        let script = format!(
            "cat >{}; echo {name} >>{}",
            bundle.scratch("state.json").display(),
            bundle.scratch("hooks").display()
        );
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }])
    };
    let hooks = json!({ "prestart": hook("prestart"), "createRuntime": hook("createRuntime"), "poststop": hook("poststop") });
    let c = counting(bundle.set("/hooks", hooks));
    checkpoint(&c, &[]);
    assert_eq!(c.bundle.read("hooks"), "prestart\ncreateRuntime\npoststop\n");
    restore(&c, &[]);
    assert_eq!(
        c.bundle.read("hooks"),
        "prestart\ncreateRuntime\npoststop\nprestart\ncreateRuntime\n"
    );
    assert!(
        c.bundle.read("state.json").contains(&format!("\"pid\":{}", c.pid())),
        "{}",
        c.bundle.read("state.json")
    );
}

#[test]
fn a_hook_that_fails_undoes_the_restore() {
    differs!();
    needs!(criu_works(), "criu that works");
    let c = counting(Bundle::busybox());
    checkpoint(&c, &[]);
    let mut config = c.bundle.config.clone();
    config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", "echo no luck >&2; exit 3"] }] });
    fs::write(c.bundle.path().join("config.json"), config.to_string()).unwrap();
    call(&c.bundle, "restore", &["--detach"]).refused().says("no luck");
    c.bundle.assert_nothing_left();
}

#[test]
fn the_loopback_interface_is_up_again() {
    differs!();
    needs!(criu_works(), "criu that works");
    let c = counting(Bundle::busybox());
    checkpoint(&c, &[]);
    restore(&c, &[]);
    assert!(c.exec_sh("ip addr show lo").ok().stdout.contains("127.0.0.1/8"));
}

#[test]
fn pages_are_brought_when_they_are_touched() {
    needs!(criu_works(), "criu that works");
    needs!(a_pipe_can_be_large(), "CAP_SYS_RESOURCE, or a high fs.pipe-max-size");
    let c = counting(Bundle::busybox());
    let images = c.bundle.scratch("images");
    let args = args(
        &c.bundle,
        "checkpoint",
        &["--lazy-pages", "--page-server", "127.0.0.1:27277", "--status-fd", "7"],
    );
    let inner = c.bundle.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut dump = Command::new("sh");
    let script = format!("exec 7>{}; exec \"$@\"", c.bundle.scratch("status").display());
    dump.args(["-c", &script, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(c.bundle.dir());
    let mut dump = dump.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    assert!(
        eventually(time_limit(), || c.bundle.read("status") == "\0"),
        "nobody says that pages can be asked for"
    );
    let mut lazy = Command::new("criu");
    lazy.args(["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", "27277", "-D"])
        .arg(&images);
    let mut lazy = lazy.stdout(Stdio::null()).spawn().unwrap();
    let path = c.bundle.path();
    let restored = format!("{}-lazy", c.id());
    let flags = ["restore", "-d", "--lazy-pages", "--image-path", images.to_str().unwrap()];
    let flags: Vec<&str> = flags
        .iter()
        .chain(&[
            "--work-path",
            images.to_str().unwrap(),
            "--bundle",
            path.to_str().unwrap(),
            &restored,
        ])
        .copied()
        .collect();
    c.bundle.call(&flags).silent();
    counts_on(&c.bundle);
    assert!(dump.wait().unwrap().success() && lazy.wait().unwrap().success());
    counts_on(&c.bundle);
    c.bundle.call(&["delete", "--force", &restored]).silent();
    c.bundle.assert_nothing_left();
}
