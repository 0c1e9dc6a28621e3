//! The annotations that the runtime obeys. This is the only list of them.
//! config.json: annotations
//!
//! The runtime obeys annotations, and may have more rights than their author. So only the names in
//! [`OBEYED`] have an effect. `features` prints all of them for engines.

use std::collections::BTreeMap;
use std::path::Path;

use super::Problems;
use crate::config::{Config, Map, Text};

/// A configuration file of criu, which overrides our settings; empty for none.
pub const CRIU_CONFIG: &str = "org.criu.config";
/// The prefix of properties of the systemd unit.
pub const SYSTEMD_PROPERTY: &str = "org.systemd.property.";
/// A file to which the standard output of hooks is appended.
pub const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
/// The same for standard error.
pub const HOOKS_STDERR: &str = "run.oci.hooks.stderr";
/// Whether the program keeps the supplementary groups of the caller of the runtime.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// A cgroup below that of the container. The processes of the container are in it and manage it.
pub const DELEGATE_CGROUP: &str = "run.oci.delegate-cgroup";
/// The cgroup of the container below that of the unit.
pub const SYSTEMD_SUBGROUP: &str = "run.oci.systemd.subgroup";
/// A socket to which a pidfd of init is sent, as by `--pidfd-socket`.
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// The agent of a notifying seccomp filter whose profile has no `listenerPath`.
pub const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";

/// All names, sorted. A name with a dot at its end is a prefix.
pub static OBEYED: [&str; 9] = [
    CRIU_CONFIG,
    SYSTEMD_PROPERTY,
    DELEGATE_CGROUP,
    HOOKS_STDERR,
    HOOKS_STDOUT,
    KEEP_GROUPS,
    PIDFD_RECEIVER,
    SECCOMP_RECEIVER,
    SYSTEMD_SUBGROUP,
];

/// Sets values of the config from annotations, if the config does not have them.
pub(super) fn fill_in(config: &mut Config<'_>) {
    if let Some(seccomp) = &mut config.linux.seccomp
        && seccomp.listener_path.is_empty()
        && let Some((_, path)) =
            config.annotations.iter().rev().find(|(key, _)| &**key == SECCOMP_RECEIVER)
    {
        seccomp.listener_path = path.clone();
    }
}

/// The annotations for state.json and the hooks.
pub(super) fn owned(annotations: &Map<'_, Text<'_>>) -> BTreeMap<String, String> {
    annotations.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// The value of an annotation; if it occurs twice, the last one.
#[must_use]
pub fn find<'a>(annotations: &'a Map<'_, Text<'_>>, name: &str) -> Option<&'a str> {
    annotations.iter().rev().find(|(key, _)| &**key == name).map(|(_, value)| &**value)
}

/// Whether the program keeps the groups of the caller: any value but `0`, as in crun.
#[must_use]
pub fn keeps_groups(annotations: &Map<'_, Text<'_>>) -> bool {
    find(annotations, KEEP_GROUPS).is_some_and(|value| value != "0")
}

/// The files for the output of hooks: standard output and standard error.
#[must_use]
pub fn hook_files(annotations: &BTreeMap<String, String>) -> [Option<&Path>; 2] {
    [HOOKS_STDOUT, HOOKS_STDERR].map(|name| annotations.get(name).map(Path::new))
}

/// Checks the annotations with a path.
pub fn check(annotations: &Map<'_, Text<'_>>, problems: &mut Problems) {
    for name in [HOOKS_STDOUT, HOOKS_STDERR, PIDFD_RECEIVER] {
        if let Some(path) = find(annotations, name)
            && (!path.starts_with('/') || path.contains('\0'))
        {
            problems.add(
                format_args!("/annotations/{name}"),
                format!("{path:?} is not an absolute path"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEEP_GROUPS, OBEYED, check, keeps_groups};
    use crate::config;
    use crate::plan::Problems;

    fn config(annotations: &str) -> config::Config<'_> {
        serde_json::from_str(annotations).expect("a config")
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(OBEYED.is_sorted(), "{OBEYED:?}");
    }

    #[test]
    fn the_last_value_counts() {
        for (values, kept) in
            [(&["1"][..], true), (&["0"], false), (&[""], true), (&["1", "0"], false), (&[], false)]
        {
            let pairs: Vec<_> =
                values.iter().map(|value| format!("\"{KEEP_GROUPS}\":\"{value}\"")).collect();
            let text = format!(r#"{{"annotations":{{{}}}}}"#, pairs.join(","));
            assert_eq!(keeps_groups(&config(&text).annotations), kept, "{text}");
        }
    }

    #[test]
    fn a_relative_path_is_refused() {
        let config =
            config(r#"{"annotations":{"run.oci.hooks.stdout":"/x","run.oci.hooks.stderr":"log"}}"#);
        let mut problems = Problems::default();
        check(&config.annotations, &mut problems);
        let keys: Vec<_> = problems.found().iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["/annotations/run.oci.hooks.stderr"]);
    }
}
