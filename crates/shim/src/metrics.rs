//! A container's statistics in containerd's formats: `io.containerd.cgroups.v1.Metrics` and
//! `…v2.Metrics`.
//! process: daemon
//!
//! They are converted from the library's statistics.
#![allow(
    missing_docs,
    reason = "the fields are those of containerd's protocol files, which explain them"
)]

use orlop::cgroup::stats::PidsStats;
use prost::Message;

use crate::container::Container;
use crate::messages::Any;

mod v1;
mod v2;

/// The number of processes. It is the same in both messages.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Pids {
    #[prost(uint64, tag = "1")]
    pub current: u64,
    #[prost(uint64, tag = "2")]
    pub limit: u64,
}

impl Pids {
    fn of(stats: &PidsStats) -> Self {
        Self { current: stats.current, limit: stats.limit }
    }
}

/// The statistics of a container.
///
/// # Errors
/// Errors of reading its cgroup.
pub fn of(container: &Container) -> anyhow::Result<Any> {
    let stats = container.cgroup().stats()?;
    Ok(if container.cgroups.only_v2().is_some() {
        Any {
            type_url: "io.containerd.cgroups.v2.Metrics".to_owned(),
            value: v2::from(&stats).encode_to_vec(),
        }
    } else {
        Any {
            type_url: "io.containerd.cgroups.v1.Metrics".to_owned(),
            value: v1::from(&stats).encode_to_vec(),
        }
    })
}
