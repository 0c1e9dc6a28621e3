//! Which rule a problem of a config.json breaks, and what to do about it. `check` prints both. A
//! row is found by the place of the problem, and by its cause, failed call or code, never by its
//! text.
//!
//! A rule is a section of the runtime specification, or what the kernel demands or lacks.

mod specification;

use crate::error::{Cause, Report};

use specification::SPECIFICATION;

/// The advice about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// The document and section of the specification, or the feature of the kernel.
    pub rule: &'static str,
    /// What to do.
    pub hint: &'static str,
}

/// Where in config.json, the rule, and what to do. `*` stands for any one part of the pointer; the
/// row also holds for what is below it.
type Row = (&'static str, &'static str, &'static str);

/// A row that is found by more than the place of a problem.
type KnownRow = (Known, &'static str, &'static str, &'static str);

/// A property of a problem, besides its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Its cause.
    Cause(Cause),
    /// The name of the call that failed.
    Call(&'static str),
    /// Its code ([`Failure::code`](crate::error::Failure::code)).
    Code(&'static str),
}

impl Known {
    fn fits(self, report: &Report) -> bool {
        match self {
            Self::Cause(cause) => report.cause == cause.name(),
            Self::Call(name) => report.call_name() == name,
            Self::Code(code) => report.code == code,
        }
    }
}

/// These come before the rows of the specification.
const KNOWN: &[KnownRow] = &[
    (
        Known::Cause(Cause::NoConfig),
        "",
        "runtime-spec, bundle.md: Container Format",
        "name the bundle's directory with --bundle; orlop spec writes a config.json",
    ),
    (
        Known::Cause(Cause::WrongType),
        "",
        "runtime-spec, schema/config-schema.json",
        "write a value of the type that is expected",
    ),
    (
        Known::Cause(Cause::WrongValue),
        "",
        "runtime-spec, schema/config-schema.json",
        "write a value in the range that is expected",
    ),
    (
        Known::Cause(Cause::MissingField),
        "",
        "runtime-spec, schema/config-schema.json",
        "add the property, which is required",
    ),
    (
        Known::Cause(Cause::DuplicateField),
        "",
        "RFC 8259 (JSON), section 4",
        "write the property once",
    ),
    (
        Known::Cause(Cause::NoSecurityModule),
        "/process/apparmorProfile",
        "kernel: AppArmor (CONFIG_SECURITY_APPARMOR, lsm=apparmor)",
        "leave it away, or boot with AppArmor",
    ),
    (
        Known::Cause(Cause::NoSecurityModule),
        "/process/selinuxLabel",
        "kernel: SELinux (CONFIG_SECURITY_SELINUX, with a policy)",
        "leave it away, or boot with SELinux",
    ),
    (
        Known::Cause(Cause::NoSecurityModule),
        "/linux/mountLabel",
        "kernel: SELinux (CONFIG_SECURITY_SELINUX, with a policy)",
        "leave it away, or boot with SELinux",
    ),
    (
        Known::Cause(Cause::NoResctrl),
        "/linux/intelRdt",
        "kernel: resctrl (CONFIG_X86_CPU_RESCTRL, of some CPUs)",
        "leave it away, or mount resctrl at /sys/fs/resctrl",
    ),
    (
        Known::Cause(Cause::NoController),
        "/linux/resources",
        "kernel: the controller in /proc/cgroups, or in cgroup.controllers",
        "leave it away, or enable the controller for the cgroups above",
    ),
    (
        Known::Cause(Cause::NoNamespaceType),
        "/linux/namespaces",
        "kernel: the namespaces in /proc/self/ns",
        "leave it away, or use a kernel that has this namespace",
    ),
    (
        Known::Cause(Cause::NamespaceLimit),
        "/linux/namespaces",
        "kernel: the limits in /proc/sys/user (namespaces(7))",
        "raise the limit: sysctl user.max_…_namespaces",
    ),
    (
        Known::Call("setns"),
        "/linux/namespaces",
        "runtime-spec, config-linux.md: Namespaces; setns(2)",
        "the file must stand for a namespace of this type: /proc/PID/ns/…",
    ),
    (
        Known::Call("open"),
        "/linux/namespaces",
        "runtime-spec, config-linux.md: Namespaces",
        "the namespace's file must be there: it goes with its last process unless it is bound somewhere",
    ),
    (
        Known::Cause(Cause::CgroupInUse),
        "/linux/cgroupsPath",
        "runtime-spec, config-linux.md: Cgroups Path",
        "no two containers can share a cgroup: take another path, or stop what is in it",
    ),
    (
        Known::Cause(Cause::CgroupFrozen),
        "/linux/cgroupsPath",
        "runtime-spec, config-linux.md: Cgroups Path",
        "take another path, or thaw the cgroup",
    ),
    (
        Known::Cause(Cause::NoFilterAction),
        "/linux/seccomp",
        "kernel: seccomp (CONFIG_SECCOMP_FILTER, /proc/sys/kernel/seccomp/actions_avail)",
        "take another action, or a kernel that has this one",
    ),
    (
        Known::Cause(Cause::NoAgent),
        "/linux/seccomp/listenerPath",
        "runtime-spec, config-linux.md: Seccomp (listenerPath)",
        "start the agent first: its socket must be there",
    ),
    (
        Known::Call("open"),
        "/linux/sysctl",
        "runtime-spec, config-linux.md: Sysctl; kernel: /proc/sys",
        "this kernel does not have the parameter",
    ),
    (
        Known::Cause(Cause::NoNetDevice),
        "/linux/netDevices",
        "runtime-spec, config-linux.md: Network Devices",
        "the device must be there on the host: see ip link",
    ),
    (
        Known::Cause(Cause::NoHostDevice),
        "/linux/devices",
        "runtime-spec, config-linux.md: Devices; kernel: no mknod(2) in a user namespace",
        "the host must have the same node at the same path",
    ),
    (
        Known::Call("fsopen"),
        "/mounts/*/type",
        "kernel: the filesystems in /proc/filesystems",
        "misspelt, or a module has to be loaded: see /proc/filesystems",
    ),
    (
        Known::Call("open_tree"),
        "/mounts/*/source",
        "runtime-spec, config.md: Mounts",
        "the source of a bind mount must exist on the host",
    ),
    (
        Known::Call("prlimit"),
        "/process/rlimits",
        "kernel: getrlimit(2): CAP_SYS_RESOURCE to raise a hard limit, and fs.nr_open",
        "ask for no more than ulimit -H says",
    ),
    (
        Known::Code("program-not-found"),
        "/process/args",
        "runtime-spec, config.md: POSIX process (args)",
        "the program must be in the rootfs; PATH is that of process.env",
    ),
    (
        Known::Code("program-not-executable"),
        "/process/args",
        "runtime-spec, config.md: POSIX process (args)",
        "the program must be in the rootfs; PATH is that of process.env",
    ),
    (
        Known::Call("posix_spawn"),
        "/hooks",
        "runtime-spec, config.md: POSIX-platform Hooks",
        "the hook's file must be there on the host, with its x bit",
    ),
    (
        Known::Call("open"),
        "/root/path",
        "runtime-spec, config.md: Root",
        "the directory must be there: unpack the image's files into it",
    ),
    (
        Known::Cause(Cause::NeedsNamespace),
        "/mounts",
        "runtime-spec, config.md: Mounts; mount_namespaces(7)",
        "add {\"type\": \"mount\"} to linux.namespaces",
    ),
    (
        Known::Cause(Cause::NeedsNamespace),
        "/hostname",
        "runtime-spec, config.md: Hostname",
        "add {\"type\": \"uts\"} to linux.namespaces",
    ),
    (
        Known::Cause(Cause::NeedsNamespace),
        "/domainname",
        "runtime-spec, config.md: Domainname",
        "add {\"type\": \"uts\"} to linux.namespaces",
    ),
    (
        Known::Cause(Cause::NeedsNamespace),
        "/linux/netDevices",
        "runtime-spec, config-linux.md: Network Devices",
        "add {\"type\": \"network\"} to linux.namespaces",
    ),
    (
        Known::Cause(Cause::NeedsNamespace),
        "/linux/maskedPaths",
        "runtime-spec, config-linux.md: Masked Paths",
        "add {\"type\": \"mount\"} to linux.namespaces",
    ),
    (
        Known::Cause(Cause::NeedsNamespace),
        "/linux/readonlyPaths",
        "runtime-spec, config-linux.md: Readonly Paths",
        "add {\"type\": \"mount\"} to linux.namespaces",
    ),
];

/// The rule and the hint for a problem: those of the first row that matches. A hint about the error
/// of a call comes first.
#[must_use]
pub fn advice(report: &Report) -> Advice {
    let known = KNOWN.iter().filter(|(known, ..)| known.fits(report));
    let known = known.map(|&(_, pattern, rule, hint)| (pattern, rule, hint));
    let mut rows = known.chain(SPECIFICATION.iter().copied());
    let row = rows.find(|(pattern, ..)| matches(pattern, &report.key));
    let (rule, general) = row.map_or(("", ""), |(_, rule, hint)| (rule, hint));
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
    use super::{Cause, KNOWN, Known, Report, Row, SPECIFICATION, advice};

    #[test]
    fn the_closest_rule_is_given() {
        for (key, known, rule, hint) in [
            ("/mounts/3/options/0", None, "Linux mount options", "mount(8)"),
            ("/mounts/3/source", Some(Known::Call("open_tree")), "Mounts", "must exist"),
            (
                "/mounts",
                Some(Known::Cause(Cause::NeedsNamespace)),
                "mount_namespaces(7)",
                "linux.namespaces",
            ),
            (
                "/linux/resources/memory/limit",
                Some(Known::Cause(Cause::NoController)),
                "kernel:",
                "enable",
            ),
            ("/process/args/0", Some(Known::Code("program-not-found")), "args", "rootfs"),
            ("/linux/resources/memory/swap", None, "Memory", "bytes"),
            ("/linux/seccomp/flags/0", None, "Seccomp", "libseccomp"),
            ("/process/user/uid", Some(Known::Cause(Cause::WrongType)), "schema", "type"),
            ("/hooks/prestart/0/timeout", None, "Hooks", "seconds"),
            ("/processes", None, "JSON", "JSON"),
            ("", None, "JSON", "JSON"),
        ] {
            let mut report = Report { key: key.into(), ..Report::default() };
            match known {
                Some(Known::Cause(cause)) => report.cause = cause.name().into(),
                Some(Known::Call(name)) => report.call = format!("{name}(\"/x\")"),
                Some(Known::Code(code)) => report.code = code.into(),
                None => {}
            }
            let found = advice(&report);
            assert!(found.rule.contains(rule) && found.hint.contains(hint), "{key}: {found:?}");
        }
    }

    /// Each row has a rule and a hint of one line, and no earlier row hides it.
    #[test]
    fn every_row_says_something_and_can_be_reached() {
        let known =
            KNOWN.iter().map(|&(known, pattern, rule, hint)| (Some(known), (pattern, rule, hint)));
        let rows: Vec<(Option<Known>, Row)> =
            known.chain(SPECIFICATION.iter().map(|row| (None, *row))).collect();
        for (place, (known, (pattern, rule, hint))) in rows.iter().enumerate() {
            assert!(!rule.is_empty() && !hint.is_empty() && !hint.contains('\n'), "{pattern}");
            let key = pattern.replace('*', "0");
            let wider = rows.iter().take(place).find(|(earlier, (earlier_pattern, ..))| {
                earlier == known && super::matches(earlier_pattern, &key)
            });
            assert!(wider.is_none(), "{pattern} {known:?} is behind {wider:?}");
        }
    }
}
