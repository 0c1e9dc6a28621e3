//! Sparse files: which parts of a file are stored. GNU's old headers, and its PAX records of the
//! versions 0.0, 0.1 and 1.0 (GNU tar's manual, "Storing Sparse Files").

use std::io::BufRead;

use anyhow::{Context, Result, ensure};
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::fields::number;
use super::pax::decimal;
use super::{Archive, BLOCK};

/// How many pieces a file may have; more are an attack on our memory.
const MOST_PIECES: usize = 1 << 16;

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub offset: u64,
    pub length: u64,
}

/// The PAX records of a sparse file.
#[derive(Debug, Default)]
pub struct SparseRecords {
    /// Its real name; the entry's is a made-up one.
    pub name: Option<Vec<u8>>,
    size: Option<u64>,
    major: Option<u64>,
    /// Offsets and lengths by turns, versions 0.0 and 0.1.
    numbers: Vec<u64>,
}

impl SparseRecords {
    /// Takes in a record if it is one of these.
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
        ensure!(self.numbers.len() < 2 * MOST_PIECES, "more than {MOST_PIECES} pieces");
        self.numbers.push(number);
        Ok(())
    }

    /// Whether the entry is a sparse file.
    pub fn is_there(&self) -> bool {
        self.size.is_some()
    }
}

impl<R: BufRead> Archive<R> {
    /// Reads what follows a header of type `S`; gives the file's size.
    pub(super) fn old_sparse_map(&mut self, header: &Header) -> Result<u64> {
        let gnu = header.as_gnu().context("a sparse file in an archive that is not GNU's")?;
        let size = u64::try_from(number(&gnu.realsize)?)?;
        let mut pieces = Vec::new();
        old_pieces(&gnu.sparse, &mut pieces)?;
        let mut more = gnu.isextended[0] != 0;
        while more {
            let mut block = GnuExtSparseHeader::new();
            // It is not part of the data.
            ensure!(
                self.fill(block.as_mut_bytes())? == BLOCK,
                "the archive ends within a sparse file's map"
            );
            old_pieces(block.sparse(), &mut pieces)?;
            more = block.isextended[0] != 0;
        }
        self.set_pieces(pieces, size)
    }

    /// Reads the map that PAX records describe, from them or, since 1.0, from the beginning of the
    /// data.
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
        let pieces = numbers
            .chunks_exact(2)
            .map(|pair| Piece { offset: pair[0], length: pair[1] })
            .collect();
        self.set_pieces(pieces, size)
    }

    /// The map of version 1.0: decimal numbers on lines of their own, the first of which counts the
    /// pieces.
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
                // The rest of the block is filling.
                if count.is_some_and(|count| numbers.len() == count) {
                    break;
                }
                let number = decimal(&line)?;
                line.clear();
                if count.is_none() {
                    ensure!(
                        number <= MOST_PIECES as u64,
                        "{number} pieces, at most {MOST_PIECES} are accepted"
                    );
                    count = Some(2 * usize::try_from(number)?);
                } else {
                    numbers.push(number);
                }
            }
        }
        Ok(numbers)
    }

    /// Holds a map against the data and the size.
    fn set_pieces(&mut self, mut pieces: Vec<Piece>, size: u64) -> Result<u64> {
        let (mut end, mut stored) = (0_u64, 0_u64);
        for piece in &pieces {
            ensure!(piece.offset >= end, "the pieces of a sparse file overlap");
            end = piece
                .offset
                .checked_add(piece.length)
                .context("a piece of a sparse file is too long")?;
            stored += piece.length;
        }
        ensure!(end <= size && size <= i64::MAX as u64, "a sparse file is shorter than its pieces");
        ensure!(
            stored == self.left,
            "the pieces of a sparse file are {stored} bytes, its data {}",
            self.left
        );
        pieces.reverse();
        self.pieces = pieces;
        Ok(size)
    }
}

/// The used ones of a header's pieces.
fn old_pieces(headers: &[GnuSparseHeader], pieces: &mut Vec<Piece>) -> Result<()> {
    for header in headers {
        if header.offset[0] == 0 {
            break;
        }
        ensure!(pieces.len() < MOST_PIECES, "a sparse file of more than {MOST_PIECES} pieces");
        let offset = u64::try_from(number(&header.offset)?)?;
        pieces.push(Piece { offset, length: u64::try_from(number(&header.numbytes)?)? });
    }
    Ok(())
}
