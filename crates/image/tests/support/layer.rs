//! Layers that are written entry by entry, also such that no tar writes.

use tar::{EntryType, Header};

/// A layer that is being made. Entries belong to user 0 and have one time, unless a test says
/// otherwise.
#[derive(Debug, Clone, Default)]
pub struct Layer(pub Vec<u8>);

/// The time of entries.
pub const MTIME: u64 = 1_600_000_000;

impl Layer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(name, EntryType::Directory, b"", |header| header.set_mode(mode))
    }

    pub fn file(self, name: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(name, EntryType::Regular, content, |header| header.set_mode(mode))
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Symlink, b"", |header| {
            put(&mut header.as_old_mut().linkname, target)
        })
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Link, b"", |header| {
            put(&mut header.as_old_mut().linkname, target)
        })
    }

    pub fn node(self, name: &str, kind: EntryType, major: u32, minor: u32) -> Self {
        self.entry(name, kind, b"", |header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    }

    pub fn owned(self, name: &str, mode: u32, (uid, gid): (u64, u64), content: &[u8]) -> Self {
        self.entry(name, EntryType::Regular, content, |header| {
            header.set_mode(mode);
            header.set_uid(uid);
            header.set_gid(gid);
        })
    }

    /// PAX records for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut text = Vec::new();
        for (key, value) in records {
            let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let mut length = rest.len() + 1;
            while length != rest.len() + length.to_string().len() {
                length = rest.len() + length.to_string().len();
            }
            text.extend_from_slice(length.to_string().as_bytes());
            text.extend_from_slice(&rest);
        }
        self.entry("PaxHeaders/x", EntryType::XHeader, &text, |_| {})
    }

    /// Any entry. `edit` may change the header before the checksum is made.
    pub fn entry(
        mut self,
        name: &str,
        kind: EntryType,
        content: &[u8],
        edit: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        put(&mut header.as_old_mut().name, name);
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(MTIME);
        edit(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.raw(content)
    }

    /// Raw bytes, padded to whole blocks.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The layer with its end mark.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.0[..], &[0; 1024]].concat()
    }
}

fn put(field: &mut [u8], text: &str) {
    assert!(text.len() <= field.len(), "{text:?} is too long for a header");
    field.fill(0);
    field[..text.len()].copy_from_slice(text.as_bytes());
}
