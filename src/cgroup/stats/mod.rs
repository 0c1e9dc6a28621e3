//! What a cgroup has used: the statistics of `events`, with the keys of runc's types/events.go.
//!
//! A controller that is not there leaves its part out; zeros are left out where runc does so.

mod openmetrics;
mod v1;
mod v2;

use std::collections::BTreeMap;

use rustix::fs::CWD;
use rustix::io::Errno;
use serde::{Serialize, Serializer};

use super::dir::Dir;
use super::{Cgroup, Version};
use crate::error::Result;
use crate::sys::Call;

/// All of it, but for what no cgroup knows.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    cpu: CpuStats,
    cpuset: Cpuset,
    memory: MemoryStats,
    pids: PidsStats,
    blkio: Blkio,
    hugetlb: BTreeMap<String, Hugetlb>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct CpuStats {
    usage: CpuUsage,
    /// `None` without the controller.
    #[serde(skip_serializing_if = "is_nothing")]
    throttling: Option<Throttling>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// Nanoseconds.
#[derive(Debug, Default, PartialEq, Serialize)]
struct CpuUsage {
    #[serde(skip_serializing_if = "is_default")]
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "is_default")]
    periods: u64,
    #[serde(skip_serializing_if = "is_default")]
    throttled_periods: u64,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    throttled_time: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cpus: Vec<u16>,
    cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mems: Vec<u16>,
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct MemoryStats {
    #[serde(skip_serializing_if = "is_default")]
    cache: u64,
    #[serde(skip_serializing_if = "is_default")]
    usage: MemoryEntry,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "is_default")]
    swap: MemoryEntry,
    #[serde(skip_serializing_if = "is_default")]
    kernel: MemoryEntry,
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_default")]
    kernel_tcp: MemoryEntry,
    /// The whole of `memory.stat`.
    #[serde(skip_serializing_if = "is_default")]
    raw: BTreeMap<String, u64>,
    /// What `memory.events` has counted; on v1, `memory.oom_control`. runc does not have this. What
    /// has not happened is left out of the JSON, since callers look for `oom` in the lines of
    /// `events` to learn that it has.
    #[serde(skip_serializing_if = "nothing_happened", serialize_with = "what_happened")]
    events: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// Bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
struct MemoryEntry {
    limit: u64,
    #[serde(skip_serializing_if = "is_default")]
    usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct PidsStats {
    #[serde(skip_serializing_if = "is_default")]
    current: u64,
    /// 0 is none.
    #[serde(skip_serializing_if = "is_default")]
    limit: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_queue_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct BlkioEntry {
    #[serde(skip_serializing_if = "is_default")]
    major: u64,
    #[serde(skip_serializing_if = "is_default")]
    minor: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    op: String,
    #[serde(skip_serializing_if = "is_default")]
    value: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Hugetlb {
    #[serde(skip_serializing_if = "is_default")]
    usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    max: u64,
    failcnt: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
struct Pressure {
    #[serde(skip_serializing_if = "is_default")]
    some: Stall,
    #[serde(skip_serializing_if = "is_default")]
    full: Stall,
}

/// Percent, and microseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
struct Stall {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    total: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn nothing_happened(events: &BTreeMap<String, u64>) -> bool {
    events.values().all(|count| *count == 0)
}

fn what_happened<S: Serializer>(
    events: &BTreeMap<String, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(events.iter().filter(|(_, count)| **count != 0))
}

fn is_nothing<T: Default + PartialEq>(value: &Option<T>) -> bool {
    value.as_ref().is_none_or(is_default)
}

impl Cgroup {
    /// What it has used until now.
    ///
    /// # Errors
    /// Reading a file that is there.
    pub fn stats(&self) -> Result<Stats> {
        Ok(match &self.version {
            Version::V1(cgroup) => v1::read(cgroup)?,
            Version::V2(cgroup) => v2::read(cgroup.dir())?,
        })
    }
}

/// A file's content; `None` when the controller, or the kernel, does not have it.
fn text(dir: &Dir, file: &str) -> Result<Option<String>, Call> {
    match dir.read_all(file) {
        // Pressure may be turned off at boot.
        Err(call) if call.is(Errno::NOENT) || call.is(Errno::OPNOTSUPP) => Ok(None),
        other => other.map(Some),
    }
}

/// A file of one number; `max` is the largest there is.
fn number(dir: &Dir, file: &str) -> Result<Option<u64>, Call> {
    Ok(text(dir, file)?.as_deref().and_then(parse_number))
}

fn parse_number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

/// A file of lines `key value`; empty when there is none.
fn pairs(dir: &Dir, file: &str) -> Result<BTreeMap<String, u64>, Call> {
    Ok(text(dir, file)?.as_deref().map(parse_pairs).unwrap_or_default())
}

fn parse_pairs(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn pressure(dir: &Dir, file: &str) -> Result<Option<Pressure>, Call> {
    Ok(text(dir, file)?.as_deref().map(parse_pressure))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
fn parse_pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let stall = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => stall.avg10 = value.parse().unwrap_or_default(),
                "avg60" => stall.avg60 = value.parse().unwrap_or_default(),
                "avg300" => stall.avg300 = value.parse().unwrap_or_default(),
                "total" => stall.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
    }
    pressure
}

/// The sizes of huge pages that this machine has, as the files of cgroups spell them: `2MB`.
fn huge_page_sizes() -> Vec<String> {
    let flags =
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let found =
        rustix::fs::openat(CWD, "/sys/kernel/mm/hugepages", flags, rustix::fs::Mode::empty());
    // A kernel without huge pages has no such directory.
    let Ok(entries) = found.and_then(rustix::fs::Dir::new) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter_map(|name| huge_page_size(&name)).collect()
}

/// `hugepages-2048kB` is `2MB`.
fn huge_page_size(name: &str) -> Option<String> {
    let mut size: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    let mut units = ["KB", "MB", "GB"].iter();
    let mut unit = units.next()?;
    while size >= 1024 {
        let Some(next) = units.next() else { break };
        size /= 1024;
        unit = next;
    }
    Some(format!("{size}{unit}"))
}

/// Reads a text as each kind of file in turn.
#[cfg(fuzzing)]
pub(crate) fn fuzz(text: &str) {
    parse_number(text);
    parse_pairs(text);
    parse_pressure(text);
    huge_page_size(text);
    v1::entries(text);
    v1::expand(text);
    v2::io(text);
    super::v2::parse_path(text);
    super::oom::parse_kills(text);
}

#[cfg(test)]
mod tests {
    use super::{Pressure, Stall, huge_page_size, parse_pressure};

    #[test]
    fn pressure_is_read() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let some = Stall { avg10: 1.5, avg60: 0.25, avg300: 0.0, total: 77 };
        assert_eq!(parse_pressure(text), Pressure { some, full: Stall::default() });
    }

    #[test]
    fn sizes_of_huge_pages_are_spelled_as_cgroups_do() {
        for (name, size) in [
            ("hugepages-64kB", "64KB"),
            ("hugepages-2048kB", "2MB"),
            ("hugepages-1048576kB", "1GB"),
        ] {
            assert_eq!(huge_page_size(name).as_deref(), Some(size));
        }
        assert_eq!(huge_page_size("pages"), None);
    }
}
