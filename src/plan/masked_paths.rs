//! The masked and read-only paths, and the mount from which each is looked up.
//! config.json: linux.maskedPaths, linux.readonlyPaths

use std::path::{Component, Path};

use super::Problems;
use super::mount_options::attr;
use super::mounts::{MountSource, MountStep};
use super::namespaces::{MOUNT, NamespacesPlan};
use crate::config::{self, Text};
use crate::error::Cause;

/// The attributes of a mount that hides a file.
pub const MASK_ATTRIBUTES: u64 = attr::RDONLY | attr::NOSUID | attr::NOEXEC;

/// An entry of one of the lists.
#[derive(Debug, PartialEq, Eq)]
pub struct ListedPath {
    /// Its index in the list.
    pub index: usize,
    /// The absolute path in the container.
    pub path: String,
}

/// Decides both lists: masked paths, then read-only ones. Duplicates are removed.
pub fn decide(
    linux: &config::Linux<'_>,
    namespaces: &NamespacesPlan,
    problems: &mut Problems,
) -> (Vec<ListedPath>, Vec<ListedPath>) {
    let masked = list("maskedPaths", &linux.masked_paths, namespaces, problems);
    for ListedPath { index, path } in masked.iter().filter(|listed| is_root(&listed.path)) {
        problems.add(
            format_args!("/linux/maskedPaths/{index}"),
            format!("{path:?} is the root, and cannot be hidden"),
        );
    }
    (masked, list("readonlyPaths", &linux.readonly_paths, namespaces, problems))
}

fn list(
    key: &str,
    paths: &[Text<'_>],
    namespaces: &NamespacesPlan,
    problems: &mut Problems,
) -> Vec<ListedPath> {
    if !paths.is_empty() && !namespaces.has_own(&MOUNT) {
        problems.add_for(
            Cause::NeedsNamespace,
            format_args!("/linux/{key}"),
            "unable to restrict sys entries without a private MNT namespace (linux.namespaces)",
        );
    }
    let mut list: Vec<ListedPath> = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        if !path.starts_with('/') {
            problems.add(
                format_args!("/linux/{key}/{index}"),
                format!("path {:?} must be absolute", &**path),
            );
        }
        // Paths are equal if they differ only in slashes and `.`.
        if list.iter().all(|other| Path::new(&other.path) != Path::new(&**path)) {
            list.push(ListedPath { index, path: path.to_string() });
        }
    }
    list
}

/// Whether the path is `/`. Only the text is examined.
fn is_root(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::ParentDir))
}

/// Whether the mount shows data of the kernel or the machine. A path below it is hidden or made
/// read-only in this very mount, even if the mount is moved.
#[must_use]
pub fn is_of_the_kernel(step: &MountStep) -> bool {
    matches!(step.destination.as_str(), "proc" | "sys")
        || matches!(step.source, MountSource::Filesystem { ordinary_directory: true, .. })
}

/// The rest of the path below the destination of such a mount; `None` if the path is elsewhere.
#[must_use]
pub fn below<'a>(step: &MountStep, path: &'a str) -> Option<&'a str> {
    if !is_of_the_kernel(step) {
        return None;
    }
    let rest = Path::new(path.trim_start_matches('/')).strip_prefix(&step.destination).ok()?;
    let leads_out = rest.components().any(|part| part == Component::ParentDir);
    rest.to_str().filter(|_| !leads_out)
}

#[cfg(test)]
mod tests {
    use super::{ListedPath, decide};
    use crate::config;
    use crate::plan::{Host, Problems, namespaces};

    fn decided(linux: &str) -> (Vec<ListedPath>, Vec<ListedPath>, Vec<String>) {
        let text = format!(r#"{{"linux":{{"namespaces":[{{"type":"mount"}}],{linux}}}}}"#);
        let config: config::Config<'_> = serde_json::from_str(&text).expect("a config");
        let mut problems = Problems::default();
        let namespaces = namespaces::decide(&config, &Host::for_tests(), &mut problems);
        let (masked, readonly) = decide(&config.linux, &namespaces, &mut problems);
        (masked, readonly, problems.found().iter().map(|problem| problem.key.clone()).collect())
    }

    #[test]
    fn a_path_that_is_listed_twice_is_taken_once() {
        let (masked, readonly, found) =
            decided(r#""maskedPaths":["/a","/b","/a//.","/a/../a"],"readonlyPaths":["/a","/a/"]"#);
        let indexes =
            |list: Vec<ListedPath>| list.iter().map(|listed| listed.index).collect::<Vec<_>>();
        assert_eq!(
            (indexes(masked), indexes(readonly), found),
            (vec![0, 1, 3], vec![0], Vec::new())
        );
    }

    #[test]
    fn the_root_can_be_read_only_but_not_hidden() {
        for path in ["/", "//", "/.", "/..", "/./.."] {
            let (_, readonly, found) =
                decided(&format!(r#""maskedPaths":["{path}"],"readonlyPaths":["{path}"]"#));
            assert_eq!(
                (readonly.len(), found),
                (1, vec!["/linux/maskedPaths/0".to_owned()]),
                "{path}"
            );
        }
    }
}
