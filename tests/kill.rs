//! `kill`

use crate::support::{Bundle, Container};

/// A running container that says which of these signals it gets, and stops at SIGQUIT.
fn listening(signals: &[&str]) -> Container {
    let traps: String =
        signals.iter().map(|name| format!("trap 'echo got {name}' {name}; ")).collect();
    let script = format!("{traps} trap 'exit 0' QUIT; echo ready; while :; do sleep 0.05; done");
    let c = Bundle::busybox().script(&script).create();
    c.start();
    c.wait_for("ready\n");
    c
}

#[test]
fn the_signal_is_sigterm_by_default() {
    let c = listening(&["TERM"]);
    c.verb("kill").silent();
    c.wait_for("got TERM");
}

#[test]
fn signals_go_by_name_with_and_without_sig() {
    let c = listening(&["HUP", "USR1"]);
    c.kill("HUP");
    c.wait_for("got HUP");
    c.kill("SIGUSR1");
    c.wait_for("got USR1");
}

#[test]
fn signal_names_may_be_lower_case() {
    let c = listening(&["HUP", "USR2"]);
    c.kill("hup");
    c.wait_for("got HUP");
    c.kill("sigusr2");
    c.wait_for("got USR2");
}

#[test]
fn signals_go_by_number() {
    let c = listening(&["USR1", "TERM"]);
    c.kill("10");
    c.wait_for("got USR1");
    c.kill("15");
    c.wait_for("got TERM");
}

#[test]
fn unknown_signals_are_refused_without_effect() {
    let c = listening(&["TERM"]);
    for signal in ["NOSUCH", "SIGNOSUCH", "SIGSIGTERM", "1x"] {
        c.bundle.call(&["kill", c.id(), signal]).refused();
    }
    assert_eq!(c.status(), "running");
    assert_eq!(c.stdout(), "ready\n");
}

#[test]
fn an_unknown_signal_is_named() {
    let c = Bundle::busybox().create();
    c.bundle.call(&["kill", c.id(), "NOSUCH"]).refused().says("NOSUCH");
}

#[test]
fn every_signal_has_a_name() {
    let c = Bundle::busybox().script("trap '' $(seq 1 31); echo ready; sleep 60").create();
    c.start();
    c.wait_for("ready");
    for name in [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "CHLD", "CONT", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
        "PWR", "SYS",
    ] {
        c.kill(name);
    }
    c.kill("STKFLT");
    assert_eq!(c.status(), "running");
}

#[test]
fn a_created_container_can_be_killed() {
    let c = Bundle::busybox().create();
    c.kill("KILL");
    c.wait_status("stopped");
    c.delete();
    c.bundle.assert_nothing_left();
}

#[test]
fn killing_a_stopped_container_is_refused() {
    let c = Bundle::busybox().create();
    c.finish();
    c.verb("kill").refused().says("container not running");
    c.bundle.call(&["kill", c.id(), "KILL"]).refused().says("container not running");
    assert_eq!(c.status(), "stopped");
}

#[test]
fn killing_an_absent_container_is_refused() {
    Bundle::busybox().verb("kill").refused().says("container does not exist");
}

#[test]
fn a_signal_that_is_ignored_leaves_the_container_running() {
    let c = listening(&[]);
    c.kill("TERM");
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(c.status(), "running");
}

#[test]
fn kill_reaches_only_the_first_process() {
    let script = "sh -c 'trap \"echo child\" USR1; while :; do sleep 0.05; done' & \
                  trap 'echo first' USR1; echo ready; while :; do sleep 0.05; done";
    let c = Bundle::busybox().script(script).create();
    c.start();
    c.wait_for("ready\n");
    c.kill("USR1");
    c.wait_for("first\n");
    assert_eq!(c.stdout(), "ready\nfirst\n");
}

#[test]
fn all_reaches_every_process() {
    let script = "sh -c 'trap \"echo child\" USR1; echo ready; while :; do sleep 0.05; done' & \
                  trap 'echo first' USR1; while :; do sleep 0.05; done";
    let c = Bundle::busybox().script(script).create();
    c.start();
    c.wait_for("ready\n");
    c.bundle.call(&["kill", "--all", c.id(), "USR1"]).silent();
    c.wait_for("child\n");
    c.wait_for("first\n");
}

/// What containerd does when the first process of a container without a pid namespace of its own
/// has ended.
#[test]
fn all_reaches_what_a_stopped_container_has_left() {
    let bundle =
        Bundle::busybox().without_namespace("pid").script("sleep 61 & echo $! > /left; sleep 0.1");
    let c = bundle.create();
    c.start();
    c.wait_status("stopped");
    let pid: i32 =
        std::fs::read_to_string(c.bundle.rootfs("left")).unwrap().trim().parse().unwrap();
    let lives = || {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.contains("61"))
    };
    assert!(lives());
    c.bundle.call(&["kill", "--all", c.id(), "9"]).silent();
    assert!(crate::support::eventually(std::time::Duration::from_secs(5), || !lives()));
    c.bundle.call(&["kill", "-a", c.id(), "9"]).silent();
}

/// Without a pid namespace of the container's own the kernel kills init alone.
#[test]
fn kill_kills_all_where_init_takes_nobody_along() {
    differs!();
    for init in ["wait", "exit"] {
        let bundle = Bundle::busybox().without_namespace("pid");
        let c = bundle.script(&format!("sleep 63 & echo $! > /left; echo ready; {init}")).create();
        c.start();
        c.wait_for("ready\n");
        if init == "exit" {
            c.wait_status("stopped");
        }
        let pid: i32 =
            std::fs::read_to_string(c.bundle.rootfs("left")).unwrap().trim().parse().unwrap();
        let lives = || {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains("63"))
        };
        assert!(lives());
        c.kill("KILL");
        assert!(
            crate::support::eventually(std::time::Duration::from_secs(5), || !lives()),
            "{init}"
        );
        c.wait_status("stopped");
        c.bundle.call(&["kill", c.id(), "KILL"]).refused().says("container not running");
    }
}

#[test]
fn all_kills_a_paused_container() {
    let c = Bundle::busybox().script("sleep 61 & sleep 62 & echo ready; wait").create();
    c.start();
    c.wait_for("ready\n");
    c.verb("pause").silent();
    c.bundle.call(&["kill", "-a", c.id(), "KILL"]).ok(); // runc warns of who was quicker to die
    c.wait_status("stopped");
}

#[test]
fn all_of_an_absent_container_is_refused() {
    Bundle::busybox()
        .call(&["kill", "--all", "nosuch", "9"])
        .refused()
        .says("container does not exist");
}
