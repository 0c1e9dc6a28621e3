//! Copying an image from anywhere to anywhere.
//!
//! First all manifests and indexes are read, which says which blobs there are: whatever is wrong with them is said before
//! anything is written (`plan`). Then the blobs go over, several at a time, those that are there already not at all.
//! Then the manifests, those that others refer to first, and at last the name. So whoever looks at the destination in
//! between sees the old image or the new one.

pub mod convert;
mod plan;
mod source;
mod target;
mod transfer;

use std::sync::Arc;

use anyhow::{Context, Result};
use oci_spec::image::Descriptor;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::layout::Layout;
use crate::packed::staged::Staged;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::Connection;

pub use source::Source;
use target::Target;
pub(crate) use target::spool_directory;

/// How to copy.
#[derive(Debug, Clone)]
pub struct Options {
    /// How to speak to registries.
    pub connection: Connection,
    /// Which image of several: that of a platform, or all. Without a wish, that of the host.
    pub selection: Selection,
    /// How many blobs at a time.
    pub jobs: usize,
    /// From how many bytes on a blob is uploaded in chunks, of that size; 0 for never.
    pub chunk: u64,
    /// Another repository of the destination's registry that may have some of the blobs.
    pub mount_from: Option<String>,
    /// How to tell what goes on.
    pub progress: Progress,
}

/// Which image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The one for the host. An image for one platform alone is taken whatever it is for.
    Host,
    /// The one for a platform, and no other.
    Platform(Platform),
    /// All of them, and the index.
    All,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connection: Connection::default(),
            selection: Selection::Host,
            jobs: 6,
            chunk: 64 << 20,
            mount_from: None,
            progress: Progress::Quiet,
        }
    }
}

/// Copies an image into a layout, under no name. Returns the descriptor of its manifest, or of the index of all.
///
/// # Errors
/// Anything about the source that is not right; the layout cannot be written.
pub fn copy(source: &Reference, destination: &Layout, options: &Options) -> Result<Descriptor> {
    runtime()?.block_on(async {
        let source = Source::open(source, &options.connection).await?;
        run(source, Target::Layout(destination.clone()), options).await
    })
}

/// Copies an image to where another reference says, under the name that it says.
///
/// # Errors
/// Anything about the source that is not right; the destination refuses or cannot be written.
pub fn copy_to(source: &Reference, destination: &Reference, options: &Options) -> Result<Descriptor> {
    runtime()?.block_on(async {
        let source = Source::open(source, &options.connection).await?;
        match destination {
            Reference::Layout(local) => {
                anyhow::ensure!(local.digest.is_none(), "{destination}: a destination has a name, not a digest");
                let layout = Layout::open_or_create(&local.path)?;
                let copied = run(source, Target::Layout(layout.clone()), options).await?;
                layout.tag(&copied, local.tag.as_deref())?;
                Ok(copied)
            }
            Reference::OciArchive(local) | Reference::DockerArchive(local) => {
                anyhow::ensure!(local.digest.is_none(), "{destination}: a destination has a name, not a digest");
                let staged = Staged::begin(&local.path)?;
                let copied = run(source, Target::Layout(staged.layout().clone()), options).await?;
                let for_docker = matches!(destination, Reference::DockerArchive(_));
                tokio::task::spawn_blocking({
                    let (local, copied) = (local.clone(), copied.clone());
                    move || {
                        if for_docker {
                            staged.finish_docker(&copied, &local)
                        } else {
                            staged.finish_oci(&copied, &local)
                        }
                    }
                })
                .await
                .context("writing the archive")??;
                Ok(copied)
            }
            Reference::Registry(remote) => {
                let target = Target::registry(remote, &source, options).await?;
                run(source, target, options).await
            }
        }
    })
}

/// The threads that registries are spoken to from.
///
/// # Errors
/// There are no threads to be had.
pub fn runtime() -> Result<Runtime> {
    let builder = &mut tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("starting threads")
}

async fn run(source: Source, target: Target, options: &Options) -> Result<Descriptor> {
    let source = Arc::new(source);
    let plan = plan::make(&source, &options.selection, target.takes_docker()).await?;
    target.check(&plan.root)?;
    let target = Arc::new(target);
    let allowed = Arc::new(Semaphore::new(options.jobs.max(1)));
    let mut tasks = JoinSet::new();
    for blob in plan.blobs {
        let (source, target, allowed) = (Arc::clone(&source), Arc::clone(&target), Arc::clone(&allowed));
        let (progress, chunk) = (options.progress.clone(), options.chunk);
        tasks.spawn(async move {
            let _one = allowed.acquire_owned().await?;
            let item = progress.item(&blob);
            let outcome = transfer::transfer(&source, &target, &blob, (chunk, &item)).await?;
            item.done(outcome);
            anyhow::Ok(())
        });
    }
    // The first error ends all the others: they are aborted with `tasks`.
    while let Some(done) = tasks.join_next().await {
        done.context("a copy")??;
    }
    for document in &plan.documents {
        target.put_document(document).await?;
    }
    Ok(plan.root)
}
