//! Two layers, applied to a tree: whatever is in them, nothing outside changes, and what they have
//! made can be removed.
//!
//! The first byte says what becomes of owners, the second how many blocks the first layer has.
//! Blocks that look like a header get the right checksum, which libFuzzer would not find.
#![no_main]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use libfuzzer_sys::fuzz_target;
use orlop_image::budget::Budget;
use orlop_image::bundle::remove_tree;
use orlop_image::rootfs::{Applier, Owners, Tree};

const BLOCK: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let Some(([owners, first], blocks)) = bytes.split_first_chunk::<2>() else { return };
    let mut blocks = blocks.to_vec();
    blocks
        .chunks_exact_mut(BLOCK)
        .filter(|block| block[257..262] == *b"ustar")
        .for_each(put_checksum);
    let (lower, upper) = blocks.split_at(blocks.len().min(usize::from(*first) * BLOCK));
    let place = tempfile::Builder::new().prefix("orlop-fuzz-").tempdir_in("/dev/shm").unwrap();
    let (root, victim) = (place.path().join("root"), place.path().join("victim"));
    fs::create_dir(&root).unwrap();
    fs::write(&victim, "untouched").unwrap();
    let before = status(&victim);
    let owners = if owners % 2 == 0 { Owners::Set } else { Owners::Recorded };
    static STOP: AtomicBool = AtomicBool::new(false);
    let budget = Budget::new(u64::MAX, 1000, &STOP);
    let mut applier = Applier::new(Tree::open(&root).unwrap(), owners, false, &budget);
    let applied = applier.apply(&mut &lower[..]).and_then(|()| applier.apply(&mut &upper[..]));
    if let Err(error) = applied {
        assert!(!format!("{error:#}").is_empty());
    }
    drop(applier);
    assert_eq!(status(&victim), before);
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    assert!(fs::symlink_metadata(&root).unwrap().is_dir());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    remove_tree(&root).unwrap();
});

/// All that a layer could change of a file.
fn status(path: &Path) -> (u32, u32, u32, u64, i64, i64, i64) {
    let status = fs::symlink_metadata(path).unwrap();
    (
        status.mode(),
        status.uid(),
        status.gid(),
        status.nlink(),
        status.mtime(),
        status.ctime(),
        status.ctime_nsec(),
    )
}

fn put_checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
