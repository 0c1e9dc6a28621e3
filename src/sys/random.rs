//! Random names.

use super::{Call, Named, check};

/// The number of random bytes. It is large enough that two names are never equal.
const LENGTH: usize = 16;

/// A random word of hexadecimal digits (getrandom(2)).
///
/// # Errors
/// The error of the call.
pub fn word() -> Result<String, Call> {
    let mut bytes = [0_u8; LENGTH];
    // SAFETY: the kernel writes at most this number of bytes. It never writes only a part of so few
    // bytes.
    let written = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), LENGTH, 0) };
    check(i64::try_from(written).unwrap_or(-1)).named(|| "getrandom()".to_owned())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_word_comes_twice() {
        let (one, other) = (super::word().expect("a word"), super::word().expect("a word"));
        assert!(
            one != other && one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{one} {other}"
        );
    }
}
