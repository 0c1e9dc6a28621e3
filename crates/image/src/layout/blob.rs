//! Reads and writes blobs, and verifies their digests.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, Digest};
use rustix::fs::{FlockOperation, flock};

use super::{Layout, open_regular};
use crate::digest::Digester;

/// A reader of a blob. The last read fails if the content does not match the digest or the size.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    digest: Digest,
    hasher: Option<Digester>,
    left: u64,
}

impl BlobReader {
    pub(super) fn open(path: &Path, descriptor: &Descriptor) -> Result<Self> {
        let file = open_regular(path)?;
        let size = file.metadata()?.len();
        let digest = descriptor.digest().clone();
        ensure!(
            size == descriptor.size(),
            "blob {digest} has {size} bytes, it should have {}",
            descriptor.size()
        );
        Ok(Self { file, hasher: Some(Digester::like(&digest)?), digest, left: size })
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && self.left > 0 && most > 0 {
            return Err(bad(format!("blob {}: the file became shorter", self.digest)));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.left -= count as u64;
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
        {
            let found = hasher.finish();
            if found != self.digest.as_ref() {
                return Err(bad(format!(
                    "blob {}: the content does not match its digest, it has {found}",
                    self.digest
                )));
            }
        }
        Ok(count)
    }
}

fn bad(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// A writer of a blob. Without [`BlobWriter::commit`] the written part is kept, and the next writer
/// of the blob continues after it.
#[derive(Debug)]
pub struct BlobWriter {
    file: File,
    partial: PathBuf,
    target: PathBuf,
    digest: Digest,
    size: u64,
    hasher: Digester,
    written: u64,
}

impl BlobWriter {
    pub(super) fn begin(layout: &Layout, descriptor: &Descriptor) -> Result<Option<Self>> {
        if layout.has(descriptor)? {
            return Ok(None);
        }
        let digest = descriptor.digest().clone();
        let hasher = Digester::like(&digest)?;
        let target = layout.blob_path(&digest);
        let partial = layout.root().join(".orlop-partial").join(format!(
            "{}-{}",
            digest.algorithm(),
            digest.digest()
        ));
        for path in [&target, &partial] {
            let directory = path.parent().context("a blob is in a directory")?;
            fs::create_dir_all(directory)
                .with_context(|| format!("making {}", directory.display()))?;
        }
        let Some(file) = lock_partial(layout, descriptor, &partial)? else { return Ok(None) };
        let size = descriptor.size();
        let mut writer = Self { file, partial, target, digest, size, hasher, written: 0 };
        writer.read_written()?;
        Ok(Some(writer))
    }

    /// Reads the part of an earlier writer, to compute its digest.
    fn read_written(&mut self) -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count =
                self.file.read(&mut buffer).with_context(|| self.partial.display().to_string())?;
            if count == 0 {
                break;
            }
            self.hasher.update(&buffer[..count]);
            self.written += count as u64;
        }
        if self.written > self.size {
            return self.restart();
        }
        Ok(())
    }

    /// The number of written bytes. The next write is appended to them.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Removes the written part, because it is wrong or the source cannot continue in the middle.
    ///
    /// # Errors
    /// Errors of ftruncate(2).
    pub fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.with_context(|| self.partial.display().to_string())?;
        self.hasher = Digester::like(&self.digest)?;
        self.written = 0;
        Ok(())
    }

    /// Verifies the blob and renames it to its final name. A wrong blob is removed.
    ///
    /// # Errors
    /// It is too short (it is then kept and can be continued), or does not match its digest; it
    /// cannot be renamed.
    pub fn commit(self) -> Result<()> {
        ensure!(
            self.written == self.size,
            "blob {} ends after {} bytes, it should have {}",
            self.digest,
            self.written,
            self.size
        );
        let found = self.hasher.finish();
        if found != self.digest.as_ref() {
            let _ = fs::remove_file(&self.partial);
            bail!("blob {}: the content does not match its digest, it has {found}", self.digest);
        }
        let named = self.file.sync_data().and_then(|()| fs::rename(&self.partial, &self.target));
        named.with_context(|| format!("writing {}", self.target.display()))?;
        // This fails as long as there are other incomplete blobs in the directory.
        let _ = self.partial.parent().map(fs::remove_dir);
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() as u64 > self.size {
            return Err(bad(format!(
                "blob {} has more than the {} bytes it should have",
                self.digest, self.size
            )));
        }
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens and locks the file of an incomplete blob. Returns `None` if another process has completed
/// the blob meanwhile.
fn lock_partial(layout: &Layout, descriptor: &Descriptor, partial: &Path) -> Result<Option<File>> {
    let doing = || format!("opening {}", partial.display());
    loop {
        let opened =
            File::options().read(true).write(true).create(true).truncate(false).open(partial);
        let file = match opened {
            // Another process has completed its blob and removed the directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(partial.parent().context("a blob is in a directory")?)
                    .with_context(doing)?;
                continue;
            }
            other => other.with_context(doing)?,
        };
        flock(&file, FlockOperation::LockExclusive).with_context(doing)?;
        if layout.has(descriptor)? {
            remove_if_same(&file, partial);
            return Ok(None);
        }
        if is_same(&file, partial) {
            return Ok(Some(file));
        }
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    let id = |status: fs::Metadata| (status.dev(), status.ino());
    file.metadata().and_then(|open| Ok(id(open) == id(fs::metadata(path)?))).unwrap_or(false)
}

fn remove_if_same(file: &File, path: &Path) {
    if is_same(file, path) {
        let _ = fs::remove_file(path);
        let _ = path.parent().map(fs::remove_dir);
    }
}
