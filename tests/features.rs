//! `features`

use crate::support::{Bundle, Value, json};

fn features() -> Value {
    let out = Bundle::busybox().call(&["features"]).ok();
    assert_eq!(out.stderr, "");
    serde_json::from_str(&out.stdout).unwrap()
}

fn list(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"))
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect()
}

#[test]
fn the_text_is_indented_by_four_spaces() {
    let out = Bundle::busybox().call(&["features"]).ok();
    assert!(
        out.stdout.starts_with("{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": \"1."),
        "{out:?}"
    );
    assert!(out.stdout.contains("\n    \"hooks\": [\n        \"prestart\",\n"), "{out:?}");
    assert!(out.stdout.ends_with("\n}\n"), "{out:?}");
}

#[test]
fn all_hooks_are_claimed() {
    let all =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    assert_eq!(list(&features()["hooks"]), all);
}

#[test]
fn lists_are_sorted_and_name_the_usual() {
    let features = features();
    let linux = &features["linux"];
    for (key, names) in [
        ("/mountOptions", &["bind", "defaults", "nosuid", "rro", "rshared", "tmpcopyup"][..]),
        ("/linux/namespaces", &["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]),
        (
            "/linux/seccomp/actions",
            &[
                "SCMP_ACT_ALLOW",
                "SCMP_ACT_ERRNO",
                "SCMP_ACT_KILL_PROCESS",
                "SCMP_ACT_LOG",
                "SCMP_ACT_NOTIFY",
            ],
        ),
        ("/linux/seccomp/operators", &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]),
        ("/linux/seccomp/archs", &["SCMP_ARCH_AARCH64", "SCMP_ARCH_X32", "SCMP_ARCH_X86_64"]),
    ] {
        let found = list(features.pointer(key).unwrap_or_else(|| panic!("no {key}")));
        assert!(found.is_sorted(), "{key}: {found:?}");
        for name in names {
            assert!(found.contains(name), "{key} has no {name}: {found:?}");
        }
    }
    let capabilities = list(&linux["capabilities"]);
    assert_eq!((capabilities[0], capabilities[21]), ("CAP_CHOWN", "CAP_SYS_ADMIN"));
    assert!(capabilities.contains(&"CAP_CHECKPOINT_RESTORE"));
    assert_eq!((&linux["cgroup"]["v1"], &linux["cgroup"]["v2"]), (&json!(true), &json!(true)));
    assert_eq!(linux["seccomp"]["enabled"], true);
}

/// Whatever the machine has of it.
#[test]
fn security_modules_are_claimed() {
    let features = features();
    let linux = &features["linux"];
    for module in ["apparmor", "selinux"] {
        assert_eq!(linux[module]["enabled"], true, "{module}");
    }
}

#[test]
fn what_came_with_version_1_3_is_claimed() {
    differs!();
    let features = features();
    let linux = &features["linux"];
    assert_eq!(linux["intelRdt"], json!({ "enabled": true, "schemata": true, "monitoring": true }));
    let modes = list(&linux["memoryPolicy"]["modes"]);
    assert!(modes.is_sorted() && modes.len() == 7, "{modes:?}");
    for mode in modes {
        let nodes = if matches!(mode, "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "x" };
        let out = Bundle::busybox()
            .set("/linux/memoryPolicy", json!({ "mode": mode, "nodes": nodes }))
            .try_create();
        assert!(!out.stderr.contains("invalid memory policy mode"), "{mode}: {out:?}");
    }
    assert_eq!(
        list(&linux["memoryPolicy"]["flags"]),
        ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]
    );
}

/// A dot at the end stands for all that begin so.
#[test]
fn annotations_that_may_do_harm_are_named() {
    differs!();
    let unsafe_ones = &features()["potentiallyUnsafeConfigAnnotations"];
    let all = [
        "org.criu.config",
        "org.systemd.property.",
        "run.oci.delegate-cgroup",
        "run.oci.hooks.stderr",
        "run.oci.hooks.stdout",
        "run.oci.keep_original_groups",
        "run.oci.pidfd_receiver",
        "run.oci.seccomp.receiver",
        "run.oci.systemd.subgroup",
    ];
    assert_eq!(list(unsafe_ones), all);
}

/// Every claimed option is taken for a bind mount: one that is not ours would be the filesystem's,
/// which such a mount refuses.
#[test]
fn claimed_mount_options_are_ours() {
    differs!();
    // For other mounts than this, or for filesystems, or in need of a mapping.
    let others = [
        "idmap",
        "ridmap",
        "sync",
        "async",
        "dirsync",
        "lazytime",
        "nolazytime",
        "mand",
        "nomand",
        "remount",
        "tmpcopyup",
    ];
    let features = features();
    let mut bundle = Bundle::busybox();
    let source = bundle.scratch_dir("source");
    for option in
        list(&features["mountOptions"]).into_iter().filter(|option| !others.contains(option))
    {
        let destination = format!("/mnt/{option}");
        let options = ["bind", option];
        let mount = json!({ "destination": destination, "type": "bind", "source": source, "options": options });
        bundle = bundle.push("/mounts", mount);
    }
    bundle.run(["true"]).ok();
}

#[test]
fn claimed_namespaces_are_made() {
    let features = features();
    let mut bundle = Bundle::busybox();
    for kind in list(&features["linux"]["namespaces"]) {
        let there =
            bundle.config["linux"]["namespaces"].to_string().contains(&format!("\"{kind}\""));
        if !there {
            bundle = bundle.push("/linux/namespaces", json!({ "type": kind }));
        }
    }
    let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
    let mut bundle =
        bundle.set("/linux/uidMappings", mapping.clone()).set("/linux/gidMappings", mapping);
    let host = crate::support::host_namespace("user");
    assert_ne!(bundle.run(["readlink", "/proc/self/ns/user"]).ok().line(), host);
}

#[test]
fn claimed_parts_of_a_seccomp_profile_are_taken() {
    let features = features();
    let seccomp = &features["linux"]["seccomp"];
    let mut rules: Vec<Value> = list(&seccomp["actions"])
        .iter()
        .filter(|action| **action != "SCMP_ACT_NOTIFY")
        .zip([
            "vhangup",
            "acct",
            "swapon",
            "swapoff",
            "reboot",
            "kexec_load",
            "lookup_dcookie",
            "ustat",
            "sysfs",
        ])
        .map(|(action, call)| json!({ "names": [call], "action": action }))
        .collect();
    let comparisons: Vec<Value> = list(&seccomp["operators"])
        .iter()
        .map(|op| {
            let args = json!([{ "index": 1, "value": 7, "valueTwo": 7, "op": op }]);
            json!({ "names": ["quotactl"], "action": "SCMP_ACT_ERRNO", "args": args })
        })
        .collect();
    rules.extend(comparisons);
    let native: Vec<&str> =
        list(&seccomp["archs"]).into_iter().filter(|arch| arch.contains("X86")).collect();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": native,
        "syscalls": rules,
    });
    Bundle::busybox().set("/linux/seccomp", profile).run(["true"]).ok();
}

/// And the options with them.
#[test]
fn idmapped_mounts_are_claimed() {
    differs!();
    let features = features();
    assert_eq!(features.pointer("/linux/mountExtensions/idmap/enabled"), Some(&json!(true)));
    let options = list(&features["mountOptions"]);
    assert!(options.contains(&"idmap") && options.contains(&"ridmap"), "{options:?}");
}

#[test]
fn arguments_are_refused() {
    let out = Bundle::busybox().call(&["features", "surplus"]);
    assert_eq!(out.status, 1, "{out:?}");
}
