//! What the program consists of: these crates, and nothing that talks to registries or encrypts.
//! Who adds one adds it here, and says in docs/dependencies.md why.

use std::process::Command;

/// What is linked, with what that needs in turn.
const LINKED: [&str; 23] = [
    "anstyle",
    "anyhow",
    "bitflags",
    "caps",
    "cfg-if",
    "clap",
    "clap_builder",
    "clap_lex",
    "humantime",
    "itoa",
    "libc",
    "linux-raw-sys",
    "log",
    "memchr",
    "nix",
    "orlop",
    "orlop-paths",
    "rustix",
    "serde",
    "serde_core",
    "serde_json",
    "serde_path_to_error",
    "zmij",
];

/// The names of the packages that `package` is linked with.
fn linked(package: &str) -> Vec<String> {
    let args = [
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let mut command = Command::new(env!("CARGO"));
    let output = command
        .args(args)
        .args(["--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// The machine of `make test-vm` has the sources, and no cargo.
fn there_is_no_cargo() -> bool {
    let none = !std::path::Path::new(env!("CARGO")).is_file();
    if none {
        eprintln!("skipped: there is no cargo here");
    }
    none
}

#[test]
fn the_runtime_is_linked_with_these_alone() {
    if there_is_no_cargo() {
        return;
    }
    assert_eq!(linked("orlop"), LINKED);
}

/// That the list would show what must not be there: it is there where registries are spoken to.
#[test]
fn the_image_tool_is_another_program() {
    if there_is_no_cargo() {
        return;
    }
    let names = linked("orlop-image");
    for name in ["tokio", "reqwest", "rustls", "tar", "zstd"] {
        assert!(names.iter().any(|other| other == name), "{name}");
        assert!(!LINKED.contains(&name), "{name}");
    }
    assert!(
        !names.iter().any(|name| name == "orlop"),
        "it shares orlop-paths and bundles with the runtime, nothing else"
    );
}
