//! The five sets of capabilities, as bits.
//! config.json: process.capabilities.{bounding, effective, inheritable, permitted, ambient}

use std::str::FromStr;

use caps::Capability;

use super::namespaces::{NamespacesPlan, USER};
use super::{Host, Problems};
use crate::config::{self, Text};

/// The bit of CAP_SYS_ADMIN.
pub const SYS_ADMIN: u64 = 1 << Capability::CAP_SYS_ADMIN as u8;

/// capabilities(7), "Thread capability sets"; bit n is capability n.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySets {
    /// The bounding set: limits what can be gained.
    pub bounding: u64,
    /// The effective set, which the kernel checks.
    pub effective: u64,
    /// The inheritable set, which execve(2) of a file with capabilities keeps. It has only what the
    /// config has (CVE-2022-29162).
    pub inheritable: u64,
    /// The permitted set, which limits the effective one.
    pub permitted: u64,
    /// The ambient set, which execve(2) of any file keeps.
    pub ambient: u64,
}

/// Decides the sets. Capabilities that the kernel does not have or that we cannot give are left out
/// with a warning, as the specification demands. Without `capabilities` the sets are empty.
pub fn decide(
    config: Option<&config::Capabilities<'_>>,
    namespaces: &NamespacesPlan,
    host: &Host,
    problems: &mut Problems,
) -> CapabilitySets {
    let Some(config) = config else { return CapabilitySets::default() };
    // The creator of a user namespace has all capabilities in it.
    let available = if namespaces.has_own(&USER) { u64::MAX } else { host.capabilities };
    let mut ignored = Vec::new();
    let mut set = |names: &[Text<'_>]| {
        names.iter().fold(0, |bits, name| match Capability::from_str(name) {
            Ok(capability) if available & capability.bitmask() != 0 => bits | capability.bitmask(),
            _ => {
                ignored.push(name.to_string());
                bits
            }
        })
    };
    let given = CapabilitySets {
        bounding: set(&config.bounding),
        effective: set(&config.effective),
        inheritable: set(&config.inheritable),
        permitted: set(&config.permitted),
        ambient: set(&config.ambient),
    };
    // The kernel refuses other combinations: capset(2) and capabilities(7), "Ambient".
    let inheritable = given.inheritable & given.bounding;
    let sets = CapabilitySets {
        effective: given.effective & given.permitted,
        inheritable,
        ambient: given.ambient & given.permitted & inheritable,
        ..given
    };
    if !ignored.is_empty() {
        ignored.sort();
        ignored.dedup();
        let names = ignored.join(" ");
        problems.warn(
            "/process/capabilities",
            format!("ignoring unknown or unavailable capabilities: {names}"),
        );
    }
    for (name, beyond, needs) in [
        ("effective", given.effective & !sets.effective, "permitted"),
        ("inheritable", given.inheritable & !sets.inheritable, "in the bounding set"),
        ("ambient", given.ambient & !given.permitted, "permitted"),
        ("ambient", given.ambient & given.permitted & !inheritable, "inheritable"),
    ] {
        if beyond != 0 {
            let text =
                format!("ignoring {name} capabilities that are not {needs}: {}", names_of(beyond));
            problems.warn(format_args!("/process/capabilities/{name}"), text);
        }
    }
    sets
}

fn names_of(bits: u64) -> String {
    names()
        .into_iter()
        .filter(|name| Capability::from_str(name).is_ok_and(|known| bits & known.bitmask() != 0))
        .collect::<Vec<_>>()
        .join(" ")
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
    use super::{CapabilitySets, decide};
    use crate::config;
    use crate::plan::{Host, Problems, namespaces};

    const CHOWN: u64 = 1;
    const KILL: u64 = 1 << 5;

    /// The sets, and the warnings.
    fn decided(capabilities: &str, available: u64) -> (CapabilitySets, String) {
        let text = format!(r#"{{"process":{{"capabilities":{{{capabilities}}}}}}}"#);
        let config: config::Config<'_> = serde_json::from_str(&text).expect("a config");
        let mut problems = Problems::default();
        let namespaces = namespaces::decide(&config, &Host::for_tests(), &mut problems);
        let host = Host { capabilities: available, ..Host::for_tests() };
        let given = config.process.as_ref().and_then(|process| process.capabilities.as_ref());
        let sets = decide(given, &namespaces, &host, &mut problems);
        let warnings: Vec<String> =
            problems.warnings().iter().map(|warning| warning.text.clone()).collect();
        (sets, warnings.join("; "))
    }

    #[test]
    fn unknown_and_unavailable_names_warn() {
        let text = r#""bounding":["CAP_KILL","CAP_MOON","CAP_SYS_ADMIN"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"]"#;
        let (sets, warning) = decided(text, KILL);
        assert_eq!((sets.bounding, sets.effective, sets.inheritable), (KILL, KILL, 0));
        assert_eq!(warning, "ignoring unknown or unavailable capabilities: CAP_MOON CAP_SYS_ADMIN");
    }

    /// The effective, inheritable and ambient sets that the kernel accepts.
    #[test]
    fn what_one_set_keeps_from_another_warns() {
        let all = r#""bounding":["CAP_CHOWN","CAP_KILL"],"permitted":["CAP_CHOWN","CAP_KILL"],"effective":["CAP_KILL"]"#;
        let both = CHOWN | KILL;
        for (text, sets, warning) in [
            (all.to_owned(), (KILL, 0, 0), ""),
            // The list that engines wrote before CVE-2022-29162 was fixed.
            (format!(r#"{all},"inheritable":["CAP_CHOWN","CAP_KILL"]"#), (KILL, both, 0), ""),
            (format!(r#"{all},"inheritable":["CAP_KILL"],"ambient":["CAP_KILL"]"#), (KILL, KILL, KILL), ""),
            (
                format!(r#"{all},"inheritable":["CAP_FOWNER"]"#),
                (KILL, 0, 0),
                "ignoring inheritable capabilities that are not in the bounding set: CAP_FOWNER",
            ),
            (
                format!(r#"{all},"ambient":["CAP_KILL"]"#),
                (KILL, 0, 0),
                "ignoring ambient capabilities that are not inheritable: CAP_KILL",
            ),
            (
                r#""bounding":["CAP_KILL"],"inheritable":["CAP_KILL"],"ambient":["CAP_KILL"],"effective":["CAP_KILL"]"#
                    .into(),
                (0, KILL, 0),
                "ignoring effective capabilities that are not permitted: CAP_KILL; \
                 ignoring ambient capabilities that are not permitted: CAP_KILL",
            ),
        ] {
            let (given, names) = decided(&text, u64::MAX);
            assert_eq!((given.effective, given.inheritable, given.ambient), sets, "{text}");
            assert_eq!(names, warning, "{text}");
        }
    }
}
