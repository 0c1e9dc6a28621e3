//! Support for tests of attacks: a thread that changes files during a call of the runtime, and
//! repeated attempts.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::soak;

/// The number of rounds: `short`, or `long` for `make soak`.
pub fn rounds(short: usize, long: usize) -> usize {
    if soak() { long } else { short }
}

/// Repeats an attempt, which returns whether it succeeded, until the time for one attack is over
/// and at least one attempt has succeeded.
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

/// A thread that exchanges two names on a volume, as fast as it can, until this is dropped.
#[derive(Debug)]
pub struct Racer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Racer {
    /// Both files must exist. The thread ends when one does not exist any more.
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
