//! The numeric fields of a header.

use std::io;

use anyhow::{Context, Result, bail, ensure};
use tar::Header;

use super::Timestamp;

/// The position of the checksum, whose bytes count as spaces in its computation.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// A number: octal digits or, in GNU's extension for larger numbers, two's complement with the
/// first bit set.
pub fn number(field: &[u8]) -> Result<i64> {
    let Some(first) = field.first().filter(|byte| **byte & 0x80 != 0) else {
        return octal(field);
    };
    let negative = first & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        // The first bit marks the extension. The second one is the sign.
        let byte = if at == 0 { if negative { *byte } else { byte & 0x7f } } else { *byte };
        value = (value << 8) | i128::from(byte);
    }
    i64::try_from(value).context("a number of more than 63 bits")
}

fn octal(field: &[u8]) -> Result<i64> {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    if text.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(text).context("not a number")?;
    // from_str_radix would accept a sign.
    ensure!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?} is not a number");
    i64::from_str_radix(text, 8).with_context(|| format!("{text:?} is not an octal number"))
}

/// A user or group id.
pub fn id(field: &[u8]) -> Result<u32> {
    let number = number(field)?;
    u32::try_from(number)
        .ok()
        .filter(|id| *id != u32::MAX)
        .with_context(|| format!("{number} is not an id"))
}

/// A time in whole seconds.
pub fn mtime(field: &[u8]) -> Result<Timestamp> {
    Ok(Timestamp { seconds: number(field)?, nanoseconds: 0 })
}

/// The major or minor number of a device. v7 headers have none.
pub fn device(field: io::Result<Option<u32>>) -> Result<u32> {
    Ok(field.context("device number")?.unwrap_or(0))
}

/// Verifies the checksum: the sum of unsigned bytes, or of signed bytes as in the tar of Sun.
pub fn verify_checksum(header: &Header) -> Result<()> {
    let bytes = header.as_bytes();
    let expected = number(&bytes[CHECKSUM]).context("checksum")?;
    let counted = bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| if CHECKSUM.contains(&at) { b' ' } else { *byte });
    let unsigned: i64 = counted.clone().map(i64::from).sum();
    let signed: i64 = counted.map(|byte| i64::from(byte.cast_signed())).sum();
    if expected != unsigned && expected != signed {
        bail!("the checksum is wrong: this is not a tar archive, or it is damaged");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"    644 ", 0o644),
            (b"\0\0\0\0", 0),
            (b"777", 0o777),
            (b"\x80\0\0\0\x80\0\0\0", 1 << 31),
            (b"\x80\0\0\0\0\0\0\0\x02\x54\x0b\xe4", 0x0254_0be4),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(number(field).unwrap(), value, "{field:?}");
        }
        for field in [
            &b"abc"[..],
            b"-1",
            b"+7",
            b"0x1",
            b"8",
            b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(number(field).is_err(), "{field:?}");
        }
    }
}
