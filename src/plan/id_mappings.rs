//! The id mappings of the user namespace.
//! config.json: linux.uidMappings[].{containerID, hostID, size}
//! config.json: linux.gidMappings[].{containerID, hostID, size}

use super::Problems;
use super::namespaces::{NamespacesPlan, USER};
use crate::config;
pub use crate::config::IdMapping;

/// The mappings, if there is a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMappingsPlan {
    /// User ids.
    pub uid: Vec<IdMapping>,
    /// Group ids.
    pub gid: Vec<IdMapping>,
    /// Whether they are those of a joined namespace. Then they are compared and not written.
    pub joined: bool,
}

impl IdMappingsPlan {
    /// The host uid for a uid of the container, if the config has it: a joined namespace may have
    /// mappings that the config does not have.
    #[must_use]
    pub fn uid_on_host(&self, uid: u32) -> Option<u32> {
        if self.uid.is_empty() { (!self.joined).then_some(uid) } else { on_host(&self.uid, uid, 1) }
    }

    /// The same for a gid.
    #[must_use]
    pub fn gid_on_host(&self, gid: u32) -> Option<u32> {
        if self.gid.is_empty() { (!self.joined).then_some(gid) } else { on_host(&self.gid, gid, 1) }
    }
}

/// The text of a mapping for the kernel: a line for each range (user_namespaces(7)).
#[must_use]
pub fn to_text(mappings: &[IdMapping]) -> String {
    let line = |mapping: &IdMapping| {
        format!("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.size)
    };
    mappings.iter().map(line).collect()
}

/// The host id for `id` of the container, if one range has it and the `size - 1` ids after it.
pub(super) fn on_host(mappings: &[IdMapping], id: u32, size: u32) -> Option<u32> {
    mappings.iter().find_map(|mapping| {
        let offset =
            id.checked_sub(mapping.container_id).filter(|offset| *offset < mapping.size)?;
        if size > mapping.size - offset { None } else { mapping.host_id.checked_add(offset) }
    })
}

/// Decides the mappings.
pub fn decide(
    linux: &config::Linux<'_>,
    namespaces: &NamespacesPlan,
    problems: &mut Problems,
) -> IdMappingsPlan {
    let maps =
        [("/linux/uidMappings", &linux.uid_mappings), ("/linux/gidMappings", &linux.gid_mappings)];
    for (key, mappings) in maps {
        if namespaces.creates(&USER) && mappings.is_empty() {
            problems.add(key, "user namespaces enabled, but no mappings found");
        }
        if !namespaces.has_own(&USER) && !mappings.is_empty() {
            problems.add(
                key,
                "user namespace mappings specified, but USER namespace isn't enabled in the config",
            );
        }
        for (index, mapping) in mappings.iter().enumerate() {
            check(mapping, format!("{key}/{index}"), problems);
        }
    }
    IdMappingsPlan {
        uid: linux.uid_mappings.clone(),
        gid: linux.gid_mappings.clone(),
        joined: namespaces.joins(&USER),
    }
}

/// Whether a range is valid.
pub fn check(mapping: &IdMapping, key: String, problems: &mut Problems) {
    if mapping.size == 0 {
        problems.add(key, "size must not be 0");
    } else if mapping.container_id.checked_add(mapping.size - 1).is_none()
        || mapping.host_id.checked_add(mapping.size - 1).is_none()
    {
        problems.add(key, "the range goes beyond 4294967295");
    }
}

#[cfg(test)]
mod tests {
    use super::{IdMappingsPlan, on_host};
    use crate::config::IdMapping;

    #[test]
    fn ids_are_found_in_their_range() {
        let mappings = [
            IdMapping { container_id: 0, host_id: 1000, size: 1 },
            IdMapping { container_id: 1, host_id: 100_000, size: 10 },
        ];
        assert_eq!(on_host(&mappings, 0, 1), Some(1000));
        assert_eq!(on_host(&mappings, 10, 1), Some(100_009));
        assert_eq!(on_host(&mappings, 11, 1), None);
        assert_eq!(on_host(&mappings, 2, 9), Some(100_001));
        assert_eq!(on_host(&mappings, 2, 10), None);
        assert_eq!(on_host(&mappings, 0, 2), None);
    }

    #[test]
    fn without_a_map_the_ids_are_the_hosts_unless_they_are_those_of_a_joined_namespace() {
        let plan = IdMappingsPlan::default();
        assert_eq!(plan.uid_on_host(5), Some(5));
        assert_eq!(IdMappingsPlan { joined: true, ..plan }.uid_on_host(5), None);
    }
}
