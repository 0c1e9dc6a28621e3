//! The mounts that `mounts` adds to a running container or removes from it.
//!
//! The rules and the code are those of `create` ([`super::mounts`]), with two exceptions.
//! Filesystems that would show the namespaces of the process that mounts them are refused, and so
//! are mounts that cannot be made detached.

use std::path::Path;

use super::form::parse_part;
use super::mounts::{self, MountSource, MountStep, clean};
use super::namespaces::{MOUNT, NamespacesPlan, USER};
use super::{Host, MountContext, Problems, id_mappings, labels, namespaces, parse, rootfs};
use crate::config::{Config, Mount};
use crate::error::{Cause, Problem, Result};

/// The changes.
#[derive(Debug)]
pub enum MountsChange {
    /// Mounts to make, in this order; all or none.
    Add(Vec<MountStep>),
    /// Paths to unmount, the last one first: their indexes in the list, and the paths without a
    /// leading slash.
    Remove(Vec<(usize, String)>),
}

/// The decision.
#[derive(Debug)]
pub struct RunningMounts {
    /// The changes.
    pub change: MountsChange,
    /// The namespaces to join: `CLONE_NEW…` flags.
    pub namespaces: u32,
    /// Warnings.
    pub warnings: Vec<Problem>,
}

/// Filesystems that show the namespaces of the process that mounts them.
const OF_NAMESPACES: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

impl RunningMounts {
    /// Decides the mounts to add. `config` is the config.json of the container, `list` has the form
    /// of `mounts` in one.
    ///
    /// # Errors
    /// [`Failure::BadConfig`](crate::error::Failure::BadConfig) for the first thing that cannot be
    /// honoured.
    pub fn to_add(config: &[u8], list: &[u8], bundle: &Path, host: &Host) -> Result<Self> {
        let config = parse(config)?;
        let list = parse_list(list)?;
        let mut problems = Problems::default();
        let namespaces = own_namespaces(&config, host);
        let ids = id_mappings::decide(&config.linux, &namespaces, &mut Problems::default());
        let label = labels::of_mounts(&config.linux, host, &mut problems);
        let rootfs = rootfs::path(&config, bundle);
        let around = MountContext {
            bundle,
            rootfs,
            namespaces: &namespaces,
            ids: &ids,
            label: label.as_deref(),
            host,
        };
        let steps = mounts::decide(&list, &around, &mut problems);
        for step in &steps {
            if let Some(what) = refusal(step) {
                problems.add(format_args!("/mounts/{}", step.index), what);
            }
        }
        let warnings = problems.warnings().to_vec();
        problems.into_result()?;
        Ok(Self { change: MountsChange::Add(steps), namespaces: flags(&namespaces), warnings })
    }

    /// Decides the mounts to remove. Only the destinations of the list are used.
    ///
    /// # Errors
    /// As [`Self::to_add`].
    pub fn to_remove(config: &[u8], list: &[u8], host: &Host) -> Result<Self> {
        let config = parse(config)?;
        let list = parse_list(list)?;
        let mut problems = Problems::default();
        let namespaces = own_namespaces(&config, host);
        if !list.is_empty() && !namespaces.has_own(&MOUNT) {
            problems.add_for(
                Cause::NeedsNamespace,
                "/mounts",
                "mounts need a mount namespace of the container's own (linux.namespaces)",
            );
        }
        let paths: Vec<_> =
            list.iter().map(|mount| clean(&mount.destination)).enumerate().collect();
        for (index, _) in paths.iter().filter(|(_, path)| path.is_empty() || path.contains('\0')) {
            problems.add(
                format_args!("/mounts/{index}/destination"),
                "is not a path below the container's root",
            );
        }
        problems.into_result()?;
        Ok(Self {
            change: MountsChange::Remove(paths),
            namespaces: flags(&namespaces),
            warnings: Vec::new(),
        })
    }
}

fn own_namespaces(config: &Config<'_>, host: &Host) -> NamespacesPlan {
    // `create` has reported the problems of the config already.
    namespaces::decide(config, host, &mut Problems::default())
}

fn flags(namespaces: &NamespacesPlan) -> u32 {
    namespaces
        .own()
        .map(|kind| kind.flag)
        .filter(|flag| [MOUNT.flag, USER.flag].contains(flag))
        .sum()
}

fn parse_list(text: &[u8]) -> Result<Vec<Mount<'_>>> {
    parse_part(text, "/mounts")
}

fn refusal(step: &MountStep) -> Option<String> {
    match &step.source {
        MountSource::Bind { .. } => None,
        MountSource::Filesystem { kind, .. } if OF_NAMESPACES.contains(&kind.as_str()) => {
            Some(format!("a {kind} shows namespaces of its maker, and cannot be mounted into a running container"))
        }
        MountSource::Filesystem { by_mount: None, .. } => None,
        MountSource::Filesystem { .. } => {
            Some("silent, iversion and values of more than 255 bytes are not possible in a running container".to_owned())
        }
        MountSource::Cgroup { .. } => Some("a cgroup cannot be mounted into a running container".to_owned()),
        MountSource::Remount { .. } => Some("a mount of a running container cannot be changed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{MountsChange, RunningMounts};
    use crate::plan::Host;
    use crate::plan::namespaces::{MOUNT, USER};

    const CONFIG: &str =
        r#"{"linux":{"namespaces":[{"type":"mount"},{"type":"pid"},{"type":"user"}]}}"#;

    fn add(list: &str) -> Result<RunningMounts, String> {
        RunningMounts::to_add(
            CONFIG.as_bytes(),
            list.as_bytes(),
            Path::new("/b"),
            &Host::for_tests(),
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_namespaces_that_mounts_need_are_gone_into() {
        let plan = add(r#"[{"destination":"/x","type":"tmpfs"}]"#).expect("a plan");
        assert_eq!(plan.namespaces, MOUNT.flag | USER.flag);
        assert!(matches!(plan.change, MountsChange::Add(steps) if steps.len() == 1));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (list, text) in [
            (r#"{"destination":"/x"}"#, "mounts: invalid type: map"),
            (r#"[{"destination":7}]"#, "mounts[0].destination: invalid type"),
            (
                r#"[{"destination":"/x","type":"tmpfs"},{"destination":"/y","type":"proc"}]"#,
                "mounts[1]: a proc shows",
            ),
            (r#"[{"destination":"/x","type":"cgroup"}]"#, "mounts[0]: a cgroup cannot"),
            (
                r#"[{"destination":"/x","options":["remount","ro"]}]"#,
                "mounts[0]: a mount of a running",
            ),
            (r#"[{"destination":"/x","type":"tmpfs","options":["silent"]}]"#, "mounts[0]: silent"),
            (
                r#"[{"destination":"/","type":"tmpfs"}]"#,
                "mounts[0].destination: nothing can be mounted",
            ),
        ] {
            let error = add(list).expect_err(list);
            assert!(error.starts_with(text), "{list}: {error}");
        }
    }

    #[test]
    fn of_what_is_taken_away_the_destination_counts() {
        let remove = |list: &str| {
            RunningMounts::to_remove(CONFIG.as_bytes(), list.as_bytes(), &Host::for_tests())
        };
        let plan = remove(r#"[{"destination":"/x"},{"destination":"//y/../z","type":"proc"}]"#)
            .expect("a plan");
        assert!(
            matches!(plan.change, MountsChange::Remove(paths) if paths == [(0, "x".to_owned()), (1, "z".to_owned())])
        );
        let error = remove(r#"[{"destination":"/x/.."}]"#).expect_err("the root").to_string();
        assert!(error.starts_with("mounts[0].destination: is not a path below"), "{error}");
    }
}
