//! Mounts that show the owners of files through a mapping of ids.
//! config.json: mounts[].uidMappings, mounts[].gidMappings

use super::Problems;
use super::id_mappings::{IdMappingsPlan, check};
use super::mounts::Surroundings;
use super::namespaces::USER;
use crate::spec::{self, IdMapping};

/// The mapping of one mount.
#[derive(Debug, PartialEq, Eq)]
pub struct IdmapPlan {
    /// Which.
    pub ids: Ids,
    /// Whether of all mounts below, too (`ridmap`).
    pub recursive: bool,
}

/// Whose mapping it is. The kernel takes it from a user namespace.
#[derive(Debug, PartialEq, Eq)]
pub enum Ids {
    /// That of the container's user namespace.
    Container,
    /// One of its own.
    Own {
        /// Of user ids.
        uid: Vec<IdMapping>,
        /// Of group ids.
        gid: Vec<IdMapping>,
    },
}

/// Decides about a mount; `option` is `idmap` (false) or `ridmap` (true). Mappings without either are mapped as by
/// `idmap`: the specification only recommends to write it.
pub fn decide(
    key: &str,
    mount: &spec::Mount<'_>,
    option: Option<bool>,
    around: &Surroundings<'_>,
    problems: &mut Problems,
) -> Option<IdmapPlan> {
    let lists = [("uidMappings", &mount.uid_mappings), ("gidMappings", &mount.gid_mappings)];
    let written = lists.iter().filter(|(_, list)| !list.is_empty()).count();
    if written == 0 && option.is_none() {
        return None;
    }
    if around.host.euid != 0 {
        problems.add(key, "id-mapped mounts are not supported for rootless containers");
    }
    for (name, list) in lists {
        for (index, mapping) in list.iter().enumerate() {
            check(mapping, format!("{key}/{name}/{index}"), problems);
        }
        if written == 1 && list.is_empty() {
            problems
                .add(format_args!("{key}/{name}"), "id-mapped mounts must have both uid and gid mappings specified");
        }
    }
    let IdMappingsPlan { uid, gid, .. } = around.ids;
    let has_user_namespace = around.namespaces.has_own(&USER);
    if written == 0 && !has_user_namespace {
        let text = "id-mapped mounts must have both uid and gid mappings specified, or the container a user namespace";
        problems.add(format_args!("{key}/options"), text);
    }
    let of_container = written == 0 || (has_user_namespace && *uid == mount.uid_mappings && *gid == mount.gid_mappings);
    let own = || Ids::Own { uid: mount.uid_mappings.clone(), gid: mount.gid_mappings.clone() };
    Some(IdmapPlan { ids: if of_container { Ids::Container } else { own() }, recursive: option == Some(true) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{IdmapPlan, Ids};
    use crate::plan::mounts::{Surroundings, decide};
    use crate::plan::{Host, Problems, id_mappings, namespaces};
    use crate::spec::{self, IdMapping};

    const MAP: &str = r#"[{"containerID":0,"hostID":1000,"size":1}]"#;
    const MAPPING: IdMapping = IdMapping { container_id: 0, host_id: 1000, size: 1 };

    /// Of a bind mount with these further properties, in a container with these of `linux`.
    fn of(properties: &str, linux: &str, rootless: bool) -> (Option<IdmapPlan>, Vec<String>) {
        let text = format!(
            r#"{{"mounts":[{{"destination":"/x","source":"/y",{properties}}}],
                 "linux":{{"namespaces":[{{"type":"mount"}}{linux}}}}}"#
        );
        let config: spec::Config<'_> = serde_json::from_str(&text).expect("a config");
        let mut problems = Problems::default();
        let namespaces = namespaces::decide(&config, &Host::for_tests(), &mut problems);
        let ids = id_mappings::decide(&config.linux, &namespaces, &mut problems);
        let host = Host { euid: u32::from(rootless), ..Host::for_tests() };
        let around =
            Surroundings { bundle: Path::new("/b"), namespaces: &namespaces, ids: &ids, label: None, host: &host };
        let plan = decide(&config.mounts, &around, &mut problems).pop().expect("a step").idmap;
        (plan, problems.found().iter().map(|problem| problem.key.clone()).collect())
    }

    #[test]
    fn the_mapping_is_the_mounts_own_or_the_containers() {
        let user = format!(r#",{{"type":"user"}}],"uidMappings":{MAP},"gidMappings":{MAP}"#);
        let maps = format!(r#""uidMappings":{MAP},"gidMappings":{MAP}"#);
        let others = maps.replace("1000", "2000");
        let own = |host_id| {
            let list = vec![IdMapping { host_id, ..MAPPING }];
            Ids::Own { uid: list.clone(), gid: list }
        };
        for (properties, linux, expected) in [
            (format!(r#""options":["bind"],{maps}"#), "]", Some((own(1000), false))),
            (format!(r#""options":["rbind","ridmap"],{maps}"#), "]", Some((own(1000), true))),
            (r#""options":["rbind","ridmap"]"#.to_owned(), &*user, Some((Ids::Container, true))),
            (format!(r#""options":["bind","idmap"],{maps}"#), &*user, Some((Ids::Container, false))),
            (format!(r#""options":["bind","idmap"],{others}"#), &*user, Some((own(2000), false))),
            (r#""options":["bind"]"#.to_owned(), &*user, None),
        ] {
            let expected = expected.map(|(ids, recursive)| IdmapPlan { ids, recursive });
            assert_eq!(of(&properties, linux, false), (expected, vec![]), "{properties}");
        }
    }

    #[test]
    fn misuse_is_refused() {
        let maps = format!(r#""uidMappings":{MAP},"gidMappings":{MAP}"#);
        for (properties, rootless, key) in [
            (r#""options":["bind","idmap"]"#.to_owned(), false, "/mounts/0/options"),
            (format!(r#""options":["bind"],"uidMappings":{MAP}"#), false, "/mounts/0/gidMappings"),
            (format!(r#""options":["bind","ridmap"],"gidMappings":{MAP}"#), false, "/mounts/0/uidMappings"),
            (format!(r#""type":"tmpfs",{maps}"#), false, "/mounts/0"),
            (format!(r#""options":["remount"],{maps}"#), false, "/mounts/0"),
            (format!(r#""options":["bind"],{maps}"#), true, "/mounts/0"),
            (format!(r#""options":["bind"],{}"#, maps.replace("1}", "0}")), false, "/mounts/0/uidMappings/0"),
        ] {
            assert_eq!(of(&properties, "]", rootless).1.first().map(String::as_str), Some(key), "{properties}");
        }
    }
}
