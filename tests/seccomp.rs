//! `linux.seccomp`
//!
//! The system calls are chosen so that plain busybox programs make them with arguments a test
//! controls: `renice N` calls setpriority with N as its third argument, `truncate -s N` calls
//! ftruncate with N as its second.

use crate::support::{Bundle, Output, Value, json};

const EPERM: &str = "Operation not permitted";

/// Everything but these rules is allowed.
fn with_rules(rules: Value) -> Bundle {
    Bundle::busybox()
        .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules }))
}

/// mkdir gets this action.
fn with_action(action: &str) -> Bundle {
    with_rules(json!([{ "names": ["mkdir", "mkdirat"], "action": action }]))
}

fn mkdir(mut bundle: Bundle) -> Output {
    bundle.run(["mkdir", "/new"])
}

#[test]
fn a_filter_is_in_force() {
    let out = with_rules(json!([])).run(["grep", "-E", "^Seccomp:", "/proc/self/status"]).ok();
    assert_eq!(out.line(), "Seccomp:\t2");
    let out = Bundle::busybox().run(["grep", "-E", "^Seccomp:", "/proc/self/status"]).ok();
    assert_eq!(out.line(), "Seccomp:\t0");
}

#[test]
fn errno_means_eperm_by_default() {
    let out = mkdir(with_action("SCMP_ACT_ERRNO"));
    assert!(out.status == 1 && out.stderr.contains(EPERM), "{out:?}");
}

#[test]
fn errno_ret_chooses_the_error() {
    let rules =
        json!([{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }]);
    let out = mkdir(with_rules(rules));
    assert!(out.stderr.contains("No space left on device"), "{out:?}");
}

#[test]
fn errno_zero_makes_a_call_succeed_without_effect() {
    let rules =
        json!([{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0 }]);
    let mut bundle = with_rules(rules);
    bundle.run(["mkdir", "/new"]).silent();
    assert!(!bundle.rootfs("new").exists());
}

#[test]
fn other_calls_are_not_concerned() {
    with_action("SCMP_ACT_ERRNO").run(["touch", "/new"]).silent();
}

#[test]
fn killing_ends_the_program_with_sigsys() {
    for action in
        ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"]
    {
        assert_eq!(mkdir(with_action(action)).status, 128 + 31, "{action}");
    }
}

#[test]
fn log_and_allow_let_the_call_through() {
    for action in ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"] {
        mkdir(with_action(action)).silent();
    }
}

#[test]
fn trace_without_a_tracer_is_enosys() {
    let out = mkdir(with_action("SCMP_ACT_TRACE"));
    assert!(out.stderr.contains("Function not implemented"), "{out:?}");
}

/// Which of the priorities 1 to 9 a rule about the third argument of setpriority catches.
#[track_caller]
fn caught(args: Value) -> Vec<u32> {
    let rules = json!([{ "names": ["setpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": args }]);
    let script = "for n in 1 2 3 4 5 6 7 8 9; do renice $n -p $$ >/dev/null 2>&1 || echo $n; done";
    let out = with_rules(rules).sh(script).ok();
    out.lines().iter().map(|line| line.parse().unwrap()).collect()
}

fn third(op: &str, value: u64) -> Value {
    json!([{ "index": 2, "value": value, "op": op }])
}

#[test]
fn arguments_are_compared() {
    assert_eq!(caught(third("SCMP_CMP_EQ", 5)), [5]);
    assert_eq!(caught(third("SCMP_CMP_NE", 5)), [1, 2, 3, 4, 6, 7, 8, 9]);
    assert_eq!(caught(third("SCMP_CMP_LT", 5)), [1, 2, 3, 4]);
    assert_eq!(caught(third("SCMP_CMP_LE", 5)), [1, 2, 3, 4, 5]);
    assert_eq!(caught(third("SCMP_CMP_GE", 5)), [5, 6, 7, 8, 9]);
    assert_eq!(caught(third("SCMP_CMP_GT", 5)), [6, 7, 8, 9]);
}

#[test]
fn arguments_are_compared_under_a_mask() {
    let args = json!([{ "index": 2, "value": 6, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ" }]);
    assert_eq!(caught(args), [4, 5]);
}

#[test]
fn all_conditions_of_a_rule_must_hold() {
    let args = json!([
        { "index": 0, "value": 0, "op": "SCMP_CMP_EQ" },
        { "index": 2, "value": 5, "op": "SCMP_CMP_EQ" },
    ]);
    assert_eq!(caught(args), [5]);
    let args = json!([
        { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" },
        { "index": 2, "value": 5, "op": "SCMP_CMP_EQ" },
    ]);
    assert_eq!(caught(args), [0; 0]);
}

/// As runc does: two conditions on one argument are two rules.
#[test]
fn conditions_on_the_same_argument_are_alternatives() {
    let args = json!([
        { "index": 2, "value": 3, "op": "SCMP_CMP_EQ" },
        { "index": 2, "value": 7, "op": "SCMP_CMP_EQ" },
    ]);
    assert_eq!(caught(args), [3, 7]);
}

#[test]
fn several_rules_for_one_call_are_alternatives() {
    let rule = |n: u64| json!({ "names": ["setpriority"], "action": "SCMP_ACT_ERRNO", "args": third("SCMP_CMP_EQ", n) });
    let script = "for n in 1 2 3 4 5; do renice $n -p $$ >/dev/null 2>&1 || echo $n; done";
    let out = with_rules(json!([rule(2), rule(4)])).sh(script).ok();
    assert_eq!(out.lines(), ["2", "4"]);
}

/// Which of these sizes a rule about the second argument of ftruncate catches.
#[track_caller]
fn caught_sizes(op: &str, value: u64) -> Vec<u64> {
    let args = json!([{ "index": 1, "value": value, "op": op }]);
    let rules =
        json!([{ "names": ["ftruncate", "truncate"], "action": "SCMP_ACT_ERRNO", "args": args }]);
    let script = "for n in 5 4294967295 4294967296 4294967301 8589934597; do \
                  truncate -s $n /f 2>/dev/null || echo $n; done";
    let out = with_rules(rules).sh(script).ok();
    out.lines().iter().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn all_64_bits_of_an_argument_are_compared() {
    const FOUR_GIB: u64 = 1 << 32;
    assert_eq!(caught_sizes("SCMP_CMP_EQ", FOUR_GIB + 5), [FOUR_GIB + 5]);
    assert_eq!(caught_sizes("SCMP_CMP_EQ", 5), [5]);
    assert_eq!(caught_sizes("SCMP_CMP_GT", FOUR_GIB), [FOUR_GIB + 5, 2 * FOUR_GIB + 5]);
    assert_eq!(caught_sizes("SCMP_CMP_GE", FOUR_GIB), [FOUR_GIB, FOUR_GIB + 5, 2 * FOUR_GIB + 5]);
    assert_eq!(caught_sizes("SCMP_CMP_LT", FOUR_GIB), [5, FOUR_GIB - 1]);
    assert_eq!(caught_sizes("SCMP_CMP_LE", FOUR_GIB), [5, FOUR_GIB - 1, FOUR_GIB]);
}

/// What a small static program needs, and what a runtime does between installing the filter and
/// starting it.
const BARE_NECESSITIES: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "clock_gettime",
    "clone",
    "close",
    "close_range",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "getrlimit",
    "gettid",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "recvmsg",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "seccomp",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setrlimit",
    "setuid",
    "sigaltstack",
    "stat",
    "statx",
    "tgkill",
    "umask",
    "uname",
    "wait4",
    "write",
    "writev",
];

fn default_deny() -> Bundle {
    Bundle::busybox().set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{ "names": BARE_NECESSITIES, "action": "SCMP_ACT_ALLOW" }],
        }),
    )
}

#[test]
fn an_allow_list_denies_everything_else() {
    assert_eq!(default_deny().run(["echo", "allowed"]).ok().line(), "allowed");
    let out = mkdir(default_deny());
    assert!(out.status == 1 && out.stderr.contains(EPERM), "{out:?}");
}

#[test]
fn an_allow_list_works_without_no_new_privileges_too() {
    let bundle = || default_deny().set("/process/noNewPrivileges", false);
    assert_eq!(bundle().run(["echo", "allowed"]).ok().line(), "allowed");
    let out = mkdir(bundle());
    assert!(out.status == 1 && out.stderr.contains(EPERM), "{out:?}");
}

#[test]
fn default_errno_ret_chooses_the_error_of_the_default_action() {
    let out = mkdir(default_deny().set("/linux/seccomp/defaultErrnoRet", 28));
    assert!(out.stderr.contains("No space left on device"), "{out:?}");
}

#[test]
fn the_filter_holds_for_ordinary_users_with_and_without_no_new_privileges() {
    for flag in [true, false] {
        let bundle = with_action("SCMP_ACT_KILL_PROCESS")
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .set("/process/capabilities", json!({}))
            .set("/process/noNewPrivileges", flag);
        let mut bundle = bundle;
        let out = bundle.run(["mkdir", "/tmp/new"]);
        assert_eq!(out.status, 159, "noNewPrivileges {flag}: {out:?}");
    }
}

#[test]
fn no_new_privileges_stays_as_configured_with_a_filter() {
    for (flag, text) in [(true, "NoNewPrivs:\t1"), (false, "NoNewPrivs:\t0")] {
        let mut bundle = with_rules(json!([])).set("/process/noNewPrivileges", flag);
        assert_eq!(bundle.run(["grep", "NoNewPrivs", "/proc/self/status"]).ok().line(), text);
    }
}

#[test]
fn the_filter_reaches_child_processes() {
    let out = with_action("SCMP_ACT_ERRNO").sh("sh -c 'mkdir /new'");
    assert!(out.stderr.contains(EPERM), "{out:?}");
}

#[test]
fn architectures_are_accepted() {
    let native =
        if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
    let all = json!([native, "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"]);
    for list in [json!([]), json!([native]), all] {
        let out = mkdir(with_action("SCMP_ACT_ERRNO").set("/linux/seccomp/architectures", list));
        assert!(out.stderr.contains(EPERM), "{out:?}");
    }
}

#[test]
fn the_native_architecture_need_not_be_listed() {
    let out = mkdir(
        with_action("SCMP_ACT_ERRNO").set("/linux/seccomp/architectures", json!(["SCMP_ARCH_ARM"])),
    );
    assert!(out.stderr.contains(EPERM), "{out:?}");
}

#[test]
fn flags_are_accepted() {
    differs!();
    for flags in
        [json!([]), json!(["SECCOMP_FILTER_FLAG_LOG"]), json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])]
    {
        let out = mkdir(with_action("SCMP_ACT_ERRNO").set("/linux/seccomp/flags", flags));
        assert!(out.stderr.contains(EPERM), "{out:?}");
    }
}

#[test]
fn an_unknown_flag_is_refused() {
    differs!();
    let bundle = with_action("SCMP_ACT_ERRNO")
        .set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_RUM"]));
    bundle.refused().says("SECCOMP_FILTER_FLAG_RUM").names("flags");
}

#[test]
fn an_unknown_action_is_refused() {
    with_action("SCMP_ACT_RUM").refused().says("SCMP_ACT_RUM").names("action");
}

#[test]
fn an_unknown_default_action_is_refused() {
    let bundle =
        Bundle::busybox().set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_RUM" }));
    bundle.refused().says("SCMP_ACT_RUM").names("defaultAction");
}

#[test]
fn an_unknown_operator_is_refused() {
    let rules = json!([{
        "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 0, "op": "SCMP_CMP_RUM" }],
    }]);
    with_rules(rules).refused().says("SCMP_CMP_RUM").names("op");
}

#[test]
fn an_unknown_architecture_is_refused() {
    let bundle =
        with_action("SCMP_ACT_ERRNO").set("/linux/seccomp/architectures", json!(["SCMP_ARCH_RUM"]));
    bundle.refused().says("SCMP_ARCH_RUM").names("architectures");
}

#[test]
fn an_argument_that_no_call_has_is_refused() {
    let rules = json!([{
        "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" }],
    }]);
    with_rules(rules).refused().names("index");
}

#[test]
fn an_unknown_call_is_ignored() {
    let rules =
        json!([{ "names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }]);
    let out = mkdir(with_rules(rules));
    assert!(out.stderr.contains(EPERM), "{out:?}");
}

#[test]
fn a_rule_without_names_is_refused() {
    differs!();
    with_rules(json!([{ "names": [], "action": "SCMP_ACT_ERRNO" }])).refused().names("names");
}

#[test]
fn errno_ret_without_an_action_that_uses_it_is_refused() {
    differs!();
    let rules = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS", "errnoRet": 1 }]);
    with_rules(rules).refused().names("errnoRet");
}
