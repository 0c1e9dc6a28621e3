//! The only list of the intended differences between Orlop and runc, by area. It includes features
//! for which Debian's runc (1.1.5) is too old.
//!
//! A test that starts with `differs!()` is skipped if the runtime under test is runc. Its name and
//! the reason are in the file of its area, or in [`super::crun_only`]. With `RUN_DIFFERENCES=1`
//! these tests run on runc, too, to check that they still fail there.

mod attacks;
mod cgroups;
mod checkpoint;
mod commands;
mod namespaces;
mod process;
mod rootfs;
mod seccomp;
mod skip;

pub use skip::{
    notify_has_a_barrier, refusals_name_the_key, refuses_in_one_line, removes_its_cgroup,
    sets_terminal_modes_first, skips,
};

/// An area: its name in the manual, and its tests with their reasons, sorted by name.
pub type Area = (&'static str, &'static [(&'static str, &'static str)]);

/// All areas.
pub const AREAS: &[Area] = &[
    ("The root filesystem: mounts, devices, masked paths", rootfs::REASONS),
    ("The program, exec and hooks", process::REASONS),
    ("Namespaces, names, ids, network devices", namespaces::REASONS),
    ("Cgroups, limits and statistics", cgroups::REASONS),
    ("System call filters", seccomp::REASONS),
    ("Commands and their errors", commands::REASONS),
    ("Checkpoint and restore", checkpoint::REASONS),
    ("Attacks", attacks::REASONS),
];

/// Test name and reason.
fn reasons() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    AREAS.iter().flat_map(|(_, reasons)| *reasons)
}
