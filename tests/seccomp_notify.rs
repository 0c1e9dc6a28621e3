//! `linux.seccomp` with `SCMP_ACT_NOTIFY`: `listenerPath`, `listenerMetadata`, and what an agent is
//! told

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use crate::support::agent::{Agent, Answer};
use crate::support::{Bundle, Value, cgroups, eventually, json};

const ENOSPC: i32 = 28;

/// These calls are the agent's to answer, all others are allowed.
pub fn notifying(calls: &[&str]) -> Bundle {
    let bundle = Bundle::busybox();
    let path = bundle.scratch("agent");
    bundle.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path,
            "listenerMetadata": "aye\"aye",
            "syscalls": [{ "names": calls, "action": "SCMP_ACT_NOTIFY" }],
        }),
    )
}

pub fn mkdir() -> Bundle {
    notifying(&["mkdir", "mkdirat"])
}

pub fn agent(bundle: &Bundle, answer: Answer) -> Agent {
    Agent::at(&bundle.scratch("agent"), answer)
}

#[test]
fn the_agent_decides() {
    for no_new_privileges in [true, false] {
        let mut bundle = mkdir().set("/process/noNewPrivileges", no_new_privileges);
        let agent = agent(&bundle, Answer::Errno(ENOSPC));
        let out = bundle.run(["mkdir", "/new"]);
        assert!(out.status == 1 && out.stderr.contains("No space left on device"), "{out:?}");
        assert_eq!((agent.documents().len(), agent.asked().len()), (1, 1));
        assert!(!bundle.rootfs("new").exists());
    }
}

#[test]
fn the_agent_can_make_a_call_succeed_or_go_on() {
    for (answer, made) in [(Answer::Success, false), (Answer::GoOn, true)] {
        let mut bundle = mkdir();
        let _agent = agent(&bundle, answer);
        bundle.run(["mkdir", "/new"]).silent();
        assert_eq!(bundle.rootfs("new").exists(), made, "{answer:?}");
    }
}

#[test]
fn an_ordinary_user_is_asked_about_as_well() {
    for no_new_privileges in [true, false] {
        let mut bundle = mkdir()
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .set("/process/capabilities", json!({}))
            .set("/process/noNewPrivileges", no_new_privileges);
        let _agent = agent(&bundle, Answer::Errno(ENOSPC));
        let out = bundle.run(["mkdir", "/tmp/new"]);
        assert!(out.stderr.contains("No space left on device"), "{out:?}");
    }
}

/// What the agent is told of init; the container is `c`, the document `told`.
#[track_caller]
fn assert_told(told: &Value, id: &str, pid: &Value) {
    assert_eq!(
        (&told["fds"], &told["metadata"]),
        (&json!(["seccompFd"]), &json!("aye\"aye")),
        "{told}"
    );
    assert!(told["ociVersion"].as_str().unwrap().starts_with("1."), "{told}");
    assert_eq!(&told["pid"], pid, "{told}");
    let state = &told["state"];
    assert_eq!(
        (&state["id"], &state["annotations"]["ship"]),
        (&json!(id), &json!("Beagle")),
        "{told}"
    );
    assert!(
        state["ociVersion"].is_string() && state["bundle"].as_str().unwrap().starts_with('/'),
        "{told}"
    );
}

#[test]
fn the_agent_is_told_of_the_container_by_run() {
    let bundle = mkdir().set("/annotations", json!({ "ship": "Beagle" })).args(["sleep", "60"]);
    let agent = agent(&bundle, Answer::GoOn);
    let c = bundle.run_detached();
    let told = &agent.wait_for_documents(1)[0];
    assert_told(told, c.id(), &c.state()["pid"]);
    assert_eq!(told["state"]["pid"], told["pid"]);
    assert!(["creating", "created"].contains(&told["state"]["status"].as_str().unwrap()), "{told}");
}

#[test]
fn the_connection_ends_after_one_document() {
    let bundle = mkdir().args(["sleep", "60"]);
    let agent = agent(&bundle, Answer::GoOn);
    let c = bundle.run_detached();
    assert!(eventually(Duration::from_secs(5), || agent.ended() == 1));
    drop(c);
}

/// crun's users name the agent in an annotation; it is asked for `exec` as well.
#[test]
fn an_annotation_names_the_agent_as_well() {
    differs!();
    let bundle = mkdir().args(["sleep", "60"]);
    let agent = agent(&bundle, Answer::Errno(ENOSPC));
    let path = bundle.config["linux"]["seccomp"]["listenerPath"].clone();
    let bundle =
        bundle.remove("/linux/seccomp/listenerPath").remove("/linux/seccomp/listenerMetadata");
    let c = bundle.set("/annotations/run.oci.seccomp.receiver", path).run_detached();
    assert_eq!(agent.wait_for_documents(1)[0]["pid"], c.state()["pid"]);
    let out = c.exec_sh("mkdir /new");
    assert!(out.stderr.contains("No space left on device"), "{out:?}");
}

/// As with runc: an agent may wait for the descriptor before it has the container started.
/// Seen to fail at commit 84eb9f4.
#[test]
fn the_agent_is_told_of_the_container_by_create() {
    for no_new_privileges in [true, false] {
        let bundle =
            mkdir().set("/annotations", json!({ "ship": "Beagle" })).args(["mkdir", "/new"]);
        let bundle = bundle.set("/process/noNewPrivileges", no_new_privileges);
        let agent = agent(&bundle, Answer::Success);
        let c = bundle.create();
        let told = &agent.wait_for_documents(1)[0];
        let pid = c.state()["pid"].clone();
        assert_told(told, c.id(), &pid);
        assert_eq!((&told["state"]["status"], &told["state"]["pid"]), (&json!("creating"), &pid));
        assert_eq!((c.status().as_str(), agent.asked().len()), ("created", 0));
        c.start();
        c.wait_status("stopped");
        assert_eq!((agent.documents().len(), agent.asked().len()), (1, 1), "{:?}", agent.asked());
        assert!(!c.bundle.rootfs("new").exists());
    }
}

#[test]
fn the_filter_of_the_container_asks_for_exec_as_well() {
    let bundle = mkdir().set("/annotations", json!({ "ship": "Beagle" })).args(["sleep", "60"]);
    let agent = agent(&bundle, Answer::Errno(ENOSPC));
    let c = bundle.run_detached();
    let out = c.exec_sh("mkdir /new; echo $$ $PPID");
    assert!(out.stderr.contains("No space left on device"), "{out:?}");
    let told = &agent.wait_for_documents(2)[1];
    assert_told(told, c.id(), &told["pid"]);
    let init = &c.state()["pid"];
    assert_eq!(
        (&told["state"]["pid"], &told["state"]["status"]),
        (init, &json!("running")),
        "{told}"
    );
    assert_ne!(&told["pid"], init);
}

/// The calls by which a runtime makes the descriptor known must not be those that wait for it to be
/// known.
#[test]
fn calls_that_a_runtime_makes_can_notify() {
    let calls = ["execve", "openat", "open", "read", "close", "fcntl"];
    for no_new_privileges in [true, false] {
        let mut bundle = notifying(&calls).set("/process/noNewPrivileges", no_new_privileges);
        let agent = agent(&bundle, Answer::GoOn);
        assert_eq!(bundle.run(["cat", "/etc/group"]).ok().lines()[0], "root:x:0:");
        assert!(agent.asked().contains(&"execve".to_owned()), "{:?}", agent.asked());
    }
}

/// Not even these: the program is the first that is asked about.
#[test]
fn calls_of_sockets_threads_and_memory_can_notify() {
    differs!();
    let calls = [
        "sendmsg",
        "sendto",
        "recvmsg",
        "recvfrom",
        "futex",
        "mmap",
        "munmap",
        "brk",
        "mprotect",
        "exit",
        "exit_group",
        "close_range",
        "dup",
        "clone",
        "clone3",
        "sched_yield",
        "nanosleep",
        "rt_sigprocmask",
        "madvise",
        "execve",
    ];
    let mut bundle = notifying(&calls);
    let agent = agent(&bundle, Answer::GoOn);
    bundle.run(["true"]).silent();
    assert_eq!(agent.asked()[0], "execve", "{:?}", agent.asked());
}

/// A profile need allow nothing for our sake.
#[test]
fn an_allow_list_without_sockets_can_notify() {
    differs!();
    let needs = [
        "access",
        "arch_prctl",
        "brk",
        "execve",
        "exit",
        "exit_group",
        "getpid",
        "getrandom",
        "getuid",
        "mmap",
        "mprotect",
        "munmap",
        "newfstatat",
        "prctl",
        "prlimit64",
        "readlink",
        "readlinkat",
        "rseq",
        "rt_sigprocmask",
        "set_robust_list",
        "set_tid_address",
        "setgid",
        "setuid",
        "umask",
        "uname",
        "getgid",
    ];
    let mut bundle = mkdir()
        .set("/linux/seccomp/defaultAction", "SCMP_ACT_KILL_PROCESS")
        .push("/linux/seccomp/syscalls", json!({ "names": needs, "action": "SCMP_ACT_ALLOW" }));
    let agent = agent(&bundle, Answer::Success);
    assert_eq!(bundle.run(["mkdir", "/new"]).status, 0);
    assert_eq!(agent.asked().len(), 1);
}

#[test]
fn a_rule_about_arguments_can_notify() {
    let mut bundle = notifying(&["setpriority"]).set(
        "/linux/seccomp/syscalls/0/args",
        json!([{ "index": 2, "value": 18, "op": "SCMP_CMP_EQ" }]),
    );
    let _agent = agent(&bundle, Answer::Errno(ENOSPC));
    let script = "for n in 17 18 19; do renice $n -p $$ >/dev/null 2>&1 || echo $n; done";
    assert_eq!(bundle.sh(script).ok().stdout, "18\n");
}

#[test]
fn an_agent_that_goes_away_leaves_calls_that_do_not_exist() {
    let mut bundle = mkdir();
    let _agent = agent(&bundle, Answer::Nothing);
    let out = bundle.run(["mkdir", "/new"]);
    assert!(out.stderr.contains("Function not implemented"), "{out:?}");
}

#[test]
fn an_abstract_socket_can_be_the_agents() {
    let bundle = mkdir();
    let name = format!("orlop-{}", bundle.id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _agent = Agent::on(UnixListener::bind_addr(&address).unwrap(), Answer::Errno(ENOSPC));
    let mut bundle = bundle.set("/linux/seccomp/listenerPath", format!("@{name}"));
    let out = bundle.run(["mkdir", "/new"]);
    assert!(out.stderr.contains("No space left on device"), "{out:?}");
}

#[test]
fn a_path_that_no_rule_needs_is_ignored() {
    let mut bundle = mkdir().remove("/linux/seccomp/syscalls");
    let agent = agent(&bundle, Answer::GoOn);
    bundle.run(["mkdir", "/new"]).silent();
    assert_eq!(agent.documents().len(), 0);
    let mut bundle = mkdir().remove("/linux/seccomp/syscalls");
    bundle.run(["mkdir", "/new"]).silent();
}

#[test]
fn a_hook_gets_no_descriptor_of_ours() {
    let bundle = mkdir().args(["true"]);
    let _agent = agent(&bundle, Answer::GoOn);
    let hook =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", "[ $(ls /proc/self/fd | wc -l) = 4 ]"] }]);
    bundle.set("/hooks/startContainer", hook).run_as_is().silent();
}

#[test]
fn waiting_can_be_made_killable() {
    differs!();
    let mut bundle =
        mkdir().set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
    let _agent = agent(&bundle, Answer::Errno(ENOSPC));
    let out = bundle.run(["mkdir", "/new"]);
    assert!(out.stderr.contains("No space left on device"), "{out:?}");
}

#[test]
fn notification_without_a_path_is_refused() {
    let bundle =
        mkdir().remove("/linux/seccomp/listenerPath").remove("/linux/seccomp/listenerMetadata");
    bundle.refused().says("listenerPath is not set").names("listenerPath");
}

#[test]
fn metadata_without_a_path_is_refused() {
    differs!();
    let bundle = mkdir().remove("/linux/seccomp/listenerPath").remove("/linux/seccomp/syscalls");
    bundle.refused().names("listenerMetadata");
}

#[test]
fn a_path_without_an_agent_is_refused() {
    const TEXT: &str = "failed to connect with seccomp agent";
    mkdir().refused().says(TEXT).because("no such file or directory").names("listenerPath");
    let bundle = mkdir();
    fs::write(bundle.scratch("agent"), "").unwrap();
    bundle.refused().says(TEXT).names("listenerPath");
}

#[test]
fn an_agent_that_listens_no_more_is_an_error() {
    const TEXT: &str = "failed to connect with seccomp agent";
    for path in ["agent", "@"] {
        let mut bundle = mkdir().args(["sh", "-c", "echo ran > /ran"]);
        if path == "agent" {
            drop(UnixListener::bind(bundle.scratch("agent")).unwrap());
        } else {
            bundle = bundle.set("/linux/seccomp/listenerPath", "@orlop-nobody-listens-here");
        }
        bundle.run_as_is().refused().says(TEXT).because("connection refused").names("listenerPath");
        bundle.assert_nothing_left();
        assert!(!bundle.rootfs("ran").exists());
    }
}

#[test]
fn a_start_without_the_agent_is_an_error_and_the_program_does_not_run() {
    differs!();
    let bundle = notifying(&["mkdir", "accept4"]).args(["sh", "-c", "echo ran > /ran"]);
    let agent = agent(&bundle, Answer::GoOn);
    bundle.try_create().ok();
    drop(agent);
    bundle
        .verb("start")
        .refused()
        .says("failed to connect with seccomp agent")
        .because("connection refused");
    assert!(bundle.verb("state").ok().stdout.contains("stopped"));
    assert!(!bundle.rootfs("ran").exists());
    bundle.verb("delete").silent();
    bundle.assert_nothing_left();
}

#[test]
fn an_exec_without_the_agent_is_an_error_and_the_container_goes_on() {
    let bundle = mkdir().args(["sleep", "60"]);
    let agent = agent(&bundle, Answer::GoOn);
    let c = bundle.run_detached();
    agent.wait_for_documents(1);
    drop(agent);
    c.exec(&[], &["touch", "/ran"]).exec_refused().says("failed to connect with seccomp agent");
    assert_eq!(c.status(), "running");
    assert!(!c.bundle.rootfs("ran").exists());
}

#[test]
fn notification_of_write_and_by_default_is_refused() {
    let _agents: Vec<Agent> =
        [notifying(&["write"]), mkdir().set("/linux/seccomp/defaultAction", "SCMP_ACT_NOTIFY")]
            .into_iter()
            .zip([
                "SCMP_ACT_NOTIFY cannot be used for the write syscall",
                "SCMP_ACT_NOTIFY cannot be used as default action",
            ])
            .map(|(bundle, text)| {
                let agent = agent(&bundle, Answer::GoOn);
                bundle.refused().says(text);
                agent
            })
            .collect();
}

/// The listener is handed over by a second thread.
#[test]
fn a_limit_of_one_process_is_too_low_and_said_to_be() {
    differs!();
    needs!(cgroups::has("pids"), "pids controller");
    let mut bundle = mkdir().set("/linux/resources/pids/limit", 1);
    let agent = agent(&bundle, Answer::GoOn);
    bundle
        .run(["true"])
        .refused()
        .because("resource temporarily unavailable")
        .says("clone(CLONE_THREAD)");
    assert_eq!(agent.documents().len(), 0);
    bundle.assert_nothing_left();
}
