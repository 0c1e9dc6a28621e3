//! Reads /proc/PID/mountinfo (proc_pid_mountinfo(5)), for facts about mounts that no call reports.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// A mount: one line of the file.
#[derive(Debug, Clone, Copy)]
pub struct MountInfo<'a> {
    /// Its id.
    pub id: u64,
    /// The id of the mount that it is mounted on.
    pub parent: u64,
    root: &'a [u8],
    path: &'a [u8],
    options: &'a [u8],
    /// The type of the filesystem.
    pub kind: &'a OsStr,
    /// The options of the filesystem, separated by commas.
    pub super_options: &'a [u8],
}

impl<'a> MountInfo<'a> {
    /// ```text
    /// 36 35 98:0 /root /mount rw,noatime master:1 - ext3 /dev/root rw
    /// ```
    fn parse(line: &'a [u8]) -> Option<Self> {
        let dash = line.windows(3).position(|three| three == b" - ")?;
        let (head, tail) = (line.get(..dash)?, line.get(dash + 3..)?);
        let mut head = head.split(|&byte| byte == b' ');
        let mut tail = tail.split(|&byte| byte == b' ');
        Some(Self {
            id: number(head.next()?)?,
            parent: number(head.next()?)?,
            root: head.nth(1)?,
            path: head.next()?,
            options: head.next()?,
            kind: OsStr::from_bytes(tail.next()?),
            super_options: tail.nth(1).unwrap_or_default(),
        })
    }

    /// The directory of the filesystem that is the root of the mount.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        unescape(self.root)
    }

    /// The mount point, from the root directory of the process.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        unescape(self.path)
    }

    /// Whether the mount has this option, such as `ro`. The filesystem may have others.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.split(|&byte| byte == b',').any(|found| found == option.as_bytes())
    }
}

/// The mounts of a mount namespace, in the order of the file. A line that cannot be parsed is
/// skipped.
pub fn mounts(text: &[u8]) -> impl DoubleEndedIterator<Item = MountInfo<'_>> {
    text.split(|&byte| byte == b'\n').filter_map(MountInfo::parse)
}

/// The mount with this id.
#[must_use]
pub fn find(text: &[u8], id: u64) -> Option<MountInfo<'_>> {
    mounts(text).find(|mount| mount.id == id)
}

fn number(field: &[u8]) -> Option<u64> {
    str::from_utf8(field).ok()?.parse().ok()
}

/// Undoes the octal escapes of the format (`\040` is a space).
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) =
            (byte, tail)
        {
            plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = tail;
        } else {
            plain.push(byte);
            rest = tail;
        }
    }
    OsString::from_vec(plain).into()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::{find, mounts, unescape};

    const MOUNTS: &[u8] = b"\
22 27 0:21 / /proc rw - proc proc rw,hidepid=2
nonsense
28 27 0:21 /sys /proc/sys ro,relatime shared:1 master:2 - proc proc
27 1 254:0 / /a\\040b\xff rw - ext4 /dev/vda rw
";

    #[test]
    fn mounts_are_found_by_id() {
        let mount = find(MOUNTS, 27).unwrap();
        assert_eq!(mount.path().as_os_str().as_bytes(), b"/a b\xff");
        assert_eq!((mount.parent, mount.kind), (1, OsStr::new("ext4")));
        let mount = find(MOUNTS, 28).unwrap();
        assert_eq!((mount.root().as_path(), mount.parent), ("/sys".as_ref(), 27));
        assert!(mount.has("ro") && !mount.has("rw") && mount.super_options.is_empty());
        assert_eq!(find(MOUNTS, 22).unwrap().super_options, b"rw,hidepid=2");
        assert!(find(MOUNTS, 2).is_none());
        assert_eq!(mounts(MOUNTS).rev().map(|mount| mount.id).collect::<Vec<_>>(), [27, 28, 22]);
    }

    #[test]
    fn escapes_are_octal() {
        for (field, plain) in
            [("/a\\040b", "/a b"), ("/\\134040", "/\\040"), ("/\\400", "/\\400"), ("\\04", "\\04")]
        {
            assert_eq!(unescape(field.as_bytes()).as_os_str(), plain);
        }
    }
}
