//! Copying an image from anywhere to anywhere.
//!
//! First all manifests and indexes are read, which says which blobs there are: whatever is wrong
//! with them is said before anything is written (`plan`). Then the blobs go over, several at a
//! time, those that are there already not at all. Then the manifests, those that others refer to
//! first, and at last the name. So whoever looks at the destination in between sees the old image
//! or the new one.

pub mod convert;
mod plan;
mod source;
mod target;
mod transfer;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::{Either, select};
use oci_spec::image::Descriptor;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::interrupt;
use crate::layer::Budget;
use crate::layout::{Fresh, Layout};
use crate::packed::staged::Staged;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::{Local, Reference, Remote};
use crate::registry::Connection;

pub(crate) use plan::check_platform;
pub use source::Source;
use target::Target;
pub(crate) use target::spool_directory;

/// How many bytes may come of what is compressed, unless somebody says otherwise.
pub const MAX_SIZE: u64 = 64 << 30;

/// How to copy.
#[derive(Debug, Clone)]
pub struct Options {
    /// How to speak to the source's registry.
    pub source: Connection,
    /// How to speak to the destination's.
    pub destination: Connection,
    /// Which image of several: that of a platform, or all. Without a wish, that of the host.
    pub selection: Selection,
    /// How many blobs at a time.
    pub jobs: usize,
    /// From how many bytes on a blob is uploaded in chunks, of that size; 0 for never.
    pub chunk: u64,
    /// Another repository of the destination's registry that may have some of the blobs.
    pub mount_from: Option<String>,
    /// How many bytes may come of a compressed archive, and of the layers of one that has them
    /// uncompressed.
    pub max_size: u64,
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
            source: Connection::default(),
            destination: Connection::default(),
            selection: Selection::Host,
            jobs: 6,
            chunk: 64 << 20,
            mount_from: None,
            max_size: MAX_SIZE,
            progress: Progress::Quiet,
        }
    }
}

/// Copies an image into a layout, under no name. Returns the descriptor of its manifest, or of the
/// index of all.
///
/// # Errors
/// Anything about the source that is not right; the layout cannot be written.
pub fn copy(source: &Reference, destination: &Layout, options: &Options) -> Result<Descriptor> {
    finish(async {
        let source = Source::open(source, &options.source, options.max_size).await?;
        run(source, Target::Layout(destination.clone()), options).await
    })
}

/// Copies an image to where another reference says, under the name that it says.
///
/// # Errors
/// Anything about the source that is not right; the destination refuses or cannot be written.
pub fn copy_to(
    source: &Reference,
    destination: &Reference,
    options: &Options,
) -> Result<Descriptor> {
    let prepared = Destination::prepare(destination, source)?;
    let copied = finish(async {
        let source = Source::open(source, &options.source, options.max_size).await?;
        let target = prepared.target(&source, options).await?;
        run(source, target, options).await
    });
    let copied = copied.inspect_err(|_| prepared.abandon())?;
    prepared.complete(&copied, options)?;
    Ok(copied)
}

/// Where a copy goes to, made ready for it.
enum Destination<'a> {
    /// With a directory for what comes from another registry.
    Registry(&'a Remote, Option<TempDir>),
    /// With what is to be removed if it fails.
    Layout(&'a Local, Option<Fresh<'a>>),
    OciArchive(&'a Local, Staged),
    DockerArchive(&'a Local, Staged),
}

impl<'a> Destination<'a> {
    fn prepare(reference: &'a Reference, source: &Reference) -> Result<Self> {
        let named = |local: &Local| -> Result<()> {
            ensure!(local.digest.is_none(), "{reference}: a destination has a name, not a digest");
            Ok(())
        };
        match reference {
            Reference::Registry(remote) => {
                let directory = || {
                    tempfile::Builder::new().prefix("orlop-image-").tempdir_in(spool_directory())
                };
                let spool = matches!(source, Reference::Registry(_)).then(directory).transpose();
                Ok(Self::Registry(remote, spool.context("making a temporary directory")?))
            }
            Reference::Layout(local) => {
                named(local)?;
                Ok(Self::Layout(local, Fresh::of(&local.path)?))
            }
            Reference::OciArchive(local) => {
                named(local)?;
                Ok(Self::OciArchive(local, Staged::begin(&local.path)?))
            }
            Reference::DockerArchive(local) => {
                named(local)?;
                Ok(Self::DockerArchive(local, Staged::begin(&local.path)?))
            }
        }
    }

    /// Where the blobs are written to.
    async fn target(&self, source: &Source, options: &Options) -> Result<Target> {
        match self {
            Self::Registry(remote, spool) => {
                let spool = spool
                    .as_ref()
                    .map(|directory| Layout::open_or_create(directory.path()))
                    .transpose()?;
                Target::registry(remote, source, options, spool).await
            }
            Self::Layout(local, _) => Ok(Target::Layout(Layout::open_or_create(&local.path)?)),
            Self::OciArchive(_, staged) | Self::DockerArchive(_, staged) => {
                Ok(Target::Layout(staged.layout().clone()))
            }
        }
    }

    /// Gives what has been copied its name.
    fn complete(self, copied: &Descriptor, options: &Options) -> Result<()> {
        match self {
            Self::Registry(..) => Ok(()),
            Self::Layout(local, _) => Layout::open(&local.path)?.tag(copied, local.tag.as_deref()),
            Self::OciArchive(local, staged) => staged.finish_oci(copied, local),
            Self::DockerArchive(local, staged) => staged.finish_docker(
                copied,
                local,
                Budget::new(options.max_size, interrupt::watch()?),
            ),
        }
    }

    /// After a failure: a layout that was not there before is gone again, as the others are by
    /// themselves.
    fn abandon(&self) {
        if let Self::Layout(_, Some(fresh)) = self {
            fresh.remove();
        }
    }
}

/// Does it, unless a signal wants us to end. No thread is left then: none writes to what is being
/// removed next, and who enters a user namespace next is alone.
fn finish<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let stop = interrupt::watch()?;
    let stopped = async {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    runtime()?.block_on(async {
        match select(pin!(work), pin!(stopped)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => bail!("interrupted"),
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
        let (source, target, allowed) =
            (Arc::clone(&source), Arc::clone(&target), Arc::clone(&allowed));
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
