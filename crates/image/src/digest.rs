//! Digests: identifiers of content that verify it ([descriptor.md] of image-spec).
//!
//! [descriptor.md]: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use oci_spec::image::{Digest, DigestAlgorithm};
use sha2::{Digest as _, Sha256, Sha512};

/// Computes a digest, by one of the two algorithms that registries use.
#[derive(Debug, Clone)]
pub enum Digester {
    /// `sha256:`
    Sha256(Sha256),
    /// `sha512:`
    Sha512(Sha512),
}

impl Digester {
    /// A digester with the algorithm of `expected`.
    ///
    /// # Errors
    /// Another algorithm than sha256 and sha512: such content cannot be verified.
    pub fn like(expected: &Digest) -> Result<Self> {
        match expected.algorithm() {
            DigestAlgorithm::Sha256 => Ok(Self::Sha256(Sha256::new())),
            DigestAlgorithm::Sha512 => Ok(Self::Sha512(Sha512::new())),
            other => bail!(
                "digest {expected}: algorithm {other} is not supported, only sha256 and sha512 are"
            ),
        }
    }

    /// Adds content.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of the added content, as `algorithm:hex`.
    #[must_use]
    pub fn finish(self) -> String {
        match self {
            Self::Sha256(state) => format!("sha256:{}", hex(&state.finalize())),
            Self::Sha512(state) => format!("sha512:{}", hex(&state.finalize())),
        }
    }
}

/// The sha256 digest of `bytes`.
///
/// # Errors
/// None in practice, since the text is a valid digest.
pub fn of(bytes: &[u8]) -> Result<Digest> {
    let mut hasher = Digester::Sha256(Sha256::new());
    hasher.update(bytes);
    parse(&hasher.finish())
}

/// Parses `algorithm:hex`, with an algorithm that can be verified.
///
/// # Errors
/// Not a digest; another algorithm; a wrong length or wrong characters.
pub fn parse(text: &str) -> Result<Digest> {
    let digest = Digest::from_str(text).with_context(|| format!("{text:?} is not a digest"))?;
    Digester::like(&digest)?;
    let right = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if !digest.digest().chars().all(right) {
        bail!("{text:?} is not a digest: only 0-9 and a-f are allowed");
    }
    Ok(digest)
}

/// Verifies content against a digest.
///
/// # Errors
/// The content has another digest.
pub fn verify(bytes: &[u8], expected: &Digest) -> Result<()> {
    let mut hasher = Digester::like(expected)?;
    hasher.update(bytes);
    let found = hasher.finish();
    if found != expected.as_ref() {
        bail!("{expected}: the content does not match its digest, it has {found}");
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From descriptor.md and FIPS 180-4's examples.
    #[test]
    fn known_digests() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(b"abc").unwrap().as_ref(), abc);
        verify(b"abc", &parse(abc).unwrap()).unwrap();
        let long = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                    2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        verify(b"abc", &parse(long).unwrap()).unwrap();
        let error = verify(b"abd", &parse(abc).unwrap()).unwrap_err().to_string();
        assert!(error.contains("does not match its digest"), "{error}");
    }

    #[test]
    fn what_is_no_digest_or_cannot_be_verified() {
        let hex = "a".repeat(64);
        let bad = [
            String::new(),
            "sha256".to_owned(),
            "sha256:".to_owned(),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}a"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}/", &hex[1..]),
            format!("md5:{}", &hex[..32]),
            format!("sha384:{}", "a".repeat(96)),
            "../../etc:passwd".to_owned(),
        ];
        for text in bad {
            assert!(parse(&text).is_err(), "{text}");
        }
    }
}
