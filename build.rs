//! Tells the program which commit it was built from, and which runc it stands in for.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(head) = git(&["rev-parse", "--git-path", "HEAD"]) {
        println!("cargo:rerun-if-changed={head}"); // not always .git/HEAD: in a worktree .git is a file
    }
    // src/sys/early.rs
    if let Ok("x86_64" | "aarch64") = std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        println!("cargo:rustc-link-arg-bins=-Wl,-e,orlop_entry");
    }
    // Less memory; of no use in a debug build.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo:rerun-if-changed=src/rarely_run.ld");
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{root}/src/rarely_run.ld");
    }
    // Given by who builds where there is no git, or for a package.
    println!("cargo:rerun-if-env-changed=ORLOP_COMMIT");
    let commit = std::env::var("ORLOP_COMMIT").ok();
    println!(
        "cargo:rustc-env=ORLOP_COMMIT={}",
        commit.or_else(|| git(&["describe", "--always", "--dirty"])).unwrap_or_default()
    );
    // The runc whose command line we follow.
    println!("cargo:rustc-env=ORLOP_RUNC=1.5.0");
}

/// The answer of a git command; `None` outside a git checkout.
#[allow(
    clippy::disallowed_methods,
    reason = "the ban is for the runtime; this runs on the builder's machine"
)]
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
