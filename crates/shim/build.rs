//! Has the linker place code that is rarely run behind all other code.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo:rerun-if-changed=../../src/rarely_run.ld");
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{here}/../../src/rarely_run.ld");
    }
}
