//! A limit on the unpacked size of an image: bytes and entries of all its layers together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Result, bail, ensure};

/// The remaining limits for one image. Several threads use it at the same time.
#[derive(Debug)]
pub struct Budget {
    max_bytes: u64,
    max_entries: u64,
    /// Uncompressed bytes of layers or of an archive.
    bytes: AtomicU64,
    /// Entries of layers.
    entries: AtomicU64,
    /// Bytes of files in lower layers, which overlayfs copies for a new hard link.
    copied: AtomicU64,
    /// Set by a signal. The work then ends with an error.
    stop: &'static AtomicBool,
}

impl Budget {
    /// A new budget.
    #[must_use]
    pub fn new(max_bytes: u64, max_entries: u64, stop: &'static AtomicBool) -> Self {
        Self {
            max_bytes,
            max_entries,
            bytes: AtomicU64::new(max_bytes),
            entries: AtomicU64::new(max_entries),
            copied: AtomicU64::new(max_bytes),
            stop,
        }
    }

    /// A budget for content that is not split into entries.
    #[must_use]
    pub fn of_bytes(max_bytes: u64, stop: &'static AtomicBool) -> Self {
        Self::new(max_bytes, u64::MAX, stop)
    }

    /// The number of uncompressed bytes so far.
    #[must_use]
    pub fn bytes_used(&self) -> u64 {
        self.max_bytes - self.bytes.load(Ordering::Relaxed)
    }

    /// Counts uncompressed bytes.
    ///
    /// # Errors
    /// More bytes than remain, or a signal has arrived.
    pub fn use_bytes(&self, bytes: u64) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        let limit = self.max_bytes;
        let text = "the image unpacks to more than";
        ensure!(take(&self.bytes, bytes), "{text} {limit} bytes; --max-size raises the limit");
        Ok(())
    }

    /// Counts one entry.
    ///
    /// # Errors
    /// All entries of the limit have been used.
    pub fn use_entry(&self) -> Result<()> {
        let limit = self.max_entries;
        let text = "the image has more than";
        ensure!(take(&self.entries, 1), "{text} {limit} entries; --max-entries raises the limit");
        Ok(())
    }

    /// Counts the bytes of a file that overlayfs copies.
    ///
    /// # Errors
    /// More bytes than remain.
    pub fn use_copy(&self, bytes: u64) -> Result<()> {
        let limit = self.max_bytes;
        let text = "hard links of the image take more than";
        ensure!(take(&self.copied, bytes), "{text} {limit} bytes; --max-size raises the limit");
        Ok(())
    }
}

/// Subtracts `amount` from the rest, unless the rest is less.
fn take(left: &AtomicU64, amount: u64) -> bool {
    let order = Ordering::Relaxed;
    left.fetch_update(order, order, |left| left.checked_sub(amount)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_own_count() {
        static STOP: AtomicBool = AtomicBool::new(false);
        let budget = Budget::new(10, 1, &STOP);
        budget.use_bytes(7).unwrap();
        assert!(budget.use_bytes(4).unwrap_err().to_string().contains("more than 10 bytes"));
        // Refused bytes are not counted.
        budget.use_bytes(3).unwrap();
        assert_eq!(budget.bytes_used(), 10);
        budget.use_copy(10).unwrap();
        assert!(budget.use_copy(1).unwrap_err().to_string().contains("hard links"));
        budget.use_entry().unwrap();
        assert!(budget.use_entry().unwrap_err().to_string().contains("more than 1 entries"));
        STOP.store(true, Ordering::Relaxed);
        assert_eq!(budget.use_bytes(0).unwrap_err().to_string(), "interrupted");
    }
}
