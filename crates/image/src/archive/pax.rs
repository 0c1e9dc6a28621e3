//! PAX records: `length key=value\n` before the entry they are about (pax(1), "pax Header Block").

use anyhow::{Context, Result, ensure};

use super::Time;
use super::sparse::SparseRecords;

/// How star, GNU tar, Go and libarchive write extended attributes.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the records say; nothing is what they do not mention.
#[derive(Debug, Default)]
pub struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
    pub atime: Option<Time>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: SparseRecords,
}

impl Records {
    /// Takes in all records of a header. The later of two counts.
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
        // An empty value takes back what was said before.
        let there = !value.is_empty();
        match key {
            b"path" => self.path = there.then(|| value.to_vec()),
            b"linkpath" => self.link = there.then(|| value.to_vec()),
            b"size" => self.size = there.then(|| decimal(value)).transpose()?,
            b"uid" => self.uid = there.then(|| id(value)).transpose()?,
            b"gid" => self.gid = there.then(|| id(value)).transpose()?,
            b"mtime" => self.mtime = there.then(|| time(value)).transpose()?,
            b"atime" => self.atime = there.then(|| time(value)).transpose()?,
            _ => self.sparse.record(key, value)?,
        }
        Ok(())
    }
}

/// The first record's key and value, and what follows it.
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

/// Seconds, perhaps negative, perhaps with a fraction, of which nine digits count.
fn time(text: &[u8]) -> Result<Time> {
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
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
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
            assert_eq!(time(text.as_bytes()).unwrap(), Time { seconds, nanoseconds }, "{text}");
        }
        for text in ["", ".5", "-", "1.x", "1e3", "--1", "99999999999999999999"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn values_may_have_newlines_and_later_records_win() {
        let mut records = Records::default();
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
            assert!(Records::default().read(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
