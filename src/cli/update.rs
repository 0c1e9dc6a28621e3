//! `update`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::flags::{non_empty, path};
use crate::commands::Document;
use crate::commands::update::{self, Change, Limits};
use crate::error::Result;

/// Change the limits of a container.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Read the new limits, a linux.resources object, from this file, or from standard input if it
    /// is -
    #[arg(short, long, value_name = "FILE", value_parser = path(), conflicts_with = "limits")]
    resources: Option<PathBuf>,
    /// The flags
    #[command(flatten)]
    limits: LimitArgs,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// The value of a flag, if it is not empty.
type NonEmpty<T> = Option<T>;

/// The limits that have a flag.
#[derive(Debug, Args)]
#[group(id = "limits", multiple = true)]
struct LimitArgs {
    /// Weight of block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Microseconds of a period of the CPU quota
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(u64::from_str))]
    cpu_period: Option<NonEmpty<u64>>,
    /// Microseconds of CPU time in each period; -1 is unlimited
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(i64::from_str), allow_hyphen_values = true)]
    cpu_quota: Option<NonEmpty<i64>>,
    /// Microseconds by which a period may exceed the quota, if earlier ones left time
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(u64::from_str))]
    cpu_burst: Option<NonEmpty<u64>>,
    /// Weight of CPU time, 2 to 262144
    #[arg(long, value_name = "SHARES", value_parser = or_nothing(u64::from_str))]
    cpu_share: Option<NonEmpty<u64>>,
    /// Microseconds of a period of realtime scheduling (cgroup v1)
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(u64::from_str))]
    cpu_rt_period: Option<NonEmpty<u64>>,
    /// Microseconds of realtime scheduling in each period (cgroup v1)
    #[arg(long, value_name = "MICROSECONDS", value_parser = or_nothing(i64::from_str), allow_hyphen_values = true)]
    cpu_rt_runtime: Option<NonEmpty<i64>>,
    /// 1: run only when nothing else runs; 0: as usual
    #[arg(long, value_name = "0|1", value_parser = or_nothing(i64::from_str), allow_hyphen_values = true)]
    cpu_idle: Option<NonEmpty<i64>>,
    /// CPUs to use, a list of ranges
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use, a list of ranges
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Bytes of memory, or 512m, 2GiB and so on; -1 is unlimited
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true)]
    memory: Option<NonEmpty<i64>>,
    /// Bytes of memory that it keeps when memory is short
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true)]
    memory_reservation: Option<NonEmpty<i64>>,
    /// Bytes of memory and swap together; -1 is unlimited
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true)]
    memory_swap: Option<NonEmpty<i64>>,
    /// Obsolete; ignored with a warning, as runc does
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true, hide = true)]
    kernel_memory: Option<NonEmpty<i64>>,
    /// Obsolete; ignored with a warning, as runc does
    #[arg(long, value_name = "BYTES", value_parser = or_nothing(bytes), allow_hyphen_values = true, hide = true)]
    kernel_memory_tcp: Option<NonEmpty<i64>>,
    /// Number of processes and threads; -1 is unlimited
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// L3 cache, a line of resctrl's schemata, for a container with linux.intelRdt
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Memory bandwidth, a line of resctrl's schemata, for a container with linux.intelRdt
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
}

impl UpdateArgs {
    /// Runs the command.
    pub fn run(self, state_root: &Path) -> Result<u8> {
        let document = |path: PathBuf| {
            if path == Path::new("-") { Document::Stdin } else { Document::File(path) }
        };
        let change = match non_empty(self.resources) {
            Some(path) => Change::Resources(document(path)),
            None => Change::Limits(Box::new(self.limits.limits())),
        };
        update::update(&update::Update { id: self.id, change }, state_root)?;
        Ok(0)
    }
}

impl LimitArgs {
    fn limits(self) -> Limits {
        let line = |line: Option<String>| line.filter(|line| !line.is_empty());
        Limits {
            blkio_weight: self.blkio_weight,
            cpu_period: self.cpu_period.flatten(),
            cpu_quota: self.cpu_quota.flatten(),
            cpu_burst: self.cpu_burst.flatten(),
            cpu_share: self.cpu_share.flatten(),
            cpu_rt_period: self.cpu_rt_period.flatten(),
            cpu_rt_runtime: self.cpu_rt_runtime.flatten(),
            cpu_idle: self.cpu_idle.flatten(),
            cpuset_cpus: line(self.cpuset_cpus),
            cpuset_mems: line(self.cpuset_mems),
            memory: self.memory.flatten(),
            memory_reservation: self.memory_reservation.flatten(),
            memory_swap: self.memory_swap.flatten(),
            kernel_memory: self.kernel_memory.flatten(),
            kernel_memory_tcp: self.kernel_memory_tcp.flatten(),
            pids_limit: self.pids_limit,
            l3_cache_schema: line(self.l3_cache_schema),
            mem_bw_schema: line(self.mem_bw_schema),
        }
    }
}

/// A parser that applies `parse` to the value of a flag, unless it is empty, as in runc.
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
