//! The statistics of a cgroup for `events`, with the keys of runc's types/events.go.
//!
//! The part of a missing controller is left out. Zeros are left out where runc leaves them out.

mod openmetrics;
mod v1;
mod v2;
mod values;

use std::collections::BTreeMap;

use rustix::fs::CWD;
use rustix::io::Errno;

pub use values::{
    Blkio, BlkioEntry, CpuStats, CpuUsage, Cpuset, Hugetlb, MemoryEntry, MemoryStats, PidsStats,
    Pressure, Stall, Stats, Throttling,
};

use super::dir::Dir;
use super::{Cgroup, Version};
use crate::error::Result;
use crate::sys::Call;

impl Cgroup {
    /// Reads the statistics.
    ///
    /// # Errors
    /// Errors of reading the files. A missing file is not an error.
    ///
    /// # Examples
    /// ```no_run
    /// use orlop::cgroup::Cgroup;
    /// use orlop::kernel::CgroupPaths;
    ///
    /// let stats = Cgroup::open(&CgroupPaths::v2("/sys/fs/cgroup/web".into())).stats()?;
    /// println!("{} processes", stats.pids.current);
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn stats(&self) -> Result<Stats> {
        Ok(match &self.version {
            Version::V1(cgroup) => v1::read(cgroup)?,
            Version::V2(cgroup) => v2::read(cgroup.dir())?,
        })
    }
}

/// The content of a file. `None` if the controller or the kernel does not have it.
fn text(dir: &Dir, file: &str) -> Result<Option<String>, Call> {
    match dir.read_all(file) {
        // Pressure stall information may be turned off at boot.
        Err(call) if call.is(Errno::NOENT) || call.is(Errno::OPNOTSUPP) => Ok(None),
        other => other.map(Some),
    }
}

/// A file with one number. `max` is `u64::MAX`.
fn number(dir: &Dir, file: &str) -> Result<Option<u64>, Call> {
    Ok(text(dir, file)?.as_deref().and_then(parse_number))
}

fn parse_number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

/// A file with lines `key value`. Empty if there is no file.
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

/// Parses `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
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

/// The sizes of huge pages on this machine, as in the names of cgroup files: `2MB`.
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
