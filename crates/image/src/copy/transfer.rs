//! One blob, from the source to the target.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use oci_spec::image::Descriptor;
use reqwest::StatusCode;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Source;
use super::target::{Repository, Target};
use crate::extent::Extent;
use crate::layout::{BlobWriter, Layout};
use crate::progress::{Item, Outcome};
use crate::reference::Remote;
use crate::registry::{Content, Range, Registry, RegistryError, Start, retry};

/// Brings a blob over, unless it is there.
pub async fn transfer(
    source: &Source,
    target: &Target,
    blob: &Descriptor,
    (chunk, item): (u64, &Arc<Item>),
) -> Result<Outcome> {
    match target {
        Target::Layout(layout) => into_layout(source, layout, blob, item).await,
        Target::Registry(repository) => {
            into_registry(source, repository, blob, (chunk, item)).await
        }
    }
}

async fn into_registry(
    source: &Source,
    to: &Repository,
    blob: &Descriptor,
    (chunk, item): (u64, &Arc<Item>),
) -> Result<Outcome> {
    let (registry, name) = (&to.registry, to.remote.repository.as_str());
    if registry.has_blob(name, blob).await? {
        return Ok(Outcome::Present);
    }
    let start = registry.start_upload(name, blob, to.mount_from.as_deref()).await?;
    if matches!(start, Start::Mounted) {
        return Ok(Outcome::Mounted);
    }
    if let Some(extent) = source.extent(blob)? {
        registry.upload(name, blob, Content { extent: &extent, chunk, item }, start).await?;
        return Ok(Outcome::Copied);
    }
    let Some(spool) = &to.spool else {
        bail!("{source}: there is no place for blob {}", blob.digest())
    };
    into_layout(source, spool, blob, item).await?;
    let extent = spool.blob_extent(blob)?;
    registry.upload(name, blob, Content { extent: &extent, chunk, item }, start).await?;
    let path = spool.blob_path(blob.digest());
    fs::remove_file(&path).with_context(|| path.display().to_string())?;
    Ok(Outcome::Copied)
}

async fn into_layout(
    source: &Source,
    layout: &Layout,
    blob: &Descriptor,
    item: &Arc<Item>,
) -> Result<Outcome> {
    let mut again = true;
    loop {
        let Some(mut sink) = Sink::begin(layout, blob).await? else { return Ok(Outcome::Present) };
        let taken_up = sink.written > 0;
        fetch(source, &mut sink, blob, item).await.with_context(|| source.to_string())?;
        match sink.finish().await {
            Ok(()) => return Ok(Outcome::Copied),
            // What an earlier copy left was the beginning of something else. It is gone now.
            Err(_) if taken_up && again => again = false,
            Err(error) => return Err(error).with_context(|| source.to_string()),
        }
    }
}

async fn fetch(
    source: &Source,
    sink: &mut Sink,
    blob: &Descriptor,
    item: &Arc<Item>,
) -> Result<()> {
    match (source, source.extent(blob)?) {
        (_, Some(extent)) => read(extent, sink, item).await,
        (Source::Registry(registry, remote), None) => {
            pull(registry, remote, sink, (blob, item)).await
        }
        (_, None) => bail!("there is no blob {}", blob.digest()),
    }
}

async fn read(extent: Extent, sink: &mut Sink, item: &Arc<Item>) -> Result<()> {
    let mut rest = extent.part(sink.written, extent.length());
    while rest.length() > 0 {
        let read = move || {
            let mut buffer = vec![0; PIECE];
            let count = rest.read(&mut buffer)?;
            buffer.truncate(count);
            Ok::<_, std::io::Error>((buffer, rest))
        };
        let buffer;
        (buffer, rest) = tokio::task::spawn_blocking(read).await??;
        sink.send(Bytes::from(buffer)).await?;
        item.at(sink.written);
    }
    Ok(())
}

/// Gets a blob from a registry. When the line breaks it goes on where it was.
async fn pull(
    registry: &Registry,
    remote: &Remote,
    sink: &mut Sink,
    (blob, item): (&Descriptor, &Arc<Item>),
) -> Result<()> {
    let mut pause = registry.pause();
    let mut furthest = sink.written;
    while sink.written < blob.size() {
        let error = match pull_once(registry, remote, sink, (blob, item)).await {
            Ok(()) if sink.written == blob.size() => break,
            Ok(()) => anyhow::anyhow!(
                "blob {} ends after {} of {} bytes",
                blob.digest(),
                sink.written,
                blob.size()
            ),
            Err(error) if retry::is_passing(&error) => error,
            // What we have is not a part of what the registry has.
            Err(error) if RegistryError::is(&error, StatusCode::RANGE_NOT_SATISFIABLE) => {
                sink.restart().await?;
                error
            }
            Err(error) => return Err(error),
        };
        if sink.written > furthest + PIECE as u64 {
            furthest = sink.written;
            pause = registry.pause();
        }
        pause.wait(error, None).await?;
    }
    Ok(())
}

async fn pull_once(
    registry: &Registry,
    remote: &Remote,
    sink: &mut Sink,
    (blob, item): (&Descriptor, &Arc<Item>),
) -> Result<()> {
    let (range, mut response) = registry.blob(&remote.repository, blob, sink.written).await?;
    if range == Range::Whole && sink.written > 0 {
        sink.restart().await?;
    }
    let doing = || format!("blob {}", blob.digest());
    while let Some(chunk) = response.chunk().await.with_context(doing)? {
        sink.send(chunk).await?;
        item.at(sink.written);
    }
    Ok(())
}

/// How much of a file is read at once, in bytes.
const PIECE: usize = 1 << 20;

/// A blob that is being written, by a thread of its own: hashing and disks are not for the threads
/// that wait for networks.
struct Sink {
    sender: mpsc::Sender<Piece>,
    writer: Option<JoinHandle<Result<BlobWriter>>>,
    written: u64,
}

enum Piece {
    Data(Bytes),
    Restart,
}

impl Sink {
    /// Nothing if the blob is there.
    async fn begin(layout: &Layout, blob: &Descriptor) -> Result<Option<Self>> {
        let begin = {
            let (layout, blob) = (layout.clone(), blob.clone());
            move || layout.begin_blob(&blob)
        };
        let Some(mut writer) = tokio::task::spawn_blocking(begin).await?? else { return Ok(None) };
        let written = writer.written();
        let (sender, mut pieces) = mpsc::channel(16);
        let write = move || {
            while let Some(piece) = pieces.blocking_recv() {
                match piece {
                    Piece::Data(bytes) => writer.write_all(&bytes).context("writing a blob")?,
                    Piece::Restart => writer.restart()?,
                }
            }
            Ok(writer)
        };
        Ok(Some(Self { sender, writer: Some(tokio::task::spawn_blocking(write)), written }))
    }

    async fn send(&mut self, bytes: Bytes) -> Result<()> {
        let count = bytes.len() as u64;
        self.pass_on(Piece::Data(bytes)).await?;
        self.written += count;
        Ok(())
    }

    /// From the beginning.
    async fn restart(&mut self) -> Result<()> {
        self.pass_on(Piece::Restart).await?;
        self.written = 0;
        Ok(())
    }

    async fn pass_on(&mut self, piece: Piece) -> Result<()> {
        if self.sender.send(piece).await.is_ok() {
            return Ok(());
        }
        // The writer has ended before its time, and knows why.
        if let Some(writer) = self.writer.take() {
            writer.await??;
        }
        bail!("the writer of a blob is gone")
    }

    /// Gives the blob its name.
    async fn finish(self) -> Result<()> {
        drop(self.sender);
        let Some(writer) = self.writer else { bail!("the writer of a blob is gone") };
        let writer = writer.await??;
        tokio::task::spawn_blocking(move || writer.commit()).await?
    }
}
