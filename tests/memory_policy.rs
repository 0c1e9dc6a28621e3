//! `linux.memoryPolicy`

use std::path::Path;

use crate::support::{Bundle, Value, json};

/// The policy of a program's memory, as the kernel writes it.
const SHOW: [&str; 3] = ["sh", "-c", "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2"];

fn policy(policy: Value) -> Bundle {
    Bundle::busybox().set("/linux/memoryPolicy", policy)
}

fn has_numa() -> bool {
    Path::new("/proc/self/numa_maps").is_file()
}

#[test]
fn every_mode_is_set() {
    differs!();
    needs!(has_numa(), "NUMA");
    for (given, shown) in [
        (json!({ "mode": "MPOL_DEFAULT" }), "default"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), "interleave:0"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }), "prefer:0"),
        (json!({ "mode": "MPOL_PREFERRED" }), "local"),
        (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }), "prefer (many):0"),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
    ] {
        let said = policy(given).run(["head", "-n", "1", "/proc/self/numa_maps"]).ok();
        let said = said.line().split_once(' ').unwrap().1;
        assert!(said.starts_with(&format!("{shown} ")), "{shown}: {said}");
    }
}

/// Since Linux 6.9.
#[test]
fn weighted_interleaving_is_set() {
    differs!();
    needs!(has_numa(), "NUMA");
    needs!(
        Path::new("/sys/kernel/mm/mempolicy/weighted_interleave").is_dir(),
        "weighted interleaving"
    );
    let shown = policy(json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" })).run(SHOW).ok();
    assert_eq!(shown.line(), "weighted");
}

#[test]
fn flags_are_set() {
    differs!();
    needs!(has_numa(), "NUMA");
    for (mode, flag, shown) in [
        ("MPOL_BIND", "MPOL_F_STATIC_NODES", "bind=static:0"),
        ("MPOL_PREFERRED", "MPOL_F_RELATIVE_NODES", "prefer=relative:0"),
    ] {
        let mut bundle = policy(json!({ "mode": mode, "nodes": "0", "flags": [flag] }));
        assert_eq!(bundle.run(SHOW).ok().line(), shown);
    }
    let mut bundle =
        policy(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }));
    assert!(bundle.run(SHOW).ok().stdout.starts_with("bind"));
}

#[test]
fn exec_has_the_containers() {
    differs!();
    needs!(has_numa(), "NUMA");
    let c = policy(json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0-0" }))
        .args(["sleep", "600"])
        .run_detached();
    assert_eq!(c.exec(&[], &SHOW).ok().line(), "interleave:0");
}

#[test]
fn bad_policies_are_refused() {
    differs!();
    for (given, text) in [
        (json!({}), "invalid memory policy mode \"\""),
        (json!({ "nodes": "0-7" }), "invalid memory policy mode \"\""),
        (
            json!({ "mode": "INTERLEAVE", "nodes": "0" }),
            "invalid memory policy mode \"INTERLEAVE\"",
        ),
        (json!({ "mode": "MPOL_BIND", "nodes": "0-" }), "invalid memory policy nodes \"0-\""),
        (
            json!({ "mode": "MPOL_BIND", "nodes": "0-9876543210" }),
            "invalid memory policy nodes \"0-9876543210\"",
        ),
        (json!({ "mode": "MPOL_BIND" }), "requires at least one node but got 0"),
        (json!({ "mode": "MPOL_DEFAULT", "nodes": "0-7" }), "mode requires 0 nodes but got 8"),
        (json!({ "mode": "MPOL_LOCAL", "nodes": "3,3" }), "mode requires 0 nodes but got 1"),
        (
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["badflag"] }),
            "invalid memory policy flag \"badflag\"",
        ),
    ] {
        policy(given).refused().says(text).names("linux.memoryPolicy");
    }
}

#[test]
fn what_the_kernel_refuses_leaves_nothing() {
    differs!();
    needs!(has_numa(), "NUMA");
    // A node that no machine of ours has, and flags that exclude each other.
    let far = policy(json!({ "mode": "MPOL_BIND", "nodes": "1023" })).refused();
    far.because("invalid argument").because("lacks a node").names("memoryPolicy");
    let flags = json!(["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]);
    let both = policy(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": flags }));
    both.refused().because("invalid argument").names("memoryPolicy");
}
