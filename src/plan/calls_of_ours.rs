//! The system calls that init makes after the filter is loaded at `create`. A filter with an agent
//! is loaded there if it always allows these calls (`seccomp.rs`).

use super::Plan;
use crate::seccomp::{Action, Arch, Rule, Syscall};

/// The calls that init may make between loading a filter at `create` and execve(2): those for
/// waiting for `start`, for closing descriptors, for exiting, for memory and for signals. Not all
/// architectures have all of them.
static CALLS_OF_OURS: [&str; 31] = [
    "accept4",
    "brk",
    "clock_gettime",
    "clock_gettime64",
    "close",
    "close_range",
    "exit",
    "exit_group",
    "fcntl",
    "fcntl64",
    "futex",
    "futex_time64",
    "madvise",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "munmap",
    "poll",
    "ppoll",
    "ppoll_time64",
    "prctl",
    "recvmsg",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sendmsg",
    "sigreturn",
    "socketcall",
];

/// The calls that the filter does not always allow.
pub fn judged(default: Action, rules: &[Rule]) -> Vec<&'static str> {
    CALLS_OF_OURS.into_iter().filter(|name| !passes(name, default, rules)).collect()
}

/// Whether the filter always allows the native call of this name, if there is one.
fn passes(name: &str, default: Action, rules: &[Rule]) -> bool {
    let Some(call) = Syscall::from_name(name).filter(|call| call.number(Arch::NATIVE).is_some())
    else {
        return true;
    };
    let allows = |action: Action| action == Action::Allow;
    let mut about = rules.iter().filter(|rule| rule.calls.contains(&call)).peekable();
    if about.peek().is_none() {
        return allows(default);
    }
    let always = allows(default) || about.clone().any(|rule| rule.comparisons.is_empty());
    always && about.all(|rule| allows(rule.action))
}

impl Plan {
    /// Why the agent gets the listener only at `start`; `None` if it gets it at `create`, as with
    /// runc.
    #[must_use]
    pub fn why_listener_waits(&self) -> Option<String> {
        let agent = self.listener()?;
        if !self.hooks.start_container.is_empty() {
            return Some("each startContainer hook loads the filter for itself".to_owned());
        }
        let calls = &agent.calls_of_ours;
        (!calls.is_empty())
            .then(|| format!("the filter would judge calls of the runtime: {}", calls.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::CALLS_OF_OURS;
    use crate::config;
    use crate::plan::{Problems, seccomp};

    #[test]
    fn calls_of_ours_are_found_unless_they_always_pass() {
        let calls = |default: &str, rules: &str| {
            let notify = r#"{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}"#;
            let json = format!(
                r#"{{"defaultAction": "{default}", "listenerPath": "/a", "syscalls": [{notify}{rules}]}}"#
            );
            let config: config::Seccomp<'_> = serde_json::from_str(&json).unwrap();
            let plan = seccomp::decide(Some(&config), &mut Problems::default()).unwrap();
            plan.listener.unwrap().calls_of_ours
        };
        let prctl = |action: &str, rest: &str| {
            format!(r#", {{"names": ["prctl"], "action": "SCMP_ACT_{action}"{rest}}}"#)
        };
        let on = r#", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]"#;
        let none: [&str; 0] = []; // every architecture has prctl
        assert_eq!(calls("SCMP_ACT_ALLOW", ""), none);
        assert_eq!(calls("SCMP_ACT_ALLOW", &prctl("LOG", on)), ["prctl"]);
        assert_eq!(calls("SCMP_ACT_ALLOW", &prctl("ERRNO", on)), ["prctl"]);
        assert_eq!(calls("SCMP_ACT_ALLOW", &prctl("NOTIFY", "")), ["prctl"]);
        let most =
            CALLS_OF_OURS.iter().filter(|name| **name != "prctl").map(|name| format!("{name:?}"));
        let most = most.collect::<Vec<_>>().join(", ");
        let most = format!(r#", {{"names": [{most}], "action": "SCMP_ACT_ALLOW"}}"#);
        assert_eq!(calls("SCMP_ACT_ERRNO", &most), ["prctl"]);
        assert_eq!(calls("SCMP_ACT_ERRNO", &format!("{most}{}", prctl("ALLOW", on))), ["prctl"]);
        assert_eq!(calls("SCMP_ACT_ERRNO", &format!("{most}{}", prctl("ALLOW", ""))), none);
    }
}
