//! The config.json that `spec` writes: a starting point to edit. What is in it is what runc puts
//! there, in the same order, so that instructions for the one hold for the other.

use serde::Serialize;

use crate::error::Result;
use crate::state::VERSION;

/// What the template depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateFacts {
    /// Whether cgroup v2 is all there is: then the container gets a cgroup namespace.
    pub unified: bool,
    /// For an ordinary user: the user and the group that root in the container is.
    pub rootless: Option<(u32, u32)>,
}

/// The text, indented by tabs.
///
/// # Errors
/// None in practice.
pub fn text(facts: TemplateFacts) -> Result<String> {
    let mut text = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    Template::new(facts).serialize(&mut serde_json::Serializer::with_formatter(&mut text, form))?;
    Ok(String::from_utf8(text)?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Template {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: [&'static str; 1],
    env: [&'static str; 2],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Capabilities {
    bounding: [&'static str; 3],
    effective: [&'static str; 3],
    permitted: [&'static str; 3],
}

#[derive(Serialize)]
struct Rlimit {
    #[serde(rename = "type")]
    kind: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_mappings: Option<[IdMapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid_mappings: Option<[IdMapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: [&'static str; 10],
    readonly_paths: [&'static str; 5],
}

#[derive(Serialize)]
struct IdMapping {
    #[serde(rename = "containerID")]
    container_id: u32,
    #[serde(rename = "hostID")]
    host_id: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: [DeviceRule; 1],
}

#[derive(Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: &'static str,
}

const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// Destination, type, source, options.
static MOUNTS: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &[]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

/// Without a network namespace of its own a container may not mount a sysfs, so it sees that of the
/// host.
const ROOTLESS_SYS: (&str, &str, &str, &[&str]) =
    ("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);

const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl Template {
    fn new(facts: TemplateFacts) -> Self {
        Self {
            oci_version: VERSION,
            process: Process {
                terminal: true,
                user: User { uid: 0, gid: 0 },
                args: ["sh"],
                env: [
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "TERM=xterm",
                ],
                cwd: "/",
                capabilities: Capabilities {
                    bounding: CAPABILITIES,
                    effective: CAPABILITIES,
                    permitted: CAPABILITIES,
                },
                rlimits: [Rlimit { kind: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
                no_new_privileges: true,
            },
            root: Root { path: "rootfs", readonly: true },
            hostname: "orlop",
            mounts: mounts(facts),
            linux: linux(facts),
        }
    }
}

fn mounts(facts: TemplateFacts) -> Vec<Mount> {
    let rootless = facts.rootless.is_some();
    // An owner other than root of the container has no mapping.
    let good =
        |option: &&str| !rootless || !option.starts_with("gid=") && !option.starts_with("uid=");
    let all = MOUNTS
        .iter()
        .map(|mount| if rootless && mount.0 == "/sys" { &ROOTLESS_SYS } else { mount });
    all.map(|&(destination, kind, source, options)| {
        let options = options.iter().copied().filter(good).collect();
        Mount { destination, kind, source, options }
    })
    .collect()
}

fn linux(facts: TemplateFacts) -> Linux {
    let mut kinds = vec!["pid", "network", "ipc", "uts", "mount"];
    if facts.unified {
        kinds.push("cgroup");
    }
    if facts.rootless.is_some() {
        kinds.retain(|kind| *kind != "network");
        kinds.push("user");
    }
    let one = |host_id: u32| [IdMapping { container_id: 0, host_id, size: 1 }];
    let resources = Resources { devices: [DeviceRule { allow: false, access: "rwm" }] };
    Linux {
        uid_mappings: facts.rootless.map(|(uid, _)| one(uid)),
        gid_mappings: facts.rootless.map(|(_, gid)| one(gid)),
        resources: facts.rootless.is_none().then_some(resources),
        namespaces: kinds.into_iter().map(|kind| Namespace { kind }).collect(),
        masked_paths: MASKED,
        readonly_paths: READONLY,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{TemplateFacts, text};
    use crate::plan::{Host, Plan, Request};

    #[test]
    fn the_template_is_a_config_by_the_specification() {
        for (unified, rootless) in [(false, None), (true, None), (true, Some((1000, 100)))] {
            let text = text(TemplateFacts { unified, rootless }).expect("a text");
            let spec: oci_spec::runtime::Spec = serde_json::from_str(&text).expect("a config");
            let mappings = spec
                .linux()
                .as_ref()
                .and_then(|linux| linux.uid_mappings().clone())
                .unwrap_or_default();
            assert_eq!(
                mappings.first().map(|mapping| mapping.host_id()),
                rootless.map(|(uid, _)| uid)
            );
            assert_eq!(text.contains("\"cgroup\"\n"), unified, "{text}");
            assert_eq!(text.contains("gid=5"), rootless.is_none());
        }
    }

    #[test]
    fn the_template_has_no_problems() {
        let text = text(TemplateFacts { unified: true, rootless: None }).expect("a text");
        let request = Request { id: "x", bundle: Path::new("/b"), ..Request::default() };
        let host = Host {
            cgroups: crate::host::cgroups::CgroupLayout::Unified {
                mount: "/sys/fs/cgroup".into(),
                own: "/x.scope".into(),
                controllers: vec![],
            },
            ..Host::for_tests()
        };
        let plan = Plan::for_create(text.as_bytes(), &request, &host).expect("a plan");
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    }
}
