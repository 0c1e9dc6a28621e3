//! Signals that end us, as an error: what is half done is cleaned up on the way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

#[derive(Debug)]
struct Watch {
    stop: Arc<AtomicBool>,
    handlers: Vec<SigId>,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

/// From here on SIGINT, SIGTERM and SIGHUP only set the result. The second of them ends us at once.
///
/// By handlers, not by holding signals back: the programs that we start would inherit that.
///
/// # Errors
/// sigaction(2)'s.
pub fn watch() -> Result<&'static AtomicBool> {
    if let Some(watch) = WATCH.get() {
        return Ok(&watch.stop);
    }
    let (stop, mut handlers) = (Arc::default(), Vec::new());
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first looks at what the second has set the time before.
        handlers.push(
            flag::register_conditional_default(signal, Arc::clone(&stop)).context("sigaction()")?,
        );
        handlers.push(flag::register(signal, Arc::clone(&stop)).context("sigaction()")?);
    }
    Ok(&WATCH.get_or_init(|| Watch { stop, handlers }).stop)
}

/// Leaves signals to who has handlers of his own by now: neither the first nor the second ends us
/// any more.
///
/// # Errors
/// One came before.
pub fn hand_over() -> Result<()> {
    let Some(watch) = WATCH.get() else { return Ok(()) };
    for handler in &watch.handlers {
        low_level::unregister(*handler);
    }
    ensure!(!watch.stop.load(Ordering::Relaxed), "interrupted");
    Ok(())
}
