//! The ids of the container's user namespace.
//! config.json: linux.uidMappings, linux.gidMappings

use super::Problems;
use super::namespaces::{NamespacesPlan, USER};
use crate::spec::{self, IdMapping};

/// The maps to write; empty when no user namespace is made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct IdMappingsPlan {
    /// User ids.
    pub uid: Vec<IdMapping>,
    /// Group ids.
    pub gid: Vec<IdMapping>,
}

impl IdMappingsPlan {
    /// The host's user and group id of the container's root.
    #[must_use]
    pub fn root_owner(&self) -> Option<(u32, u32)> {
        Some((on_host(&self.uid, 0)?, on_host(&self.gid, 0)?))
    }
}

/// What `id` of the container is on the host.
fn on_host(mappings: &[IdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|mapping| {
        let offset = id.checked_sub(mapping.container_id).filter(|offset| *offset < mapping.size)?;
        mapping.host_id.checked_add(offset)
    })
}

/// Decides.
pub fn decide(linux: &spec::Linux<'_>, namespaces: &NamespacesPlan, problems: &mut Problems) -> IdMappingsPlan {
    let maps = [("/linux/uidMappings", &linux.uid_mappings), ("/linux/gidMappings", &linux.gid_mappings)];
    for (key, mappings) in maps {
        if namespaces.creates(&USER) && mappings.is_empty() {
            problems.add(key, "a new user namespace needs mappings");
        }
        if !namespaces.has_own(&USER) && !mappings.is_empty() {
            problems.add(key, "user namespace mappings specified, but USER namespace isn't enabled in the config");
        }
        for (index, mapping) in mappings.iter().enumerate() {
            check(mapping, format!("{key}/{index}"), problems);
        }
    }
    if !namespaces.creates(&USER) {
        return IdMappingsPlan::default();
    }
    IdMappingsPlan { uid: linux.uid_mappings.clone(), gid: linux.gid_mappings.clone() }
}

fn check(mapping: &IdMapping, key: String, problems: &mut Problems) {
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
    use super::on_host;
    use crate::spec::IdMapping;

    #[test]
    fn ids_are_found_in_their_range() {
        let mappings = [
            IdMapping { container_id: 0, host_id: 1000, size: 1 },
            IdMapping { container_id: 1, host_id: 100_000, size: 10 },
        ];
        assert_eq!(on_host(&mappings, 0), Some(1000));
        assert_eq!(on_host(&mappings, 10), Some(100_009));
        assert_eq!(on_host(&mappings, 11), None);
    }
}
