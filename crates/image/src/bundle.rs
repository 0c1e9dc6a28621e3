//! Bundles: a directory that is made beside its place and gets its name when it is whole.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, Mode, RenameFlags};
use rustix::io::Errno;
use rustix::process::umask;

use crate::config::ContainerConfig;
use crate::image::Image;
use crate::layer::{self, Budget, Layer};
use crate::layout::Layout;
use crate::rootfs::{self, Allowance, Applier, Limits, Owners, Tree};

/// A directory under a name of its own, beside the one that it shall have. Dropped, it is removed.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    destination: PathBuf,
    kept: bool,
}

impl Draft {
    /// Begins a directory that shall be `destination`, which nobody but us can enter: there are
    /// setuid programs of strangers in it.
    ///
    /// # Errors
    /// `destination` is there; its directory is not, or cannot be written to.
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

    /// Removes a draft of `destination` that a process has left which had our number. Nobody else
    /// may be at work on it.
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
            .with_context(|| format!("{destination:?} is no name for a directory"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        Ok(destination.with_file_name(hidden))
    }

    /// Where it is for now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// Somebody else has taken the name.
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

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // There is nobody to tell; an error is already on its way.
            let _ = remove_tree(&self.path);
        }
    }
}

/// Removes a directory of the host with all that is in it, however deep.
///
/// # Errors
/// The failed call's.
pub fn remove_tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = File::open(parent).with_context(|| parent.display().to_string())?;
    rootfs::remove(parent.as_fd(), name.as_encoded_bytes())
        .with_context(|| format!("removing {}", path.display()))?;
    Ok(())
}

/// How an image is unpacked.
#[derive(Debug, Clone, Copy)]
pub struct Unpacking {
    /// What becomes of the owners.
    pub owners: Owners,
    /// How much is too much.
    pub limits: Limits,
    /// Set when it is to end with an error.
    pub stop: &'static AtomicBool,
}

impl Unpacking {
    /// What all layers together may take.
    #[must_use]
    pub fn budget(&self) -> Budget<'static> {
        Budget::new(self.limits.bytes, self.stop)
    }
}

/// As long as this lives, directories that nobody describes get the mode that is asked for: the one
/// who unpacks may want his own files for himself, but users of the image must get in. One thread
/// makes all of them.
#[derive(Debug)]
pub struct UsualUmask(Mode);

impl UsualUmask {
    /// Sets it.
    #[must_use]
    pub fn set() -> Self {
        Self(umask(Mode::WGRP | Mode::WOTH))
    }
}

impl Drop for UsualUmask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

/// Applies all layers of an image to the new directory `path`, and gives its tree.
///
/// # Errors
/// See [`layer::read`] and [`Applier::apply`].
pub fn make_rootfs(layout: &Layout, image: &Image, path: &Path, how: Unpacking) -> Result<Tree> {
    let _umask = UsualUmask::set();
    DirBuilder::new()
        .mode(0o755)
        .create(path)
        .with_context(|| format!("making {}", path.display()))?;
    let mut applier =
        Applier::new(Tree::open(path)?, how.owners, false, Allowance::new(how.limits));
    let mut budget = how.budget();
    for (descriptor, diff_id) in &image.layers {
        let blob = layout.open_blob(descriptor)?;
        layer::read(blob, &Layer { descriptor, diff_id }, &mut budget, |content| {
            applier.apply(content)
        })?;
    }
    Ok(applier.into_tree())
}

/// Writes a bundle's config.json.
///
/// # Errors
/// Those of writing.
pub fn write_config(bundle: &Path, config: &ContainerConfig) -> Result<()> {
    let path = bundle.join("config.json");
    let mut text = serde_json::to_vec_pretty(config)?;
    text.push(b'\n');
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
    file.and_then(|mut file| file.write_all(&text))
        .with_context(|| format!("writing {}", path.display()))
}
