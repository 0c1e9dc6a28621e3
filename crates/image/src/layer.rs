//! A layer's blob on its way to the applier: read, verified, uncompressed, verified again.
//!
//! ```text
//!  reader                     hasher               the caller
//!  blob, its digest,    ──▶   its DiffID    ──▶    the tar entries
//!  uncompressing
//!     ▲                                              │
//!     └──────────────── empty buffers ───────────────┘
//! ```
//!
//! Three threads, because each of the three is a third of the work; a fixed number of buffers goes
//! round, so a layer of any size takes the same memory. What the caller makes of the content is
//! only worth something when all has ended well: the digests are known last.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use flate2::bufread::MultiGzDecoder;
use oci_spec::image::{Descriptor, Digest};

use crate::compression::Compression;
use crate::digest::Hasher;
use crate::layout::BlobReader;

/// The size of a buffer, in bytes, and how many there are.
const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 12;

/// What a layer has to be.
#[derive(Debug)]
pub struct Layer<'a> {
    /// Its blob.
    pub descriptor: &'a Descriptor,
    /// The digest of its uncompressed content.
    pub diff_id: &'a Digest,
}

/// How many bytes may come out of the layers of an image, and whether somebody wants us to stop.
#[derive(Debug)]
pub struct Budget<'a> {
    /// What is left.
    pub bytes: u64,
    /// What there was at first, for the error.
    pub limit: u64,
    /// Set when the work is to end with an error.
    pub stop: &'a AtomicBool,
}

impl<'a> Budget<'a> {
    /// As long as nothing has come out.
    #[must_use]
    pub fn new(limit: u64, stop: &'a AtomicBool) -> Self {
        Self { bytes: limit, limit, stop }
    }

    /// Takes note of what has come out.
    ///
    /// # Errors
    /// It is more than was left; somebody wants us to stop.
    pub fn charge(&mut self, bytes: u64) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.with_context(|| {
            format!(
                "the image unpacks to more than {} bytes; --max-size raises the limit",
                self.limit
            )
        })?;
        Ok(())
    }
}

/// Uncompresses a layer into `consume`, which must read to the end, and verifies it.
///
/// # Errors
/// Those of reading and uncompressing; a digest, DiffID or size that is not the expected one; more
/// content than the budget allows; `consume`'s.
pub fn read<T>(
    blob: BlobReader,
    layer: &Layer<'_>,
    budget: &mut Budget<'_>,
    consume: impl FnOnce(&mut Content) -> Result<T>,
) -> Result<T> {
    let compression = Compression::of(layer.descriptor.media_type())?;
    let hasher = Hasher::like(layer.diff_id)?;
    let (to_hasher, hasher_input) = sync_channel::<Buffer>(BUFFERS);
    let (to_content, content_input) = sync_channel::<Buffer>(BUFFERS);
    let (give_back, empties) = sync_channel::<Buffer>(BUFFERS);
    for _ in 0..BUFFERS {
        give_back.send(Buffer::default())?;
    }
    thread::scope(|scope| {
        let mut content = Content { input: content_input, give_back, present: Buffer::default() };
        let reading =
            scope.spawn(move || uncompress(blob, compression, budget, &empties, &to_hasher));
        let hashing = scope.spawn(move || hash(hasher, &hasher_input, &to_content));
        let consumed = consume(&mut content).and_then(|value| content.drain().map(|()| value));
        // From here on, who still has something for us is refused, and ends.
        drop(content);
        let read = reading.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))?;
        let found = hashing.join().map_err(|_| anyhow::anyhow!("the hashing thread panicked"))?;
        // A bad blob is the reason for whatever went wrong after it.
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

/// A piece of content.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// How much of it is consumed.
    used: usize,
}

/// The uncompressed content of a layer. It ends early when reading fails, which [`read`] then
/// reports.
#[derive(Debug)]
pub struct Content {
    input: Receiver<Buffer>,
    give_back: SyncSender<Buffer>,
    present: Buffer,
}

impl Content {
    /// Lets go what is left.
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

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let take = available.len().min(buffer.len());
        buffer[..take].copy_from_slice(&available[..take]);
        self.consume(take);
        Ok(take)
    }
}

impl BufRead for Content {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.present.used == self.present.bytes.len() {
            let next = self.input.recv().unwrap_or_default();
            let empty = std::mem::replace(&mut self.present, next);
            // Nobody wants it any more when reading is over.
            let _ = self.give_back.try_send(empty);
        }
        Ok(&self.present.bytes[self.present.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.present.used += amount;
    }
}

/// The reader's work. That nobody takes what it has is no error of its own.
fn uncompress(
    mut blob: BlobReader,
    compression: Compression,
    budget: &mut Budget<'_>,
    empties: &Receiver<Buffer>,
    output: &SyncSender<Buffer>,
) -> Result<()> {
    let buffered = BufReader::with_capacity(BUFFER, &mut blob);
    let pumped = match compression {
        Compression::None => pump(buffered, budget, empties, output),
        Compression::Gzip => pump(MultiGzDecoder::new(buffered), budget, empties, output),
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(buffered)
            .context("zstd")
            .and_then(|decoder| pump(decoder, budget, empties, output)),
    };
    match pumped {
        Ok(Pumped::Stopped) => Ok(()),
        // To the end of the blob, behind what was compressed: only there is its digest known, and a
        // wrong digest is the better explanation of content that cannot be uncompressed.
        Ok(Pumped::All) => io::copy(&mut blob, &mut io::sink()).map(drop).context("reading"),
        Err(error) if error.is::<io::Error>() => {
            io::copy(&mut blob, &mut io::sink()).context("reading")?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

enum Pumped {
    /// To the end.
    All,
    /// The other end is gone.
    Stopped,
}

fn pump(
    mut source: impl Read,
    budget: &mut Budget<'_>,
    empties: &Receiver<Buffer>,
    output: &SyncSender<Buffer>,
) -> Result<Pumped> {
    loop {
        let Ok(mut buffer) = empties.recv() else { return Ok(Pumped::Stopped) };
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
            return Ok(Pumped::All);
        }
        buffer.bytes.truncate(filled);
        budget.charge(filled as u64)?;
        if output.send(buffer).is_err() {
            return Ok(Pumped::Stopped);
        }
    }
}

/// The hasher's work; gives the digest.
fn hash(mut hasher: Hasher, input: &Receiver<Buffer>, output: &SyncSender<Buffer>) -> String {
    for buffer in input {
        hasher.update(&buffer.bytes);
        if output.send(buffer).is_err() {
            break;
        }
    }
    hasher.finish()
}
