//! Signals that end us, as an error: what is half done is cleaned up on the way out.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on SIGINT, SIGTERM and SIGHUP only set the result. The second of them ends us at once.
///
/// By handlers, not by holding signals back: the programs that we start would inherit that.
///
/// # Errors
/// sigaction(2)'s.
pub fn watch() -> Result<&'static AtomicBool> {
    if let Some(stop) = STOP.get() {
        return Ok(stop);
    }
    let stop = STOP.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first looks at what the second has set the time before.
        flag::register_conditional_default(signal, Arc::clone(stop)).context("sigaction()")?;
        flag::register(signal, Arc::clone(stop)).context("sigaction()")?;
    }
    Ok(stop)
}
