//! Tar archives as layers are written: a stream of entries with everything that belongs to them.
//!
//! The formats are those that Go's, GNU's and libarchive's writers use: v7, ustar, PAX and GNU,
//! with GNU's long names and all four ways to write a sparse file. The `tar` crate knows where the
//! fields of a header are; the rest is read here, because a layer is hostile: nothing is held in
//! memory whose size the archive alone decides, a PAX record's value may contain any byte (a
//! capability xattr often contains a newline), and the size of a PAX record counts.

mod fields;
mod pax;
mod sparse;

use std::io::BufRead;

use anyhow::{Context, Result, bail, ensure};
use tar::{EntryType, Header};

use fields::{device, id, mtime, number};
use pax::Records;
use sparse::Piece;

/// The unit of the format, in bytes.
const BLOCK: usize = 512;

/// The longest name, link target or set of PAX records, in bytes; Go's reader has the same limit.
const LONGEST_TEXT: u64 = 1 << 20;

/// A point in time as utimensat(2) takes it; the nanoseconds count forward from the second, before
/// 1970 too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this size, in bytes; its content is read with [`Archive::content`].
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// Another name of the entry with this name.
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
pub struct Entry {
    /// The name as it is written: not yet known to be harmless.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Time of the last change.
    pub mtime: Time,
    /// Time of the last access, where it is written.
    pub atime: Option<Time>,
    /// Extended attributes, names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the entries of an archive one after the other.
#[derive(Debug)]
pub struct Archive<R> {
    source: R,
    /// Where we are, for errors.
    position: u64,
    /// What is left of the entry's data, as it is stored.
    left: u64,
    /// What fills the entry's last block.
    padding: u64,
    /// Where the stored data belongs in the file, the next piece last.
    pieces: Vec<Piece>,
}

/// What stands before an entry's own header and changes it.
#[derive(Debug, Default)]
struct Before {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: Records,
}

impl<R: BufRead> Archive<R> {
    /// An archive that begins where `source` stands.
    pub fn new(source: R) -> Self {
        Self { source, position: 0, left: 0, padding: 0, pieces: Vec::new() }
    }

    /// The next entry; nothing at the end. What was not read of the previous one's content is
    /// passed over.
    ///
    /// # Errors
    /// Those of reading; not a tar archive; a field that makes no sense; a kind of entry that
    /// layers cannot have.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut before = Before::default();
        loop {
            self.pass(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            self.pieces.clear();
            let start = self.position;
            let Some(block) = self.block()? else { return Ok(None) };
            let entry = self.header(Header::from_byte_slice(&block), &mut before);
            match entry.with_context(|| format!("tar header at byte {start}"))? {
                Some(entry) => return Ok(Some(entry)),
                // It only said something about the next one.
                None => continue,
            }
        }
    }

    /// Hands the content of the present entry to `write`, with the offset where each part belongs;
    /// holes of a sparse file are left out.
    ///
    /// # Errors
    /// Those of reading and writing; an archive that ends too early.
    pub fn content(&mut self, mut write: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        while let Some(mut piece) = self.pieces.pop() {
            while piece.length > 0 {
                let available = self.source.fill_buf()?;
                ensure!(!available.is_empty(), "the archive ends within a file");
                let take = available.len().min(usize::try_from(piece.length).unwrap_or(usize::MAX));
                write(piece.offset, &available[..take])?;
                self.source.consume(take);
                let taken = take as u64;
                self.position += taken;
                self.left -= taken;
                piece.offset += taken;
                piece.length -= taken;
            }
        }
        Ok(())
    }

    /// Reads one header; gives the entry if it is one, and otherwise keeps what it says of the
    /// next.
    fn header(&mut self, header: &Header, before: &mut Before) -> Result<Option<Entry>> {
        fields::verify_checksum(header)?;
        let raw = header.as_old();
        let stored = u64::try_from(number(&raw.size)?).context("size: it is negative")?;
        match header.entry_type() {
            EntryType::GNULongName => before.long_name = Some(self.text(stored)?),
            EntryType::GNULongLink => before.long_link = Some(self.text(stored)?),
            EntryType::XHeader => {
                let text = self.data(stored)?;
                before.records.read(&text)?;
            }
            // Docker's and Go's readers let no global record change an entry either.
            EntryType::XGlobalHeader => drop(self.data(stored)?),
            kind => {
                let before = std::mem::take(before);
                return self.entry(header, kind, stored, before).map(Some);
            }
        }
        Ok(None)
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        stored: u64,
        before: Before,
    ) -> Result<Entry> {
        let Before { long_name, long_link, mut records } = before;
        let raw = header.as_old();
        let path = records
            .sparse
            .name
            .take()
            .or(records.path)
            .or(long_name)
            .unwrap_or_else(|| header.path_bytes().to_vec());
        let link = || {
            let link = records.link.or(long_link);
            link.or_else(|| Some(header.link_name_bytes()?.to_vec()))
                .context("a link without a target")
        };
        let stored = records.size.unwrap_or(stored);
        let kind = match kind {
            // As in Go's reader, only these have data. Before ustar, a name with a slash at its end
            // was a directory.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.hold_data(stored)?;
                if kind == EntryType::GNUSparse {
                    Kind::File(self.old_sparse_map(header)?)
                } else if records.sparse.is_there() {
                    Kind::File(self.pax_sparse_map(&records.sparse)?)
                } else {
                    self.pieces.push(Piece { offset: 0, length: stored });
                    Kind::File(stored)
                }
            }
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(link()?),
            EntryType::Link => Kind::HardLink(link()?),
            EntryType::Char => {
                Kind::Character(device(header.device_major())?, device(header.device_minor())?)
            }
            EntryType::Block => {
                Kind::Block(device(header.device_major())?, device(header.device_minor())?)
            }
            EntryType::Fifo => Kind::Fifo,
            other => bail!(
                "{:?}: entries of type {:?} cannot be in a layer",
                show(&path),
                char::from(other.as_byte())
            ),
        };
        Ok(Entry {
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

/// Reading the source by blocks and texts.
impl<R: BufRead> Archive<R> {
    /// The next block; nothing at the end, which is two blocks of zeros or where the stream ends
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

    /// Takes note that the entry's stored data is this long.
    fn hold_data(&mut self, length: u64) -> Result<()> {
        let padding = length.wrapping_neg() % BLOCK as u64;
        ensure!(length <= i64::MAX as u64, "size: {length} is too much");
        (self.left, self.padding) = (length, padding);
        Ok(())
    }

    /// The whole data of an entry that is about another one.
    fn data(&mut self, length: u64) -> Result<Vec<u8>> {
        ensure!(
            length <= LONGEST_TEXT,
            "{length} bytes of names and records, at most {LONGEST_TEXT} are accepted"
        );
        self.hold_data(length)?;
        let mut data = vec![0; usize::try_from(length)?];
        ensure!(self.fill(&mut data)? == data.len(), "the archive ends within a name or record");
        self.left = 0;
        Ok(data)
    }

    /// A name, up to its NUL.
    fn text(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut text = self.data(length)?;
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        text.truncate(end);
        Ok(text)
    }

    /// Reads until `buffer` is full or the stream ends; gives the number of bytes.
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

    fn pass(&mut self, mut length: u64) -> Result<()> {
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

/// A name for an error.
pub(crate) fn show(path: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(path)
}
