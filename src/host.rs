//! Facts about the machine and about this process, which `plan/` uses. They are read once at the
//! start, except for facts that few configs need ([`extras`]).

pub mod cgroups;
pub mod extras;

use std::path::PathBuf;
use std::str::FromStr;

use extras::Extras;

use crate::error::{Failure, Result};
use crate::sys;

/// The facts.
#[derive(Debug, Clone)]
pub struct Host {
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// The capabilities that we have and can give. Bit n is capability n.
    pub capabilities: u64,
    /// Whether we are an ordinary user, or root of an ordinary user's user namespace. Then we may
    /// have no permission for cgroups and for the system's systemd. A container without limits then
    /// has no cgroup if none can be created.
    pub rootless: bool,
    /// Facts that are read when they are needed.
    pub extras: Extras,
}

/// `--rootless`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rootless {
    /// We may have no permission for cgroups.
    Yes,
    /// We have the permission for cgroups.
    No,
    /// An ordinary user and root of a user namespace may have no permission for cgroups.
    #[default]
    Auto,
}

impl FromStr for Rootless {
    type Err = Failure;

    /// The values that runc accepts: any bool of Go, or `auto`.
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Self::Yes),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Self::No),
            text if text.is_empty() || text.eq_ignore_ascii_case("auto") => Ok(Self::Auto),
            _ => Err(Failure::Usage("known: true, false, auto".to_owned())),
        }
    }
}

/// The oldest kernel with the features that each container needs: `mount_setattr`,
/// `CLONE_INTO_CGROUP`, `cgroup.kill`, and BPF programs that need no CAP_SYS_RESOURCE for their
/// memory.
const KERNEL: (u32, u32) = (5, 14);

impl Host {
    /// Reads the facts.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] on a kernel that is too old; errors of reading /proc.
    pub fn probe(rootless: Rootless) -> Result<Self> {
        check_kernel(rustix::system::uname().release().to_string_lossy().as_ref())?;
        let euid = rustix::process::geteuid().as_raw();
        Ok(Self {
            euid,
            egid: rustix::process::getegid().as_raw(),
            capabilities: sys::process::permitted()?,
            rootless: match rootless {
                Rootless::Yes => true,
                Rootless::No => false,
                Rootless::Auto => euid != 0 || sys::proc::in_user_namespace()?,
            },
            extras: Extras::default(),
        })
    }

    /// A host for table tests.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            euid: 0,
            egid: 0,
            capabilities: u64::MAX,
            rootless: false,
            extras: Extras::known(&[], None),
        }
    }
}

fn check_kernel(release: &str) -> Result<()> {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < KERNEL {
        let (major, minor) = KERNEL;
        return Err(Failure::Unsupported(
            format!("kernel {release} is too old: orlop needs {major}.{minor} or newer").into(),
        )
        .into());
    }
    Ok(())
}

/// The default of `--root`: `/run/orlop`, or a directory in `$XDG_RUNTIME_DIR` for an ordinary
/// user. Root of a user namespace may also count as an ordinary user.
#[must_use]
pub fn default_state_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() && is_ordinary_user() => {
            PathBuf::from(directory).join("orlop")
        }
        _ => PathBuf::from("/run/orlop"),
    }
}

/// The rule of runc: root of a user namespace is an ordinary user, unless `USER` is `root`.
fn is_ordinary_user() -> bool {
    !rustix::process::geteuid().is_root()
        || std::env::var_os("USER").is_none_or(|user| user != "root")
            && sys::proc::in_user_namespace().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::{Rootless, check_kernel};

    #[test]
    fn rootless_is_what_runc_takes() {
        for (text, rootless) in [
            ("true", Some(Rootless::Yes)),
            ("1", Some(Rootless::Yes)),
            ("False", Some(Rootless::No)),
            ("", Some(Rootless::Auto)),
            ("Auto", Some(Rootless::Auto)),
            ("yes", None),
        ] {
            assert_eq!(text.parse().ok(), rootless, "{text}");
        }
    }

    #[test]
    fn old_kernels_are_refused() {
        for (release, good) in [
            ("6.18.44-fc-v657", true),
            ("5.14.0-503.el9", true),
            ("5.13.9", false),
            ("4.18.0", false),
        ] {
            assert_eq!(check_kernel(release).is_ok(), good, "{release}");
        }
    }
}
