//! `linux.seccomp` with `SCMP_ACT_NOTIFY`: at which moment the agent is told, `create` or `start`

use std::os::unix::net::UnixListener;

use crate::seccomp_notify::{agent, mkdir, notifying};
use crate::support::agent::Answer;
use crate::support::runtime::time_limit;
use crate::support::{eventually, json};

/// Seen to fail at commit 84eb9f4.
#[test]
fn a_create_without_the_agent_is_an_error() {
    let bundle = mkdir();
    drop(UnixListener::bind(bundle.scratch("agent")).unwrap());
    bundle
        .refused()
        .says("failed to connect with seccomp agent")
        .because("connection refused")
        .names("listenerPath");
}

/// Where init's own calls would be judged while it waits, there is a filter only at `start`.
/// Seen to fail at commit 84eb9f4.
#[test]
fn an_agent_is_told_at_start_if_it_would_be_asked_about_the_runtime() {
    differs!();
    let hook = json!({ "path": "/bin/true" });
    for (calls, hooks, why) in [
        (&["mkdir", "mkdirat", "accept4", "recvmsg"][..], json!([]), "accept4, recvmsg"),
        (&["mkdir", "mkdirat"], json!([hook]), "hook"),
    ] {
        let bundle = notifying(calls).args(["mkdir", "/new"]).set("/hooks/startContainer", hooks);
        let agent = agent(&bundle, Answer::Success);
        bundle
            .try_create()
            .ok()
            .says("the agent gets its descriptor at start, not at create")
            .says(why);
        assert_eq!(agent.documents().len(), 0, "{why}");
        bundle.verb("start").silent();
        let told = agent.wait_for_documents(1).pop().unwrap();
        assert_eq!(told["state"]["status"], "created");
        let asked = || agent.asked().iter().any(|call| call.starts_with("mkdir"));
        assert!(eventually(time_limit(), asked));
    }
}
