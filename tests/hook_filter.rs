//! `hooks.startContainer` with `linux.seccomp`: these hooks are programs of the container, and run
//! under its filter

use crate::hooks::{log, with_hook};
use crate::support::agent::{Agent, Answer};
use crate::support::{Bundle, json};

const ENOSPC: i32 = 28;

/// A bundle with these rules, everything else being allowed.
fn filtered(calls: &[&str], action: &str) -> Bundle {
    let rules = json!([{ "names": calls, "action": action }]);
    Bundle::busybox()
        .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules }))
}

#[test]
fn the_filter_holds_for_start_container() {
    for no_new_privileges in [true, false] {
        for uid in [0, 1000] {
            let bundle = filtered(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO")
                .set("/process/user", json!({ "uid": uid, "gid": uid }))
                .set("/process/noNewPrivileges", no_new_privileges);
            let script =
                "grep ^Seccomp: /proc/self/status; mkdir /tmp/made; grep ^CapEff /proc/self/status";
            let mut bundle =
                with_hook(bundle, "startContainer", &format!("({script}) >/tmp/said 2>&1; true"));
            let program = bundle.sh("grep ^CapEff /proc/self/status").ok();
            let said = std::fs::read_to_string(bundle.rootfs("tmp/said")).unwrap();
            assert!(said.starts_with("Seccomp:\t2\n"), "{said}");
            assert!(said.contains("Operation not permitted"), "{said}");
            assert!(
                said.contains(program.line()),
                "the rights of the program, {program:?}, in {said}"
            );
        }
    }
}

/// Only the hook's own calls are judged, not those by which it is made and waited for.
#[test]
fn a_filter_need_not_allow_what_makes_a_hook() {
    differs!();
    let calls = [
        "clone3",
        "setpgid",
        "pidfd_open",
        "pidfd_send_signal",
        "memfd_create",
        "pipe2",
        "waitid",
        "ppoll",
    ];
    let bundle = filtered(
        &[&calls[..], &["close_range", "capset", "recvmsg", "sendmsg"]].concat(),
        "SCMP_ACT_KILL",
    );
    let mut bundle = with_hook(bundle, "startContainer", "echo one >> LOG");
    bundle = with_hook(bundle, "startContainer", "cat >> LOG");
    bundle.run(["true"]).silent();
    let said = log(&bundle);
    assert!(said.starts_with("one\n{") && said.contains("\"created\""), "{said}");
}

#[test]
fn a_hook_that_the_filter_kills_fails() {
    let bundle = filtered(&["mkdir", "mkdirat"], "SCMP_ACT_KILL_PROCESS");
    let hook = json!({ "path": "/bin/mkdir", "args": ["mkdir", "/new"] });
    let mut bundle = bundle.push("/hooks/startContainer", hook);
    let out = bundle.run(["touch", "/ran"]);
    assert_ne!(out.status, 0);
    out.says("hook #0:");
    assert!(!bundle.rootfs("ran").exists());
}

#[test]
fn a_hook_that_does_not_exist_is_told_with_a_filter_too() {
    let bundle = filtered(&["mkdirat"], "SCMP_ACT_KILL_PROCESS");
    let mut bundle = bundle.push("/hooks/startContainer", json!({ "path": "/nowhere/hook" }));
    let out = bundle.run(["true"]);
    assert_ne!(out.status, 0);
    out.says("/nowhere/hook").because("no such file or directory");
}

/// A hook's calls are the agent's to answer as the program's are.
#[test]
fn the_agent_is_asked_about_start_container() {
    for no_new_privileges in [true, false] {
        let bundle = filtered(&["mkdir", "mkdirat"], "SCMP_ACT_NOTIFY");
        let path = bundle.scratch("agent");
        let bundle = bundle.set("/linux/seccomp/listenerPath", path.to_str());
        let bundle = bundle.set("/process/noNewPrivileges", no_new_privileges);
        let agent = Agent::at(&path, Answer::Errno(ENOSPC));
        let mut bundle = with_hook(bundle, "startContainer", "mkdir /hook 2>> LOG; true");
        let out = bundle.run(["mkdir", "/program"]);
        assert!(out.stderr.contains("No space left on device"), "{out:?}");
        assert!(log(&bundle).contains("No space left on device"), "{}", log(&bundle));
        assert_eq!(agent.asked().len(), 2, "{:?}", agent.asked());
    }
}
