//! Makes bundles. A bundle is made under a temporary name and renamed when it is complete.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, Mode, RenameFlags};
use rustix::io::Errno;
use rustix::process::umask;

use crate::budget::Budget;
use crate::config::ContainerConfig;
use crate::image::Image;
use crate::layer;
use crate::layout::Layout;
use crate::rootfs::{self, Applier, Owners, Tree};

/// A directory that is made under a temporary name beside its final one. If it is dropped without
/// [`PendingDirectory::keep`], it is removed.
#[derive(Debug)]
pub struct PendingDirectory {
    path: PathBuf,
    destination: PathBuf,
    kept: bool,
}

impl PendingDirectory {
    /// Creates the temporary directory for `destination`. Only we can enter it, since it has setuid
    /// programs of an untrusted image.
    ///
    /// # Errors
    /// `destination` exists; its parent does not exist or is not writable.
    pub fn new(destination: &Path) -> Result<Self> {
        if destination.symlink_metadata().is_ok() {
            bail!("{} exists", destination.display());
        }
        let path = Self::hidden(destination)?;
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("making {}", path.display()))?;
        let draft = Self { path, destination: destination.to_owned(), kept: false };
        let directory =
            File::open(&draft.path).with_context(|| draft.path.display().to_string())?;
        rootfs::clear_acls(directory.as_fd()).with_context(|| draft.path.display().to_string())?;
        Ok(draft)
    }

    /// Removes a temporary directory of `destination` that was left by a killed process with the
    /// same id. No other process may use it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_stale(destination: &Path) -> Result<()> {
        let path = Self::hidden(destination)?;
        if path.symlink_metadata().is_ok() { remove_tree(&path) } else { Ok(()) }
    }

    fn hidden(destination: &Path) -> Result<PathBuf> {
        let name = destination
            .file_name()
            .with_context(|| format!("{destination:?} is not the name of a directory"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        Ok(destination.with_file_name(hidden))
    }

    /// The temporary path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it to its final name.
    ///
    /// # Errors
    /// Another process has made a directory with this name.
    pub fn keep(mut self) -> Result<()> {
        match rustix::fs::renameat_with(
            CWD,
            &self.path,
            CWD,
            &self.destination,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => self.kept = true,
            Err(Errno::EXIST) => bail!("{} exists", self.destination.display()),
            Err(errno) => {
                return Err(errno)
                    .with_context(|| format!("renaming to {}", self.destination.display()));
            }
        }
        Ok(())
    }
}

impl Drop for PendingDirectory {
    fn drop(&mut self) {
        if !self.kept {
            // The error that has caused this is reported instead.
            let _ = remove_tree(&self.path);
        }
    }
}

/// Removes a directory with its content, at any depth.
///
/// # Errors
/// Errors of the calls.
pub fn remove_tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = File::open(parent).with_context(|| parent.display().to_string())?;
    rootfs::remove(parent.as_fd(), name.as_encoded_bytes())
        .with_context(|| format!("removing {}", path.display()))?;
    Ok(())
}

/// Sets the umask 022 until it is dropped. It decides the mode of directories that no entry of a
/// layer describes. With a stricter umask of the caller, users of the image could not enter these
/// directories. Only one thread makes directories.
#[derive(Debug)]
pub struct DefaultUmask(Mode);

impl DefaultUmask {
    /// Sets the umask.
    #[must_use]
    pub fn set() -> Self {
        Self(umask(Mode::WGRP | Mode::WOTH))
    }
}

impl Drop for DefaultUmask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

/// Makes the directory `path` and applies all layers of an image to it.
///
/// # Errors
/// Errors of [`layer::read`] and [`Applier::apply`].
pub fn make_rootfs(
    layout: &Layout,
    image: &Image,
    path: &Path,
    owners: Owners,
    budget: &Budget,
) -> Result<Tree> {
    let _umask = DefaultUmask::set();
    DirBuilder::new()
        .mode(0o755)
        .create(path)
        .with_context(|| format!("making {}", path.display()))?;
    let mut applier = Applier::new(Tree::open(path)?, owners, false, budget);
    for layer in &image.layers {
        let blob = layout.open_blob(&layer.descriptor)?;
        layer::read(blob, layer, budget, |content| applier.apply(content))?;
    }
    Ok(applier.into_tree())
}

/// Writes a bundle's config.json.
///
/// # Errors
/// Errors of writing.
pub fn write_config(bundle: &Path, config: &ContainerConfig) -> Result<()> {
    let path = bundle.join("config.json");
    let mut text = serde_json::to_vec_pretty(config)?;
    text.push(b'\n');
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
    file.and_then(|mut file| file.write_all(&text))
        .with_context(|| format!("writing {}", path.display()))
}
