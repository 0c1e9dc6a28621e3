//! `--pid-file`.

use std::io::Write;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::error::{Context, Result};
use crate::sys::{Call, Named, fd};

/// A pid file that was written, or none. It is removed when it is dropped before it was
/// [kept](Self::keep).
#[derive(Debug)]
#[must_use = "it is removed when it is dropped"]
pub struct PidFile<'a>(Option<&'a Path>);

impl<'a> PidFile<'a> {
    /// Writes the pid, in decimal and without a newline, if there is a path. A reader finds the
    /// whole file or none.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn write(path: Option<&'a Path>, pid: i32) -> Result<Self> {
        path.map_or(Ok(()), |path| {
            write(path, pid).with_context(|| format!("writing the pid file {}", path.display()))
        })?;
        Ok(Self(path))
    }

    /// Keeps the file.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        self.0.map(rustix::fs::unlink);
    }
}

fn write(path: &Path, pid: i32) -> Result<(), Call> {
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let directory = rustix::fs::openat(
        CWD,
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .named_on("open", directory)?;
    let new = format!(".{name}");
    // A runtime that was killed may have left this file. If it cannot be removed, creating it fails
    // below.
    let _ = rustix::fs::unlinkat(&directory, &*new, AtFlags::empty());
    let mut file = fd::create_new(&directory, &new, 0o644)?;
    let written = file.write_all(pid.to_string().as_bytes()).named_on("write", &new);
    let renamed = written.and_then(|()| {
        rustix::fs::renameat(&directory, &*new, &directory, &*name)
            .named(|| format!("rename({new:?}, {name:?})"))
    });
    if renamed.is_err() {
        let _ = rustix::fs::unlinkat(&directory, &*new, AtFlags::empty());
    }
    renamed
}
