//! Reads /proc/PID/mountinfo (proc_pid_mountinfo(5)), for facts about mounts that no call reports.

use std::path::Path;

/// The fields of a mount that we need.
#[derive(Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// Its id.
    pub id: u64,
    /// Its mount point, relative to the root of the process.
    pub path: String,
    /// Whether the mount is read-only, even if its filesystem is not.
    pub read_only: bool,
}

/// All mounts of a mount namespace.
#[must_use]
pub fn all(mounts: &str) -> Vec<MountInfo> {
    let read = |line: &str| {
        let mut fields = line.split(' ');
        let id = fields.next()?.parse().ok()?;
        let path = unescape(fields.nth(3)?);
        Some(MountInfo {
            id,
            path,
            read_only: fields.next()?.split(',').any(|option| option == "ro"),
        })
    };
    mounts.lines().filter_map(read).collect()
}

/// The mount point of the mount with this id.
#[must_use]
pub fn path_of(mounts: &str, id: u64) -> Option<String> {
    let line = mounts
        .lines()
        .find(|line| line.split(' ').next().and_then(|first| first.parse().ok()) == Some(id))?;
    line.split(' ').nth(4).map(unescape)
}

/// The id of the mount on which the mount with this id is mounted.
#[must_use]
pub fn parent_of(mounts: &str, id: u64) -> Option<u64> {
    let id = id.to_string();
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(&*id))?;
    line.split(' ').nth(1)?.parse().ok()
}

/// The options of the mount with this id, and of each mount at or below `path`.
pub fn options_from<'a>(
    mounts: &'a str,
    id: u64,
    path: &Path,
) -> impl Iterator<Item = Vec<&'a str>> {
    mounts.lines().filter_map(move |line| {
        let mut fields = line.split(' ');
        let is_it = fields.next()?.parse() == Ok(id);
        let place = unescape(fields.nth(3)?);
        (is_it || Path::new(&place).starts_with(path))
            .then(|| fields.next().unwrap_or_default().split(',').collect())
    })
}

/// The mount point in `line`, if the mount is a procfs or sysfs and starts at the filesystem's
/// root.
#[must_use]
pub fn whole_proc_or_sys(line: &str) -> Option<String> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, path) = (fields.next()?, fields.next()?);
    let kind = filesystem.split(' ').next()?;
    (root == "/" && matches!(kind, "proc" | "sysfs")).then(|| unescape(path))
}

/// Decodes escapes such as `\\040`, which stand for characters that would break the format.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (escape, character)| path.replace(escape, character))
}

/// Runs the parsers above on a text.
#[cfg(fuzzing)]
pub(crate) fn fuzz(mounts: &str) {
    drop(all(mounts));
    let _ = path_of(mounts, 27);
    mounts.lines().for_each(|line| drop(whole_proc_or_sys(line)));
}

#[cfg(test)]
mod tests {
    use super::{MountInfo, all, path_of, whole_proc_or_sys};

    #[test]
    fn whole_filesystems_are_found() {
        for (line, expected) in [
            ("22 27 0:21 / /proc rw,relatime - proc proc rw", Some("/proc")),
            ("22 27 0:21 / /a\\040b rw shared:1 - sysfs sysfs rw", Some("/a b")),
            ("22 27 0:21 /sys /proc/sys ro - proc proc rw", None),
            ("22 27 0:21 / /tmp rw - tmpfs tmpfs rw", None),
        ] {
            assert_eq!(whole_proc_or_sys(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn mounts_are_found_by_id() {
        let mounts =
            "22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / /a\\040b rw - ext4 /dev/vda rw\n";
        assert_eq!(path_of(mounts, 27).as_deref(), Some("/a b"));
        assert_eq!(path_of(mounts, 2), None);
        let found =
            all("27 1 254:0 / /a\\040b ro,relatime master:1 - ext4 /dev/vda rw\nnonsense\n");
        assert_eq!(found, [MountInfo { id: 27, path: "/a b".to_owned(), read_only: true }]);
        assert!(all(mounts).iter().all(|mount| !mount.read_only));
    }
}
