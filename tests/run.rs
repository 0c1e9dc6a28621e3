//! `run`

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Bundle, eventually, json};

#[test]
fn run_prints_what_the_program_prints_and_nothing_else() {
    let out = Bundle::busybox().sh("echo out; echo err >&2").ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn run_passes_stdin_on() {
    let out = Bundle::busybox().input("one\ntwo\n").run(["wc", "-l"]).ok();
    assert_eq!(out.line(), "2");
}

#[test]
fn run_passes_large_output_on() {
    let out = Bundle::busybox().sh("yes 0123456 | head -c 4000000").ok();
    assert_eq!(out.stdout.len(), 4_000_000);
}

#[test]
fn standard_descriptors_that_are_closed_are_no_files_of_ours() {
    let mut bundle = Bundle::busybox().after("exec <&- >&-");
    let out =
        bundle.sh("for fd in 0 1; do file=$(readlink /proc/$$/fd/$fd); echo $file >&2; done").ok();
    // runc passes on what the program writes.
    let harmless = |line: &str| line == "/dev/null" || line.starts_with("pipe:");
    assert!(out.stderr.lines().count() == 2 && out.stderr.lines().all(harmless), "{out:?}");
}

#[test]
fn run_returns_the_exit_status() {
    for status in [0, 1, 7, 255] {
        let out = Bundle::busybox().sh(&format!("exit {status}"));
        assert_eq!((out.status, out.stderr.as_str()), (status, ""));
    }
}

#[test]
fn run_returns_128_and_the_signal_that_ended_the_program() {
    for (signal, status) in [("KILL", 137), ("TERM", 143), ("USR1", 138)] {
        let out = Bundle::busybox().without_namespace("pid").sh(&format!("kill -{signal} $$"));
        assert_eq!((out.status, out.stderr.as_str()), (status, ""), "{signal}");
    }
}

#[test]
fn run_ends_when_the_container_is_killed_from_outside() {
    let bundle = Bundle::busybox().script("echo ready; sleep 60");
    let running = bundle.run_in_background();
    running.wait_for("ready");
    bundle.call(&["kill", bundle.id(), "KILL"]).silent();
    assert_eq!(running.wait().status, 137);
    bundle.assert_nothing_left();
}

#[test]
fn run_leaves_nothing_behind() {
    let mut bundle = Bundle::busybox();
    bundle.run(["true"]).silent();
    bundle.assert_nothing_left();
    assert_eq!(bundle.sh("exit 3").status, 3);
    bundle.assert_nothing_left();
}

#[test]
fn run_kills_what_the_program_left_running() {
    differs!();
    let mut bundle = Bundle::busybox().without_namespace("pid");
    bundle.sh("setsid sleep 60 >/dev/null 2>&1 & exit 0").ok();
    bundle.assert_nothing_left();
}

#[test]
fn keep_keeps_the_stopped_container() {
    let mut bundle = Bundle::busybox().flags(["--keep"]);
    assert_eq!(bundle.sh("exit 4").status, 4);
    let state = bundle.verb("state").ok().stdout;
    assert!(state.contains("\"status\": \"stopped\""), "{state}");
    bundle.verb("delete").silent();
    bundle.assert_nothing_left();
}

#[test]
fn detach_returns_while_the_program_runs() {
    let c = Bundle::busybox().script("echo up; sleep 60").run_detached();
    c.wait_for("up");
    assert_eq!(c.status(), "running");
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn detach_has_a_short_form() {
    let bundle = Bundle::busybox().args(["sleep", "60"]);
    bundle.begin("run", &["-d"]).wait().silent();
    assert!(bundle.verb("state").ok().stdout.contains("running"));
}

#[test]
fn a_detached_container_stays_until_it_is_deleted() {
    let c = Bundle::busybox().run_detached();
    c.wait_status("stopped");
    c.delete();
    c.bundle.assert_nothing_left();
}

#[test]
fn pid_file_is_gone_when_the_program_does_not_run() {
    differs!();
    let hook = json!({ "path": "/bin/false" });
    let mut bundle =
        Bundle::busybox().push("/hooks/startContainer", hook).flags(["--pid-file", "pid"]);
    assert_ne!(bundle.run(["true"]).status, 0);
    assert_eq!(bundle.read("pid"), "");
    bundle.assert_nothing_left();
}

#[test]
fn pid_file_is_written_by_run() {
    let c = Bundle::busybox().args(["sleep", "60"]).flags(["--pid-file", "pid"]).run_detached();
    assert_eq!(c.bundle.read("pid"), c.pid().to_string());

    let bundle = Bundle::busybox().script("echo ready; sleep 60").flags(["--pid-file", "pid"]);
    let running = bundle.run_in_background();
    running.wait_for("ready");
    // The program may be faster than the runtime.
    assert!(eventually(Duration::from_secs(10), || !bundle.read("pid").is_empty()));
    let pid: i32 = bundle.read("pid").parse().unwrap();
    assert!(bundle.processes().contains(&pid));
}

#[test]
fn an_id_in_use_is_refused() {
    let c = Bundle::busybox().create();
    c.bundle.run_as_is().refused().says("container with given ID already exists");
    assert_eq!(c.status(), "created");
}

#[test]
fn a_run_that_fails_leaves_nothing() {
    let mut bundle = Bundle::busybox();
    bundle.run(["/nosuch"]).refused().says("no such file or directory");
    bundle.assert_nothing_left();
}

/// The program hears the signal, not only the runtime.
#[track_caller]
fn is_forwarded(signal: Signal) {
    let name = signal.as_str().strip_prefix("SIG").unwrap();
    let script =
        format!("trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done");
    let bundle = Bundle::busybox().script(&script);
    let running = bundle.run_in_background();
    running.wait_for("ready");
    running.signal(signal);
    let out = running.wait();
    assert_eq!((out.status, out.stdout), (9, format!("ready\ngot {name}\n")));
    bundle.assert_nothing_left();
}

#[test]
fn sigterm_is_forwarded() {
    is_forwarded(Signal::SIGTERM);
}

#[test]
fn sighup_is_forwarded() {
    is_forwarded(Signal::SIGHUP);
}

#[test]
fn sigint_is_forwarded() {
    is_forwarded(Signal::SIGINT);
}

#[test]
fn sigquit_is_forwarded() {
    is_forwarded(Signal::SIGQUIT);
}

#[test]
fn sigusr1_and_sigusr2_are_forwarded() {
    is_forwarded(Signal::SIGUSR1);
    is_forwarded(Signal::SIGUSR2);
}

#[test]
fn sigcont_and_sigalrm_are_forwarded() {
    is_forwarded(Signal::SIGCONT);
    is_forwarded(Signal::SIGALRM);
}

#[test]
fn a_forwarded_signal_may_end_the_program() {
    let bundle = Bundle::busybox().without_namespace("pid").script("echo ready; exec sleep 60");
    let running = bundle.run_in_background();
    running.wait_for("ready");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().status, 143);
    bundle.assert_nothing_left();
}

#[test]
fn many_signals_arrive() {
    let script = "n=0; trap 'n=$((n+1)); echo $n' USR1; echo ready; while :; do sleep 0.01; done";
    let bundle = Bundle::busybox().script(script);
    let running = bundle.run_in_background();
    running.wait_for("ready\n");
    for n in 1..=5 {
        running.signal(Signal::SIGUSR1);
        running.wait_for(&format!("\n{n}\n"));
    }
}

#[test]
fn the_container_is_seen_by_other_verbs_while_it_runs() {
    let bundle = Bundle::busybox().script("echo ready; sleep 60");
    let running = bundle.run_in_background();
    running.wait_for("ready");
    assert!(bundle.verb("state").ok().stdout.contains("\"running\""));
    bundle.verb("delete").refused().says("that is not stopped: running");
    bundle.call(&["delete", "--force", bundle.id()]).silent();
    assert_eq!(running.wait().status, 137);
    assert!(eventually(Duration::from_secs(2), || bundle.state_names().is_empty()));
}

/// The parent of a process whose own parent has ended: who that is, is the difference.
fn parent_of_an_orphan(flags: &[&str]) -> (i32, i32) {
    let script = "(sleep 60 & echo $! > /orphan); echo ready; sleep 60";
    let bundle =
        Bundle::busybox().without_namespace("pid").script(script).flags(flags.iter().copied());
    let run = bundle.run_in_background();
    run.wait_for("ready");
    let orphan = std::fs::read_to_string(bundle.rootfs("orphan")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", orphan.trim())).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    (parent.parse().unwrap(), run.pid())
}

#[test]
fn run_adopts_orphans_of_the_container() {
    let (parent, runtime) = parent_of_an_orphan(&[]);
    assert_eq!(parent, runtime);
}

#[test]
fn no_subreaper_leaves_orphans_to_the_host() {
    let (parent, runtime) = parent_of_an_orphan(&["--no-subreaper"]);
    assert_ne!(parent, runtime);
}

#[test]
fn run_waits_for_orphans_of_the_container() {
    let script = "for n in 1 2 3; do (sleep 0.2 & echo $! >> /orphans); done; echo ready; sleep 60";
    let bundle = Bundle::busybox().without_namespace("pid").script(script);
    let run = bundle.run_in_background();
    run.wait_for("ready");
    let orphans = std::fs::read_to_string(bundle.rootfs("orphans")).unwrap();
    assert_eq!(orphans.lines().count(), 3);
    let gone = || orphans.lines().all(|pid| !std::path::Path::new("/proc").join(pid).exists());
    assert!(eventually(crate::support::runtime::time_limit(), gone), "zombies: {orphans}");
}
