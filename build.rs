//! Tells the program which commit it was built from, and which runc it stands in for.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=.git/HEAD");
    // src/sys/early.rs
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo:rustc-link-arg-bins=-Wl,-e,orlop_entry");
    }
    println!("cargo:rustc-env=ORLOP_COMMIT={}", commit());
    // The runc whose command line we follow.
    println!("cargo:rustc-env=ORLOP_RUNC=1.5.0");
}

/// Empty outside a git checkout.
#[allow(clippy::disallowed_methods, reason = "the ban is for the runtime; this runs on the builder's machine")]
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => String::new(),
    }
}
