//! Decides what a container gets: config.json, flags and facts about the host become a [`Plan`].
//! All errors in these are found here, before anything is done. Nothing in this folder changes the
//! machine.
//! config.json: ociVersion
//!
//! Each key of config.json is decided in one file of this folder and applied in one file elsewhere.
//! The first lines of both name the key: `git grep 'config.json:.*maskedPaths'` finds them.

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
mod form;
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

use crate::config::{Config, Hooks, Mount, Text};
use crate::error::{Cause, Context, Failure, Problem, Result};
pub use crate::host::Host;
pub use crate::host::cgroups::CgroupLayout;
use cgroup::{CgroupMaker, CgroupPlan};
pub use form::parse;
pub use problems::Problems;

/// The directory of the notify socket in the container.
pub const NOTIFY: &str = "/run/notify";

/// The caller's request, besides the config.
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
    /// The name of the new keyring. It is random, so that no other process can have created it.
    pub keyring: &'a str,
    /// The numbers of the descriptors after stdio that the program keeps, ascending.
    pub preserved_fds: &'a [u32],
    /// Variables `NAME=VALUE` that are added after those of the config, and override them.
    pub env: &'a [String],
    /// The directory on the host with the socket on which the program reports that it is ready.
    pub notify: Option<&'a str>,
    /// The flags for the terminal.
    pub terminal: terminal::TerminalRequest<'a>,
    /// Who creates the cgroup.
    pub maker: CgroupMaker,
}

/// The decided and checked form of config, flags and host facts. The bootstrap and init use
/// nothing else.
#[derive(Debug)]
pub struct Plan {
    /// The id of the container, and the start of its program.
    pub entry: EntryPlan,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// The namespaces, and how init is created.
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
    /// The cgroup.
    pub cgroup: CgroupPlan,
    /// Its owner, if it is not the user who creates it: a uid of the host.
    pub cgroup_owner: Option<u32>,
    /// The cgroup below it that the processes are moved to, if the container manages one.
    pub delegated: Option<delegated_cgroup::Delegated>,
    /// Whether nothing needs a cgroup. Then an ordinary user who may not create one does without
    /// it.
    pub cgroup_optional: bool,
    /// The unit, if systemd creates the cgroup.
    pub unit: Option<systemd::UnitPlan>,
    /// Its limits.
    pub resources: resources::ResourcePlan,
    /// The share of cache and memory bandwidth, if the config has one.
    pub intel_rdt: Option<intel_rdt::IntelRdtPlan>,
    /// Whether init is dumpable while it waits for `start`. An ordinary user can enter its
    /// namespaces, for instance with `exec`, only if it is dumpable. Other processes in its user
    /// namespace are its own children.
    pub dumpable_at_gate: bool,
    /// Hooks.
    pub hooks: Hooks,
    /// Warnings.
    pub warnings: Vec<Problem>,
}

/// The plan for a process that enters a container and executes a program there: init, or a process
/// of `exec`.
#[derive(Debug)]
pub struct EntryPlan {
    /// The container's id.
    pub id: String,
    /// The name of the session keyring of the container, if it has its own.
    pub keyring: Option<String>,
    /// The program.
    pub process: process::ProcessPlan,
    /// Its terminal.
    pub terminal: Option<terminal::TerminalPlan>,
    /// The system call filter.
    pub seccomp: Option<seccomp::SeccompPlan>,
    /// Whether the filter is loaded at `create`, and not right before the program is executed.
    pub early_filter: bool,
    /// Ids of the user namespace.
    pub ids: id_mappings::IdMappingsPlan,
    /// The numbers of the descriptors after stdio that the program keeps, ascending.
    pub preserved_fds: Vec<u32>,
    /// Whether the process keeps the privileges of the runtime until it drops them itself: it
    /// enters no user namespace.
    pub keeps_rights: bool,
}

impl Plan {
    /// Whether init waits for the runtime after it has built the rootfs. It must wait if there is
    /// one of these:
    ///
    /// * hooks: those of the runtime see the built rootfs, and run before those of the container;
    /// * network devices: their sysctl parameters exist only after they have been moved;
    /// * a terminal: cgroup v1 denies all devices while the rules are set;
    /// * a scheduler or a memory policy: they depend on the CPUs and nodes of the cgroup;
    /// * a filter that is loaded early: the limit on processes counts the thread that sends the
    ///   listener.
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

    /// The agent of a notifying filter.
    #[must_use]
    pub fn listener(&self) -> Option<&seccomp::ListenerPlan> {
        self.entry.seccomp.as_ref()?.listener.as_ref()
    }

    /// Makes the plan of a new container. `text` is its config.json.
    ///
    /// # Errors
    /// [`Failure::BadConfig`] for the first thing that cannot be honoured.
    pub fn for_create(
        text: &[u8],
        request: &Request<'_>,
        host: &Host,
        layout: &CgroupLayout,
    ) -> Result<Self> {
        let mut config = parse(text)?;
        request.add_to(&mut config);
        let mut problems = Problems::default();
        let plan = Self::decide(&config, request, host, layout, &mut problems);
        problems.into_result()?;
        Ok(plan)
    }

    fn decide(
        config: &Config<'_>,
        request: &Request<'_>,
        host: &Host,
        layout: &CgroupLayout,
        problems: &mut Problems,
    ) -> Self {
        let linux = &config.linux;
        check_version(&config.oci_version, problems);
        let namespaces = namespaces::decide(config, host, problems);
        let mut resources = resources::decide(&linux.resources, layout, problems);
        let (mut cgroup, unit) =
            cgroup::by_maker(config, request, &mut resources, layout, problems);
        let mount_label = labels::of_mounts(linux, host, problems);
        annotations::check(&config.annotations, problems);
        hooks::decide(&config.hooks, problems);
        let ids = id_mappings::decide(linux, &namespaces, problems);
        let around = MountContext {
            bundle: request.bundle,
            rootfs: rootfs::path(config, request.bundle),
            namespaces: &namespaces,
            ids: &ids,
            label: mount_label.as_deref(),
            host,
        };
        let mounts = mounts::decide(&config.mounts, &around, problems);
        cgroup_mount::check_options(&mounts, layout, problems);
        let cgroup_mount = cgroup_mount::decide(layout, &cgroup, &namespaces);
        let mut cgroup_owner = cgroup::owner(config, &namespaces, &ids, host, layout);
        if request.maker == CgroupMaker::Nobody {
            (cgroup, cgroup_owner) = (CgroupPlan::none(), None);
        }
        let root = delegated_cgroup::owner(cgroup_owner, &ids, host);
        let delegated = delegated_cgroup::decide(config, &cgroup, root, problems);
        // The container must not manage the cgroup that has its limits.
        cgroup_owner = cgroup_owner.filter(|_| delegated.is_none());
        let entry = EntryPlan::decide(config, request, &around, problems);
        let mut plan = Self {
            bundle: request.bundle.to_owned(),
            annotations: annotations::owned(&config.annotations),
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

/// The facts that a decision about a mount depends on.
#[derive(Debug)]
pub struct MountContext<'a> {
    /// The directory for relative sources of bind mounts.
    pub bundle: &'a Path,
    /// The host path of the rootfs. A destination may begin with it, as in runc.
    pub rootfs: Option<PathBuf>,
    /// The namespaces of the container.
    pub namespaces: &'a namespaces::NamespacesPlan,
    /// The ids of its user namespace.
    pub ids: &'a id_mappings::IdMappingsPlan,
    /// The label of files in new filesystems.
    pub label: Option<&'a str>,
    /// The facts about the machine and the caller.
    pub host: &'a Host,
}

impl EntryPlan {
    fn decide(
        config: &Config<'_>,
        request: &Request<'_>,
        around: &MountContext<'_>,
        problems: &mut Problems,
    ) -> Self {
        let namespaces = around.namespaces;
        Self {
            id: request.id.to_owned(),
            keyring: (!request.no_new_keyring).then(|| request.keyring.to_owned()),
            process: process::decide(config, namespaces, around.host, problems),
            terminal: terminal::decide(config.process.as_ref(), request.terminal, problems),
            seccomp: seccomp::decide(config.linux.seccomp.as_ref(), problems),
            early_filter: false,
            ids: around.ids.clone(),
            preserved_fds: request.preserved_fds.to_vec(),
            keeps_rights: !namespaces.has_own(&namespaces::USER),
        }
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
    /// Adds defaults to the config, and converts values of older versions of the specification to
    /// the newest one.
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

/// Versions 1.x of the specification are compatible with each other. Other versions are refused.
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
/// If it does not exist, with the text of runc.
pub fn read(bundle: &Path) -> Result<Vec<u8>> {
    let path = bundle.join("config.json");
    // Does not block if it is a fifo.
    let open = || OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
    let mut text = Vec::new();
    match open().and_then(|mut file| file.read_to_end(&mut text)) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text =
                format!("JSON specification file config.json not found in {}", bundle.display());
            Err(Failure::BadConfig(Problem::new("", Cause::NoConfig.reason(text))).into())
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
