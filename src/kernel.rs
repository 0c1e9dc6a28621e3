//! Types of the kernel's interface that every module may use. They are plain data.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// An instruction of a system call filter, as seccomp(2) reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct SockFilter {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip when a comparison is true.
    pub jt: u8,
    /// How many instructions to skip when it is false.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// An option of a filesystem, `name` or `name=value` (fsconfig(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsOption {
    /// The name.
    pub name: String,
    /// The value, if there is one.
    pub value: Option<String>,
}

impl FsOption {
    /// An option without a value.
    #[must_use]
    pub fn flag(name: &str) -> Self {
        Self { name: name.to_owned(), value: None }
    }

    /// `name=value`.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: Some(value.to_owned()) }
    }

    /// Parses `name` or `name=value`.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word.split_once('=') {
            Some((name, value)) => Self::new(name, value),
            None => Self::flag(word),
        }
    }
}

/// `struct sched_attr` of sched_setattr(2), the form of 56 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct SchedAttr {
    /// The size of the structure, which the call sets.
    pub size: u32,
    /// `SCHED_…`.
    pub policy: u32,
    /// `SCHED_FLAG_…`.
    pub flags: u64,
    /// −20 to 19; used by `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// 1 to 99 for `SCHED_FIFO` and `SCHED_RR`, else 0.
    pub priority: u32,
    /// CPU time in each period, in nanoseconds.
    pub runtime: u64,
    /// The time in which that CPU time is given, in nanoseconds.
    pub deadline: u64,
    /// Length of a period, in nanoseconds.
    pub period: u64,
    /// Lower bound of the utilisation.
    pub util_min: u32,
    /// Upper bound of the utilisation.
    pub util_max: u32,
}

/// The name of a cgroup hierarchy, as in /proc/PID/cgroup (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum HierarchyName {
    /// cgroup v2, which has no name.
    V2,
    /// cgroup v1: a controller such as `memory`, or `name=systemd`.
    V1(String),
}

impl From<String> for HierarchyName {
    fn from(name: String) -> Self {
        if name.is_empty() { Self::V2 } else { Self::V1(name) }
    }
}

impl From<HierarchyName> for String {
    fn from(name: HierarchyName) -> Self {
        match name {
            HierarchyName::V2 => Self::new(),
            HierarchyName::V1(name) => name,
        }
    }
}

/// The directories of a cgroup, one for each hierarchy; none for a container without a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CgroupPaths(Vec<(HierarchyName, PathBuf)>);

impl CgroupPaths {
    /// A cgroup of cgroup v2.
    #[must_use]
    pub fn v2(path: PathBuf) -> Self {
        Self(vec![(HierarchyName::V2, path)])
    }

    /// Whether the container has no cgroup.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory of cgroup v2, if there is no other.
    #[must_use]
    pub fn only_v2(&self) -> Option<&Path> {
        match &*self.0 {
            [(HierarchyName::V2, path)] => Some(path),
            _ => None,
        }
    }

    /// The directory of a cgroup v1 controller.
    #[must_use]
    pub fn of_controller(&self, controller: &str) -> Option<&Path> {
        self.iter().find(|(name, _)| is_v1(name, controller)).map(|(_, path)| path)
    }

    /// The directory of a cgroup v1 controller, to change it.
    pub fn of_controller_mut(&mut self, controller: &str) -> Option<&mut PathBuf> {
        self.0.iter_mut().find(|(name, _)| is_v1(name, controller)).map(|(_, path)| path)
    }

    /// Each hierarchy with its directory.
    pub fn iter(&self) -> impl Iterator<Item = (&HierarchyName, &Path)> {
        self.0.iter().map(|(name, path)| (name, &**path))
    }

    /// The directories, to change them.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.0.iter_mut().map(|(_, path)| path)
    }
}

impl FromIterator<(HierarchyName, PathBuf)> for CgroupPaths {
    fn from_iter<T: IntoIterator<Item = (HierarchyName, PathBuf)>>(paths: T) -> Self {
        Self(paths.into_iter().collect())
    }
}

fn is_v1(name: &HierarchyName, controller: &str) -> bool {
    matches!(name, HierarchyName::V1(found) if found == controller)
}

#[cfg(test)]
mod tests {
    use super::{CgroupPaths, FsOption};

    #[test]
    fn an_option_has_a_value_after_the_first_equals_sign() {
        assert_eq!(FsOption::parse("a=b=c"), FsOption::new("a", "b=c"));
        assert_eq!(FsOption::parse("a"), FsOption::flag("a"));
    }

    /// The form in state.json is that of 0.1.0.
    #[test]
    fn cgroup_paths_are_pairs_in_json() {
        let text = r#"[["memory","/m"],["name=systemd","/s"],["","/u"]]"#;
        let paths: CgroupPaths = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&paths).unwrap(), text);
        assert_eq!(paths.of_controller("memory"), Some("/m".as_ref()));
        assert_eq!((paths.of_controller(""), paths.only_v2()), (None, None));
        let alone: CgroupPaths = serde_json::from_str(r#"[["","/u"]]"#).unwrap();
        assert_eq!(alone.only_v2(), Some("/u".as_ref()));
    }
}
