//! Reads a tar archive of a layer as a stream of entries.
//!
//! The formats are those that the writers of Go, GNU and libarchive use: v7, ustar, PAX and GNU,
//! with GNU's long names and all four formats of sparse files. Of the crate `tar` only the decoder
//! of header fields is used. Its reader is not used, for three reasons: a layer is not trusted, so
//! the memory that it can make us use must be limited; the value of a PAX record may contain any
//! byte (a capability often contains a newline); and the `size` of a PAX record must be used.

mod fields;
mod pax;
mod sparse;

use std::io::BufRead;

use anyhow::{Context, Result, bail, ensure};
use tar::{EntryType, Header};

use fields::{device, id, mtime, number};
use pax::PaxRecords;
use sparse::Segment;

/// The block size of the format, in bytes.
const BLOCK: usize = 512;

/// The longest name, link target or set of PAX records, in bytes. The reader of Go has the same
/// limit.
const LONGEST_TEXT: u64 = 1 << 20;

/// A time in the form of utimensat(2). The nanoseconds count forward, before 1970 too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// The type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TarEntryKind {
    /// A regular file with this size in bytes. [`TarStream::content`] reads its content.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A hard link to the entry with this name.
    HardLink(Vec<u8>),
    /// A character device, major and minor number.
    Character(u32, u32),
    /// A block device, major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// The name as it is in the archive. It is not checked yet.
    pub path: Vec<u8>,
    /// Its type.
    pub kind: TarEntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// Time of the last access, if the archive has it.
    pub atime: Option<Timestamp>,
    /// Names and values of the extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A reader of the entries of an archive.
#[derive(Debug)]
pub struct TarStream<R> {
    source: R,
    /// The position in the archive, for errors.
    position: u64,
    /// The remaining bytes of the entry's stored data.
    left: u64,
    /// The bytes of padding after the data.
    padding: u64,
    /// The positions of the stored data in the file. The next segment is the last in the list.
    segments: Vec<Segment>,
}

/// Headers before an entry's own header, which change it: GNU long names and PAX records.
#[derive(Debug, Default)]
struct ExtendedHeaders {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: PaxRecords,
}

impl<R: BufRead> TarStream<R> {
    /// Reads an archive from `source`.
    pub fn new(source: R) -> Self {
        Self { source, position: 0, left: 0, padding: 0, segments: Vec::new() }
    }

    /// The next entry; `None` at the end. Content of the previous entry that was not read is
    /// skipped.
    ///
    /// # Errors
    /// A read error; not a tar archive; a malformed field; a type of entry that a layer cannot
    /// have.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>> {
        let mut extended = ExtendedHeaders::default();
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            self.segments.clear();
            let start = self.position;
            let Some(block) = self.block()? else { return Ok(None) };
            let entry = self.header(Header::from_byte_slice(&block), &mut extended);
            match entry.with_context(|| format!("tar header at byte {start}"))? {
                Some(entry) => return Ok(Some(entry)),
                // This header belongs to the next entry.
                None => continue,
            }
        }
    }

    /// Passes the content of the current entry to `write`, with the offset of each part. Holes of a
    /// sparse file are skipped.
    ///
    /// # Errors
    /// A read or write error; the archive ends too early.
    pub fn content(&mut self, mut write: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        while let Some(mut segment) = self.segments.pop() {
            while segment.length > 0 {
                let available = self.source.fill_buf()?;
                ensure!(!available.is_empty(), "the archive ends within a file");
                let take =
                    available.len().min(usize::try_from(segment.length).unwrap_or(usize::MAX));
                write(segment.offset, &available[..take])?;
                self.source.consume(take);
                let taken = take as u64;
                self.position += taken;
                self.left -= taken;
                segment.offset += taken;
                segment.length -= taken;
            }
        }
        Ok(())
    }

    /// Reads one header. Returns the entry, or `None` if the header belongs to the next entry.
    fn header(
        &mut self,
        header: &Header,
        extended: &mut ExtendedHeaders,
    ) -> Result<Option<TarEntry>> {
        fields::verify_checksum(header)?;
        let raw = header.as_old();
        let stored = u64::try_from(number(&raw.size)?).context("size: it is negative")?;
        match header.entry_type() {
            EntryType::GNULongName => extended.long_name = Some(self.text(stored)?),
            EntryType::GNULongLink => extended.long_link = Some(self.text(stored)?),
            EntryType::XHeader => {
                let text = self.data(stored)?;
                extended.records.read(&text)?;
            }
            // The readers of Docker and Go ignore global records too.
            EntryType::XGlobalHeader => drop(self.data(stored)?),
            kind => {
                let extended = std::mem::take(extended);
                return self.entry(header, kind, stored, extended).map(Some);
            }
        }
        Ok(None)
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        stored: u64,
        extended: ExtendedHeaders,
    ) -> Result<TarEntry> {
        let ExtendedHeaders { long_name, long_link, mut records } = extended;
        let raw = header.as_old();
        let path = records
            .sparse
            .name
            .take()
            .or(records.path.take())
            .or(long_name)
            .unwrap_or_else(|| header.path_bytes().to_vec());
        let link = records.link.take();
        let link = || {
            let link = link.or(long_link);
            link.or_else(|| Some(header.link_name_bytes()?.to_vec()))
                .context("a link without a target")
        };
        let stored = records.size.unwrap_or(stored);
        let kind = match kind {
            // As in the reader of Go, only these have data. Before ustar, a name with a slash at
            // its end meant a directory.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => {
                TarEntryKind::Directory
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.set_data(stored)?;
                TarEntryKind::File(self.read_map(header, kind, &records)?)
            }
            EntryType::Directory => TarEntryKind::Directory,
            EntryType::Symlink => TarEntryKind::Symlink(link()?),
            EntryType::Link => TarEntryKind::HardLink(link()?),
            EntryType::Char => TarEntryKind::Character(
                device(header.device_major())?,
                device(header.device_minor())?,
            ),
            EntryType::Block => {
                TarEntryKind::Block(device(header.device_major())?, device(header.device_minor())?)
            }
            EntryType::Fifo => TarEntryKind::Fifo,
            other => bail!(
                "{:?}: entries of type {:?} cannot be in a layer",
                show(&path),
                char::from(other.as_byte())
            ),
        };
        Ok(TarEntry {
            mode: u32::try_from(number(&raw.mode).context("mode")?).context("mode")? & 0o7777,
            uid: records.uid.map_or_else(|| id(&raw.uid), Ok).context("uid")?,
            gid: records.gid.map_or_else(|| id(&raw.gid), Ok).context("gid")?,
            mtime: records.mtime.map_or_else(|| mtime(&raw.mtime), Ok).context("mtime")?,
            atime: records.atime,
            xattrs: records.xattrs,
            path,
            kind,
        })
    }
}

/// Reading maps, blocks and texts.
impl<R: BufRead> TarStream<R> {
    /// Reads the positions of a file's stored data. Returns the size of the file.
    fn read_map(&mut self, header: &Header, kind: EntryType, records: &PaxRecords) -> Result<u64> {
        if kind == EntryType::GNUSparse {
            return self.old_sparse_map(header);
        }
        if records.sparse.is_sparse() {
            return self.pax_sparse_map(&records.sparse);
        }
        self.segments.push(Segment { offset: 0, length: self.left });
        Ok(self.left)
    }

    /// The next block; `None` at the end, which is two blocks of zeros, or the end of the stream
    /// between entries.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        for _ in 0..2 {
            let mut block = [0; BLOCK];
            let read = self.fill(&mut block)?;
            if read == 0 {
                return Ok(None);
            }
            ensure!(read == BLOCK, "the archive ends within a header");
            if block != [0; BLOCK] {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Sets the length of the stored data and its padding.
    fn set_data(&mut self, length: u64) -> Result<()> {
        let padding = length.wrapping_neg() % BLOCK as u64;
        ensure!(length <= i64::MAX as u64, "size: {length} is too much");
        (self.left, self.padding) = (length, padding);
        Ok(())
    }

    /// The whole data of a header for the next entry.
    fn data(&mut self, length: u64) -> Result<Vec<u8>> {
        ensure!(
            length <= LONGEST_TEXT,
            "{length} bytes of names and records, at most {LONGEST_TEXT} are accepted"
        );
        self.set_data(length)?;
        let mut data = vec![0; usize::try_from(length)?];
        ensure!(self.fill(&mut data)? == data.len(), "the archive ends within a name or record");
        self.left = 0;
        Ok(data)
    }

    /// A name, which ends at the first NUL.
    fn text(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut text = self.data(length)?;
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        text.truncate(end);
        Ok(text)
    }

    /// Reads until `buffer` is full or the stream ends. Returns the number of bytes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let available = self.source.fill_buf()?;
            if available.is_empty() {
                break;
            }
            let take = available.len().min(buffer.len() - filled);
            buffer[filled..filled + take].copy_from_slice(&available[..take]);
            self.source.consume(take);
            filled += take;
        }
        self.position += filled as u64;
        Ok(filled)
    }

    fn skip(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let available = self.source.fill_buf()?.len();
            ensure!(available > 0, "the archive ends within a file");
            let take = available.min(usize::try_from(length).unwrap_or(usize::MAX));
            self.source.consume(take);
            self.position += take as u64;
            length -= take as u64;
        }
        Ok(())
    }
}

/// A name as text, for error messages.
pub(crate) fn show(path: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(path)
}
