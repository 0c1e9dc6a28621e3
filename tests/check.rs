//! `check`: all that keeps a bundle from starting, at once, and in the words of `create`. What is
//! expected is written from the specification; `create` is the judge of each problem that stands
//! alone.

mod broken;

use std::collections::BTreeSet;
use std::fs;

use broken::BROKEN;

use crate::support::{Bundle, Output, Value, cgroups, config, json};

/// JSON pointers and values.
type Changes = &'static [(&'static str, &'static str)];

fn broken(mut bundle: Bundle, changes: Changes) -> Bundle {
    for (pointer, value) in changes {
        let value: Value = serde_json::from_str(value).unwrap();
        match pointer.strip_suffix("/-") {
            Some(array) => config::push(&mut bundle.config, array, value),
            None => config::set(&mut bundle.config, pointer, value),
        }
    }
    bundle
}

/// Checks what the bundle is now.
#[track_caller]
fn check(bundle: &Bundle, flags: &[&str]) -> Output {
    bundle.write_config();
    let path = bundle.path();
    bundle.call(&[&["check", "--bundle", path.to_str().unwrap()], flags].concat())
}

/// The problems, which must be the same in both forms.
#[track_caller]
fn problems(bundle: &Bundle) -> Vec<Value> {
    let text = check(bundle, &[]);
    let document = check(bundle, &["--json"]);
    let found: Vec<Value> = serde_json::from_str(&document.stdout)
        .unwrap_or_else(|error| panic!("{error}: {document:?}"));
    assert_eq!((text.status, document.status), if found.is_empty() { (0, 0) } else { (1, 1) });
    assert_eq!((&*text.stderr, &*document.stderr), ("", ""));
    let field = |problem: &Value, name: &str| {
        problem[name].as_str().unwrap_or_else(|| panic!("{name}: {problem}")).to_owned()
    };
    let lines = found.iter().flat_map(|problem| {
        let pointer = Some(field(problem, "pointer")).filter(|pointer| !pointer.is_empty());
        let pointer = pointer.unwrap_or_else(|| "config.json".to_owned());
        let first = format!("{pointer}: {}", field(problem, "problem"));
        [
            first,
            format!("    rule: {}", field(problem, "rule")),
            format!("    hint: {}", field(problem, "hint")),
        ]
    });
    assert_eq!(text.lines(), lines.collect::<Vec<_>>());
    for problem in &found {
        let parts = ["rule", "hint", "code"].map(|name| field(problem, name));
        assert!(parts.iter().all(|part| !part.is_empty()), "{problem}");
    }
    found
}

fn pointers(problems: &[Value]) -> BTreeSet<&str> {
    problems.iter().map(|problem| problem["pointer"].as_str().unwrap()).collect()
}

/// Without what is another number at each call: descriptors and pids.
fn words(text: &str) -> String {
    text.replace("\\\"", "\"").chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

#[test]
fn the_default_bundle_has_no_problems() {
    differs!();
    let bundle = Bundle::busybox();
    check(&bundle, &[]).silent();
    fs::remove_file(bundle.path().join("config.json")).unwrap();
    bundle.call(&["spec", "--bundle", bundle.path().to_str().unwrap()]).silent();
    let present = bundle.path();
    let bundle = bundle.current_dir(present);
    bundle.call(&["check"]).silent();
    let out = bundle.call(&["check", "--json"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&out.stdout).unwrap(), json!([]));
}

#[test]
fn each_problem_is_found_and_is_the_one_of_create() {
    differs!();
    for (changes, pointer, expected, rule) in BROKEN {
        let bundle = broken(Bundle::busybox(), changes);
        let found = problems(&bundle);
        let [problem] = &found[..] else { panic!("{changes:?}: {found:#?}") };
        assert_eq!(problem["pointer"], *pointer, "{changes:?}");
        let text = problem["problem"].as_str().unwrap();
        assert!(text.contains(expected), "{changes:?}: {text}");
        assert!(problem["rule"].as_str().unwrap().contains(rule), "{changes:?}: {problem}");
        bundle.assert_nothing_left();
        let out = bundle.refused();
        assert!(
            words(&out.stderr).contains(&words(text)),
            "check says {text:?}, create says {out:?}"
        );
    }
}

/// No two of the table get into each other's way: all that are not about the same object, together.
#[test]
fn all_problems_are_found_at_once() {
    differs!();
    let mut bundle = Bundle::busybox();
    let mut expected = BTreeSet::new();
    let mut objects = BTreeSet::new();
    // What is judged by something else that is wrong as well.
    let apart = ["/process", "/root", "/hostname"];
    for (changes, pointer, ..) in BROKEN.iter().filter(|(_, pointer, ..)| !apart.contains(pointer))
    {
        let object: Vec<&str> = pointer.split('/').take(3).collect();
        if objects.insert(object) {
            bundle = broken(bundle, changes);
            expected.insert(*pointer);
        }
    }
    assert!(expected.len() >= 25, "{expected:?}");
    let found = problems(&bundle);
    assert_eq!(pointers(&found), expected);
    assert_eq!(found.len(), expected.len());
    bundle.assert_nothing_left();
}

#[test]
fn several_problems_of_one_object_are_told_one_by_one() {
    differs!();
    let cases: [(Changes, &[&str]); 4] = [
        (
            &[(
                "/process",
                r#"{ "args": [], "cwd": "x", "env": ["a", "B=1", "c"], "user": { "umask": 4096 } }"#,
            )],
            &[
                "/process/args",
                "/process/cwd",
                "/process/env/0",
                "/process/env/2",
                "/process/user/umask",
            ],
        ),
        (
            &[(
                "/mounts",
                r#"[{ "destination": "" }, { "destination": "/x", "type": "bind" }, { "type": "tmpfs" }]"#,
            )],
            &["/mounts/0/destination", "/mounts/0/type", "/mounts/1/source", "/mounts/2"],
        ),
        // What cannot be read, and what can.
        (
            &[
                ("/process/args", "[1, 2]"),
                ("/process/terminal", r#""no""#),
                ("/linux/cgroupsPath", r#""/..""#),
            ],
            &["/process/args/0", "/process/args/1", "/process/terminal", "/linux/cgroupsPath"],
        ),
        // Nobody knows what the hostname is to be judged by.
        (
            &[("/linux/namespaces", r#""all""#), ("/hostname", "7")],
            &["/linux/namespaces", "/hostname"],
        ),
    ];
    for (changes, expected) in cases {
        let found = problems(&broken(Bundle::busybox(), changes));
        assert_eq!(pointers(&found), expected.iter().copied().collect(), "{found:#?}");
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }
}

#[test]
fn what_is_no_config_is_one_problem() {
    differs!();
    for (text, expected) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "expected an object"),
        ("captain", "expected value"),
        ("{} x", "trailing"),
    ] {
        let bundle = Bundle::busybox();
        fs::write(bundle.path().join("config.json"), text).unwrap();
        let out = bundle.call(&["check", "--bundle", bundle.path().to_str().unwrap()]);
        assert!(out.status == 1 && out.stdout.starts_with("config.json: "), "{out:?}");
        assert!(out.stdout.contains(expected) && out.lines().len() == 3, "{out:?}");
    }
    let bundle = Bundle::busybox();
    let out = bundle.call(&["check", "--bundle", bundle.path().to_str().unwrap()]);
    assert!(out.status == 1 && out.stdout.contains("config.json not found"), "{out:?}");
}

/// The host of the test without something, seen by the runtime alone.
#[test]
fn what_the_machine_lacks_is_a_problem() {
    differs!();
    let notify = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdirat"], "action": "SCMP_ACT_ERRNO" }],
    });
    let actions = "echo kill_process kill_thread allow log > /mnt/actions; mount --bind /mnt/actions /proc/sys/kernel/seccomp/actions_avail";
    let no_uts = "set -- unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_uts_namespaces; exec \"$@\"' sh \"$@\"";
    for (bundle, pointer, problem, rule) in [
        (
            Bundle::busybox()
                .set("/linux/seccomp", notify)
                .after(&format!("mount -t tmpfs none /mnt; {actions}")),
            "/linux/seccomp",
            "action errno",
            "CONFIG_SECCOMP_FILTER",
        ),
        (
            Bundle::busybox().after(no_uts),
            "/linux/namespaces",
            "no uts namespace may be made",
            "/proc/sys/user",
        ),
        (
            Bundle::busybox()
                .set("/process/apparmorProfile", "x")
                .after("[ ! -d /sys/kernel/security ] || mount -t tmpfs none /sys/kernel/security"),
            "/process/apparmorProfile",
            "apparmor not supported",
            "AppArmor",
        ),
    ] {
        let out = check(&bundle, &["--json"]);
        let found: Vec<Value> = serde_json::from_str(&out.stdout).unwrap();
        assert_eq!(pointers(&found), [pointer].into(), "{found:#?} {}", out.stderr);
        assert!(found[0]["problem"].as_str().unwrap().contains(problem), "{out:?}");
        assert!(found[0]["rule"].as_str().unwrap().contains(rule), "{out:?}");
    }
}

#[test]
fn a_controller_that_is_not_there_is_a_problem() {
    differs!();
    needs!(!cgroups::is_pure_v2(), "controllers that cgroup v2 lacks");
    let bundle = Bundle::busybox().on_cgroup_v2().set("/linux/resources/memory/limit", 1 << 26);
    let found = problems(&bundle);
    assert_eq!(pointers(&found), ["/linux/resources/memory/limit"].into());
    assert!(found[0]["rule"].as_str().unwrap().starts_with("kernel"), "{found:?}");
    bundle.refused().says(found[0]["problem"].as_str().unwrap());
}

/// What hooks and mounts may bring along is no problem.
#[test]
fn what_cannot_be_known_is_not_told() {
    differs!();
    let bundle = Bundle::busybox();
    let programs = bundle.scratch_dir("programs");
    let mount = json!({ "destination": "/opt", "source": programs, "options": ["bind"] });
    let bundle = bundle.args(["/opt/program"]).push("/mounts", mount);
    check(&bundle, &[]).silent();
    check(&bundle.set("/process/env", json!(["PATH=:/bin"])).args(["true"]), &[]).silent();
    let hook = json!([{ "path": "/bin/true" }]);
    check(&Bundle::busybox().args(["/opt/program"]).set("/hooks/createContainer", hook), &[])
        .silent();
    check(&Bundle::busybox().set("/linux/sysctl/net.ipv4.conf.eth7.forwarding", "1"), &[]).silent();
}

#[test]
fn a_cgroup_that_is_in_use_is_a_problem() {
    differs!();
    let path = |bundle: &Bundle| format!("/{}", bundle.id());
    let bundle = Bundle::busybox().script("sleep 100");
    let path = path(&bundle);
    let container = bundle.set("/linux/cgroupsPath", path.clone()).run_detached();
    let other = Bundle::busybox().set("/linux/cgroupsPath", path);
    let found = problems(&other);
    assert_eq!(pointers(&found), ["/linux/cgroupsPath"].into());
    let text = found[0]["problem"].as_str().unwrap();
    assert!(text.contains("not empty"), "{text}");
    let out = other.refused();
    assert!(words(&out.stderr).contains(&words(text)), "{out:?}");
    drop(container);
}

/// `create` looks for it in the rootfs when its turn comes. Seen to fail while it was looked for on
/// the host.
#[test]
fn a_source_that_an_earlier_mount_brings_along_is_no_problem() {
    differs!();
    let bundle = Bundle::busybox();
    let held = bundle.scratch_dir("held");
    fs::create_dir(held.join("inner")).unwrap();
    let inner = bundle.rootfs("hold/inner");
    let mut bundle = bundle
        .push("/mounts", json!({ "destination": "/hold", "source": held, "options": ["bind"] }))
        .push("/mounts", json!({ "destination": "/inner", "source": inner, "options": ["bind"] }));
    check(&bundle, &[]).silent();
    bundle.run(["true"]).ok();
}

/// Where nothing can be written, and nothing is then.
#[test]
fn a_check_changes_nothing() {
    differs!();
    let read_only = "for place in $(cut -d' ' -f2 /proc/mounts | sort -u); do
        mount -o remount,bind,ro \"$place\" 2>/dev/null || true
    done";
    let bundle = Bundle::busybox()
        .after(read_only)
        .after("! touch /tmp/x /run/x /sys/fs/cgroup/x 2>/dev/null");
    check(&bundle, &[]).silent();
    assert!(!bundle.state_root().exists());
    let mut names: Vec<_> =
        fs::read_dir(bundle.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "rootfs"]);
    bundle.assert_nothing_left();
}

/// An ordinary user's bundle is judged as his.
#[test]
fn an_ordinary_user_may_check() {
    differs!();
    check(&Bundle::busybox().by_user(1000), &[]).silent();
    let bundle = Bundle::busybox().by_user(1000).set("/linux/netDevices/eth0", json!({}));
    let out = check(&bundle, &[]);
    assert!(out.status == 1 && out.stdout.contains("not supported for rootless"), "{out:?}");
}
