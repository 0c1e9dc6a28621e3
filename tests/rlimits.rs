//! `process.rlimits`

use crate::support::{Bundle, json};

const ALL: &[(&str, &str)] = &[
    ("RLIMIT_AS", "Max address space"),
    ("RLIMIT_CORE", "Max core file size"),
    ("RLIMIT_CPU", "Max cpu time"),
    ("RLIMIT_DATA", "Max data size"),
    ("RLIMIT_FSIZE", "Max file size"),
    ("RLIMIT_LOCKS", "Max file locks"),
    ("RLIMIT_MEMLOCK", "Max locked memory"),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size"),
    ("RLIMIT_NICE", "Max nice priority"),
    ("RLIMIT_NOFILE", "Max open files"),
    ("RLIMIT_NPROC", "Max processes"),
    ("RLIMIT_RSS", "Max resident set"),
    ("RLIMIT_RTPRIO", "Max realtime priority"),
    ("RLIMIT_RTTIME", "Max realtime timeout"),
    ("RLIMIT_SIGPENDING", "Max pending signals"),
    ("RLIMIT_STACK", "Max stack size"),
];

/// The two columns of a line of /proc/PID/limits.
fn columns(limits: &str, title: &str) -> (u64, u64) {
    let line = limits.lines().find_map(|line| line.strip_prefix(title)).unwrap();
    let mut values = line.split_whitespace().map(|text| text.parse().unwrap_or(u64::MAX));
    (values.next().unwrap(), values.next().unwrap())
}

#[test]
fn every_limit_is_set_exactly() {
    let host = std::fs::read_to_string("/proc/self/limits").unwrap();
    // Large enough for a program to live with, no two alike, and nowhere above the host's.
    let wanted = |n: u64, title| {
        let hard = columns(&host, title).1.min(2_000_000_000 + n);
        (hard / 2, hard)
    };
    let mut bundle = Bundle::busybox().set("/process/rlimits", json!([]));
    for (n, (kind, title)) in (0..).zip(ALL) {
        let (soft, hard) = wanted(n, title);
        bundle =
            bundle.push("/process/rlimits", json!({ "type": kind, "soft": soft, "hard": hard }));
    }
    let limits = bundle.run(["cat", "/proc/self/limits"]).ok().stdout;
    for (n, (kind, title)) in (0..).zip(ALL) {
        assert_eq!(columns(&limits, title), wanted(n, title), "{kind}");
    }
}

#[test]
fn unlimited_is_the_largest_number() {
    let limit = json!({ "type": "RLIMIT_CORE", "soft": u64::MAX, "hard": u64::MAX });
    let out = Bundle::busybox().push("/process/rlimits", limit).sh("ulimit -c; ulimit -Hc").ok();
    assert_eq!(out.lines(), ["unlimited", "unlimited"]);
}

#[test]
fn the_soft_and_the_hard_limit_differ() {
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    let out = Bundle::busybox().set("/process/rlimits", limits).sh("ulimit -Sn; ulimit -Hn").ok();
    assert_eq!(out.lines(), ["100", "200"]);
}

#[test]
fn limits_that_are_not_named_stay() {
    let mut bundle = Bundle::busybox().set("/process/rlimits", json!([])).after("ulimit -c 12");
    assert_eq!(bundle.sh("cat /proc/self/limits").ok().stdout.matches(" 6144 ").count(), 2);
}

#[test]
fn limits_bite() {
    let limits = json!([{ "type": "RLIMIT_FSIZE", "soft": 1024, "hard": 1024 }]);
    let out = Bundle::busybox()
        .set("/process/rlimits", limits)
        .sh("head -c 2000 /dev/zero > /f; stat -c %s /f");
    assert_eq!(out.line(), "1024", "{out:?}");
}

#[test]
fn a_soft_limit_above_the_hard_one_is_refused() {
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 200, "hard": 100 }]);
    Bundle::busybox().set("/process/rlimits", limits).refused().names("rlimits");
}

#[test]
fn an_unknown_limit_is_refused() {
    for kind in ["RLIMIT_RUM", "NOFILE", "rlimit_nofile", ""] {
        let limits = json!([{ "type": kind, "soft": 1, "hard": 1 }]);
        Bundle::busybox().set("/process/rlimits", limits).refused().names("rlimits").says(kind);
    }
}

#[test]
fn a_duplicate_limit_is_refused() {
    differs!();
    let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 100 });
    Bundle::busybox()
        .push("/process/rlimits", limit)
        .refused()
        .says("RLIMIT_NOFILE")
        .names("rlimits");
}

#[test]
fn a_limit_can_be_raised_for_an_ordinary_user() {
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 3000, "hard": 3000 }]);
    let mut bundle = Bundle::busybox()
        .set("/process/rlimits", limits)
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .set("/process/capabilities", json!({}));
    assert_eq!(bundle.sh("ulimit -n").ok().line(), "3000");
}
