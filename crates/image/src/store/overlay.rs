//! Mounts overlayfs with fsopen(2), detached at first (Documentation/filesystems/overlayfs.rst).

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// The longest value that fsconfig(2) accepts, in bytes.
const LONGEST_VALUE: usize = 255;

/// An overlay.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// The lower directories, the lowest first.
    pub lower: &'a [PathBuf],
    /// The upper directory, which gets the changes.
    pub upper: &'a Path,
    /// The work directory that overlayfs needs.
    pub work: &'a Path,
    /// Whether the changes may be lost when the machine crashes.
    pub volatile: bool,
    /// Whether an ordinary user mounts it.
    pub rootless: bool,
}

impl Overlay<'_> {
    /// Creates the upper and the work directory, and mounts.
    ///
    /// # Errors
    /// Errors of the calls.
    pub fn mount(&self) -> Result<OwnedFd> {
        for directory in [self.upper, self.work] {
            fs::create_dir(directory).with_context(|| format!("making {}", directory.display()))?;
        }
        let top = self.lower.last().context("an image without layers cannot be run")?;
        copy_root(top, self.upper)?;
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).context("fsopen(overlay)")?;
        let fs = fs.as_fd();
        // Kept open until the mount is made, since a lower directory may be named by its
        // descriptor.
        let open = self.set_lower(fs)?;
        let work = self.work;
        for (key, path) in [("upperdir", self.upper), ("workdir", work)] {
            fsconfig_set_string(fs, key, path)
                .with_context(|| format!("overlayfs: {key}={}", path.display()))?;
        }
        for (flag, wanted) in [("userxattr", self.rootless), ("volatile", self.volatile)] {
            if wanted {
                fsconfig_set_flag(fs, flag).with_context(|| format!("overlayfs: {flag}"))?;
            }
        }
        fsconfig_create(fs)
            .with_context(|| format!("mounting an overlay over {}", top.display()))?;
        drop(open);
        fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .context("fsmount(overlay)")
    }

    /// Sets the lower directories, the highest first: one by one, or before Linux 6.5 all in one
    /// value.
    fn set_lower(&self, fs: std::os::fd::BorrowedFd<'_>) -> Result<Vec<File>> {
        for (at, path) in self.lower.iter().rev().enumerate() {
            match fsconfig_set_string(fs, "lowerdir+", path) {
                Ok(()) => {}
                Err(Errno::INVAL) if at == 0 => return self.set_lower_in_one_value(fs),
                Err(errno) => {
                    return Err(errno)
                        .with_context(|| format!("overlayfs: lowerdir+={}", path.display()));
                }
            }
        }
        Ok(Vec::new())
    }

    fn set_lower_in_one_value(&self, fs: std::os::fd::BorrowedFd<'_>) -> Result<Vec<File>> {
        let mut open = Vec::new();
        let mut value = OsString::new();
        for path in self.lower.iter().rev() {
            let directory = File::open(path).with_context(|| path.display().to_string())?;
            if !value.is_empty() {
                value.push(":");
            }
            value.push(format!("/proc/self/fd/{}", directory.as_raw_fd()));
            open.push(directory);
        }
        ensure!(
            value.len() <= LONGEST_VALUE,
            "{} layers are too many for a kernel before 6.5",
            self.lower.len()
        );
        fsconfig_set_string(fs, "lowerdir", &*value)
            .with_context(|| format!("overlayfs: lowerdir={value:?}"))?;
        Ok(open)
    }
}

/// Copies the metadata of a lower directory to the upper one, since the root of an overlay has the
/// metadata of the upper directory.
fn copy_root(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> Result<()> {
        let (from, to) = (File::open(from)?, File::open(to)?);
        let status = from.metadata()?;
        fchown(&to, Some(status.uid()), Some(status.gid()))?;
        to.set_permissions(Permissions::from_mode(status.mode() & 0o7777))?;
        let mut names = vec![0; 1 << 16];
        let length = match rustix::fs::flistxattr(&from, &mut names) {
            Err(Errno::OPNOTSUPP) => 0,
            other => other?,
        };
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            if name.starts_with(b"trusted.overlay.")
                || name.starts_with(b"user.overlay.")
                || name == b"security.selinux"
            {
                continue;
            }
            let mut value = vec![0; 1 << 16];
            let length = rustix::fs::fgetxattr(&from, name, &mut value)?;
            rustix::fs::fsetxattr(&to, name, &value[..length], XattrFlags::empty())?;
        }
        to.set_times(fs::FileTimes::new().set_modified(status.modified()?))?;
        Ok(())
    };
    copy().with_context(|| format!("giving {} the attributes of {}", to.display(), from.display()))
}
