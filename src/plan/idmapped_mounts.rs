//! Id-mapped mounts, which show the owners of files through a mapping.
//! config.json: mounts[].uidMappings, mounts[].gidMappings
//!
//! As in crun, the option can contain mappings: `idmap=uids=0-1000-1#1-5000-10;gids=…`. Each range
//! is the first id on the disk, the first id on the host, and their number. After an `@` the second
//! id is one of the container.

use super::id_mappings::{IdMappingsPlan, check, on_host};
use super::mount_options::Options;
use super::namespaces::USER;
use super::{MountContext, Problems};
use crate::config::{self, IdMapping};

/// The mapping of one mount.
#[derive(Debug, PartialEq, Eq)]
pub struct IdmapPlan {
    /// The mapping.
    pub ids: Ids,
    /// Whether it also applies to all mounts below (`ridmap`).
    pub recursive: bool,
}

/// The user namespace whose mappings the kernel uses.
#[derive(Debug, PartialEq, Eq)]
pub enum Ids {
    /// The user namespace of the container.
    Container,
    /// A user namespace with these mappings.
    Own {
        /// The mappings of uids.
        uid: Vec<IdMapping>,
        /// The mappings of gids.
        gid: Vec<IdMapping>,
    },
}

/// Decides the mapping of a mount. `uidMappings` and `gidMappings` without the option mean `idmap`:
/// the specification only recommends to write it.
pub fn decide(
    key: &str,
    mount: &config::Mount<'_>,
    options: &Options,
    around: &MountContext<'_>,
    problems: &mut Problems,
) -> Option<IdmapPlan> {
    let lists = [("uidMappings", &mount.uid_mappings), ("gidMappings", &mount.gid_mappings)];
    let written = lists.iter().filter(|(_, list)| !list.is_empty()).count();
    if written == 0 && options.idmap.is_none() {
        return None;
    }
    let recursive = options.idmap == Some(true);
    if around.host.euid != 0 {
        problems.add(key, "id-mapped mounts are not supported for rootless containers");
    }
    for (name, list) in lists {
        for (index, mapping) in list.iter().enumerate() {
            check(mapping, format!("{key}/{name}/{index}"), problems);
        }
        if written == 1 && list.is_empty() {
            problems.add(
                format_args!("{key}/{name}"),
                "id-mapped mounts must have both uid and gid mappings specified",
            );
        }
    }
    if let Some((place, text)) = &options.mappings {
        let key = format!("{key}/options/{place}");
        if written > 0 {
            problems.add(&key, "the mappings stand in uidMappings and gidMappings already");
        }
        let ids = of_option(text, &key, around.ids, problems);
        return Some(IdmapPlan { ids, recursive });
    }
    let IdMappingsPlan { uid, gid, .. } = around.ids;
    let has_user_namespace = around.namespaces.has_own(&USER);
    if written == 0 && !has_user_namespace {
        let text = "id-mapped mounts must have both uid and gid mappings specified, or the container a user namespace";
        problems.add(format_args!("{key}/options"), text);
    }
    let of_container = written == 0
        || (has_user_namespace && *uid == mount.uid_mappings && *gid == mount.gid_mappings);
    let own = || Ids::Own { uid: mount.uid_mappings.clone(), gid: mount.gid_mappings.clone() };
    Some(IdmapPlan { ids: if of_container { Ids::Container } else { own() }, recursive })
}

/// The mappings of `idmap=TEXT`.
fn of_option(text: &str, key: &str, ids: &IdMappingsPlan, problems: &mut Problems) -> Ids {
    let (mut uid, mut gid) = (Vec::new(), Vec::new());
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (list, of_container, ranges) = match part.split_once('=') {
            Some(("uids", ranges)) => (&mut uid, &ids.uid, ranges),
            Some(("gids", ranges)) => (&mut gid, &ids.gid, ranges),
            _ => {
                problems.add(key, format!("{part:?} is neither uids=… nor gids=…"));
                continue;
            }
        };
        for range in ranges.split('#').filter(|range| !range.is_empty()) {
            match read_range(range, of_container) {
                Ok(mapping) => {
                    check(&mapping, key.to_owned(), problems);
                    list.push(mapping);
                }
                Err(what) => problems.add(key, format!("range {range:?} {what}")),
            }
        }
    }
    if uid.is_empty() || gid.is_empty() {
        problems.add(key, "id-mapped mounts must have both uid and gid mappings specified");
    }
    Ids::Own { uid, gid }
}

fn read_range(range: &str, of_container: &[IdMapping]) -> Result<IdMapping, String> {
    let (relative, numbers) =
        range.strip_prefix('@').map_or((false, range), |numbers| (true, numbers));
    let numbers: Vec<u32> = numbers
        .split('-')
        .map(|number| {
            number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .collect::<Option<_>>()
        .ok_or("is not made of numbers: it needs the form ON_DISK-ON_HOST-SIZE")?;
    let &[container_id, id, size] = numbers.as_slice() else {
        return Err("needs the form ON_DISK-ON_HOST-SIZE, or @ON_DISK-IN_CONTAINER-SIZE".to_owned());
    };
    let host_id = if relative { on_host(of_container, id, size) } else { Some(id) };
    let host_id = host_id.ok_or("is not within one range of the container's user namespace")?;
    Ok(IdMapping { container_id, host_id, size })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{IdmapPlan, Ids};
    use crate::config::{self, IdMapping};
    use crate::plan::MountContext;
    use crate::plan::mounts::decide;
    use crate::plan::{Host, Problems, id_mappings, namespaces};

    const MAP: &str = r#"[{"containerID":0,"hostID":1000,"size":1}]"#;
    const MAPPING: IdMapping = IdMapping { container_id: 0, host_id: 1000, size: 1 };

    /// For a bind mount with these properties, in a container with these properties of `linux`.
    fn of(properties: &str, linux: &str, rootless: bool) -> (Option<IdmapPlan>, Vec<String>) {
        let text = format!(
            r#"{{"mounts":[{{"destination":"/x","source":"/y",{properties}}}],
                 "linux":{{"namespaces":[{{"type":"mount"}}{linux}}}}}"#
        );
        let config: config::Config<'_> = serde_json::from_str(&text).expect("a config");
        let mut problems = Problems::default();
        let namespaces = namespaces::decide(&config, &Host::for_tests(), &mut problems);
        let ids = id_mappings::decide(&config.linux, &namespaces, &mut problems);
        let host = Host { euid: u32::from(rootless), ..Host::for_tests() };
        let around = MountContext {
            bundle: Path::new("/b"),
            rootfs: None,
            namespaces: &namespaces,
            ids: &ids,
            label: None,
            host: &host,
        };
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
            (
                format!(r#""options":["bind","idmap"],{maps}"#),
                &*user,
                Some((Ids::Container, false)),
            ),
            (format!(r#""options":["bind","idmap"],{others}"#), &*user, Some((own(2000), false))),
            (r#""options":["bind"]"#.to_owned(), &*user, None),
        ] {
            let expected = expected.map(|(ids, recursive)| IdmapPlan { ids, recursive });
            assert_eq!(of(&properties, linux, false), (expected, vec![]), "{properties}");
        }
    }

    #[test]
    fn the_mapping_can_stand_in_the_option() {
        let user = r#",{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":1000,"size":1},
            {"containerID":1,"hostID":5000,"size":100}],"gidMappings":[{"containerID":0,"hostID":7000,"size":10}]"#;
        let mapping = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        for (option, recursive, uid, gid) in [
            ("idmap=uids=0-1-2;gids=0-3-4", false, vec![mapping(0, 1, 2)], vec![mapping(0, 3, 4)]),
            (
                "ridmap=gids=0-3-4;uids=0-1-2#10-11-3",
                true,
                vec![mapping(0, 1, 2), mapping(10, 11, 3)],
                vec![mapping(0, 3, 4)],
            ),
            (
                "idmap=uids=@0-1-100;gids=@5-2-8",
                false,
                vec![mapping(0, 5000, 100)],
                vec![mapping(5, 7002, 8)],
            ),
            (
                "idmap=uids=@7-0-1#8-9-1;gids=0-3-4",
                false,
                vec![mapping(7, 1000, 1), mapping(8, 9, 1)],
                vec![mapping(0, 3, 4)],
            ),
        ] {
            let expected = IdmapPlan { ids: Ids::Own { uid, gid }, recursive };
            assert_eq!(
                of(&format!(r#""options":["bind","{option}"]"#), user, false),
                (Some(expected), vec![]),
                "{option}"
            );
        }
        for option in ["idmap=uids=@0-0-2;gids=0-0-1", "idmap=uids=0-0-1;gids=@0-5-6"] {
            let (_, keys) = of(&format!(r#""options":["bind","{option}"]"#), user, false);
            assert_eq!(keys, ["/mounts/0/options/1", "/mounts/0/options/1"], "{option}");
        }
    }

    #[test]
    fn misuse_is_refused() {
        let maps = format!(r#""uidMappings":{MAP},"gidMappings":{MAP}"#);
        for (properties, rootless, key) in [
            (r#""options":["bind","idmap"]"#.to_owned(), false, "/mounts/0/options"),
            (format!(r#""options":["bind"],"uidMappings":{MAP}"#), false, "/mounts/0/gidMappings"),
            (
                format!(r#""options":["bind","ridmap"],"gidMappings":{MAP}"#),
                false,
                "/mounts/0/uidMappings",
            ),
            (format!(r#""type":"cgroup",{maps}"#), false, "/mounts/0"),
            (format!(r#""type":"tmpfs","options":["silent"],{maps}"#), false, "/mounts/0"),
            (
                format!(r#""options":["bind","idmap=uids=0-1-2;gids=0-1-2"],{maps}"#),
                false,
                "/mounts/0/options/1",
            ),
            (r#""options":["bind","idmap=uids=0-1-2"]"#.to_owned(), false, "/mounts/0/options/1"),
            (
                r#""options":["bind","idmap=uids=0-1;gids=0-1-2"]"#.to_owned(),
                false,
                "/mounts/0/options/1",
            ),
            (
                r#""options":["bind","idmap=uids=0-+1-2;gids=0-1-2"]"#.to_owned(),
                false,
                "/mounts/0/options/1",
            ),
            (
                r#""options":["bind","idmap=uids=0-1-0;gids=0-1-2"]"#.to_owned(),
                false,
                "/mounts/0/options/1",
            ),
            (
                r#""options":["bind","idmap=uids=@0-1-2;gids=0-1-2"]"#.to_owned(),
                false,
                "/mounts/0/options/1",
            ),
            (format!(r#""options":["remount"],{maps}"#), false, "/mounts/0"),
            (format!(r#""options":["bind"],{maps}"#), true, "/mounts/0"),
            (
                format!(r#""options":["bind"],{}"#, maps.replace("1}", "0}")),
                false,
                "/mounts/0/uidMappings/0",
            ),
        ] {
            assert_eq!(
                of(&properties, "]", rootless).1.first().map(String::as_str),
                Some(key),
                "{properties}"
            );
        }
    }
}
