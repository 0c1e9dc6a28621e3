//! `--rootless`, and where containers are kept when `--root` does not say.

use std::process::Command;

use crate::support::{Bundle, runtime};

#[test]
fn rootless_is_true_false_or_auto() {
    for value in ["true", "false", "auto", "1", "F", "AUTO", ""] {
        let bundle = Bundle::busybox().global(["--rootless", value]);
        { bundle }.run(["true"]).ok();
    }
}

#[test]
fn rootless_is_nothing_else() {
    for value in ["yes", "2", "automatic"] {
        let bundle = Bundle::busybox().global(["--rootless", value]);
        bundle.refused().says(value);
    }
}

/// The ids in the default state root, for whoever the shell makes us.
fn listed(bundle: &Bundle, become_it: &str, user: &str) -> String {
    let program = runtime::program();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("exec {become_it} \"$@\""))
        .arg("sh")
        .arg(program)
        .args(["list", "-q"]);
    command.env("XDG_RUNTIME_DIR", bundle.dir()).env("USER", user);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// Root of the host keeps to /run, and so does who calls himself root in a user namespace.
#[test]
fn the_state_is_below_xdg_runtime_dir_for_ordinary_users() {
    let bundle = Bundle::busybox();
    let name = runtime::program_file().file_name().unwrap().to_str().unwrap().to_owned();
    let root = bundle.scratch(&name);
    let bundle = bundle.global(["--root", root.to_str().unwrap()]).args(["sleep", "60"]);
    bundle.write_config();
    bundle.call(&["create", "-b", "bundle", bundle.id()]).silent();
    let id = bundle.id();
    let userns = "unshare --user --map-root-user";
    assert!(listed(&bundle, userns, "sailor").contains(id));
    assert!(!listed(&bundle, userns, "root").contains(id));
    assert!(!listed(&bundle, "", "sailor").contains(id));
    bundle.call(&["delete", "--force", id]).silent();
}
