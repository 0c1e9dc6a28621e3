//! The statistics of a container's groups: `intel_rdt` of `events`, with the same keys as
//! types/events.go of runc.
//!
//! Kernel: Documentation/filesystems/resctrl.rst.

use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use serde::Serialize;

use super::{Groups, schemata};
use crate::error::Result;
use crate::sys::small_file;

/// All statistics. Statistics that the machine does not have are left out.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct IntelRdtStats {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<L3CacheInfo>,
    /// From the default group.
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<MemBwInfo>,
    /// From the default group.
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_schema: Option<String>,
    /// All lines of the control group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schemata: Vec<String>,
    /// Memory bandwidth for each L3 cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_stats: Option<Vec<Bandwidth>>,
    /// Occupancy of each L3 cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmt_stats: Option<Vec<Occupancy>>,
}

#[derive(Debug, PartialEq, Serialize)]
struct L3CacheInfo {
    cbm_mask: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_cbm_bits: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_closids: Option<u64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct MemBwInfo {
    bandwidth_gran: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_linear: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_bandwidth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_closids: Option<u64>,
}

/// Bytes. A number is left out if the kernel does not count it, or reports `Unavailable`.
#[derive(Debug, PartialEq, Serialize)]
struct Bandwidth {
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_local_bytes: Option<u64>,
}

/// Bytes, left out in the same cases.
#[derive(Debug, PartialEq, Serialize)]
struct Occupancy {
    #[serde(skip_serializing_if = "Option::is_none")]
    llc_occupancy: Option<u64>,
}

impl Groups {
    /// The current statistics. Without a monitoring group, they are for all processes in the
    /// control group.
    ///
    /// # Errors
    /// Errors of reading the schemata, also if the groups do not exist any more.
    pub fn stats(&self) -> Result<IntelRdtStats> {
        let (root, own) = (schemata(self.root())?, self.schemata()?);
        let number = |name: &str| self.info(name)?.parse().ok();
        let l3_cache_info = self.info("L3/cbm_mask").map(|cbm_mask| L3CacheInfo {
            cbm_mask,
            min_cbm_bits: number("L3/min_cbm_bits"),
            num_closids: number("L3/num_closids"),
        });
        let mem_bw_info = number("MB/bandwidth_gran").map(|bandwidth_gran| MemBwInfo {
            bandwidth_gran,
            delay_linear: number("MB/delay_linear"),
            min_bandwidth: number("MB/min_bandwidth"),
            num_closids: number("MB/num_closids"),
        });
        let l3 = |text| line(text, "L3").filter(|_| l3_cache_info.is_some());
        let mb = |text| line(text, "MB").filter(|_| mem_bw_info.is_some());
        let data = self.monitoring.as_ref().unwrap_or(&self.group).join("mon_data");
        let features = self.info("L3_MON/mon_features").unwrap_or_default();
        let counts = |names: &[&str]| features.lines().any(|feature| names.contains(&feature));
        let caches = if features.is_empty() { Vec::new() } else { caches(&data) };
        let count = |cache: &str, name: &str| read(&data.join(cache).join(name))?.parse().ok();
        Ok(IntelRdtStats {
            l3_cache_schema_root: l3(&root),
            l3_cache_schema: l3(&own),
            mem_bw_schema_root: mb(&root),
            mem_bw_schema: mb(&own),
            schemata: own.lines().map(|line| line.trim().to_owned()).collect(),
            mbm_stats: counts(&["mbm_total_bytes", "mbm_local_bytes"]).then(|| {
                let of = |cache: &String| Bandwidth {
                    mbm_total_bytes: count(cache, "mbm_total_bytes"),
                    mbm_local_bytes: count(cache, "mbm_local_bytes"),
                };
                caches.iter().map(of).collect()
            }),
            cmt_stats: counts(&["llc_occupancy"]).then(|| {
                let of =
                    |cache: &String| Occupancy { llc_occupancy: count(cache, "llc_occupancy") };
                caches.iter().map(of).collect()
            }),
            l3_cache_info,
            mem_bw_info,
        })
    }
}

/// The line of a resource.
fn line(schemata: &str, resource: &str) -> Option<String> {
    let mut lines = schemata.lines().map(str::trim);
    lines.find(|line| line.split(':').next() == Some(resource)).map(str::to_owned)
}

/// The directories of L3 caches, `mon_L3_00` and so on, in order.
fn caches(data: &Path) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(entries) = openat(CWD, data, flags, Mode::empty()).and_then(Dir::new) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<_> = names.filter(|name| name.starts_with("mon_L3_")).collect();
    found.sort_unstable();
    found
}

/// Reads a short file, if it exists.
pub(super) fn read(path: &Path) -> Option<String> {
    let text = small_file::read_short(CWD, path, || path.display().to_string()).ok()?;
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}
