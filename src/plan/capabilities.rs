//! The five sets of capabilities, as bits.
//! config.json: process.capabilities

use std::str::FromStr;

use caps::Capability;

use super::namespaces::{NamespacesPlan, USER};
use super::{Host, Problems};
use crate::spec::{self, Text};

/// capabilities(7), "Thread capability sets"; bit n is capability n.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What may ever be gained.
    pub bounding: u64,
    /// What is checked.
    pub effective: u64,
    /// What survives execve(2) of a file that asks for it. Only what the config says: CVE-2022-29162.
    pub inheritable: u64,
    /// What may become effective.
    pub permitted: u64,
    /// What survives execve(2) of any file.
    pub ambient: u64,
}

/// Decides. Names that the kernel does not have, and capabilities that we cannot give, are left out with a warning, as
/// the specification has it; no `capabilities` at all is none at all.
pub fn decide(
    config: Option<&spec::Capabilities<'_>>,
    namespaces: &NamespacesPlan,
    host: &Host,
    problems: &mut Problems,
) -> CapabilitySets {
    let Some(config) = config else { return CapabilitySets::default() };
    // The creator of a user namespace has every capability in it.
    let available = if namespaces.has_own(&USER) { u64::MAX } else { host.capabilities };
    let mut unknown = Vec::new();
    let mut set = |names: &[Text<'_>]| {
        names.iter().fold(0, |bits, name| match Capability::from_str(name) {
            Ok(capability) if available & capability.bitmask() != 0 => bits | capability.bitmask(),
            _ => {
                unknown.push(name.to_string());
                bits
            }
        })
    };
    let sets = CapabilitySets {
        bounding: set(&config.bounding),
        effective: set(&config.effective),
        inheritable: set(&config.inheritable),
        permitted: set(&config.permitted),
        ambient: set(&config.ambient),
    };
    if !unknown.is_empty() {
        unknown.sort();
        unknown.dedup();
        let names = unknown.join(" ");
        problems.warn("/process/capabilities", format!("ignoring unknown or unavailable capabilities: {names}"));
    }
    sets
}

/// The names for `features`, in the order of their numbers.
#[must_use]
pub fn names() -> Vec<String> {
    let mut all: Vec<Capability> = caps::all().into_iter().collect();
    all.sort_unstable_by_key(Capability::index);
    all.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::decide;
    use crate::plan::{Host, Problems, namespaces};
    use crate::spec;

    #[test]
    fn unknown_and_unavailable_names_warn() {
        let config: spec::Config<'_> = serde_json::from_str(
            r#"{"process":{"capabilities":{"bounding":["CAP_KILL","CAP_MOON","CAP_SYS_ADMIN"],"effective":["CAP_KILL"]}}}"#,
        )
        .expect("a config");
        let mut problems = Problems::default();
        let namespaces = namespaces::decide(&config, &Host::for_tests(), &mut problems);
        let host = Host { capabilities: 1 << 5, ..Host::for_tests() };
        let given = config.process.as_ref().and_then(|process| process.capabilities.as_ref());
        let sets = decide(given, &namespaces, &host, &mut problems);
        assert_eq!((sets.bounding, sets.effective, sets.inheritable), (1 << 5, 1 << 5, 0));
        let warning = problems.warnings().first().map(ToString::to_string).unwrap_or_default();
        assert!(warning.ends_with("capabilities: CAP_MOON CAP_SYS_ADMIN"), "{warning}");
    }
}
