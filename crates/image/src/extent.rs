//! A contiguous part of a file: a blob of a layout, or an entry of a tar file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use anyhow::{Context, Result};

/// A part of a file. Several readers can use it at the same time, each at its own position.
#[derive(Debug, Clone)]
pub struct Extent {
    file: Arc<File>,
    start: u64,
    length: u64,
}

impl Extent {
    /// `length` bytes of `file`, from `start` on.
    #[must_use]
    pub fn new(file: Arc<File>, start: u64, length: u64) -> Self {
        Self { file, start, length }
    }

    /// Writes bytes to a temporary file.
    ///
    /// # Errors
    /// The temporary file cannot be made or written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut file = tempfile::tempfile().context("making a temporary file")?;
        file.write_all(bytes).context("writing a temporary file")?;
        Ok(Self::new(Arc::new(file), 0, bytes.len() as u64))
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The part that begins at `offset`, of at most `length` bytes.
    #[must_use]
    pub fn part(&self, offset: u64, length: u64) -> Self {
        let offset = offset.min(self.length);
        let length = length.min(self.length - offset);
        Self { file: Arc::clone(&self.file), start: self.start + offset, length }
    }
}

impl Read for Extent {
    /// Reads some bytes from the beginning. The extent is then the rest.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.length).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.start)?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        self.start += count as u64;
        self.length -= count as u64;
        Ok(count)
    }
}
