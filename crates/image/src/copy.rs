//! Copies an image between registries, layouts and archives.
//!
//! 1. `plan` reads all manifests and indexes, which name the blobs. Errors in them are found before
//!    anything is written.
//! 2. `transfer` copies the blobs, several at the same time, except those that the destination has.
//! 3. The manifests are written, each after those that it refers to, and then the name. So a reader
//!    of the destination sees either the old image or the new one.

mod destination;
mod plan;
mod source;
pub mod to_oci;
mod transfer;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::{Either, select};
use oci_spec::image::Descriptor;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::budget::Budget;
use crate::image_archive::writer::ArchiveWriter;
use crate::interrupt;
use crate::layout::{CreatedDirectories, Layout};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::{PathFormat, PathReference, Reference, RegistryReference};
use crate::registry::Connection;

use destination::ImageDestination;
pub(crate) use destination::spool_directory;
pub(crate) use plan::check_platform;
pub use source::ImageSource;
use transfer::BlobCopy;

/// The default limit of the decompressed bytes of a compressed archive.
pub const MAX_SIZE: u64 = 64 << 30;

/// The options of a copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The connection to the source's registry.
    pub source: Connection,
    /// The connection to the destination's registry.
    pub destination: Connection,
    /// The selected images of an index.
    pub selection: Selection,
    /// The number of blobs that are copied at the same time.
    pub jobs: usize,
    /// The size of chunks for the upload of larger blobs; 0 for no chunks.
    pub chunk: u64,
    /// Another repository of the destination's registry, to mount blobs from.
    pub mount_from: Option<String>,
    /// The limit on decompressed bytes of a compressed archive, and of the layers if an archive has
    /// them uncompressed.
    pub max_size: u64,
    /// The form of the progress.
    pub progress: Progress,
}

/// The selected images of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The image for the host. The platform of an image that is not in an index is not checked.
    Host,
    /// The image for this platform. The platform of an image that is not in an index is checked
    /// too.
    Platform(Platform),
    /// All images, and the index.
    All,
}

impl Default for CopyOptions {
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

/// Copies an image into a layout, without a name. Returns the descriptor of its manifest, or of the
/// index if all are copied.
///
/// # Errors
/// The source is missing, wrong or incomplete; the layout cannot be written.
pub fn copy(source: &Reference, destination: &Layout, options: &CopyOptions) -> Result<Descriptor> {
    block_on(async {
        let source = ImageSource::open(source, &options.source, options.max_size).await?;
        run(source, ImageDestination::Layout(destination.clone()), options).await
    })
}

/// Copies an image to another reference, with the name in that reference.
///
/// # Errors
/// The source is missing, wrong or incomplete; the destination refuses the image or cannot be
/// written.
pub fn copy_to(
    source: &Reference,
    destination: &Reference,
    options: &CopyOptions,
) -> Result<Descriptor> {
    let prepared = PreparedDestination::prepare(destination, source)?;
    let copied = block_on(async {
        let source = ImageSource::open(source, &options.source, options.max_size).await?;
        let destination = prepared.open(&source, options).await?;
        run(source, destination, options).await
    });
    let copied = copied.inspect_err(|_| prepared.abandon())?;
    prepared.complete(&copied, options)?;
    Ok(copied)
}

/// The destination of a copy, with its temporary directory.
enum PreparedDestination<'a> {
    /// With a directory for the blobs, if they come from a registry as well.
    Registry(&'a RegistryReference, Option<TempDir>),
    /// With the directories to remove if the copy fails.
    Layout(&'a PathReference, Option<CreatedDirectories<'a>>),
    OciArchive(&'a PathReference, ArchiveWriter),
    DockerArchive(&'a PathReference, ArchiveWriter),
}

impl<'a> PreparedDestination<'a> {
    fn prepare(reference: &'a Reference, source: &Reference) -> Result<Self> {
        let local = match reference {
            Reference::Registry(remote) => {
                let directory = || {
                    tempfile::Builder::new().prefix("orlop-image-").tempdir_in(spool_directory())
                };
                let spool = matches!(source, Reference::Registry(_)).then(directory).transpose();
                return Ok(Self::Registry(remote, spool.context("making a temporary directory")?));
            }
            Reference::Path(local) => local,
        };
        ensure!(local.digest.is_none(), "{reference}: a destination has a name, not a digest");
        Ok(match local.format {
            PathFormat::Layout => Self::Layout(local, CreatedDirectories::of(&local.path)?),
            PathFormat::OciArchive => Self::OciArchive(local, ArchiveWriter::begin(&local.path)?),
            PathFormat::DockerArchive => {
                Self::DockerArchive(local, ArchiveWriter::begin(&local.path)?)
            }
        })
    }

    /// Opens it for writing.
    async fn open(&self, source: &ImageSource, options: &CopyOptions) -> Result<ImageDestination> {
        match self {
            Self::Registry(remote, spool) => {
                let spool = spool
                    .as_ref()
                    .map(|directory| Layout::open_or_create(directory.path()))
                    .transpose()?;
                ImageDestination::registry(remote, source, options, spool).await
            }
            Self::Layout(local, _) => {
                Ok(ImageDestination::Layout(Layout::open_or_create(&local.path)?))
            }
            Self::OciArchive(_, staged) | Self::DockerArchive(_, staged) => {
                Ok(ImageDestination::Layout(staged.layout().clone()))
            }
        }
    }

    /// Gives the copied image its name.
    fn complete(self, copied: &Descriptor, options: &CopyOptions) -> Result<()> {
        match self {
            Self::Registry(..) => Ok(()),
            Self::Layout(local, _) => Layout::open(&local.path)?.tag(copied, local.tag.as_deref()),
            Self::OciArchive(local, staged) => staged.finish_oci(copied, local),
            Self::DockerArchive(local, staged) => staged.finish_docker(
                copied,
                local,
                &Budget::of_bytes(options.max_size, interrupt::watch()?),
            ),
        }
    }

    /// Removes a layout that did not exist before the copy. The other kinds are removed when they
    /// are dropped.
    fn abandon(&self) {
        if let Self::Layout(_, Some(created)) = self {
            created.remove();
        }
    }
}

/// Runs `work` until it ends or a signal arrives. When it returns, all threads of `work` have
/// ended. So none writes to files that are removed next, and the process may enter a user
/// namespace, which requires a single thread.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let stop = interrupt::watch()?;
    let stopped = async {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    start_tokio()?.block_on(async {
        match select(pin!(work), pin!(stopped)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => bail!("interrupted"),
        }
    })
}

/// The threads that use the network.
///
/// # Errors
/// No threads can be started.
pub fn start_tokio() -> Result<tokio::runtime::Runtime> {
    let builder = &mut tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("starting threads")
}

async fn run(
    source: ImageSource,
    destination: ImageDestination,
    options: &CopyOptions,
) -> Result<Descriptor> {
    let source = Arc::new(source);
    let plan = plan::make(&source, &options.selection, destination.takes_docker()).await?;
    destination.check(&plan.root)?;
    let destination = Arc::new(destination);
    let permits = Arc::new(Semaphore::new(options.jobs.max(1)));
    let mut tasks = JoinSet::new();
    for blob in plan.blobs {
        let (source, destination, permits) =
            (Arc::clone(&source), Arc::clone(&destination), Arc::clone(&permits));
        let (progress, chunk) = (options.progress.clone(), options.chunk);
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await?;
            let progress = progress.begin_blob(&blob);
            let copy = BlobCopy { source: &source, blob: &blob, chunk, progress: &progress };
            progress.finish(copy.run(&destination).await?);
            anyhow::Ok(())
        });
    }
    // After the first error, `tasks` is dropped, which aborts the others.
    while let Some(done) = tasks.join_next().await {
        done.context("a copy")??;
    }
    for document in &plan.documents {
        destination.put_document(document).await?;
    }
    Ok(plan.root)
}
