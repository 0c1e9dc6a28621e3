//! Removing what nobody needs: what killed runs have left, layers and blobs of no image, and on
//! demand all images that no container is using.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::Store;
use super::container::LAYERS;
use super::record::Record;
use crate::bundle::remove_tree;
use crate::layout::Layout;
use crate::runtime::Runtime;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Containers that were not running.
    pub containers: usize,
    /// References.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// Blobs of fetched images.
    pub blobs: usize,
    /// The bytes of both, those of layers as in their archives.
    pub bytes: u64,
}

impl Store {
    /// Removes what nobody needs. With `all`, an image is only needed by containers that run.
    ///
    /// # Errors
    /// Something cannot be looked at or removed.
    pub fn collect(&self, runtime: &Runtime, all: bool) -> Result<Removed> {
        let _guard = self.collecting()?;
        let mut removed = Removed::default();
        let mut needed = self.collect_containers(runtime, &mut removed)?;
        let mut kept = Vec::new();
        self.forget_nonsense()?;
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

    /// Gives the layers that running containers stand on.
    fn collect_containers(
        &self,
        runtime: &Runtime,
        removed: &mut Removed,
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

    fn collect_layers(&self, needed: &BTreeSet<String>, removed: &mut Removed) -> Result<()> {
        let directory = self.root.join("layers");
        for name in entries(&directory)? {
            // What is being made belongs to nobody while we have the lock; nor do locks.
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

    fn collect_blobs(&self, kept: &[Record], removed: &mut Removed) -> Result<()> {
        let Ok(layout) = Layout::open(&self.layout()) else { return Ok(()) };
        let mut needed = BTreeSet::new();
        for record in kept {
            // An image of a layout elsewhere has no manifest here.
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

/// The names in a directory, which may be missing.
fn entries(directory: &Path) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| directory.display().to_string()),
    }
}

/// Whether a `run` or its runtime lives.
fn is_locked(path: &Path) -> Result<bool> {
    let Ok(file) = File::open(path) else { return Ok(false) };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno).with_context(|| path.display().to_string()),
    }
}

/// Whether the container lives though its `run` does not. One that does not is deleted.
///
/// # Errors
/// The runtime cannot be run, or does not say.
pub fn is_running(runtime: &Runtime, id: &str) -> Result<bool> {
    let failed = || format!("running {}", runtime.show());
    let state =
        runtime.command().args(["state", id]).stdin(Stdio::null()).output().with_context(failed)?;
    if !state.status.success() {
        let said = String::from_utf8_lossy(&state.stderr);
        // Any other failure says nothing about the container.
        ensure!(
            said.contains("does not exist"),
            "{} state {id} failed: {}",
            runtime.show(),
            said.trim()
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
