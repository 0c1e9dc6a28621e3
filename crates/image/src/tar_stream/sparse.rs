//! Sparse files: the segments of a file that are stored. The formats are GNU's old headers, and the
//! PAX records of the versions 0.0, 0.1 and 1.0 (manual of GNU tar, "Storing Sparse Files").

use std::io::BufRead;

use anyhow::{Context, Result, ensure};
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::fields::number;
use super::pax::decimal;
use super::{BLOCK, TarStream};

/// The limit on segments of a file. It limits the memory that an archive can make us use.
const MAX_SEGMENTS: usize = 1 << 16;

/// A stored segment of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub offset: u64,
    pub length: u64,
}

/// The PAX records of a sparse file.
#[derive(Debug, Default)]
pub struct SparseRecords {
    /// The name of the file. The entry's own name is an artificial one.
    pub name: Option<Vec<u8>>,
    size: Option<u64>,
    major: Option<u64>,
    /// Alternating offsets and lengths, in the versions 0.0 and 0.1.
    numbers: Vec<u64>,
}

impl SparseRecords {
    /// Reads a record, if it is one of these.
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"GNU.sparse.name" => self.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.size = Some(decimal(value)?),
            b"GNU.sparse.major" => self.major = Some(decimal(value)?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                ensure!(
                    self.numbers.len() % 2 == usize::from(key.ends_with(b"numbytes")),
                    "out of order"
                );
                self.add(decimal(value)?)?;
            }
            b"GNU.sparse.map" => {
                self.numbers.clear();
                for number in value.split(|byte| *byte == b',').filter(|number| !number.is_empty())
                {
                    self.add(decimal(number)?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, number: u64) -> Result<()> {
        ensure!(self.numbers.len() < 2 * MAX_SEGMENTS, "more than {MAX_SEGMENTS} segments");
        self.numbers.push(number);
        Ok(())
    }

    /// Whether the entry is a sparse file.
    pub fn is_sparse(&self) -> bool {
        self.size.is_some()
    }
}

impl<R: BufRead> TarStream<R> {
    /// Reads the map after a header of type `S`. Returns the size of the file.
    pub(super) fn old_sparse_map(&mut self, header: &Header) -> Result<u64> {
        let gnu = header.as_gnu().context("a sparse file in an archive that is not GNU's")?;
        let size = u64::try_from(number(&gnu.realsize)?)?;
        let mut segments = Vec::new();
        old_segments(&gnu.sparse, &mut segments)?;
        let mut more = gnu.isextended[0] != 0;
        while more {
            let mut block = GnuExtSparseHeader::new();
            // The block is not a part of the data.
            ensure!(
                self.fill(block.as_mut_bytes())? == BLOCK,
                "the archive ends within a sparse file's map"
            );
            old_segments(block.sparse(), &mut segments)?;
            more = block.isextended[0] != 0;
        }
        self.set_segments(segments, size)
    }

    /// Reads the map of the PAX records: from the records, or in version 1.0 from the beginning of
    /// the data.
    pub(super) fn pax_sparse_map(&mut self, records: &SparseRecords) -> Result<u64> {
        let size = records.size.context("a sparse file without its size")?;
        let stored;
        let numbers = if records.major == Some(1) {
            stored = self.stored_map()?;
            &stored
        } else {
            &records.numbers
        };
        ensure!(numbers.len() % 2 == 0, "the map of a sparse file is incomplete");
        let segments = numbers
            .chunks_exact(2)
            .map(|pair| Segment { offset: pair[0], length: pair[1] })
            .collect();
        self.set_segments(segments, size)
    }

    /// The map of version 1.0: decimal numbers, one a line. The first one is the number of
    /// segments.
    fn stored_map(&mut self) -> Result<Vec<u64>> {
        let (mut numbers, mut line, mut count) = (Vec::new(), Vec::new(), None);
        while count.is_none_or(|count| numbers.len() < count) {
            ensure!(self.left >= BLOCK as u64, "the map of a sparse file is longer than its data");
            let mut block = [0; BLOCK];
            ensure!(self.fill(&mut block)? == BLOCK, "the archive ends within a sparse file's map");
            self.left -= BLOCK as u64;
            for byte in block {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                // The rest of the block is padding.
                if count.is_some_and(|count| numbers.len() == count) {
                    break;
                }
                let number = decimal(&line)?;
                line.clear();
                if count.is_none() {
                    ensure!(
                        number <= MAX_SEGMENTS as u64,
                        "{number} segments, at most {MAX_SEGMENTS} are accepted"
                    );
                    count = Some(2 * usize::try_from(number)?);
                } else {
                    numbers.push(number);
                }
            }
        }
        Ok(numbers)
    }

    /// Checks a map against the stored data and the size of the file.
    fn set_segments(&mut self, mut segments: Vec<Segment>, size: u64) -> Result<u64> {
        let (mut end, mut stored) = (0_u64, 0_u64);
        for segment in &segments {
            ensure!(segment.offset >= end, "the segments of a sparse file overlap");
            end = segment
                .offset
                .checked_add(segment.length)
                .context("a segment of a sparse file is too long")?;
            stored += segment.length;
        }
        ensure!(
            end <= size && size <= i64::MAX as u64,
            "a sparse file is shorter than its segments"
        );
        ensure!(
            stored == self.left,
            "the segments of a sparse file are {stored} bytes, its data {}",
            self.left
        );
        segments.reverse();
        self.segments = segments;
        Ok(size)
    }
}

/// Reads the segments of a header; the unused fields are empty.
fn old_segments(headers: &[GnuSparseHeader], segments: &mut Vec<Segment>) -> Result<()> {
    for header in headers {
        if header.offset[0] == 0 {
            break;
        }
        ensure!(
            segments.len() < MAX_SEGMENTS,
            "a sparse file of more than {MAX_SEGMENTS} segments"
        );
        let offset = u64::try_from(number(&header.offset)?)?;
        segments.push(Segment { offset, length: u64::try_from(number(&header.numbytes)?)? });
    }
    Ok(())
}
