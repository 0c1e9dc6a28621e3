//! config.json: linux.seccomp.{defaultAction, defaultErrnoRet, architectures, flags}
//! config.json: linux.seccomp.syscalls[].{names, action, errnoRet}
//! config.json: linux.seccomp.syscalls[].args[].{index, value, valueTwo, op}
//! config.json: linux.seccomp.{listenerPath, listenerMetadata}
//!
//! Reads the profile and compiles it. All errors in a profile are found here.

use std::fmt::Display;

use super::{Problems, calls_of_ours};
use crate::config;
pub use crate::seccomp::{Action, Arch, Filter, Operator};
use crate::seccomp::{
    BeyondProfile, Comparison, CompileError, MAX_ARGUMENT, Profile, Rule, Syscall, compile,
};

/// The filter, and the agent that answers its notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeccompPlan {
    /// The program.
    pub filter: Filter,
    /// The flags of seccomp(2), `SECCOMP_FILTER_FLAG_NEW_LISTENER` included when there is a
    /// [`Self::listener`].
    pub flags: u32,
    /// The agent, if a rule notifies.
    pub listener: Option<ListenerPlan>,
}

/// The agent that answers notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerPlan {
    /// Its socket: an absolute path on the host, or `@` and the name of an abstract socket
    /// (unix(7)).
    pub path: String,
    /// The data for it, besides the state of the container.
    pub metadata: String,
    /// The calls that init makes while it waits for `start` and that the filter does not always
    /// allow.
    pub calls_of_ours: Vec<&'static str>,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` of seccomp(2).
const NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`.
const SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`, since Linux 5.19.
pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The longest name of a socket: sun_path of unix(7) without its NUL.
const LONGEST_PATH: usize = 107;

/// The largest errno that a filter can return (`MAX_ERRNO`).
const MAX_ERRNO: u32 = 4095;

/// The flags that config.json may have. TSYNC applies a filter to other threads. Init has none, and
/// the kernel refuses the flag with a listener. As in runc it is accepted and ignored.
static FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE_RECV),
];

/// The names of the flags, for `features`.
pub fn flag_names() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().map(|(name, _)| *name)
}

/// Compiles `linux.seccomp`; `None` if there is no filter, or none that could be compiled.
pub fn decide(
    config: Option<&config::Seccomp<'_>>,
    problems: &mut Problems,
) -> Option<SeccompPlan> {
    // The zero value of Go, which engines write for "unconfined".
    let config =
        config.filter(|config| !config.default_action.is_empty() || !config.syscalls.is_empty())?;
    let default = default_action(config, problems);
    let architectures = architectures(config, problems);
    let rules: Vec<Rule> =
        (0..config.syscalls.len()).map(|at| rule(config, at, problems)).collect();
    let notify = config
        .syscalls
        .iter()
        .any(|entry| Action::from_name(&entry.action) == Some(Action::Notify));
    let flags = flags(config, notify, problems);
    let mut listener = listener(config, notify, problems);
    if let Some(agent) = &mut listener {
        agent.calls_of_ours = calls_of_ours::judged(default, &rules);
    }

    let profile = Profile { default, architectures, rules, beyond: BeyondProfile::NoSuchCall };
    let filter = match compile(&profile) {
        Ok(filter) => filter,
        Err(error) => {
            match error {
                CompileError::Conflict { rule, .. } => {
                    problems.add(format_args!("/linux/seccomp/syscalls/{rule}"), error)
                }
                CompileError::TooLong(_) => problems.add("/linux/seccomp/syscalls", error),
            }
            return None;
        }
    };
    Some(SeccompPlan { filter, flags, listener })
}

fn default_action(config: &config::Seccomp<'_>, problems: &mut Problems) -> Action {
    let key = "/linux/seccomp/defaultAction";
    let written = RawAction { action: &config.default_action, number: config.default_errno_ret };
    let action = written.decide(key, "/linux/seccomp/defaultErrnoRet", problems);
    if action == Action::Notify {
        // Otherwise the calls that send the listener would wait for its agent.
        problems.add(key, "SCMP_ACT_NOTIFY cannot be used as default action");
        return Action::KillProcess;
    }
    action
}

/// An action and its number in config.json.
struct RawAction<'a> {
    action: &'a str,
    number: Option<u32>,
}

impl RawAction<'_> {
    fn decide(
        &self,
        action_key: impl Display,
        number_key: impl Display,
        problems: &mut Problems,
    ) -> Action {
        let Some(action) = Action::from_name(self.action) else {
            problems.add(action_key, format_args!("{} is not an action of seccomp", self.action));
            return Action::KillProcess;
        };
        let Some(number) = self.number else { return action };
        let largest =
            if matches!(action, Action::Errno(_)) { MAX_ERRNO } else { u32::from(u16::MAX) };
        let fitting = u16::try_from(number).ok().filter(|_| number <= largest);
        match fitting.map(|number| action.with_number(number)) {
            Some(Some(action)) => return action,
            Some(None) => {
                problems.add(number_key, format_args!("{} has no error number", self.action))
            }
            None => problems.add(number_key, format_args!("{number} is more than {largest}")),
        }
        action
    }
}

fn architectures(config: &config::Seccomp<'_>, problems: &mut Problems) -> Vec<Arch> {
    let mut architectures = Vec::with_capacity(config.architectures.len());
    for (at, name) in config.architectures.iter().enumerate() {
        let key = format_args!("/linux/seccomp/architectures/{at}");
        match Arch::from_name(name) {
            Some(arch) if arch.is_big_endian() != Arch::NATIVE.is_big_endian() => {
                problems.add(
                    key,
                    format_args!("{name} has another byte order than {}", Arch::NATIVE.name()),
                );
            }
            Some(arch) => architectures.push(arch),
            None if Arch::is_known_without_table(name) => {
                problems.add(key, format_args!("{name} is not supported"))
            }
            None => problems.add(key, format_args!("{name} is not an architecture of seccomp")),
        }
    }
    architectures
}

fn rule(config: &config::Seccomp<'_>, at: usize, problems: &mut Problems) -> Rule {
    let key = format!("/linux/seccomp/syscalls/{at}");
    let entry = &config.syscalls[at];
    let written = RawAction { action: &entry.action, number: entry.errno_ret };
    let action =
        written.decide(format_args!("{key}/action"), format_args!("{key}/errnoRet"), problems);
    if entry.names.is_empty() {
        problems.add(format_args!("{key}/names"), "names must not be empty");
    }
    let mut calls = Vec::with_capacity(entry.names.len());
    for (index, name) in entry.names.iter().enumerate() {
        let key = format_args!("{key}/names/{index}");
        if action == Action::Notify && &**name == "write" {
            // As in runc, so that a profile means the same with both.
            problems.add(key, "SCMP_ACT_NOTIFY cannot be used for the write syscall");
        } else if name.is_empty() {
            problems.add(key, "the name of a system call must not be empty");
        } else if let Some(call) = Syscall::from_name(name) {
            calls.push(call);
        } else {
            problems.warn(key, format_args!("no system call is called {name}; it is ignored"));
        }
    }
    let comparisons = entry.args.iter().enumerate();
    let comparisons = comparisons
        .filter_map(|(index, arg)| comparison(arg, format_args!("{key}/args/{index}"), problems));
    Rule { calls, action, comparisons: comparisons.collect() }
}

fn comparison(
    arg: &config::SeccompArg<'_>,
    key: impl Display,
    problems: &mut Problems,
) -> Option<Comparison> {
    let argument = u8::try_from(arg.index).ok().filter(|index| *index <= MAX_ARGUMENT);
    if argument.is_none() {
        problems.add(
            format_args!("{key}/index"),
            format_args!("{} is more than {MAX_ARGUMENT}", arg.index),
        );
    }
    let operator = Operator::from_name(&arg.op);
    if operator.is_none() {
        problems.add(
            format_args!("{key}/op"),
            format_args!("{} is not an operator of seccomp", arg.op),
        );
    }
    Some(Comparison {
        argument: argument?,
        operator: operator?,
        value: arg.value,
        value_two: arg.value_two,
    })
}

fn flags(config: &config::Seccomp<'_>, notify: bool, problems: &mut Problems) -> u32 {
    let listener = if notify { NEW_LISTENER } else { 0 };
    // The default of runc and crun, if the key `flags` is missing; an empty list means no flags.
    // With this flag the filter does not disable speculation, which would make the program slower.
    let Some(names) = &config.flags else { return SPEC_ALLOW | listener };
    let mut flags = listener;
    for (at, name) in names.iter().enumerate() {
        let key = format_args!("/linux/seccomp/flags/{at}");
        match FLAGS.iter().find(|(known, _)| *known == &**name) {
            Some((_, WAIT_KILLABLE_RECV)) if !notify => {
                problems.add(key, format_args!("{name} needs a rule with SCMP_ACT_NOTIFY"));
            }
            Some((_, flag)) => flags |= flag,
            None => problems.add(key, format_args!("{name} is not a flag of seccomp")),
        }
    }
    flags
}

/// A path that no rule needs is ignored, as the specification demands.
fn listener(
    config: &config::Seccomp<'_>,
    notify: bool,
    problems: &mut Problems,
) -> Option<ListenerPlan> {
    let key = "/linux/seccomp/listenerPath";
    let path = &*config.listener_path;
    if path.is_empty() && !config.listener_metadata.is_empty() {
        problems.add(
            "/linux/seccomp/listenerMetadata",
            "listenerMetadata must not be set without listenerPath",
        );
    }
    if !notify {
        return None;
    }
    if path.is_empty() {
        problems.add(key, "seccomp listenerPath is not set");
    } else if !path.starts_with(['/', '@']) {
        problems.add(key, "must be an absolute path, or @ and the name of an abstract socket");
    } else if path.len() > LONGEST_PATH || path.contains('\0') {
        problems.add(key, format_args!("must be at most {LONGEST_PATH} bytes without NUL"));
    }
    let metadata = config.listener_metadata.to_string();
    Some(ListenerPlan { path: path.to_owned(), metadata, calls_of_ours: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::{Problems, SeccompPlan, decide};
    use crate::config;

    fn decided(json: &str) -> (Option<SeccompPlan>, Problems) {
        let config: config::Seccomp<'_> = serde_json::from_str(json).unwrap();
        let mut problems = Problems::default();
        (decide(Some(&config), &mut problems), problems)
    }

    fn keys(json: &str) -> Vec<String> {
        decided(json).1.found().iter().map(|problem| problem.key.clone()).collect()
    }

    fn with_rule(rule: &str) -> String {
        format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#)
    }

    fn with_listener(path: &str) -> String {
        let rule = r#"{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}"#;
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "{path}", "syscalls": [{rule}]}}"#
        )
    }

    fn on_argument(action: &str, index: u8, op: &str) -> String {
        let arg = format!(r#"{{"index": {index}, "value": 1, "op": "{op}"}}"#);
        format!(r#"{{"names": ["read"], "action": "SCMP_ACT_{action}", "args": [{arg}]}}"#)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_mistake_is_found_where_it_is() {
        let allow = r#""defaultAction": "SCMP_ACT_ALLOW""#;
        let known = if cfg!(target_endian = "big") { "SCMP_ARCH_S390X" } else { "SCMP_ARCH_X86" };
        let documents = [
            (r#"{"defaultAction": "ALLOW"}"#.to_owned(), "/linux/seccomp/defaultAction"),
            (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#.to_owned(), "/linux/seccomp/defaultAction"),
            (
                r#"{"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}"#.to_owned(),
                "/linux/seccomp/defaultErrnoRet",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}"#.to_owned(),
                "/linux/seccomp/defaultErrnoRet",
            ),
            (
                format!(r#"{{{allow}, "architectures": ["{known}", "x86"]}}"#),
                "/linux/seccomp/architectures/1",
            ),
            (
                format!(r#"{{{allow}, "architectures": ["SCMP_ARCH_PARISC"]}}"#),
                "/linux/seccomp/architectures/0",
            ),
            (
                format!(r#"{{{allow}, "flags": ["SECCOMP_FILTER_FLAG_LOG", "LOG"]}}"#),
                "/linux/seccomp/flags/1",
            ),
            (
                format!(r#"{{{allow}, "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}}"#),
                "/linux/seccomp/flags/0",
            ),
            (format!(r#"{{{allow}, "listenerMetadata": "x"}}"#), "/linux/seccomp/listenerMetadata"),
            (
                with_rule(r#"{"names": [], "action": "SCMP_ACT_LOG"}"#),
                "/linux/seccomp/syscalls/0/names",
            ),
            (
                with_rule(r#"{"names": ["read", ""], "action": "SCMP_ACT_LOG"}"#),
                "/linux/seccomp/syscalls/0/names/1",
            ),
            (
                with_rule(r#"{"names": ["read"], "action": "LOG"}"#),
                "/linux/seccomp/syscalls/0/action",
            ),
            (
                with_rule(r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "errnoRet": 1}"#),
                "/linux/seccomp/syscalls/0/errnoRet",
            ),
            (
                with_rule(r#"{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}"#),
                "/linux/seccomp/listenerPath",
            ),
            (with_listener("agent.sock"), "/linux/seccomp/listenerPath"),
            (with_listener(&format!("/{}", "x".repeat(107))), "/linux/seccomp/listenerPath"),
            (
                with_rule(&on_argument("LOG", 6, "SCMP_CMP_EQ")),
                "/linux/seccomp/syscalls/0/args/0/index",
            ),
            (with_rule(&on_argument("LOG", 5, "EQ")), "/linux/seccomp/syscalls/0/args/0/op"),
            (
                with_rule(
                    &[on_argument("LOG", 0, "SCMP_CMP_EQ"), on_argument("TRAP", 0, "SCMP_CMP_EQ")]
                        .join(","),
                ),
                "/linux/seccomp/syscalls/1",
            ),
        ];
        for (json, key) in documents {
            assert_eq!(keys(&json), [key], "{json}");
        }
    }

    #[test]
    fn write_cannot_notify() {
        let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock",
            "syscalls": [{"names": ["mkdir", "write"], "action": "SCMP_ACT_NOTIFY"}]}"#;
        let (_, problems) = decided(json);
        assert_eq!(problems.found()[0].key, "/linux/seccomp/syscalls/0/names/1");
        assert_eq!(
            problems.found()[0].text,
            "SCMP_ACT_NOTIFY cannot be used for the write syscall"
        );
    }

    #[test]
    fn unknown_calls_are_ignored_but_mentioned() {
        let (plan, problems) =
            decided(&with_rule(r#"{"names": ["frobnicate"], "action": "SCMP_ACT_LOG"}"#));
        assert!(plan.is_some() && problems.found().is_empty());
        assert_eq!(problems.warnings()[0].key, "/linux/seccomp/syscalls/0/names/0");
    }

    #[test]
    fn flags_are_those_of_runc() {
        let notify = r#", "listenerPath": "/run/agent.sock", "listenerMetadata": "bar",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]"#;
        let cases = [
            ("", 4, false),
            (r#", "flags": []"#, 0, false),
            (r#", "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]"#, 2, false),
            (
                r#", "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"]"#,
                6,
                false,
            ),
            (notify, 12, true),
            (
                &format!(r#"{notify}, "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#),
                40,
                true,
            ),
        ];
        for (rest, flags, notify) in cases {
            let (plan, problems) =
                decided(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW"{rest}}}"#));
            let plan = plan.unwrap();
            assert_eq!((plan.flags, plan.listener.is_some()), (flags, notify), "{rest}");
            assert!(problems.found().is_empty(), "{rest}");
        }
    }

    #[test]
    fn a_listener_that_nothing_notifies_is_no_mistake() {
        let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock", "listenerMetadata": "bar"}"#;
        let (plan, problems) = decided(json);
        assert!(problems.found().is_empty() && plan.unwrap().listener.is_none());
    }

    #[test]
    fn nothing_written_is_no_filter() {
        assert_eq!(decided(r#"{"defaultAction": ""}"#).0, None);
        assert_eq!(decide(None, &mut Problems::default()), None);
    }
}
