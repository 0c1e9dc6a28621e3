//! The namespaces of the container, created or joined, and how init is created.
//! config.json: linux.namespaces, hostname, domainname
//! config.json: linux.timeOffsets.{monotonic, boottime}.{secs, nanosecs}

use std::path::PathBuf;

use super::{Problems, sysctl};
use crate::config::{self, Text, TimeOffset};
use crate::error::Cause;
use crate::host::Host;

/// A type of namespace: its name in the specification and its flag of clone(2).
#[derive(Debug, PartialEq, Eq)]
pub struct NamespaceKind {
    /// Its name in config.json.
    pub name: &'static str,
    /// Its name in /proc/PID/ns.
    pub file: &'static str,
    /// Its name in state.json: `CLONE_…` without the prefix, as in runc.
    pub saved: &'static str,
    /// `CLONE_NEW…`.
    pub flag: u32,
}

/// User ids.
pub const USER: NamespaceKind = NamespaceKind {
    name: "user",
    file: "user",
    saved: "NEWUSER",
    flag: libc::CLONE_NEWUSER.cast_unsigned(),
};
/// Process ids.
pub const PID: NamespaceKind = NamespaceKind {
    name: "pid",
    file: "pid",
    saved: "NEWPID",
    flag: libc::CLONE_NEWPID.cast_unsigned(),
};
/// Network.
pub const NETWORK: NamespaceKind = NamespaceKind {
    name: "network",
    file: "net",
    saved: "NEWNET",
    flag: libc::CLONE_NEWNET.cast_unsigned(),
};
/// Inter-process communication.
pub const IPC: NamespaceKind = NamespaceKind {
    name: "ipc",
    file: "ipc",
    saved: "NEWIPC",
    flag: libc::CLONE_NEWIPC.cast_unsigned(),
};
/// Host and domain name.
pub const UTS: NamespaceKind = NamespaceKind {
    name: "uts",
    file: "uts",
    saved: "NEWUTS",
    flag: libc::CLONE_NEWUTS.cast_unsigned(),
};
/// The root of the cgroup tree.
pub const CGROUP: NamespaceKind = NamespaceKind {
    name: "cgroup",
    file: "cgroup",
    saved: "NEWCGROUP",
    flag: libc::CLONE_NEWCGROUP.cast_unsigned(),
};
/// Boot and monotonic clocks.
pub const TIME: NamespaceKind =
    NamespaceKind { name: "time", file: "time", saved: "NEWTIME", flag: 0x80 };
/// Mount points. They are joined after all others except the user namespace, since paths have
/// another meaning after that.
pub const MOUNT: NamespaceKind = NamespaceKind {
    name: "mount",
    file: "mnt",
    saved: "NEWNS",
    flag: libc::CLONE_NEWNS.cast_unsigned(),
};

/// In the order in which they are joined. Exception: the bootstrap joins the user namespace after
/// the others.
pub static KINDS: [&NamespaceKind; 8] = [&USER, &PID, &TIME, &NETWORK, &IPC, &UTS, &CGROUP, &MOUNT];

/// How the container's first process is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloneMethod {
    /// By one clone3 of the runtime. Init joins the other namespaces itself. Pid and time
    /// namespaces affect only children, so the runtime joins them for the time of clone3.
    Direct,
    /// By the bootstrap. It is needed in three cases: a user namespace is joined; a new user
    /// namespace is combined with joined namespaces, since those of the host must be joined before
    /// the user namespace is entered, and new ones must be created after that; a rootless runtime
    /// joins a pid or time namespace or sets time offsets.
    ViaBootstrap,
}

/// A namespace to join.
#[derive(Debug, PartialEq, Eq)]
pub struct Join {
    /// Its kind.
    pub kind: &'static NamespaceKind,
    /// The path of its file.
    pub path: PathBuf,
    /// Its index in `linux.namespaces`.
    pub index: usize,
}

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub struct NamespacesPlan {
    /// The `CLONE_NEW…` flags for clone3: all new namespaces except the cgroup namespace, and
    /// except a time namespace with offsets, which must be written before a process is in it.
    pub create: u32,
    /// `linux.timeOffsets` of a new time namespace: lines for /proc/PID/timens_offsets
    /// (time_namespaces(7)).
    pub time_offsets: Vec<String>,
    /// Whether to create a cgroup namespace. Its root is the current cgroup of the process, so
    /// clone3 does not create it.
    pub create_cgroup_namespace: bool,
    /// The namespaces to join, in the order of [`KINDS`].
    pub join: Vec<Join>,
    /// How init is created.
    pub clone_method: CloneMethod,
    /// The new host name, or empty.
    pub hostname: String,
    /// The new NIS domain name, or empty.
    pub domainname: String,
    /// The JSON pointer of its source.
    pub domainname_key: &'static str,
}

impl NamespacesPlan {
    /// Whether the container creates a namespace of this type.
    #[must_use]
    pub fn creates(&self, kind: &NamespaceKind) -> bool {
        self.create & kind.flag != 0
            || (self.create_cgroup_namespace && *kind == CGROUP)
            || (!self.time_offsets.is_empty() && *kind == TIME)
    }

    /// Whether it joins one of this type.
    #[must_use]
    pub fn joins(&self, kind: &NamespaceKind) -> bool {
        self.join.iter().any(|join| join.kind == kind)
    }

    /// The namespaces that differ from those of the runtime.
    pub fn own(&self) -> impl Iterator<Item = &'static NamespaceKind> {
        KINDS.iter().copied().filter(|kind| self.has_own(kind))
    }

    /// Whether it has one of this type that differs from that of the runtime.
    #[must_use]
    pub fn has_own(&self, kind: &NamespaceKind) -> bool {
        self.creates(kind) || self.joins(kind)
    }
}

/// Decides the namespaces.
pub fn decide(config: &config::Config<'_>, host: &Host, problems: &mut Problems) -> NamespacesPlan {
    let mut create = 0;
    let mut join = Vec::new();
    let mut seen = 0;
    for (index, namespace) in config.linux.namespaces.iter().enumerate() {
        let key = format!("/linux/namespaces/{index}");
        let Some(kind) = KINDS.iter().copied().find(|kind| kind.name == &*namespace.kind) else {
            let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            let text = format!(
                "namespace {:?} does not exist (known: {})",
                &*namespace.kind,
                known.join(", ")
            );
            problems.add(format!("{key}/type"), text);
            continue;
        };
        if seen & kind.flag != 0 {
            problems.add(key, format!("malformed spec file: duplicated ns \"{}\"", kind.name));
            continue;
        }
        seen |= kind.flag;
        if namespace.path.is_empty() {
            create |= kind.flag;
        } else {
            if !namespace.path.starts_with('/') {
                problems.add(
                    format!("{key}/path"),
                    format!("namespace path {:?} must be absolute", &*namespace.path),
                );
            }
            join.push(Join { kind, path: PathBuf::from(&*namespace.path), index });
        }
    }
    join.sort_by_key(|join: &Join| KINDS.iter().position(|kind| *kind == join.kind));
    let time_offsets = time_offsets(&config.linux.time_offsets, create & TIME.flag != 0, problems);
    if !time_offsets.is_empty() {
        create &= !TIME.flag;
    }
    let (domainname_key, domainname) = sysctl::domainname(config, problems);
    let plan = NamespacesPlan {
        create: create & !CGROUP.flag,
        clone_method: clone_method(seen, &join, !time_offsets.is_empty(), host),
        time_offsets,
        create_cgroup_namespace: create & CGROUP.flag != 0,
        join,
        hostname: config.hostname.to_string(),
        domainname: domainname.to_owned(),
        domainname_key,
    };
    check_names(&plan, problems);
    plan
}

fn check_names(plan: &NamespacesPlan, problems: &mut Problems) {
    let names = [
        ("/hostname", "hostname", &plan.hostname),
        (plan.domainname_key, "domainname", &plan.domainname),
    ];
    for (key, what, name) in names {
        if !name.is_empty() && !plan.has_own(&UTS) {
            problems.add_for(
                Cause::NeedsNamespace,
                key,
                format!("unable to set {what} without a private UTS namespace (linux.namespaces)"),
            );
        }
        if name.len() > 64 || name.contains('\0') {
            problems.add(key, "invalid argument: must be at most 64 bytes without NUL");
        }
    }
}

fn time_offsets(
    offsets: &[(Text<'_>, TimeOffset)],
    new: bool,
    problems: &mut Problems,
) -> Vec<String> {
    if !offsets.is_empty() && !new {
        problems.add("/linux/timeOffsets", "need a new time namespace (linux.namespaces)");
    }
    let mut lines = Vec::with_capacity(offsets.len());
    for (clock, TimeOffset { secs, nanosecs }) in offsets {
        if !matches!(&**clock, "monotonic" | "boottime") {
            let text = format!("unknown clock {:?} (known: monotonic, boottime)", &**clock);
            problems.add(format_args!("/linux/timeOffsets/{}", clock.replace('/', "~1")), text);
        }
        lines.push(format!("{clock} {secs} {nanosecs}\n"));
    }
    lines
}

/// Root of a user namespace may not return from a pid or time namespace to those of the host.
fn clone_method(seen: u32, join: &[Join], offsets: bool, host: &Host) -> CloneMethod {
    let cannot_return =
        host.rootless && (offsets || join.iter().any(|join| [&PID, &TIME].contains(&join.kind)));
    if cannot_return || seen & USER.flag != 0 && !join.is_empty() {
        CloneMethod::ViaBootstrap
    } else {
        CloneMethod::Direct
    }
}

#[cfg(test)]
mod tests {
    use super::{CGROUP, CloneMethod, IPC, MOUNT, NETWORK, PID, USER, UTS, decide};
    use crate::config;
    use crate::host::Host;
    use crate::plan::Problems;

    fn plan(namespaces: &str) -> (super::NamespacesPlan, Problems) {
        plan_on(&Host::for_tests(), namespaces)
    }

    fn plan_on(host: &Host, namespaces: &str) -> (super::NamespacesPlan, Problems) {
        let text = format!(r#"{{"linux":{{"namespaces":{namespaces}}}}}"#);
        let config: config::Config<'_> = serde_json::from_str(&text).expect("a config");
        let mut problems = Problems::default();
        (decide(&config, host, &mut problems), problems)
    }

    /// A table: which config needs the bootstrap.
    #[test]
    fn birth_is_direct_unless_a_user_namespace_meets_a_joined_one() {
        let table = [
            ("[]", CloneMethod::Direct),
            (
                r#"[{"type":"pid"},{"type":"mount"},{"type":"cgroup"},{"type":"network"}]"#,
                CloneMethod::Direct,
            ),
            (r#"[{"type":"pid"},{"type":"mount"},{"type":"user"}]"#, CloneMethod::Direct),
            (
                r#"[{"type":"pid"},{"type":"mount"},{"type":"network","path":"/n"}]"#,
                CloneMethod::Direct,
            ),
            (r#"[{"type":"pid","path":"/p"},{"type":"mount"}]"#, CloneMethod::Direct),
            (r#"[{"type":"user"},{"type":"network","path":"/n"}]"#, CloneMethod::ViaBootstrap),
            (r#"[{"type":"user","path":"/u"},{"type":"mount"}]"#, CloneMethod::ViaBootstrap),
            (r#"[{"type":"user","path":"/u"}]"#, CloneMethod::ViaBootstrap),
        ];
        for (namespaces, expected) in table {
            let (plan, problems) = plan(namespaces);
            assert!(problems.found().is_empty(), "{namespaces}: {problems:?}");
            assert_eq!(plan.clone_method, expected, "{namespaces}");
        }
        let users_root = Host { rootless: true, ..Host::for_tests() };
        for (namespaces, expected) in [
            (
                r#"[{"type":"pid"},{"type":"time"},{"type":"network","path":"/n"}]"#,
                CloneMethod::Direct,
            ),
            (r#"[{"type":"pid","path":"/p"},{"type":"mount"}]"#, CloneMethod::ViaBootstrap),
            (r#"[{"type":"time","path":"/t"}]"#, CloneMethod::ViaBootstrap),
        ] {
            assert_eq!(plan_on(&users_root, namespaces).0.clone_method, expected, "{namespaces}");
        }
    }

    #[test]
    fn the_cgroup_namespace_is_not_made_at_creation() {
        let (plan, _) = plan(r#"[{"type":"cgroup"},{"type":"pid"},{"type":"uts"}]"#);
        assert_eq!(plan.create, PID.flag | UTS.flag);
        assert!(plan.create_cgroup_namespace && plan.creates(&CGROUP) && !plan.has_own(&MOUNT));
    }

    #[test]
    fn the_plan_lists_the_user_namespace_first_and_the_mount_namespace_last() {
        let (plan, _) = plan(
            r#"[{"type":"mount","path":"/m"},{"type":"ipc","path":"/i"},{"type":"user","path":"/u"},
                {"type":"network","path":"/n"}]"#,
        );
        let order: Vec<_> = plan.join.iter().map(|join| join.kind).collect();
        assert_eq!(order, [&USER, &NETWORK, &IPC, &MOUNT]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (namespaces, key) in [
            (r#"[{"type":"pid"},{"type":"pid"}]"#, "/linux/namespaces/1"),
            (r#"[{"type":"moon"}]"#, "/linux/namespaces/0/type"),
            (r#"[{"type":"net"}]"#, "/linux/namespaces/0/type"),
            (r#"[{"type":"pid","path":"p"}]"#, "/linux/namespaces/0/path"),
        ] {
            let (_, problems) = plan(namespaces);
            assert_eq!(problems.found().first().map(|problem| problem.key.as_str()), Some(key));
        }
    }
}
