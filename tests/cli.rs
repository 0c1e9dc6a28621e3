//! Global flags and the command line as such; `--log` has a file of its own.

use crate::support::{Bundle, runtime};

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
    for verb in ["create", "start", "state", "kill", "delete", "run"] {
        let out = bundle.call(&[verb]);
        assert_eq!(out.status, 1, "{verb}: {out:?}");
    }
    bundle.assert_nothing_left();
}

#[test]
fn surplus_arguments_are_refused() {
    let bundle = Bundle::busybox();
    bundle.write_config();
    for verb in ["create", "start", "state", "delete", "run"] {
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
    for verb in ["create", "start", "state", "kill", "delete", "run"] {
        let out = Bundle::busybox().call(&[verb, "--help"]).ok();
        assert!(out.stdout.contains(verb), "{verb}: {out:?}");
    }
}

/// containerd and Docker read these two lines.
#[test]
fn version_has_the_lines_tools_parse() {
    let out = Bundle::busybox().call(&["--version"]).ok();
    assert!(out.stdout.contains(" version "), "{out:?}");
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
