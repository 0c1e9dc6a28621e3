//! Unpacks the layers of an image into the store.
//!
//! Each layer is applied to an overlay of the layers below it, by the same code as in
//! [`bundle::make_rootfs`](crate::bundle::make_rootfs). So whiteouts, symbolic links and hard links
//! into lower layers have the same effect, and the upper directory is the layer in the form that
//! overlayfs needs.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::FlockOperation;

use super::overlay::Overlay;
use super::{Store, lock, write_new};
use crate::budget::Budget;
use crate::bundle::{DefaultUmask, PendingDirectory, remove_tree};
use crate::image::{Image, Layer};
use crate::layer;
use crate::layout::Layout;
use crate::rootfs::{Applier, Owners, Tree};

/// The data for unpacking all layers of one image.
struct LayerUnpacker<'a> {
    layout: &'a Layout,
    owners: Owners,
    budget: &'a Budget,
}

impl Store {
    /// Unpacks the layers of an image that are not in the store.
    ///
    /// # Errors
    /// Errors of [`layer::read`] and [`Applier::apply`].
    pub fn unpack(
        &self,
        layout: &Layout,
        image: &Image,
        owners: Owners,
        budget: &Budget,
    ) -> Result<()> {
        let chain = image.chain_ids()?;
        let _umask = DefaultUmask::set();
        let unpacker = LayerUnpacker { layout, owners, budget };
        for (at, (id, layer)) in chain.iter().zip(&image.layers).enumerate() {
            let path = self.layer(id);
            // Another process may be unpacking the same layer. This one then waits, and finds the
            // layer unpacked.
            let _lock = lock(&path.with_extension("lock"), FlockOperation::LockExclusive)?;
            if !path.try_exists()? {
                // The process that had made this temporary directory was killed.
                PendingDirectory::remove_stale(&path)?;
                let directory = PendingDirectory::new(&path)?;
                unpacker.unpack(layer, directory.path(), &self.lower(&chain[..at]))?;
                directory.keep()?;
            }
        }
        Ok(())
    }
}

impl LayerUnpacker<'_> {
    /// Unpacks one layer into `directory`.
    fn unpack(&self, layer: &Layer, directory: &Path, lower: &[PathBuf]) -> Result<()> {
        let (upper, work) = (directory.join("fs"), directory.join("work"));
        let before = self.budget.bytes_used();
        let tree = if lower.is_empty() {
            let made = DirBuilder::new().mode(0o755).create(&upper);
            made.with_context(|| format!("making {}", upper.display()))?;
            Tree::open(&upper)?
        } else {
            let rootless = self.owners == Owners::Recorded;
            let overlay = Overlay { lower, upper: &upper, work: &work, volatile: false, rootless };
            Tree::from_fd(overlay.mount()?)
        };
        let mut applier = Applier::new(tree, self.owners, !lower.is_empty(), self.budget);
        let blob = self.layout.open_blob(&layer.descriptor)?;
        layer::read(blob, layer, self.budget, |content| applier.apply(content))?;
        drop(applier);
        if !lower.is_empty() {
            remove_tree(&work)?;
        }
        let size = (self.budget.bytes_used() - before).to_string();
        write_new(&directory.join("size"), size.as_bytes())?;
        // A layer in the store is not verified again, so it must be complete after a power failure
        // too.
        let open = File::open(directory).with_context(|| directory.display().to_string())?;
        rustix::fs::syncfs(&open).context("syncfs()")
    }
}
