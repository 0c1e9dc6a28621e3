//! What attackers need: something that changes under the runtime's feet, and the time to try again
//! and again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::soak;

/// So many where there is little time, so many where there is much.
pub fn rounds(short: usize, long: usize) -> usize {
    if soak() { long } else { short }
}

/// Repeats an attempt, which says whether it came through, until the time of one attack is over and
/// at least one did.
#[track_caller]
pub fn for_a_while(mut attempt: impl FnMut() -> bool) {
    const MOST: usize = 100;
    let end =
        Instant::now() + if soak() { Duration::from_secs(10) } else { Duration::from_millis(800) };
    let (mut tried, mut through) = (0, 0);
    while Instant::now() < end || through == 0 && tried < MOST {
        through += usize::from(attempt());
        tried += 1;
    }
    assert!(through > 0, "none of {tried} attempts came through");
}

/// Somebody who exchanges two names on a volume, as fast as the kernel does it, until dropped.
#[derive(Debug)]
pub struct Racer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Racer {
    /// Both must be there; it ends when they are not any more.
    pub fn exchanging(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let race = move || {
            let mut count = 0;
            let exchange = || renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok();
            while !stopped.load(Ordering::Relaxed) && exchange() {
                count += 1;
            }
            count
        };
        Racer { stop, thread: Some(std::thread::spawn(race)) }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let exchanged = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            assert!(exchanged.unwrap() > 100, "this was no race");
        }
    }
}
