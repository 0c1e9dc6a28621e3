//! Signals that end us, as an error: what is half done is cleaned up on the way out.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

static STOP: AtomicBool = AtomicBool::new(false);

/// From here on SIGINT, SIGTERM and SIGHUP only set the result. The second of them ends us at once.
///
/// # Errors
/// pthread_sigmask(3)'s.
pub fn watch() -> Result<&'static AtomicBool> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    // Threads that begin after this hold the signals back too.
    set.thread_block().context("pthread_sigmask()")?;
    std::thread::spawn(move || {
        if set.wait().is_ok() {
            STOP.store(true, Ordering::Relaxed);
            let _ = set.thread_unblock();
        }
    });
    Ok(&STOP)
}
