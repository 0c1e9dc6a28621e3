//! A directory tree as a list that can be compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub device: u64,
    /// Not for directories.
    pub links: u64,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The content of a file, or the target of a link.
    pub content: Vec<u8>,
}

/// `root` and all files below it, by their paths.
pub fn scan(root: &Path) -> BTreeMap<String, File> {
    let mut files = BTreeMap::new();
    add(root, "", &mut files);
    files
}

fn add(path: &Path, name: &str, files: &mut BTreeMap<String, File>) {
    let status = fs::symlink_metadata(path).unwrap();
    let kind = status.file_type();
    let content = if kind.is_symlink() {
        fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec()
    } else if kind.is_file() {
        fs::read(path).unwrap()
    } else {
        Vec::new()
    };
    let special = kind.is_char_device() || kind.is_block_device();
    let file = File {
        mode: status.mode(),
        owner: (status.uid(), status.gid()),
        mtime: (status.mtime(), status.mtime_nsec()),
        device: if special { status.rdev() } else { 0 },
        links: if kind.is_dir() { 0 } else { status.nlink() },
        xattrs: xattrs(path),
        content,
    };
    files.insert(name.to_owned(), file);
    if kind.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            add(&entry.path(), &format!("{name}/{}", entry.file_name().to_string_lossy()), files);
        }
    }
}

/// The extended attributes of a file itself.
pub fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
        value.truncate(length);
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

/// The two trees are equal in everything that is listed.
#[track_caller]
pub fn assert_same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (scan(ours), scan(theirs));
    let names: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differing: Vec<_> = names
        .into_iter()
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .map(|name| {
            format!("{name}\n  ours   {:?}\n  theirs {:?}", ours.get(name), theirs.get(name))
        })
        .take(10)
        .collect();
    assert!(differing.is_empty(), "the trees differ:\n{}", differing.join("\n"));
}
