//! Reads the blob of a layer: verifies its digest, uncompresses it, and verifies the DiffID.
//!
//! ```text
//!  thread 1                   thread 2             the caller
//!  reads the blob,      ──▶   computes      ──▶    reads the tar entries
//!  computes its digest,       the DiffID
//!  uncompresses
//!     ▲                                              │
//!     └──────────────── empty buffers ───────────────┘
//! ```
//!
//! Each of the three does about a third of the work, so each has a thread. The number of buffers is
//! fixed, so a layer of any size needs the same memory. The digests are known only at the end:
//! until [`read`] has returned without an error, the caller must not trust the content.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result, ensure};
use flate2::bufread::MultiGzDecoder;

use crate::budget::Budget;
use crate::compression::Compression;
use crate::digest::Digester;
use crate::image::Layer;
use crate::layout::BlobReader;

/// The size of a buffer, in bytes.
const BUFFER: usize = 256 << 10;
/// The number of buffers.
const BUFFERS: usize = 12;

/// Uncompresses a layer, passes the content to `consume`, and verifies it.
///
/// # Errors
/// Errors of reading and uncompressing; a digest, DiffID or size that is not the expected one; more
/// content than the budget allows; errors of `consume`.
pub fn read<T>(
    blob: BlobReader,
    layer: &Layer,
    budget: &Budget,
    consume: impl FnOnce(&mut LayerContent) -> Result<T>,
) -> Result<T> {
    let compression = Compression::of_media_type(layer.descriptor.media_type())?;
    let hasher = Digester::like(&layer.diff_id)?;
    let (to_hasher, hasher_input) = sync_channel::<Buffer>(BUFFERS);
    let (to_content, content_input) = sync_channel::<Buffer>(BUFFERS);
    let (give_back, empties) = sync_channel::<Buffer>(BUFFERS);
    for _ in 0..BUFFERS {
        give_back.send(Buffer::default())?;
    }
    thread::scope(|scope| {
        let mut content =
            LayerContent { input: content_input, give_back, present: Buffer::default() };
        let reading =
            scope.spawn(move || uncompress(blob, compression, budget, &empties, &to_hasher));
        let hashing = scope.spawn(move || hash(hasher, &hasher_input, &to_content));
        let consumed = consume(&mut content).and_then(|value| content.drain().map(|()| value));
        // The other threads end when they cannot send any more.
        drop(content);
        let read = reading.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))?;
        let found = hashing.join().map_err(|_| anyhow::anyhow!("the hashing thread panicked"))?;
        // A bad blob causes all later errors, so its error is returned first.
        read.with_context(|| format!("layer {}", layer.descriptor.digest()))?;
        let value = consumed.with_context(|| format!("layer {}", layer.descriptor.digest()))?;
        ensure!(
            found == layer.diff_id.as_ref(),
            "layer {}: the uncompressed content does not match its DiffID {}, it has {found}",
            layer.descriptor.digest(),
            layer.diff_id
        );
        Ok(value)
    })
}

/// A part of the uncompressed content.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The consumed length.
    used: usize,
}

/// The uncompressed content of a layer. When reading fails it ends early, and [`read`] returns the
/// error.
#[derive(Debug)]
pub struct LayerContent {
    input: Receiver<Buffer>,
    give_back: SyncSender<Buffer>,
    present: Buffer,
}

impl LayerContent {
    /// Reads to the end and discards the content.
    fn drain(&mut self) -> Result<()> {
        loop {
            let rest = self.fill_buf()?.len();
            if rest == 0 {
                return Ok(());
            }
            self.consume(rest);
        }
    }
}

impl Read for LayerContent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let take = available.len().min(buffer.len());
        buffer[..take].copy_from_slice(&available[..take]);
        self.consume(take);
        Ok(take)
    }
}

impl BufRead for LayerContent {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.present.used == self.present.bytes.len() {
            let next = self.input.recv().unwrap_or_default();
            let empty = std::mem::replace(&mut self.present, next);
            // This fails if the reading thread has ended.
            let _ = self.give_back.try_send(empty);
        }
        Ok(&self.present.bytes[self.present.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.present.used += amount;
    }
}

/// Thread 1. It ends without an error if the receiver of the content has ended.
fn uncompress(
    mut blob: BlobReader,
    compression: Compression,
    budget: &Budget,
    empties: &Receiver<Buffer>,
    output: &SyncSender<Buffer>,
) -> Result<()> {
    let buffered = BufReader::with_capacity(BUFFER, &mut blob);
    let ended = match compression {
        Compression::None => fill_buffers(buffered, budget, empties, output),
        Compression::Gzip => fill_buffers(MultiGzDecoder::new(buffered), budget, empties, output),
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(buffered)
            .context("zstd")
            .and_then(|decoder| fill_buffers(decoder, budget, empties, output)),
    };
    match ended {
        Ok(FillEnd::ReceiverEnded) => Ok(()),
        // Reads the rest of the blob, after the compressed data, to verify its digest. If the
        // content cannot be uncompressed, a wrong digest is the better error.
        Ok(FillEnd::SourceEnded) => {
            io::copy(&mut blob, &mut io::sink()).map(drop).context("reading")
        }
        Err(error) if error.is::<io::Error>() => {
            io::copy(&mut blob, &mut io::sink()).context("reading")?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// The reason why [`fill_buffers`] has ended.
enum FillEnd {
    /// The source has ended.
    SourceEnded,
    /// The receiver has ended.
    ReceiverEnded,
}

fn fill_buffers(
    mut source: impl Read,
    budget: &Budget,
    empties: &Receiver<Buffer>,
    output: &SyncSender<Buffer>,
) -> Result<FillEnd> {
    loop {
        let Ok(mut buffer) = empties.recv() else { return Ok(FillEnd::ReceiverEnded) };
        buffer.used = 0;
        buffer.bytes.resize(BUFFER, 0);
        let mut filled = 0;
        while filled < BUFFER {
            match source.read(&mut buffer.bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("uncompressing"),
            }
        }
        if filled == 0 {
            return Ok(FillEnd::SourceEnded);
        }
        buffer.bytes.truncate(filled);
        budget.use_bytes(filled as u64)?;
        if output.send(buffer).is_err() {
            return Ok(FillEnd::ReceiverEnded);
        }
    }
}

/// Thread 2. Returns the digest.
fn hash(mut hasher: Digester, input: &Receiver<Buffer>, output: &SyncSender<Buffer>) -> String {
    for buffer in input {
        hasher.update(&buffer.bytes);
        if output.send(buffer).is_err() {
            break;
        }
    }
    hasher.finish()
}
