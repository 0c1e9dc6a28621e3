//! PAX records: `length key=value\n`, before the entry that they describe (pax(1), "pax Header
//! Block").

use anyhow::{Context, Result, ensure};

use super::Timestamp;
use super::sparse::SparseRecords;

/// The prefix for extended attributes that star, GNU tar, Go and libarchive use.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// The values of the records; `None` for a missing record.
#[derive(Debug, Default)]
pub struct PaxRecords {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Timestamp>,
    pub atime: Option<Timestamp>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: SparseRecords,
}

impl PaxRecords {
    /// Reads all records of a header. A later record replaces an earlier one.
    pub fn read(&mut self, mut text: &[u8]) -> Result<()> {
        while !text.is_empty() {
            let (key, value, rest) = split(text).context("PAX record")?;
            self.record(key, value)
                .with_context(|| format!("PAX record {:?}", String::from_utf8_lossy(key)))?;
            text = rest;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattrs.retain(|(other, _)| other != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        // An empty value deletes an earlier record.
        let set = !value.is_empty();
        match key {
            b"path" => self.path = set.then(|| value.to_vec()),
            b"linkpath" => self.link = set.then(|| value.to_vec()),
            b"size" => self.size = set.then(|| decimal(value)).transpose()?,
            b"uid" => self.uid = set.then(|| id(value)).transpose()?,
            b"gid" => self.gid = set.then(|| id(value)).transpose()?,
            b"mtime" => self.mtime = set.then(|| time(value)).transpose()?,
            b"atime" => self.atime = set.then(|| time(value)).transpose()?,
            _ => self.sparse.record(key, value)?,
        }
        Ok(())
    }
}

/// The key and value of the first record, and the rest.
fn split(text: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let space = text.iter().take(20).position(|byte| *byte == b' ').context("no length")?;
    let length = usize::try_from(decimal(&text[..space])?)?;
    ensure!(length > space + 1 && length <= text.len(), "a length of {length} is wrong");
    let (record, rest) = text.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n").context("no newline at its end")?;
    let equals = record.iter().position(|byte| *byte == b'=').context("no '='")?;
    Ok((&record[..equals], &record[equals + 1..], rest))
}

/// A number in decimal digits.
pub fn decimal(text: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(text).context("not a number")?;
    ensure!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?} is not a number");
    text.parse().with_context(|| format!("{text:?} is not a number"))
}

fn id(text: &[u8]) -> Result<u32> {
    let number = decimal(text)?;
    u32::try_from(number)
        .ok()
        .filter(|id| *id != u32::MAX)
        .with_context(|| format!("{number} is not an id"))
}

/// Seconds, with an optional sign and fraction. Nine digits of the fraction are used.
fn time(text: &[u8]) -> Result<Timestamp> {
    let whole = std::str::from_utf8(text).context("not a time")?;
    let (negative, digits) =
        whole.strip_prefix('-').map_or((false, whole), |digits| (true, digits));
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    ensure!(
        !seconds.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit()),
        "{whole:?} is not a time"
    );
    let seconds = i64::try_from(decimal(seconds.as_bytes())?)?;
    let nanoseconds = format!("{fraction:0<9}")[..9].parse::<u32>()?;
    Ok(match (negative, nanoseconds) {
        (false, _) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1350244992.023960108", 1_350_244_992, 23_960_108),
            ("1.5", 1, 500_000_000),
            ("1.", 1, 0),
            ("1.0000000019", 1, 1),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
        ] {
            assert_eq!(
                time(text.as_bytes()).unwrap(),
                Timestamp { seconds, nanoseconds },
                "{text}"
            );
        }
        for text in ["", ".5", "-", "1.x", "1e3", "--1", "99999999999999999999"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn values_may_have_newlines_and_later_records_win() {
        let mut records = PaxRecords::default();
        records.read(b"9 path=a\n27 SCHILY.xattr.user.n=\n\n=\n11 path=bc\n").unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"bc"[..]));
        assert_eq!(records.xattrs, [(b"user.n".to_vec(), b"\n\n=".to_vec())]);
        records.read(b"8 path=\n").unwrap();
        assert_eq!(records.path, None);
    }

    #[test]
    fn what_is_no_record() {
        for text in
            ["x", "5 a=b", "6 a=bc", "4 ab\n", "99 a=b\n", " a=b\n", "-6 a=b\n", "0 \n", "2 "]
        {
            assert!(PaxRecords::default().read(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
