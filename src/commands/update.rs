//! `update`: other limits for a container that runs.

mod keys;
mod present;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::{cgroup_of, lock, non_empty, open, path, resctrl_of, status_of};
use crate::config::{self, Resources, Text};
use crate::error::{Context, Failure, Result};
use crate::host::Rootless;
use crate::plan::{Host, Problems, resources};
use crate::state::Status;
use crate::sys::{Named, wait};

/// Change the limits of a container.
#[derive(Debug, Args)]
pub struct Update {
    /// Read the new limits, a linux.resources object, from this file, or from standard input if it
    /// is -
    #[arg(short, long, value_name = "FILE", value_parser = path(), conflicts_with = "limits")]
    pub resources: Option<PathBuf>,
    /// The flags
    #[command(flatten)]
    pub limits: Limits,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub id: String,
}

/// The value of a flag, if it is not empty.
pub type NonEmpty<T> = Option<T>;

/// The limits that have a flag.
#[derive(Debug, Args)]
#[group(id = "limits", multiple = true)]
pub struct Limits {
    /// Weight of block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Microseconds of a period of the CPU quota
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(u64::from_str))]
    pub cpu_period: Option<NonEmpty<u64>>,
    /// Microseconds of CPU time in each period; -1 is unlimited
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(i64::from_str), allow_hyphen_values = true)]
    pub cpu_quota: Option<NonEmpty<i64>>,
    /// Microseconds by which the quota may be exceeded at times
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(u64::from_str))]
    pub cpu_burst: Option<NonEmpty<u64>>,
    /// Weight of CPU time, 2 to 262144
    #[arg(long, value_name = "SHARES", value_parser = or_nothing(u64::from_str))]
    pub cpu_share: Option<NonEmpty<u64>>,
    /// Microseconds of a period of realtime scheduling (cgroup v1)
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(u64::from_str))]
    pub cpu_rt_period: Option<NonEmpty<u64>>,
    /// Microseconds of realtime scheduling in each period (cgroup v1)
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(i64::from_str), allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<NonEmpty<i64>>,
    /// 1 to run only when nothing else wants to, 0 not to
    #[arg(long, value_name = "0|1", value_parser = or_nothing(i64::from_str), allow_hyphen_values = true)]
    pub cpu_idle: Option<NonEmpty<i64>>,
    /// CPUs to use, a list of ranges
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use, a list of ranges
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Bytes of memory, or 512m, 2GiB and so on; -1 is unlimited
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true)]
    pub memory: Option<NonEmpty<i64>>,
    /// Bytes of memory that are left to it when memory is short
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true)]
    pub memory_reservation: Option<NonEmpty<i64>>,
    /// Bytes of memory and swap together; -1 is unlimited
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true)]
    pub memory_swap: Option<NonEmpty<i64>>,
    /// Obsolete; ignored with a warning, as runc does
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true, hide = true)]
    pub kernel_memory: Option<NonEmpty<i64>>,
    /// Obsolete; ignored with a warning, as runc does
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true, hide = true)]
    pub kernel_memory_tcp: Option<NonEmpty<i64>>,
    /// Number of processes and threads; -1 is unlimited
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// L3 cache, a line of resctrl's schemata, for a container with linux.intelRdt
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Memory bandwidth, likewise
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
}

/// Carries out `update`. What is not given stays as it is, and so do the rules for devices,
/// whatever is given.
///
/// # Errors
/// A container that has stopped; a limit that cannot be. Then all limits are as before.
pub fn update(args: &Update, state_root: &Path) -> Result<()> {
    open(state_root, &args.id)?; // that it is not there is said first
    let text = non_empty(args.resources.as_deref()).map(read).transpose()?;
    let mut wanted = match &text {
        Some(text) => {
            let wanted = parse(text)?;
            keys::unknown(text)
                .iter()
                .for_each(|unknown| log::warn!("the resources (--resources): {unknown}"));
            wanted
        }
        None => args.limits.resources(),
    };
    let container = lock(state_root, &args.id)?;
    if matches!(status_of(&container)?, Status::Creating | Status::Stopped) {
        return Err(Failure::WrongStatus("container not running".to_owned()).into());
    }
    let cgroup = cgroup_of(&container);
    let host = Host::probe(Rootless::default())?;
    let layout = &host.cgroups;
    let schemata = args.limits.schemata(&host)?;
    let now = |controller: &str, file: &str| cgroup.setting(controller, file);
    present::keep_idle(&mut wanted, now);
    if layout.is_unified() {
        present::complete(&mut wanted, now);
    } else if cgroup.unit().is_some() {
        present::complete_quota(&mut wanted, now);
    }
    let mut problems = Problems::default();
    let mut plan = resources::decide_limits(&wanted, layout, &mut problems);
    for warning in problems.warnings() {
        log::warn!("{warning}");
    }
    problems.into_result()?;
    if schemata.is_empty() {
        return cgroup.update(&mut plan);
    }
    let text = "updating a non-existent Intel RDT configuration is not supported";
    let groups = resctrl_of(&container).ok_or_else(|| Failure::Unsupported(text.to_owned()))?;
    let before = groups.schemata()?;
    groups.set(&schemata)?;
    cgroup.update(&mut plan).inspect_err(|_| {
        // There is an error on its way already, which matters more than this one.
        let _ = groups.set(&[before]);
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        return wait::callers_stdin().context("reading standard input");
    }
    wait::callers_file(path)
        .named(|| format!("open({path:?})"))
        .context("reading the resources (--resources)")
}

fn parse(text: &[u8]) -> Result<Resources<'_>> {
    // An array would do for an object by serde's lights.
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

impl Limits {
    /// Lines for resctrl, in their order.
    fn schemata(&self, host: &Host) -> Result<Vec<String>> {
        let given = |line: &Option<String>| line.clone().filter(|line| !line.is_empty());
        let (l3, mb) = (given(&self.l3_cache_schema), given(&self.mem_bw_schema));
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
                return Err(Failure::Unsupported(format!("Intel RDT/{what} is not enabled")).into());
            }
        }
        Ok(l3.into_iter().chain(mb).collect())
    }

    fn resources(&self) -> Resources<'_> {
        fn list(list: Option<&str>) -> Text<'_> {
            list.map(Text::from).unwrap_or_default()
        }
        Resources {
            memory: Some(config::Memory {
                limit: self.memory.flatten(),
                reservation: self.memory_reservation.flatten(),
                swap: self.memory_swap.flatten(),
                kernel: self.kernel_memory.flatten(),
                kernel_tcp: self.kernel_memory_tcp.flatten(),
                ..config::Memory::default()
            }),
            cpu: Some(config::Cpu {
                shares: self.cpu_share.flatten(),
                quota: self.cpu_quota.flatten(),
                burst: self.cpu_burst.flatten(),
                period: self.cpu_period.flatten(),
                realtime_runtime: self.cpu_rt_runtime.flatten(),
                realtime_period: self.cpu_rt_period.flatten(),
                cpus: list(self.cpuset_cpus.as_deref()),
                mems: list(self.cpuset_mems.as_deref()),
                idle: self.cpu_idle.flatten(),
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

/// What `parse` makes of the value of a flag, unless it is empty, as with runc.
fn or_nothing<T, E>(
    parse: impl Fn(&str) -> Result<T, E> + Clone,
) -> impl Fn(&str) -> Result<NonEmpty<T>, E> + Clone {
    move |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// A size as Docker writes it: a number, perhaps with a fraction, and a unit of 1024, 1024² …
/// bytes; or -1.
fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    if text == "-1" {
        return Ok(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(invalid()),
    };
    let factor = 1024_i64.pow(power);
    if let Ok(number) = number.parse::<i64>() {
        return number.checked_mul(factor).ok_or_else(invalid);
    }
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "checked, and a fraction is not exact"
    )]
    match number.parse::<f64>().map(|number| number * factor as f64) {
        Ok(size) if size < i64::MAX as f64 => Ok(size as i64),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("0", 0),
            ("-1", -1),
            ("1048576", 1 << 20),
            ("512m", 512 << 20),
            ("512M", 512 << 20),
            ("2g", 2 << 30),
            ("2GB", 2 << 30),
            ("2GiB", 2 << 30),
            ("1.5k", 1536),
            ("32 mb", 32 << 20),
            ("7b", 7),
            ("1p", 1 << 50),
            ("1t", 1 << 40),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in [
            "",
            "m",
            "abc",
            "-2",
            "-1m",
            "1x",
            "1kk",
            "1ib",
            "1  m",
            "1.2.3",
            "8388608t",
            "1e3",
            "9223372036854775808",
        ] {
            assert!(bytes(text).is_err(), "{text:?}: {:?}", bytes(text));
        }
    }
}
