//! From what is written to what is done: (config.json, flags, host) → [`Plan`]. Every "no" is said
//! here, before anything has been done, and nothing here does anything.
//! config.json: ociVersion
//!
//! Each key of config.json is decided in one file of this folder and carried out in one file
//! elsewhere; the first lines of both name it, so `git grep 'config.json:.*maskedPaths'` finds the
//! two.

pub mod annotations;
mod calls_of_ours;
pub mod capabilities;
pub mod cgroup;
pub mod cgroup_mount;
pub mod cpu_affinity;
pub mod criu;
pub mod delegated_cgroup;
pub mod devices;
pub mod exec;
pub mod hooks;
pub mod id_mappings;
pub mod idmapped_mounts;
pub mod intel_rdt;
pub mod labels;
pub mod masked_paths;
pub mod memory_policy;
pub mod mount_options;
pub mod mounts;
pub mod namespaces;
pub mod net_devices;
mod problems;
pub mod process;
pub mod resources;
pub mod review;
pub mod rootfs;
pub mod rules;
pub mod running_mounts;
pub mod scheduling;
pub mod seccomp;
pub mod sub_cgroup;
pub mod sysctl;
pub mod systemd;
pub mod template;
pub mod terminal;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::de::SliceRead;

use crate::config::{Config, Hooks, Mount, Text};
use crate::error::{Context, Failure, Problem, Result};
pub use crate::host::Host;
use cgroup::{CgroupMaker, CgroupPlan};
pub use problems::Problems;

/// Where the container has the directory of its notify socket.
pub const NOTIFY: &str = "/run/notify";

/// What a caller asks for besides the config.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The bundle, absolute.
    pub bundle: &'a Path,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// The name for the new keyring, which nobody could know before: else somebody might have made
    /// it already.
    pub keyring: &'a str,
    /// The numbers of the descriptors after stdio that the program keeps, ascending.
    pub preserved_fds: &'a [u32],
    /// Variables besides those of the config, `NAME=VALUE`, which count before those.
    pub env: &'a [String],
    /// The host's directory with the socket on which the program says that it is ready.
    pub notify: Option<&'a str>,
    /// What it says about terminals.
    pub terminal: terminal::TerminalRequest<'a>,
    /// Who is to make the cgroup.
    pub maker: CgroupMaker,
}

/// The decided, checked form of config, flags and host: all that the runtime, the bootstrap and
/// init go by.
#[derive(Debug)]
pub struct Plan {
    /// The container's id, and how its program begins.
    pub entry: Entry,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Namespaces and birth.
    pub namespaces: namespaces::NamespacesPlan,
    /// The root filesystem.
    pub rootfs: rootfs::RootfsPlan,
    /// Mounts, in order.
    pub mounts: Vec<mounts::MountStep>,
    /// SELinux label of files in new filesystems, if any.
    pub mount_label: Option<String>,
    /// How a mount of `type: cgroup` is made.
    pub cgroup_mount: cgroup_mount::CgroupMountPlan,
    /// Device nodes.
    pub devices: devices::DevicesPlan,
    /// Network devices to move into the container.
    pub net_devices: Vec<net_devices::NetDevicePlan>,
    /// Kernel parameters.
    pub sysctl: Vec<sysctl::Sysctl>,
    /// Where the cgroup is.
    pub cgroup: CgroupPlan,
    /// Who is to own it, if somebody else than its maker: an id of the host.
    pub cgroup_owner: Option<u32>,
    /// The cgroup below it that the processes are moved to, if the container is to manage one.
    pub delegated: Option<delegated_cgroup::Delegated>,
    /// Whether nothing asks for a cgroup, so that an ordinary user who may make none can do
    /// without.
    pub cgroup_optional: bool,
    /// The unit that has it, if systemd makes it.
    pub unit: Option<systemd::UnitPlan>,
    /// Its limits.
    pub resources: resources::ResourcePlan,
    /// Its share of cache and memory bandwidth, if any is decided.
    pub intel_rdt: Option<intel_rdt::IntelRdtPlan>,
    /// Whether init is dumpable while it waits for `start`. An ordinary user could not enter its
    /// namespaces else, with `exec` or otherwise; all others who are in its user namespace have
    /// come by it.
    pub dumpable_at_gate: bool,
    /// Hooks.
    pub hooks: Hooks,
    /// What the user should hear, though it stops nothing.
    pub warnings: Vec<Problem>,
}

/// What every process goes by that enters a container and becomes a program there: init, and what
/// `exec` makes.
#[derive(Debug)]
pub struct Entry {
    /// The container's id.
    pub id: String,
    /// The name of the container's session keyring, if it has one of its own.
    pub keyring: Option<String>,
    /// The program.
    pub process: process::ProcessPlan,
    /// Its terminal.
    pub terminal: Option<terminal::TerminalPlan>,
    /// The system call filter.
    pub seccomp: Option<seccomp::SeccompPlan>,
    /// Whether it is loaded while the container is created, and not right before the program runs.
    pub early_filter: bool,
    /// Ids of the user namespace.
    pub ids: id_mappings::IdMappingsPlan,
    /// The numbers of the descriptors after stdio that the program keeps, ascending.
    pub preserved_fds: Vec<u32>,
    /// Whether the process has the runtime's rights until it gives them up itself: it enters no
    /// user namespace.
    pub keeps_rights: bool,
}

impl Plan {
    /// Whether init, once it has built the rootfs, waits for what the runtime does then: hooks see
    /// the rootfs as it is at that moment, those of the container come after those of the runtime,
    /// parameters (sysctl) of a network device are there only when the device is, cgroup v1 denies
    /// all devices, a terminal too, for the moment of setting rules, and a scheduler and a memory
    /// policy are for the cgroup's CPUs and nodes, a limit counts the thread for a listener.
    #[must_use]
    pub fn init_waits(&self) -> bool {
        let hooks = &self.hooks;
        let lists = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container];
        lists.iter().any(|hooks| !hooks.is_empty())
            || self.entry.early_filter
            || !self.net_devices.is_empty()
            || self.entry.terminal.is_some()
            || self.entry.process.scheduler.is_some()
            || self.entry.process.memory_policy.is_some()
    }

    /// The agent that a notifying filter asks.
    #[must_use]
    pub fn listener(&self) -> Option<&seccomp::ListenerPlan> {
        self.entry.seccomp.as_ref()?.listener.as_ref()
    }

    /// Decides about a new container; `text` is its config.json.
    ///
    /// # Errors
    /// [`Failure::BadConfig`] for the first thing that cannot be honoured.
    pub fn for_create(text: &[u8], request: &Request<'_>, host: &Host) -> Result<Self> {
        let mut config = parse(text)?;
        request.add_to(&mut config);
        let mut problems = Problems::default();
        let plan = Self::decide(&config, request, host, &mut problems);
        problems.into_result()?;
        Ok(plan)
    }

    fn decide(
        config: &Config<'_>,
        request: &Request<'_>,
        host: &Host,
        problems: &mut Problems,
    ) -> Self {
        let linux = &config.linux;
        check_version(&config.oci_version, problems);
        let namespaces = namespaces::decide(config, host, problems);
        let mut resources = resources::decide(&linux.resources, &host.cgroups, problems);
        let (mut cgroup, unit) = cgroup::by_maker(config, request, &mut resources, host, problems);
        let mount_label = labels::of_mounts(linux, host, problems);
        annotations::check(&config.annotations, problems);
        hooks::decide(&config.hooks, problems);
        let ids = id_mappings::decide(linux, &namespaces, problems);
        let around = mounts::MountContext {
            bundle: request.bundle,
            rootfs: rootfs::path(config, request.bundle),
            namespaces: &namespaces,
            ids: &ids,
            label: mount_label.as_deref(),
            host,
        };
        let mounts = mounts::decide(&config.mounts, &around, problems);
        let cgroup_mount = cgroup_mount::decide(&host.cgroups, &cgroup, &namespaces);
        let mut cgroup_owner = cgroup::owner(config, &namespaces, &ids, host);
        if request.maker == CgroupMaker::Nobody {
            (cgroup, cgroup_owner) = (CgroupPlan::none(), None);
        }
        let root = delegated_cgroup::owner(cgroup_owner, &ids, host);
        let delegated = delegated_cgroup::decide(config, &cgroup, root, problems);
        // The container may not manage the directory that has the limits.
        cgroup_owner = cgroup_owner.filter(|_| delegated.is_none());
        let entry = Entry {
            id: request.id.to_owned(),
            keyring: (!request.no_new_keyring).then(|| request.keyring.to_owned()),
            process: process::decide(config, &namespaces, host, problems),
            terminal: terminal::decide(config.process.as_ref(), request.terminal, problems),
            seccomp: seccomp::decide(linux.seccomp.as_ref(), problems),
            early_filter: false,
            ids,
            preserved_fds: request.preserved_fds.to_vec(),
            keeps_rights: !namespaces.has_own(&namespaces::USER),
        };
        let mut plan = Self {
            bundle: request.bundle.to_owned(),
            annotations: config
                .annotations
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            rootfs: rootfs::decide(config, request.bundle, request.no_pivot, &namespaces, problems),
            mount_label,
            cgroup_mount,
            devices: devices::decide(config, &namespaces, host, problems),
            net_devices: net_devices::decide(linux, &namespaces, host, problems),
            sysctl: sysctl::decide(linux, &namespaces, problems),
            cgroup_owner,
            cgroup_optional: linux.cgroups_path.is_empty()
                && unit.is_none()
                && delegated.is_none()
                && resources.writes.is_empty(),
            delegated,
            unit,
            resources,
            intel_rdt: intel_rdt::decide(linux.intel_rdt.as_ref(), request.id, host, problems),
            dumpable_at_gate: host.euid != 0 && !entry.ids.joined,
            hooks: config.hooks.clone(),
            mounts,
            cgroup,
            namespaces,
            entry,
            warnings: Vec::new(),
        };
        plan.entry.early_filter = plan.listener().is_some() && plan.why_listener_waits().is_none();
        plan.warnings.extend_from_slice(problems.warnings());
        plan
    }
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            id: "",
            bundle: Path::new(""),
            no_pivot: false,
            no_new_keyring: false,
            keyring: "_ses",
            preserved_fds: &[],
            env: &[],
            notify: None,
            terminal: terminal::TerminalRequest::default(),
            maker: CgroupMaker::default(),
        }
    }
}

impl<'a> Request<'a> {
    /// Puts into the config what it does not have, as if its writer had, and says in the newest
    /// version's way what it has in that of an older one.
    fn add_to(&self, config: &mut Config<'a>) {
        annotations::fill_in(config);
        resources::fit_to_version(&mut config.linux.resources, &config.oci_version);
        if let Some(process) = &mut config.process {
            process.env.extend(self.env.iter().map(|entry| Text::from(entry.as_str())));
        }
        if let Some(directory) = self.notify {
            config.mounts.push(Mount {
                destination: Text::from(NOTIFY),
                source: Text::from(directory),
                options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(Text::from).to_vec(),
                ..Mount::default()
            });
        }
    }
}

/// Every version 1 of the specification can be read by any other; of a version 2 nobody knows.
fn check_version(version: &str, problems: &mut Problems) {
    if !version.is_empty() && version.split('.').next() != Some("1") {
        problems.add(
            "/ociVersion",
            format!(
                "version {version:?} of the specification is not supported (1.0.0 to 1.3.0 are)"
            ),
        );
    }
}

/// Reads the config.json of a bundle.
///
/// # Errors
/// With runc's text when it is missing.
pub fn read(bundle: &Path) -> Result<Vec<u8>> {
    let path = bundle.join("config.json");
    // Should it be a fifo, we do not wait for its other end.
    let open = || OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
    let mut text = Vec::new();
    match open().and_then(|mut file| file.read_to_end(&mut text)) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text =
                format!("JSON specification file config.json not found in {}", bundle.display());
            Err(Failure::BadConfig(Problem { key: String::new(), text }).into())
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Parses a config.json. The place of a mistake is only looked for when there is one.
///
/// # Errors
/// [`Failure::BadConfig`] with the JSON pointer of the value that has the wrong type.
pub fn parse(text: &[u8]) -> Result<Config<'_>> {
    // An array would do for an object by serde's lights; in the fields, the model itself sees to
    // that.
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| *byte == b'[') {
        let text = "invalid type: sequence, expected an object".to_owned();
        return Err(Failure::BadConfig(Problem { key: String::new(), text }).into());
    }
    serde_json::from_slice(text).map_err(|_| locate::<Config<'_>>(text, "").into())
}

/// Where `text` is not a `T`, and why; `base` is the JSON pointer of the whole.
fn locate<'a, T: Deserialize<'a>>(text: &'a [u8], base: &str) -> Failure {
    let mut deserializer = serde_json::Deserializer::new(SliceRead::new(text));
    let (key, text) = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => match deserializer.end() {
            Ok(()) => (String::new(), "is not one JSON document".to_owned()),
            Err(error) => (String::new(), error.to_string()),
        },
        // What is not JSON has no keys, only a line and a column.
        Err(error) if !error.inner().is_data() => (String::new(), error.into_inner().to_string()),
        Err(error) => (pointer(error.path()), error.inner().to_string()),
    };
    Failure::BadConfig(Problem { key: format!("{base}{key}"), text })
}

/// The path of a failed value as a JSON pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("{pointer}/{variant}"),
        Segment::Unknown => pointer,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_wrong_type_is_located() {
        for (text, expected) in [
            (
                r#"{"process":{"args":["a",7]}}"#,
                "process.args[1]: invalid type: integer `7`, expected a string",
            ),
            (
                r#"{"root":{"path":"r","readonly":"yes"}}"#,
                "root.readonly: invalid type: string \"yes\"",
            ),
            (r#"{"mounts":{}}"#, "mounts: invalid type: map"),
            (
                r#"{"linux":{"resources":[]}}"#,
                "linux.resources: invalid type: sequence, expected an object",
            ),
            (
                r#"{"process":{"user":[1]}}"#,
                "process.user: invalid type: sequence, expected an object",
            ),
            ("{", "config.json: EOF while parsing"),
            ("[]", "config.json: invalid type: sequence"),
            ("{} x", "config.json: trailing characters"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn null_is_absent_and_unknown_properties_are_ignored() {
        let config = parse(br#"{"process":null,"mounts":null,"hooks":{"prestart":null},"linux":{"moon":[1]},"x":{}}"#)
            .expect("a config");
        assert!(config.process.is_none() && config.mounts.is_empty());
    }
}
