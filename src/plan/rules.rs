//! Which rule a problem of a config.json breaks, and what to do about it: a table, so that no
//! decision has to think of either. `check` prints both.
//!
//! A rule is a section of the runtime specification, or what the kernel demands or lacks.

mod specification;

use crate::error::Report;

use specification::SPECIFICATION;

/// What there is to say about a problem besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// The document and section of the specification, or the feature of the kernel.
    pub rule: &'static str,
    /// What to do.
    pub hint: &'static str,
}

/// Where in config.json, a word of the problem's text or nothing, and the advice. `*` stands for
/// any one part of the pointer; what is below it is meant, too.
type AdviceRow = (&'static str, &'static str, &'static str, &'static str);

/// Whoever reads a text of the wrong form.
const FORM: &[AdviceRow] = &[
    (
        "",
        "config.json not found",
        "runtime-spec, bundle.md: Container Format",
        "name the bundle's directory with --bundle; orlop spec writes a config.json",
    ),
    (
        "",
        "invalid type",
        "runtime-spec, schema/config-schema.json",
        "write a value of the type that is expected",
    ),
    (
        "",
        "invalid value",
        "runtime-spec, schema/config-schema.json",
        "write a value in the range that is expected",
    ),
    (
        "",
        "missing field",
        "runtime-spec, schema/config-schema.json",
        "add the property, which is required",
    ),
    ("", "duplicate field", "RFC 8259 (JSON), section 4", "write the property once"),
];

/// What a text has to do with the machine and not with the specification.
const MACHINE: &[AdviceRow] = &[
    (
        "/process/apparmorProfile",
        "not supported",
        "kernel: AppArmor (CONFIG_SECURITY_APPARMOR, lsm=apparmor)",
        "leave it away, or boot with AppArmor",
    ),
    (
        "/process/selinuxLabel",
        "not supported",
        "kernel: SELinux (CONFIG_SECURITY_SELINUX, with a policy)",
        "leave it away, or boot with SELinux",
    ),
    (
        "/linux/mountLabel",
        "not supported",
        "kernel: SELinux (CONFIG_SECURITY_SELINUX, with a policy)",
        "leave it away, or boot with SELinux",
    ),
    (
        "/linux/intelRdt",
        "not enabled",
        "kernel: resctrl (CONFIG_X86_CPU_RESCTRL, of some CPUs)",
        "leave it away, or mount resctrl at /sys/fs/resctrl",
    ),
    (
        "/linux/resources",
        "not available",
        "kernel: the controller in /proc/cgroups, or in cgroup.controllers",
        "leave it away, or enable the controller for the cgroups above",
    ),
    (
        "/linux/resources",
        "on cgroup v",
        "kernel: not every limit is there in both versions of cgroups",
        "leave it away on this machine",
    ),
    (
        "/linux/namespaces",
        "the kernel has no",
        "kernel: the namespaces in /proc/self/ns",
        "leave it away, or use a kernel that has this namespace",
    ),
    (
        "/linux/namespaces",
        "namespace may be made",
        "kernel: the limits in /proc/sys/user (namespaces(7))",
        "raise the limit: sysctl user.max_…_namespaces",
    ),
    (
        "/linux/namespaces",
        "setns",
        "runtime-spec, config-linux.md: Namespaces; setns(2)",
        "the file must stand for a namespace of this type: /proc/PID/ns/…",
    ),
    (
        "/linux/namespaces",
        "open(",
        "runtime-spec, config-linux.md: Namespaces",
        "the namespace's file must be there: it goes with its last process unless it is bound somewhere",
    ),
    (
        "/linux/cgroupsPath",
        "not empty",
        "runtime-spec, config-linux.md: Cgroups Path",
        "no two containers can share a cgroup: take another path, or stop what is in it",
    ),
    (
        "/linux/cgroupsPath",
        "frozen",
        "runtime-spec, config-linux.md: Cgroups Path",
        "take another path, or thaw the cgroup",
    ),
    (
        "/linux/seccomp",
        "the kernel",
        "kernel: seccomp (CONFIG_SECCOMP_FILTER, /proc/sys/kernel/seccomp/actions_avail)",
        "take another action, or a kernel that has this one",
    ),
    (
        "/linux/seccomp/listenerPath",
        "agent",
        "runtime-spec, config-linux.md: Seccomp (listenerPath)",
        "start the agent first: its socket must be there",
    ),
    (
        "/linux/sysctl",
        "open(",
        "runtime-spec, config-linux.md: Sysctl; kernel: /proc/sys",
        "this kernel does not have the parameter",
    ),
    (
        "/linux/netDevices",
        "there is no network device",
        "runtime-spec, config-linux.md: Network Devices",
        "the device must be there on the host: see ip link",
    ),
    (
        "/linux/devices",
        "host",
        "runtime-spec, config-linux.md: Devices; kernel: no mknod(2) in a user namespace",
        "the host must have the same node at the same path",
    ),
    (
        "/mounts/*/type",
        "fsopen",
        "kernel: the filesystems in /proc/filesystems",
        "misspelt, or a module has to be loaded: see /proc/filesystems",
    ),
    (
        "/mounts/*/source",
        "open_tree",
        "runtime-spec, config.md: Mounts",
        "the source of a bind mount must exist on the host",
    ),
    (
        "/process/rlimits",
        "prlimit",
        "kernel: getrlimit(2): CAP_SYS_RESOURCE to raise a hard limit, and fs.nr_open",
        "ask for no more than ulimit -H says",
    ),
    (
        "/process/args",
        "exec:",
        "runtime-spec, config.md: POSIX process (args)",
        "the program must be in the rootfs; PATH is that of process.env",
    ),
    (
        "/hooks",
        "posix_spawn",
        "runtime-spec, config.md: POSIX-platform Hooks",
        "the hook's file must be there on the host, with its x bit",
    ),
    (
        "/root/path",
        "open(",
        "runtime-spec, config.md: Root",
        "the directory must be there: unpack the image's files into it",
    ),
];

/// The rule and the hint for a problem, in the order of the tables. What is said about an error of
/// a call counts more.
#[must_use]
pub fn advice(report: &Report) -> Advice {
    let fits = |(pattern, word, ..): &&AdviceRow| {
        matches(pattern, &report.key) && report.text.contains(word)
    };
    let row = FORM.iter().chain(MACHINE).chain(SPECIFICATION).find(fits);
    let (rule, general) = row.map_or(("", ""), |(_, _, rule, hint)| (*rule, *hint));
    let hint = report.hint();
    Advice { rule, hint: if hint.is_empty() { general } else { hint } }
}

fn matches(pattern: &str, pointer: &str) -> bool {
    let mut parts = pointer.split('/');
    pattern
        .split('/')
        .all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

#[cfg(test)]
mod tests {
    use super::{FORM, MACHINE, Report, SPECIFICATION, advice};

    #[test]
    fn the_closest_rule_is_given() {
        for (key, text, rule, hint) in [
            ("/mounts/3/options/0", "x", "Linux mount options", "mount(8)"),
            (
                "/mounts/3/source",
                "mounting: open_tree(\"/x\"): no such file",
                "Mounts",
                "must exist",
            ),
            ("/mounts", "mounts need a mount namespace", "mount_namespaces(7)", "linux.namespaces"),
            (
                "/linux/resources/memory/limit",
                "cgroup controller \"memory\" is not available",
                "kernel:",
                "enable",
            ),
            ("/linux/resources/memory/swap", "less than", "Memory", "bytes"),
            ("/linux/seccomp/flags/0", "x is not a flag", "Seccomp", "libseccomp"),
            ("/process/user/uid", "process.user.uid: invalid type: string", "schema", "type"),
            ("/hooks/prestart/0/timeout", "must be greater", "Hooks", "seconds"),
            ("/processes", "x", "JSON", "JSON"),
            ("", "config.json: EOF while parsing", "JSON", "JSON"),
        ] {
            let found = advice(&Report { key: key.into(), text: text.into(), ..Report::default() });
            assert!(found.rule.contains(rule) && found.hint.contains(hint), "{key}: {found:?}");
        }
    }

    /// Whatever it is about, there is a rule and a hint, of one line; and no row is out of reach
    /// behind a wider one.
    #[test]
    fn every_row_says_something_and_can_be_reached() {
        let rows: Vec<_> = FORM.iter().chain(MACHINE).chain(SPECIFICATION).collect();
        for (place, (pattern, word, rule, hint)) in rows.iter().enumerate() {
            assert!(!rule.is_empty() && !hint.is_empty() && !hint.contains('\n'), "{pattern}");
            let key = pattern.replace('*', "0");
            let wider = rows.iter().take(place).find(|(earlier, earlier_word, ..)| {
                super::matches(earlier, &key) && word.contains(earlier_word)
            });
            assert!(wider.is_none(), "{pattern} {word:?} is behind {wider:?}");
        }
    }
}
