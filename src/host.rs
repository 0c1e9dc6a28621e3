//! Facts about the machine and about us that `plan/` decides by: looked up once at the start, but for what few configs
//! need ([`extras`]).

pub mod cgroups;
pub mod extras;

use std::path::PathBuf;

use cgroups::CgroupLayout;
use extras::Extras;

use crate::error::{Context, Failure, Result};
use crate::sys;

/// The facts.
#[derive(Debug, Clone)]
pub struct Host {
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Capabilities that we have and can give; bit n is capability n.
    pub capabilities: u64,
    /// The cgroup hierarchies.
    pub cgroups: CgroupLayout,
    /// What is looked up when it is asked for.
    pub extras: Extras,
}

/// The oldest kernel that has what every container needs: `mount_setattr`, `CLONE_INTO_CGROUP`, `cgroup.kill`, and
/// memory accounting of BPF programs without CAP_SYS_RESOURCE.
const KERNEL: (u32, u32) = (5, 14);

impl Host {
    /// Looks.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] on a kernel that is too old; errors of reading /proc.
    pub fn probe() -> Result<Self> {
        check_kernel(rustix::system::uname().release().to_string_lossy().as_ref())?;
        Ok(Self {
            euid: rustix::process::geteuid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
            capabilities: sys::process::permitted()?,
            cgroups: CgroupLayout::probe().context("finding the cgroup hierarchies")?,
            extras: Extras::default(),
        })
    }

    /// A machine for table tests.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            euid: 0,
            egid: 0,
            capabilities: u64::MAX,
            cgroups: CgroupLayout::Legacy { hierarchies: Vec::new(), unified: None },
            extras: Extras::known(&[], None),
        }
    }
}

fn check_kernel(release: &str) -> Result<()> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < KERNEL {
        let (major, minor) = KERNEL;
        return Err(
            Failure::Unsupported(format!("kernel {release} is too old: orlop needs {major}.{minor} or newer")).into()
        );
    }
    Ok(())
}

/// Where containers are kept when `--root` does not say: `/run/orlop`, and for an ordinary user below
/// `$XDG_RUNTIME_DIR`.
#[must_use]
pub fn default_state_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !rustix::process::geteuid().is_root() && !directory.is_empty() => {
            PathBuf::from(directory).join("orlop")
        }
        _ => PathBuf::from("/run/orlop"),
    }
}

#[cfg(test)]
mod tests {
    use super::check_kernel;

    #[test]
    fn old_kernels_are_refused() {
        for (release, good) in
            [("6.18.44-fc-v657", true), ("5.14.0-503.el9", true), ("5.13.9", false), ("4.18.0", false)]
        {
            assert_eq!(check_kernel(release).is_ok(), good, "{release}");
        }
    }
}
