//! Platforms: the selection of an image of an index.

use std::fmt::{self, Display};
use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use oci_spec::image::{Descriptor, Platform as Described};

/// An operating system, an architecture and an optional variant, with the names of Go:
/// `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// GOOS
    pub os: String,
    /// GOARCH
    pub architecture: String,
    /// The variant of the architecture (image-index.md).
    pub variant: Option<String>,
}

impl Platform {
    /// The platform that this program was built for.
    #[must_use]
    pub fn host() -> Self {
        let (architecture, variant) = go_names(std::env::consts::ARCH);
        Self {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// How well an image for `offered` fits this platform: higher is better, and `None` means that
    /// it does not run.
    ///
    /// A later variant runs the images of earlier ones, as an ARMv7 processor runs ARMv6 code.
    #[must_use]
    pub fn rank(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let (ours, theirs) = (self.effective_variant(), offered.effective_variant());
        if ours == theirs {
            return Some(u32::MAX);
        }
        let number = |variant: Option<&str>| variant?.strip_prefix('v')?.parse::<u32>().ok();
        match (number(ours), number(theirs)) {
            (Some(ours), Some(theirs)) if theirs < ours => Some(theirs),
            // No variant is wanted, and the architecture has no default variant.
            _ if ours.is_none() => Some(0),
            _ => None,
        }
    }

    /// Checks that an image for `offered` runs on this platform.
    ///
    /// # Errors
    /// It does not run.
    pub fn check(&self, offered: &Self) -> Result<()> {
        ensure!(self.rank(offered).is_some(), "there is no image for {self}, only for {offered}");
        Ok(())
    }

    /// The variant, or the default variant of the architecture.
    fn effective_variant(&self) -> Option<&str> {
        let default = match self.architecture.as_str() {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            "amd64" => Some("v1"),
            _ => None,
        };
        self.variant.as_deref().or(default)
    }

    /// The best entry of an index, and the first of equal ones; `None` if none runs.
    #[must_use]
    pub fn choose<'a>(&self, entries: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let mut best = None;
        for entry in entries {
            let score = entry.platform().as_ref().and_then(|offered| self.rank(&offered.into()));
            if let Some(score) = score
                && best.is_none_or(|(best, _)| score > best)
            {
                best = Some((score, entry));
            }
        }
        best.map(|(_, entry)| entry)
    }
}

impl From<&Described> for Platform {
    fn from(described: &Described) -> Self {
        Self {
            os: described.os().to_string(),
            architecture: described.architecture().to_string(),
            variant: described.variant().clone().filter(|variant| !variant.is_empty()),
        }
    }
}

impl FromStr for Platform {
    type Err = anyhow::Error;

    /// Parses `os/architecture[/variant]`, or an architecture alone for Linux.
    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split('/').collect();
        let plain = |word: &&str| {
            word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word
                    .chars()
                    .all(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        if !words.iter().all(plain) {
            bail!("platform {text:?}: write os/architecture[/variant], as in linux/arm64/v8");
        }
        let (os, architecture, variant) = match words.as_slice() {
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some(*variant)),
            _ => bail!("platform {text:?}: write os/architecture[/variant], as in linux/arm64/v8"),
        };
        let (architecture, implied) = go_names(architecture);
        let variant = variant.or(implied).map(str::to_owned);
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// The platforms of an index, for error messages.
#[must_use]
pub fn list(entries: &[Descriptor]) -> String {
    let name = |entry: &Descriptor| {
        entry
            .platform()
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), |platform| Platform::from(platform).to_string())
    };
    let names: Vec<String> = entries.iter().map(name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Go's name of an architecture, for a name of Rust, Debian or the kernel; and the variant that the
/// name implies.
fn go_names(architecture: &str) -> (&str, Option<&str>) {
    match architecture {
        "x86_64" => ("amd64", None),
        "x86" | "i386" | "i686" => ("386", None),
        "aarch64" => ("arm64", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "powerpc64le" | "ppc64el" => ("ppc64le", None),
        "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn ranks() {
        for (wanted, offered, runs) in [
            ("linux/amd64", "linux/amd64", true),
            ("amd64", "linux/amd64", true),
            ("x86_64", "linux/amd64", true),
            ("linux/amd64", "windows/amd64", false),
            ("linux/amd64", "linux/386", false),
            ("linux/amd64", "linux/amd64/v1", true),
            ("linux/amd64", "linux/amd64/v3", false),
            ("linux/amd64/v3", "linux/amd64/v2", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm", "linux/arm/v6", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("armhf", "linux/arm", true),
            ("linux/riscv64", "linux/riscv64", true),
        ] {
            assert_eq!(
                platform(wanted).rank(&platform(offered)).is_some(),
                runs,
                "{wanted} {offered}"
            );
        }
        let arm = platform("linux/arm/v7");
        assert!(arm.rank(&platform("linux/arm/v6")) > arm.rank(&platform("linux/arm/v5")));
        assert!(arm.rank(&platform("linux/arm/v7")) > arm.rank(&platform("linux/arm/v6")));
    }

    #[test]
    fn what_is_no_platform() {
        for text in ["", "/", "linux/", "a/b/c/d", "linux/amd 64", "linux/../x"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
        assert_eq!(platform("linux/arm64/v8").to_string(), "linux/arm64/v8");
    }
}
