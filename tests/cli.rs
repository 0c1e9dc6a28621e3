//! Global flags and the command line as such; `--log` has a file of its own.

use crate::support::{Bundle, runtime};

const VERBS: &[&str] = &[
    "create", "start", "state", "kill", "delete", "run", "list", "pause", "resume", "ps", "spec",
    "features", "update", "exec",
];

#[test]
fn an_unknown_command_is_refused() {
    assert_ne!(Bundle::busybox().call(&["nosuch"]).status, 0);
}

#[test]
fn an_unknown_flag_is_refused() {
    let bundle = Bundle::busybox();
    bundle.write_config();
    let out = bundle.call(&["create", "--nosuch", "-b", "bundle", bundle.id()]);
    assert_eq!(out.status, 1, "{out:?}");
    bundle.assert_nothing_left();
}

#[test]
fn a_missing_id_is_refused() {
    let bundle = Bundle::busybox();
    for verb in VERBS.iter().filter(|verb| !["list", "spec", "features"].contains(verb)) {
        let out = bundle.call(&[verb]);
        assert_eq!(out.status, 1, "{verb}: {out:?}");
    }
    bundle.assert_nothing_left();
}

#[test]
fn surplus_arguments_are_refused() {
    let bundle = Bundle::busybox();
    bundle.write_config();
    for verb in [
        "create", "start", "state", "delete", "run", "list", "pause", "resume", "spec", "features",
        "update", "events",
    ] {
        let out = bundle.call(&[verb, bundle.id(), "surplus"]);
        assert_eq!(out.status, 1, "{verb}: {out:?}");
    }
    bundle.assert_nothing_left();
}

#[test]
fn help_and_version_succeed() {
    for flag in ["--help", "-h", "--version", "-v"] {
        let out = Bundle::busybox().call(&[flag]).ok();
        assert!(!out.stdout.is_empty() && out.stderr.is_empty(), "{flag}: {out:?}");
    }
}

#[test]
fn every_verb_has_help() {
    for verb in VERBS {
        let out = Bundle::busybox().call(&[verb, "--help"]).ok();
        assert!(out.stdout.contains(verb), "{verb}: {out:?}");
    }
}

/// containerd and Docker read these two lines.
#[test]
fn version_has_the_lines_tools_parse() {
    let out = Bundle::busybox().call(&["--version"]).ok();
    assert!(out.stdout.starts_with("runc version 1."), "{out:?}");
    assert!(out.stdout.lines().any(|line| line.starts_with("commit: ")), "{out:?}");
    assert!(out.stdout.lines().any(|line| line.starts_with("spec: 1.")), "{out:?}");
}

#[test]
fn root_may_be_relative() {
    let bundle = Bundle::busybox();
    bundle.write_config();
    let bundle = bundle.global(["--root", "relative"]);
    bundle.call(&["create", "-b", "bundle", bundle.id()]).silent();
    assert!(bundle.scratch("relative").join(bundle.id()).is_dir());
    assert!(bundle.state_names().is_empty(), "the last --root counts");
    bundle.call(&["delete", bundle.id()]).silent();
    assert!(!bundle.scratch("relative").join(bundle.id()).exists());
}

#[test]
fn root_takes_an_equals_sign() {
    let bundle = Bundle::busybox();
    let root = format!("--root={}", bundle.scratch("other").display());
    let bundle = bundle.global([root]);
    bundle.write_config();
    bundle.call(&["create", "-b", "bundle", bundle.id()]).silent();
    assert!(bundle.scratch("other").join(bundle.id()).is_dir());
    bundle.call(&["delete", bundle.id()]).silent();
}

#[test]
fn root_is_made_when_it_is_missing() {
    let bundle = Bundle::busybox();
    assert!(!bundle.state_root().exists());
    let c = bundle.create();
    assert!(c.bundle.state_root().join(c.id()).is_dir());
}

#[test]
fn the_root_directory_is_refused_as_state_root() {
    differs!();
    let bundle = Bundle::busybox().global(["--root", "/"]);
    bundle.verb("state").refused().says("--root argument should not be set to /");
}

#[test]
fn debug_tells_more_and_changes_nothing() {
    let mut bundle = Bundle::busybox().global(["--debug"]);
    let out = bundle.run(["echo", "hi"]).ok();
    assert_eq!(out.stdout, "hi\n");
    assert!(!out.stderr.is_empty());
    bundle.assert_nothing_left();
}

#[test]
fn verbs_do_not_read_stdin() {
    let bundle = Bundle::busybox().input("nothing for you\n").args(["cat"]);
    let c = bundle.create();
    c.state();
    assert_eq!(c.finish(), "nothing for you\n");
}

#[test]
fn the_runtime_may_be_called_with_closed_stdio() {
    let bundle = Bundle::busybox().args(["sh", "-c", "echo ok > /said"]);
    bundle.write_config();
    let script = format!("exec {} \"$@\" <&- >&- 2>&-", runtime::program().display());
    let root = bundle.state_root();
    let args = ["--root", root.to_str().unwrap(), "run", "--bundle", "bundle", bundle.id()];
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script, "sh"]).args(args).current_dir(bundle.dir());
    assert!(shell.status().unwrap().success());
    assert_eq!(runtime::read(&bundle.rootfs("said")), "ok\n");
    bundle.assert_nothing_left();
}

#[test]
fn long_flags_may_have_one_dash() {
    let bundle = Bundle::busybox();
    bundle.write_config();
    let root = bundle.scratch("other");
    let pid_file = bundle.scratch("pid");
    let args = [
        "-root",
        root.to_str().unwrap(),
        "create",
        "-bundle=bundle",
        "-no-pivot",
        "-pid-file",
        pid_file.to_str().unwrap(),
    ];
    bundle.call(&[&args[..], &[bundle.id()]].concat()).silent();
    assert!(root.join(bundle.id()).is_dir() && pid_file.is_file());
    bundle.call(&["-root", root.to_str().unwrap(), "delete", "-force", bundle.id()]).silent();
    assert!(!root.join(bundle.id()).is_dir());
}

#[test]
fn flags_may_follow_the_id() {
    let bundle = Bundle::busybox();
    bundle.write_config();
    bundle.call(&["create", bundle.id(), "--bundle", "bundle"]).silent();
    bundle.call(&["delete", bundle.id(), "-f"]).silent();
    bundle.assert_nothing_left();
}

#[test]
fn two_dashes_end_the_flags() {
    let bundle = Bundle::busybox();
    bundle.write_config();
    bundle.call(&["create", "-b", "bundle", "--", bundle.id()]).silent();
    let out = bundle.call(&["delete", "--", bundle.id(), "--force"]);
    assert_eq!(out.status, 1, "{out:?}");
    bundle.call(&["delete", "--", bundle.id()]).silent();
    bundle.assert_nothing_left();
}

#[test]
fn switches_take_true_and_false() {
    let bundle = Bundle::busybox();
    bundle.call(&["--debug=false", "delete", "--force=true", "no-such-container"]).silent();
    let out = bundle.call(&["delete", "--force=false", "no-such-container"]).refused();
    out.says("container does not exist");
    let out = bundle.call(&["delete", "--force=maybe", "no-such-container"]);
    assert_eq!(out.status, 1, "{out:?}");
}

/// Scripts write `--pid-file "$PID_FILE"`.
#[test]
fn an_empty_value_is_none() {
    let bundle = Bundle::busybox().global(["--log", "", "--log-format", ""]).args(["sleep", "60"]);
    bundle.write_config();
    let path = bundle.path();
    let bundle = bundle.current_dir(path);
    let id = bundle.id();
    bundle.call(&["create", "-b", "", "--pid-file", "", "--console-socket", "", id]).silent();
    bundle.call(&["start", id]).silent();
    bundle
        .call(&["exec", "--process", "", "--pid-file=", "--console-socket", "", id, "true"])
        .silent();
    let limits = [
        "cpu-period",
        "cpu-quota",
        "cpu-share",
        "cpu-rt-period",
        "cpu-rt-runtime",
        "memory",
        "memory-swap",
    ];
    let limits = limits.map(|flag| format!("--{flag}="));
    bundle
        .call(&[&["update"], &limits.each_ref().map(String::as_str)[..], &[id]].concat())
        .silent();
    bundle.call(&["update", "--resources", "", id]).silent();
    let out = bundle.call(&["state", "no-such-container"]).refused();
    assert!(out.stderr.contains("container does not exist"), "{out:?}");
    let empty = bundle.scratch_dir("empty");
    let bundle = bundle.current_dir(empty.clone());
    bundle.call(&["spec", "-b", ""]).silent();
    assert!(empty.join("config.json").exists());
}

#[test]
fn a_number_that_is_none_is_refused_all_the_same() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    for flag in ["--cpu-period=x", "--cpu-quota=1x", "--memory=x"] {
        c.bundle.call(&["update", flag, c.id()]).refused();
    }
}

#[test]
fn a_flag_without_its_value_is_refused() {
    let bundle = Bundle::busybox();
    for args in [&["create", "x", "--bundle"][..], &["--root"], &["list", "-f"]] {
        let out = bundle.call(args);
        assert_eq!(out.status, 1, "{args:?}: {out:?}");
    }
}

#[test]
fn usage_errors_are_one_line_and_stand_in_the_log() {
    differs!();
    let bundle = Bundle::busybox();
    for (args, text) in [
        (&["create", "--nosuch", "x"][..], "--nosuch"),
        (&["create"], "CONTAINER-ID"),
        (&["state", "a", "b"], "'b'"),
        (&["nosuch"], "No help topic for 'nosuch'"),
        (&["list", "--format"], "--format"),
        (&[], "subcommand"),
    ] {
        let log = bundle.scratch("log.json");
        let log = log.to_str().unwrap();
        let all = [&["--log", log, "--log-format", "json"], args].concat();
        let out = bundle.call(&all).refused().says(text);
        let line: crate::support::Value =
            serde_json::from_str(bundle.read("log.json").lines().last().unwrap()).unwrap();
        assert!(out.stderr.contains(line["msg"].as_str().unwrap()), "{out:?} {line}");
        assert_eq!((&line["level"], &line["code"]), (&"error".into(), &"usage".into()));
    }
    assert_eq!(bundle.read("log.json").lines().count(), 6);
}
