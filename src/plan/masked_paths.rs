//! From which mount the way to a masked or read-only path begins.

use std::path::{Component, Path};

use super::mounts::{MountSource, MountStep};

/// Whether it shows the kernel or the machine: what is hidden or read-only below it is so in this very mount, wherever
/// that may be by then.
#[must_use]
pub fn is_of_the_kernel(step: &MountStep) -> bool {
    matches!(step.destination.as_str(), "proc" | "sys")
        || matches!(step.source, MountSource::Filesystem { ordinary_directory: true, .. })
}

/// What is left of the path behind such a mount's destination; nothing when it leads somewhere else.
#[must_use]
pub fn below<'a>(step: &MountStep, path: &'a str) -> Option<&'a str> {
    if !is_of_the_kernel(step) {
        return None;
    }
    let rest = Path::new(path.trim_start_matches('/')).strip_prefix(&step.destination).ok()?;
    let leads_out = rest.components().any(|part| part == Component::ParentDir);
    rest.to_str().filter(|_| !leads_out)
}
