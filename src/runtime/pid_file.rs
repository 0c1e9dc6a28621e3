//! `--pid-file`.

use std::io::Write;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::error::{Context, Result};
use crate::sys::{Named, fd};

/// Writes the pid in decimal, without a newline. A reader finds the whole file or none.
///
/// # Errors
/// The error of the failed call.
pub fn write(path: &Path, pid: i32) -> Result<()> {
    let context = || format!("writing the pid file {}", path.display());
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let directory = rustix::fs::openat(
        CWD,
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .named_on("open", directory)
    .with_context(context)?;
    let new = format!(".{name}");
    // A runtime that was killed may have left this file. If it cannot be removed, creating it fails
    // below.
    let _ = rustix::fs::unlinkat(&directory, &*new, AtFlags::empty());
    let mut file = fd::create_new(&directory, &new, 0o644).with_context(context)?;
    let written = file.write_all(pid.to_string().as_bytes()).named_on("write", &new);
    let renamed = written.and_then(|()| {
        rustix::fs::renameat(&directory, &*new, &directory, &*name)
            .named(|| format!("rename({new:?}, {name:?})"))
    });
    if renamed.is_err() {
        let _ = rustix::fs::unlinkat(&directory, &*new, AtFlags::empty());
    }
    renamed.with_context(context)
}

/// Removes the file, when a later step fails.
pub fn remove(path: &Path) {
    let _ = rustix::fs::unlink(path);
}
