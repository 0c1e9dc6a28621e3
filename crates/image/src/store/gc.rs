//! Garbage collection: removes leftovers of killed runs, and layers and blobs that no image has. On
//! request it also removes all images that no container uses.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::Store;
use super::container::LAYERS;
use super::record::ImageRecord;
use crate::bundle::remove_tree;
use crate::layout::Layout;
use crate::runtime::OciRuntime;

/// The removed objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcSummary {
    /// Containers that were not running.
    pub containers: usize,
    /// Records of images.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// Blobs of fetched images.
    pub blobs: usize,
    /// The bytes of layers (of their tar archives) and of blobs.
    pub bytes: u64,
}

impl Store {
    /// Removes objects that are not needed. With `all`, images are needed only by running
    /// containers.
    ///
    /// # Errors
    /// An object cannot be examined or removed.
    pub fn collect(&self, runtime: &OciRuntime, all: bool) -> Result<GcSummary> {
        let _guard = self.lock_exclusive()?;
        let mut removed = GcSummary::default();
        let mut needed = self.collect_containers(runtime, &mut removed)?;
        let mut kept = Vec::new();
        self.remove_malformed()?;
        for (record, _) in self.records()? {
            if all && !record.layers.last().is_some_and(|top| needed.contains(top.digest())) {
                self.forget(&record)?;
                removed.images += 1;
            } else {
                kept.push(record);
            }
        }
        needed
            .extend(kept.iter().flat_map(|record| &record.layers).map(|id| id.digest().to_owned()));
        self.collect_layers(&needed, &mut removed)?;
        self.collect_blobs(&kept, &mut removed)?;
        for entry in entries(&self.root.join("specs"))?.into_iter().chain(entries(&self.root)?) {
            if entry.starts_with('.') {
                remove_tree(&self.root.join(entry))?;
            }
        }
        Ok(removed)
    }

    /// Removes containers that do not run. Returns the layers of the others.
    fn collect_containers(
        &self,
        runtime: &OciRuntime,
        removed: &mut GcSummary,
    ) -> Result<BTreeSet<String>> {
        let mut needed = BTreeSet::new();
        let directory = self.root.join("containers");
        for id in entries(&directory)? {
            let path = directory.join(&id);
            let layers = path.join(LAYERS);
            if is_locked(&layers)? || is_running(runtime, &id)? {
                let layers = fs::read_to_string(layers).unwrap_or_default();
                needed.extend(
                    layers.lines().filter_map(|line| Some(line.split_once(':')?.1.to_owned())),
                );
                continue;
            }
            remove_tree(&path)?;
            removed.containers += 1;
        }
        Ok(needed)
    }

    fn collect_layers(&self, needed: &BTreeSet<String>, removed: &mut GcSummary) -> Result<()> {
        let directory = self.root.join("layers");
        for name in entries(&directory)? {
            // Temporary directories and lock files are removed too: we have the exclusive lock.
            if needed.contains(&name) {
                continue;
            }
            let path = directory.join(&name);
            if let Ok(size) = fs::read_to_string(path.join("size")) {
                removed.layers += 1;
                removed.bytes += size.parse::<u64>().unwrap_or(0);
            }
            remove_tree(&path)?;
        }
        Ok(())
    }

    fn collect_blobs(&self, kept: &[ImageRecord], removed: &mut GcSummary) -> Result<()> {
        let Ok(layout) = Layout::open(&self.layout()) else { return Ok(()) };
        let mut needed = BTreeSet::new();
        for record in kept {
            // An image that was run from another layout has no manifest here.
            if let Ok(manifest) = layout.read_manifest(&record.manifest) {
                let blobs = manifest.layers().iter().chain([manifest.config(), &record.manifest]);
                needed.extend(blobs.map(|blob| blob.digest().digest().to_owned()));
            }
        }
        for algorithm in ["sha256", "sha512"] {
            let directory = layout.root().join("blobs").join(algorithm);
            for name in entries(&directory)? {
                if !needed.contains(&name) {
                    let path = directory.join(&name);
                    removed.bytes += path.metadata().map_or(0, |status| status.len());
                    removed.blobs += 1;
                    remove_tree(&path)?;
                }
            }
        }
        remove_tree(&layout.root().join(".orlop-partial"))
    }
}

/// The names in a directory; none if it does not exist.
fn entries(directory: &Path) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| directory.display().to_string()),
    }
}

/// Whether `run` of the container, or its runtime, is alive.
fn is_locked(path: &Path) -> Result<bool> {
    let Ok(file) = File::open(path) else { return Ok(false) };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno).with_context(|| path.display().to_string()),
    }
}

/// Whether the container runs although its `run` does not. A stopped container is deleted.
///
/// # Errors
/// The runtime cannot be run, or fails.
pub fn is_running(runtime: &OciRuntime, id: &str) -> Result<bool> {
    let failed = || format!("running {}", runtime.show());
    let state =
        runtime.command().args(["state", id]).stdin(Stdio::null()).output().with_context(failed)?;
    if !state.status.success() {
        let message = String::from_utf8_lossy(&state.stderr);
        // Any other error gives no information about the container.
        ensure!(
            message.contains("does not exist"),
            "{} state {id} failed: {}",
            runtime.show(),
            message.trim()
        );
        return Ok(false);
    }
    let state: Value =
        serde_json::from_slice(&state.stdout).with_context(|| format!("the state of {id}"))?;
    if state["status"] != "stopped" {
        return Ok(true);
    }
    let delete = runtime.command().args(["delete", "--force", id]).stdin(Stdio::null()).output();
    delete.with_context(failed).map(|_| false)
}
