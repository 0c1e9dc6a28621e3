//! The cgroup hierarchies of this machine, in any layout.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Container, mountinfo};

/// Whether only cgroup v2 is mounted. Otherwise the controllers are in v1 hierarchies (with v2 in
/// addition: hybrid).
pub fn is_pure_v2() -> bool {
    mounts().iter().any(|mount| mount.target == "/sys/fs/cgroup" && mount.kind == "cgroup2")
}

/// Whether both cgroup v1 and v2 are mounted.
pub fn has_both() -> bool {
    v2_mount().is_some() && !is_pure_v2()
}

/// Whether a v1 hierarchy with this controller is mounted.
pub fn has_v1(controller: &str) -> bool {
    v1_mount(controller).is_some()
}

/// Whether the v2 hierarchy has this controller.
pub fn has_v2(controller: &str) -> bool {
    let Some(root) = v2_mount() else { return false };
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|name| name == controller)
}

/// All directories with that name in all hierarchies.
pub fn named(name: &str) -> Vec<PathBuf> {
    let mut found = beginning_with(name);
    found.retain(|path| path.ends_with(name));
    found
}

/// All directories in all hierarchies whose names have this prefix.
pub fn beginning_with(name: &str) -> Vec<PathBuf> {
    assert!(!name.is_empty());
    let mut found = Vec::new();
    for mount in mounts() {
        search(Path::new(&mount.target), name, &mut found);
    }
    found
}

/// The directory with that name in the v1 hierarchy of `controller`.
#[track_caller]
pub fn v1(controller: &str, name: &str) -> PathBuf {
    let mount = v1_mount(controller).unwrap_or_else(|| panic!("no v1 hierarchy for {controller}"));
    only(&mount, name)
}

/// The directory with that name in the v2 hierarchy.
#[track_caller]
pub fn v2(name: &str) -> PathBuf {
    only(&v2_mount().expect("cgroup v2 is mounted"), name)
}

/// The content of a cgroup file, without the last newline.
#[track_caller]
pub fn value(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim_end().to_owned()
}

#[track_caller]
fn only(mount: &Path, name: &str) -> PathBuf {
    let mut found = Vec::new();
    search(mount, name, &mut found);
    found.retain(|path| path.ends_with(name));
    assert_eq!(found.len(), 1, "cgroups named {name} below {}: {found:?}", mount.display());
    found.remove(0)
}

fn mounts() -> Vec<mountinfo::Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mountinfo::parse(&text).into_iter().filter(|mount| mount.kind.starts_with("cgroup")).collect()
}

fn v1_mount(controller: &str) -> Option<PathBuf> {
    let found =
        mounts().into_iter().find(|mount| mount.kind == "cgroup" && mount.has(controller))?;
    Some(found.target.into())
}

/// The mount point of the v1 hierarchy of `controller`.
pub fn v1_root(controller: &str) -> Option<PathBuf> {
    v1_mount(controller)
}

/// The mount point of the v2 hierarchy.
pub fn v2_root() -> Option<PathBuf> {
    v2_mount()
}

fn v2_mount() -> Option<PathBuf> {
    mounts().into_iter().find(|mount| mount.kind == "cgroup2").map(|mount| mount.target.into())
}

fn search(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    {
        if entry.file_name().to_string_lossy().starts_with(name) {
            found.push(entry.path());
        }
        search(&entry.path(), name, found);
    }
}

/// Whether containers can have this controller here, on either version.
pub fn has(controller: &str) -> bool {
    has_v1(controller) || (is_pure_v2() && has_v2(controller))
}

/// The content of a file in the container's cgroup: its v1 name in the controller's hierarchy, or
/// its v2 name.
#[track_caller]
pub fn value_of(c: &Container, controller: &str, v1_name: &str, v2_name: &str) -> String {
    if has_v1(controller) {
        value(&v1(controller, c.id()), v1_name)
    } else {
        value(&v2(c.id()), v2_name)
    }
}
