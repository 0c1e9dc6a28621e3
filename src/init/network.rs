//! The loopback interface of a new network namespace.
//! config.json: linux.namespaces
//! process: init

use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::plan::namespaces::NETWORK;
use crate::sys::process;

/// Brings `lo` up in a namespace that we made; one that we joined is somebody else's to set up.
///
/// # Errors
/// The failed call's.
pub fn loopback_up(plan: &Plan) -> Result<()> {
    if !plan.namespaces.creates(&NETWORK) {
        return Ok(());
    }
    process::loopback_up().context("bringing the loopback interface up")
}
