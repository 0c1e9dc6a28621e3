//! Normalizes the names of entries.

use anyhow::{Result, ensure};

/// The normalized name of an entry: `/./usr//bin/` is `usr/bin`. The name of the root is empty.
///
/// # Errors
/// The name contains `..`, which no builder writes, and which readers resolve differently after a
/// link; or it contains NUL.
pub fn clean(path: &[u8]) -> Result<Vec<u8>> {
    ensure!(!path.contains(&0), "the name contains a NUL");
    let mut clean = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/') {
        ensure!(part != b"..", "the name contains \"..\"");
        if part.is_empty() || part == b"." {
            continue;
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(part);
    }
    Ok(clean)
}

/// Splits a normalized path into the directory and the last name. The directory of a single name is
/// empty.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter()
        .rposition(|byte| *byte == b'/')
        .map_or((&[], path), |slash| (&path[..slash], &path[slash + 1..]))
}

/// `name` in the directory `parent`.
pub fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// Whether `path` is below the directory `top`.
pub fn is_below(path: &[u8], top: &[u8]) -> bool {
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (written, clean_one) in [
            ("./", ""),
            ("/", ""),
            ("", ""),
            ("a", "a"),
            ("./a/b/", "a/b"),
            ("/etc//passwd", "etc/passwd"),
            ("a/./b", "a/b"),
            ("...", "..."),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(clean(written.as_bytes()).unwrap(), clean_one.as_bytes(), "{written}");
        }
        for bad in ["..", "../x", "a/../b", "a/..", "/..", "a\0b"] {
            assert!(clean(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
        assert!(
            is_below(b"a/b", b"a")
                && !is_below(b"ab", b"a")
                && !is_below(b"a", b"a")
                && is_below(b"a", b"")
        );
    }
}
