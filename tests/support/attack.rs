//! What attackers need: something that changes under the runtime's feet, and the time to try again and again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Whether attacks take their time: `make soak`.
pub fn soak() -> bool {
    std::env::var_os("ORLOP_SOAK").is_some_and(|value| !value.is_empty())
}

/// So many where there is little time, so many where there is much.
pub fn rounds(short: usize, long: usize) -> usize {
    if soak() { long } else { short }
}

/// Repeats, until the time of one attack is over.
pub fn for_a_while(mut attempt: impl FnMut()) {
    let end = Instant::now() + if soak() { Duration::from_secs(10) } else { Duration::from_millis(800) };
    while Instant::now() < end {
        attempt();
    }
}

/// Somebody who exchanges two names on a volume, as fast as the kernel does it, until dropped.
#[derive(Debug)]
pub struct Racer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Racer {
    /// Both must be there.
    pub fn exchanging(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let race = move || {
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
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
