//! `update`: changes the limits of a running container.

mod keys;
mod present;

use std::path::Path;

use super::{Document, cgroup_of, lock, open, resctrl_of, status_of};
use crate::config::{self, Resources, Text};
use crate::error::{Failure, Result};
use crate::host::Rootless;
use crate::host::cgroups::CgroupLayout;
use crate::plan::{self, Host, Problems, resources};
use crate::state::Status;

/// An `update` request.
#[derive(Debug, Default, Clone)]
pub struct Update {
    /// The container's id.
    pub id: String,
    /// The new limits.
    pub change: Change,
}

/// The new limits. A limit that is not given is not changed.
#[derive(Debug, Clone)]
pub enum Change {
    /// A `linux.resources` object.
    Resources(Document),
    /// Limits that have a flag.
    Limits(Box<Limits>),
}

impl Default for Change {
    fn default() -> Self {
        Self::Limits(Box::default())
    }
}

/// The limits that have a flag.
#[derive(Debug, Default, Clone)]
pub struct Limits {
    /// Weight of block devices, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Microseconds of a period of the CPU quota.
    pub cpu_period: Option<u64>,
    /// Microseconds of CPU time in each period; -1 is unlimited.
    pub cpu_quota: Option<i64>,
    /// Microseconds by which a period may exceed the quota, if earlier ones left time.
    pub cpu_burst: Option<u64>,
    /// Weight of CPU time, 2 to 262144.
    pub cpu_share: Option<u64>,
    /// Microseconds of a period of realtime scheduling (cgroup v1).
    pub cpu_rt_period: Option<u64>,
    /// Microseconds of realtime scheduling in each period (cgroup v1).
    pub cpu_rt_runtime: Option<i64>,
    /// 1: run only when nothing else runs; 0: as usual.
    pub cpu_idle: Option<i64>,
    /// CPUs to use, a list of ranges.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use, a list of ranges.
    pub cpuset_mems: Option<String>,
    /// Bytes of memory, or 512m, 2GiB and so on; -1 is unlimited.
    pub memory: Option<i64>,
    /// Bytes of memory that it keeps when memory is short.
    pub memory_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Obsolete; ignored with a warning, as runc does.
    pub kernel_memory: Option<i64>,
    /// Obsolete; ignored with a warning, as runc does.
    pub kernel_memory_tcp: Option<i64>,
    /// Number of processes and threads; -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// L3 cache, a line of resctrl's schemata, for a container with linux.intelRdt.
    pub l3_cache_schema: Option<String>,
    /// Memory bandwidth, in the same form.
    pub mem_bw_schema: Option<String>,
}

/// Changes the limits. A limit that is not given is not changed, and device rules are never
/// changed.
///
/// # Errors
/// An error if the container does not run, or if a limit cannot be set. Then all limits are as
/// before.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::Document;
/// use orlop::commands::update::{Change, Limits, Update, update};
///
/// let state_root = Path::new("/run/orlop");
/// let limits = Limits { memory: Some(64 << 20), ..Limits::default() };
/// let id = "web".to_owned();
/// update(&Update { id: id.clone(), change: Change::Limits(Box::new(limits)) }, state_root)?;
/// let resources = Document::Bytes(br#"{ "pids": { "limit": 100 } }"#.to_vec());
/// update(&Update { id, change: Change::Resources(resources) }, state_root)?;
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn update(args: &Update, state_root: &Path) -> Result<()> {
    open(state_root, &args.id)?; // a missing container is reported first
    let text;
    let (mut wanted, lines) = match &args.change {
        Change::Resources(document) => {
            text = document.read("reading the resources (--resources)")?;
            let wanted = parse(&text)?;
            keys::unknown(&text)
                .iter()
                .for_each(|unknown| log::warn!("the resources (--resources): {unknown}"));
            (wanted, SchemataLines::default())
        }
        Change::Limits(limits) => (limits.resources(), limits.schemata()),
    };
    let container = lock(state_root, &args.id)?;
    if matches!(status_of(&container)?, Status::Creating | Status::Stopped) {
        return Err(Failure::WrongStatus("container not running".into()).into());
    }
    if matches!(args.change, Change::Resources(_)) && pids_limit(&wanted) == Some(0) {
        let config = container.config()?;
        resources::fit_to_version(&mut wanted, &plan::parse(&config)?.oci_version);
    }
    let cgroup = cgroup_of(&container);
    let host = Host::probe(Rootless::default())?;
    let layout = CgroupLayout::probe()?;
    let schemata = lines.checked(&host)?;
    let now = |controller: &str, file: &str| cgroup.setting(controller, file);
    present::keep_idle(&mut wanted, now);
    if layout.is_unified() {
        present::complete(&mut wanted, now);
    } else if cgroup.unit().is_some() {
        present::complete_quota(&mut wanted, now);
    }
    let mut problems = Problems::default();
    let mut limits = resources::decide_limits(&wanted, &layout, &mut problems);
    for warning in problems.warnings() {
        log::warn!("{warning}");
    }
    problems.into_result()?;
    if schemata.is_empty() {
        return cgroup.update(&mut limits);
    }
    let text = "updating a non-existent Intel RDT configuration is not supported";
    let groups = resctrl_of(&container).ok_or_else(|| Failure::Unsupported(text.into()))?;
    let before = groups.schemata()?;
    groups.set(&schemata)?;
    cgroup.update(&mut limits).inspect_err(|_| {
        // The caller already returns an error, and that one matters more than this one.
        let _ = groups.set(&[before]);
    })
}

fn pids_limit(wanted: &Resources<'_>) -> Option<i64> {
    wanted.pids.as_ref()?.limit
}

fn parse(text: &[u8]) -> Result<Resources<'_>> {
    // serde would accept an array for an object.
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(
            Failure::Usage("the resources (--resources): expected an object".to_owned()).into()
        );
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| error.to_string());
    read.and_then(|resources| {
        deserializer.end().map(|()| resources).map_err(|error| error.to_string())
    })
    .map_err(|text| Failure::Usage(format!("the resources (--resources): {text}")).into())
}

/// Lines for the schemata of resctrl.
#[derive(Debug, Default)]
struct SchemataLines<'a> {
    l3_cache: Option<&'a str>,
    memory_bandwidth: Option<&'a str>,
}

impl SchemataLines<'_> {
    /// The lines in their order. An error if the machine does not have the resource of a line.
    fn checked(&self, host: &Host) -> Result<Vec<String>> {
        let Self { l3_cache: l3, memory_bandwidth: mb } = self;
        if l3.is_none() && mb.is_none() {
            return Ok(Vec::new());
        }
        let (has_l3, has_mb) =
            host.extras.resctrl().map_or((false, false), |found| (found.l3, found.mb));
        for (given, there, what) in [
            (l3.is_some(), has_l3, "CAT: l3 cache schema"),
            (mb.is_some(), has_mb, "MBA: memory bandwidth schema"),
        ] {
            if given && !there {
                return Err(Failure::Unsupported(
                    format!("Intel RDT/{what} is not enabled").into(),
                )
                .into());
            }
        }
        Ok(l3.iter().chain(mb).map(|line| (*line).to_owned()).collect())
    }
}

impl Limits {
    fn schemata(&self) -> SchemataLines<'_> {
        SchemataLines {
            l3_cache: self.l3_cache_schema.as_deref(),
            memory_bandwidth: self.mem_bw_schema.as_deref(),
        }
    }

    fn resources(&self) -> Resources<'_> {
        fn list(list: Option<&str>) -> Text<'_> {
            list.map(Text::from).unwrap_or_default()
        }
        Resources {
            memory: Some(config::Memory {
                limit: self.memory,
                reservation: self.memory_reservation,
                swap: self.memory_swap,
                kernel: self.kernel_memory,
                kernel_tcp: self.kernel_memory_tcp,
                ..config::Memory::default()
            }),
            cpu: Some(config::Cpu {
                shares: self.cpu_share,
                quota: self.cpu_quota,
                burst: self.cpu_burst,
                period: self.cpu_period,
                realtime_runtime: self.cpu_rt_runtime,
                realtime_period: self.cpu_rt_period,
                cpus: list(self.cpuset_cpus.as_deref()),
                mems: list(self.cpuset_mems.as_deref()),
                idle: self.cpu_idle,
            }),
            pids: Some(config::Pids { limit: self.pids_limit }),
            block_io: Some(config::BlockIo {
                weight: self.blkio_weight,
                ..config::BlockIo::default()
            }),
            ..Resources::default()
        }
    }
}
