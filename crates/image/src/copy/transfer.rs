//! Copies one blob from the source to the destination.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use oci_spec::image::Descriptor;
use reqwest::StatusCode;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ImageSource;
use super::destination::{ImageDestination, PushRepository};
use crate::extent::Extent;
use crate::layout::{BlobWriter, Layout};
use crate::progress::{BlobOutcome, BlobProgress};
use crate::reference::RegistryReference;
use crate::registry::{ReceivedPart, Registry, RegistryError, UploadContent, UploadStart, backoff};

/// One blob that is copied.
pub struct BlobCopy<'a> {
    /// The source of the blob.
    pub source: &'a ImageSource,
    /// Its descriptor.
    pub blob: &'a Descriptor,
    /// The size of the chunks that it is uploaded in; 0 for one piece.
    pub chunk: u64,
    /// The display of the progress.
    pub progress: &'a Arc<BlobProgress>,
}

impl BlobCopy<'_> {
    /// Copies the blob, unless the destination has it.
    pub async fn run(&self, destination: &ImageDestination) -> Result<BlobOutcome> {
        match destination {
            ImageDestination::Layout(layout) => self.to_layout(layout).await,
            ImageDestination::Registry(repository) => self.to_registry(repository).await,
        }
    }

    async fn to_registry(&self, to: &PushRepository) -> Result<BlobOutcome> {
        let (registry, name) = (&to.registry, to.remote.repository.as_str());
        if registry.has_blob(name, self.blob).await? {
            return Ok(BlobOutcome::Present);
        }
        let start = registry.start_upload(name, self.blob, to.mount_from.as_deref()).await?;
        if matches!(start, UploadStart::Mounted) {
            return Ok(BlobOutcome::Mounted);
        }
        if let Some(extent) = self.source.extent(self.blob)? {
            registry.upload(name, self.blob, self.content(&extent), start).await?;
            return Ok(BlobOutcome::Copied);
        }
        let Some(spool) = &to.spool else {
            bail!("{}: there is no directory for blob {}", self.source, self.blob.digest())
        };
        self.to_layout(spool).await?;
        let extent = spool.blob_extent(self.blob)?;
        registry.upload(name, self.blob, self.content(&extent), start).await?;
        let path = spool.blob_path(self.blob.digest());
        fs::remove_file(&path).with_context(|| path.display().to_string())?;
        Ok(BlobOutcome::Copied)
    }

    fn content<'b>(&'b self, extent: &'b Extent) -> UploadContent<'b> {
        UploadContent { extent, chunk: self.chunk, progress: self.progress }
    }

    async fn to_layout(&self, layout: &Layout) -> Result<BlobOutcome> {
        let mut may_restart = true;
        loop {
            let Some(mut sink) = BlobSink::begin(layout, self.blob).await? else {
                return Ok(BlobOutcome::Present);
            };
            let resumed = sink.written > 0;
            self.fetch(&mut sink).await.with_context(|| self.source.to_string())?;
            match sink.finish().await {
                Ok(()) => return Ok(BlobOutcome::Copied),
                // The part that an earlier copy left was wrong. `finish` has removed it.
                Err(_) if resumed && may_restart => may_restart = false,
                Err(error) => return Err(error).with_context(|| self.source.to_string()),
            }
        }
    }

    async fn fetch(&self, sink: &mut BlobSink) -> Result<()> {
        match (self.source, self.source.extent(self.blob)?) {
            (_, Some(extent)) => self.read(extent, sink).await,
            (ImageSource::Registry(registry, from), None) => self.pull(registry, from, sink).await,
            (_, None) => bail!("there is no blob {}", self.blob.digest()),
        }
    }

    async fn read(&self, extent: Extent, sink: &mut BlobSink) -> Result<()> {
        let mut rest = extent.part(sink.written, extent.length());
        while rest.length() > 0 {
            let read = move || {
                let mut buffer = vec![0; READ_SIZE];
                let count = rest.read(&mut buffer)?;
                buffer.truncate(count);
                Ok::<_, std::io::Error>((buffer, rest))
            };
            let buffer;
            (buffer, rest) = tokio::task::spawn_blocking(read).await??;
            sink.send(Bytes::from(buffer)).await?;
            self.progress.set_position(sink.written);
        }
        Ok(())
    }

    /// Gets the blob from a registry. After a connection failure it continues at the byte where it
    /// stopped.
    async fn pull(
        &self,
        registry: &Registry,
        from: &RegistryReference,
        sink: &mut BlobSink,
    ) -> Result<()> {
        let (digest, size) = (self.blob.digest(), self.blob.size());
        let mut backoff = registry.backoff();
        let mut furthest = sink.written;
        while sink.written < size {
            let error = match self.pull_once(registry, from, sink).await {
                Ok(()) if sink.written == size => break,
                Ok(()) => {
                    anyhow::anyhow!("blob {digest} ends after {} of {size} bytes", sink.written)
                }
                Err(error) if backoff::is_temporary(&error) => error,
                // The registry has fewer bytes than we have, so our bytes are not a part of its
                // blob.
                Err(error) if RegistryError::is(&error, StatusCode::RANGE_NOT_SATISFIABLE) => {
                    sink.restart().await?;
                    error
                }
                Err(error) => return Err(error),
            };
            if sink.written > furthest + READ_SIZE as u64 {
                furthest = sink.written;
                backoff = registry.backoff();
            }
            backoff.wait(error, None).await?;
        }
        Ok(())
    }

    async fn pull_once(
        &self,
        registry: &Registry,
        from: &RegistryReference,
        sink: &mut BlobSink,
    ) -> Result<()> {
        let (part, mut response) = registry.blob(&from.repository, self.blob, sink.written).await?;
        if part == ReceivedPart::Whole && sink.written > 0 {
            sink.restart().await?;
        }
        let doing = || format!("blob {}", self.blob.digest());
        while let Some(chunk) = response.chunk().await.with_context(doing)? {
            sink.send(chunk).await?;
            self.progress.set_position(sink.written);
        }
        Ok(())
    }
}

/// The bytes of a file that are read at once.
const READ_SIZE: usize = 1 << 20;

/// Writes a blob in a thread of its own, since hashing and disks would block the threads that wait
/// for the network.
struct BlobSink {
    sender: mpsc::Sender<WriterMessage>,
    writer: Option<JoinHandle<Result<BlobWriter>>>,
    written: u64,
}

/// The messages to the writing thread.
enum WriterMessage {
    Data(Bytes),
    /// Removes the written part and begins again.
    Restart,
}

impl BlobSink {
    /// Begins a blob. Returns `None` if the layout has it.
    async fn begin(layout: &Layout, blob: &Descriptor) -> Result<Option<Self>> {
        let begin = {
            let (layout, blob) = (layout.clone(), blob.clone());
            move || layout.begin_blob(&blob)
        };
        let Some(mut writer) = tokio::task::spawn_blocking(begin).await?? else { return Ok(None) };
        let written = writer.written();
        let (sender, mut messages) = mpsc::channel(16);
        let write = move || {
            while let Some(message) = messages.blocking_recv() {
                match message {
                    WriterMessage::Data(bytes) => {
                        writer.write_all(&bytes).context("writing a blob")?;
                    }
                    WriterMessage::Restart => writer.restart()?,
                }
            }
            Ok(writer)
        };
        Ok(Some(Self { sender, writer: Some(tokio::task::spawn_blocking(write)), written }))
    }

    async fn send(&mut self, bytes: Bytes) -> Result<()> {
        let count = bytes.len() as u64;
        self.send_message(WriterMessage::Data(bytes)).await?;
        self.written += count;
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        self.send_message(WriterMessage::Restart).await?;
        self.written = 0;
        Ok(())
    }

    async fn send_message(&mut self, message: WriterMessage) -> Result<()> {
        if self.sender.send(message).await.is_ok() {
            return Ok(());
        }
        // The writing thread has ended early. Its error is the reason.
        if let Some(writer) = self.writer.take() {
            writer.await??;
        }
        bail!("the thread that writes a blob has ended")
    }

    /// Verifies the blob and renames it to its final name.
    async fn finish(self) -> Result<()> {
        drop(self.sender);
        let Some(writer) = self.writer else { bail!("the thread that writes a blob has ended") };
        let writer = writer.await??;
        tokio::task::spawn_blocking(move || writer.commit()).await?
    }
}
