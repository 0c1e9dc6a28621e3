//! `image`, which is a program of its own: a stand-in for it tells what it was started with.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Bundle, runtime, userland};

/// Says who it is, what its arguments are, one a line, and that its exit code arrives.
fn stand_in(directory: &Path, name: &str) {
    let file = directory.join("orlop-image");
    let text =
        format!("#!/bin/sh\necho {name}\nprintf '<%s>\\n' \"$@\"\necho trouble >&2\nexit 42\n");
    fs::create_dir_all(directory).unwrap();
    userland::write_program(&file, &text);
}

/// Calls a copy of the runtime, in a directory of the bundle's own.
fn call(bundle: &Bundle, path: &str, args: &[&str]) -> Output {
    let copy = bundle.dir().join("bin/runtime");
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    userland::copy_program(&runtime::program_file(), &copy);
    Command::new(copy).args(args).env("PATH", path).output().unwrap()
}

#[test]
fn all_that_follows_goes_to_the_program_beside_ours() {
    differs!();
    let bundle = Bundle::busybox();
    stand_in(&bundle.dir().join("bin"), "beside");
    stand_in(&bundle.dir().join("path"), "in PATH");
    let path = format!("{}:/usr/bin:/bin", bundle.dir().join("path").display());
    for args in [
        &["copy", "oci:a b", "docker://c"][..],
        &["--help"],
        &["-v"],
        &["run", "--volume=/a:/b", "--", "x", "--", "-y"],
        &["--", "x"],
        &["--debug=true", "help"],
        &[""],
    ] {
        let given: Vec<&str> =
            ["--root", "/nowhere", "image"].iter().chain(args).copied().collect();
        let out = call(&bundle, &path, &given);
        let lines: String = args.iter().map(|arg| format!("<{arg}>\n")).collect();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("beside\n{lines}"), "{args:?}");
        assert_eq!(String::from_utf8(out.stderr).unwrap(), "trouble\n", "{args:?}");
        assert_eq!(out.status.code(), Some(42), "{args:?}");
    }
}

#[test]
fn without_one_beside_ours_it_is_looked_for_in_path() {
    differs!();
    let bundle = Bundle::busybox();
    stand_in(&bundle.dir().join("path"), "in-path");
    let path = format!("{}:/usr/bin:/bin", bundle.dir().join("path").display());
    let out = call(&bundle, &path, &["image", "tags", "x"]);
    assert_eq!(String::from_utf8(out.stdout).unwrap(), "in-path\n<tags>\n<x>\n");
    assert_eq!(out.status.code(), Some(42));
}

#[test]
fn the_error_says_what_to_install() {
    differs!();
    let bundle = Bundle::busybox();
    let out = call(&bundle, "/nowhere", &["image", "tags", "x"]);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("orlop-image is neither beside orlop nor in PATH: install it"), "{text}");
    // One that cannot be executed is another matter.
    fs::write(bundle.dir().join("bin/orlop-image"), "").unwrap();
    let out = call(&bundle, "/nowhere", &["image"]);
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains("execve(") && text.contains("ermission denied"), "{text}");
    assert_eq!(out.status.code(), Some(1));
}
