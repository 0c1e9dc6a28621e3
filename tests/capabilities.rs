//! `process.capabilities`

use crate::support::{Bundle, Value, config, json, own_capabilities};

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const SYS_ADMIN: u64 = 1 << 21;

/// The inheritable, permitted, effective, bounding and ambient set of the program.
#[track_caller]
fn sets(bundle: &mut Bundle) -> [u64; 5] {
    let out = bundle.run(["grep", "^Cap", "/proc/self/status"]).ok();
    let sets = ["Inh", "Prm", "Eff", "Bnd", "Amb"];
    sets.map(|name| {
        let line = out.stdout.lines().find(|line| line.starts_with(&format!("Cap{name}:")));
        u64::from_str_radix(line.unwrap().split_whitespace().last().unwrap(), 16).unwrap()
    })
}

fn with(capabilities: Value) -> Bundle {
    Bundle::busybox().set("/process/capabilities", capabilities)
}

fn sailor(bundle: Bundle) -> Bundle {
    bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
}

#[test]
fn root_has_the_capabilities_of_the_bounding_set() {
    let names = ["CAP_CHOWN", "CAP_KILL"];
    let sets = sets(&mut with(config::capabilities(&names)));
    assert_eq!(sets, [0, CHOWN | KILL, CHOWN | KILL, CHOWN | KILL, 0]);
}

/// Without it every program with file capabilities would gain them (CVE-2022-29162).
#[test]
fn the_inheritable_set_is_empty_unless_it_is_given() {
    assert_eq!(sets(&mut Bundle::busybox())[0], 0);
}

#[test]
fn the_inheritable_set_is_exactly_the_given_one() {
    let capabilities = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"],
    });
    assert_eq!(sets(&mut with(capabilities))[0], KILL);
}

#[test]
fn an_ordinary_user_has_the_ambient_set() {
    let capabilities = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "ambient": ["CAP_NET_BIND_SERVICE"],
    });
    let sets = sets(&mut sailor(with(capabilities)));
    let both = KILL | NET_BIND_SERVICE;
    assert_eq!(sets, [both, NET_BIND_SERVICE, NET_BIND_SERVICE, CHOWN | both, NET_BIND_SERVICE]);
}

#[test]
fn an_ordinary_user_has_nothing_without_the_ambient_set() {
    let names = ["CAP_CHOWN", "CAP_KILL"];
    let sets = sets(&mut sailor(with(config::capabilities(&names))));
    assert_eq!(sets, [0, 0, 0, CHOWN | KILL, 0]);
}

#[test]
fn empty_sets_mean_no_capabilities() {
    assert_eq!(sets(&mut with(json!({}))), [0; 5]);
    assert_eq!(sets(&mut with(config::capabilities(&[]))), [0; 5]);
}

#[test]
fn capabilities_left_out_mean_no_capabilities() {
    assert_eq!(sets(&mut Bundle::busybox().remove("/process/capabilities")), [0; 5]);
}

#[test]
fn the_bounding_set_is_a_limit_no_setuid_program_passes() {
    let mut bundle =
        with(config::capabilities(&["CAP_SYS_ADMIN"])).set("/process/noNewPrivileges", false);
    assert_eq!(sets(&mut bundle)[3], SYS_ADMIN);
}

#[test]
fn every_known_capability_can_be_granted() {
    let names = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let all = own_capabilities() & ((1 << 41) - 1);
    let granted = names.iter().enumerate().filter(|(n, _)| all & (1 << n) != 0);
    let names: Vec<_> = granted.map(|(_, name)| format!("CAP_{name}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(sets(&mut with(config::capabilities(&names))), [0, all, all, all, 0]);
}

#[test]
fn an_unknown_capability_is_a_warning() {
    let mut bundle = with(config::capabilities(&["CAP_KILL", "CAP_OF_THE_CAPTAIN"]));
    let out = bundle.run(["grep", "CapBnd", "/proc/self/status"]).ok();
    assert!(out.line().ends_with("0000000000000020"), "{out:?}");
    assert!(out.stderr.contains("CAP_OF_THE_CAPTAIN"), "{out:?}");
}

#[test]
fn what_one_set_keeps_from_another_is_a_warning() {
    differs!();
    let capabilities = json!({
        "bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_CHOWN", "CAP_KILL"],
        "ambient": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
    });
    let mut bundle = sailor(with(capabilities));
    let out = bundle.run(["true"]).ok();
    for text in [
        "process.capabilities.effective: ignoring effective capabilities that are not permitted: CAP_KILL",
        "process.capabilities.inheritable: ignoring inheritable capabilities that are not in the bounding set: CAP_CHOWN",
        "process.capabilities.ambient: ignoring ambient capabilities that are not permitted: CAP_KILL",
        "process.capabilities.ambient: ignoring ambient capabilities that are not inheritable: CAP_NET_BIND_SERVICE",
    ] {
        assert!(out.stderr.contains(text), "{text:?} in {out:?}");
    }
    assert!(!out.stderr.contains("unknown"), "{out:?}");
    assert_eq!(sets(&mut bundle), [KILL, 0, 0, KILL | NET_BIND_SERVICE, 0]);
}

#[test]
fn capabilities_bite() {
    let mut bundle = with(config::capabilities(&[]));
    let out = bundle.run(["chown", "1", "/etc/passwd"]);
    assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
    with(config::capabilities(&["CAP_CHOWN"])).run(["chown", "1", "/etc/passwd"]).silent();
}
