//! Parses /etc/passwd (passwd(5)).
//!
//! getpwuid(3) is not used: in a static program it loads plug-ins of the C library from the
//! machine.

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswdEntry<'a> {
    /// The user's name.
    pub name: &'a [u8],
    /// The home directory; may be empty.
    pub home: &'a [u8],
}

/// The entries of the user `uid`, in the order of the file. A line that cannot be parsed is
/// skipped.
pub fn of(text: &[u8], uid: u32) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.split(|&byte| byte == b'\n').filter_map(move |line| {
        // name:password:uid:gid:comment:home:shell
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next()?;
        let number = str::from_utf8(fields.nth(1)?).ok()?;
        let home = fields.nth(2).unwrap_or_default();
        (number.parse() == Ok(uid)).then_some(PasswdEntry { name, home })
    })
}

#[cfg(test)]
mod tests {
    use super::{PasswdEntry, of};

    #[test]
    fn entries_are_found_by_id() {
        let text =
            b"root:x:0:0::/root:/bin/sh\nj:x:7:7:Jos\xe9:/j\xff:/bin/sh\n\nx:y\nftp:x:14:50\n";
        let first = |uid| of(text, uid).next();
        assert_eq!(first(0), Some(PasswdEntry { name: b"root", home: b"/root" }));
        assert_eq!(first(7), Some(PasswdEntry { name: b"j", home: b"/j\xff" }));
        assert_eq!(first(14), Some(PasswdEntry { name: b"ftp", home: b"" }));
        assert_eq!(first(4), None);
    }
}
