//! Turns SIGINT, SIGTERM and SIGHUP into an error, so that temporary files are removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

#[derive(Debug)]
struct SignalWatch {
    stop: Arc<AtomicBool>,
    handlers: Vec<SigId>,
}

static WATCH: OnceLock<SignalWatch> = OnceLock::new();

/// Installs handlers: the first of these signals sets the returned flag, a second one ends the
/// process at once.
///
/// The signals are handled, not blocked: programs that we start would inherit the signal mask.
///
/// # Errors
/// Errors of sigaction(2).
pub fn watch() -> Result<&'static AtomicBool> {
    if let Some(watch) = WATCH.get() {
        return Ok(&watch.stop);
    }
    let (stop, mut handlers) = (Arc::default(), Vec::new());
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order matters: the first handler tests the flag, and must run before the second one
        // sets it.
        handlers.push(
            flag::register_conditional_default(signal, Arc::clone(&stop)).context("sigaction()")?,
        );
        handlers.push(flag::register(signal, Arc::clone(&stop)).context("sigaction()")?);
    }
    Ok(&WATCH.get_or_init(|| SignalWatch { stop, handlers }).stop)
}

/// Removes the handlers, since others are installed. After that, the signals do not end the
/// process.
///
/// # Errors
/// A signal has arrived before.
pub fn remove_handlers() -> Result<()> {
    let Some(watch) = WATCH.get() else { return Ok(()) };
    for handler in &watch.handlers {
        low_level::unregister(*handler);
    }
    ensure!(!watch.stop.load(Ordering::Relaxed), "interrupted");
    Ok(())
}
