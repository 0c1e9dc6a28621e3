//! The loopback interface of a new network namespace.
//! config.json: linux.namespaces
//! process: init

use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::plan::namespaces::NETWORK;
use crate::sys::process;

/// Sets `lo` up in a new namespace. A joined one is not changed.
///
/// # Errors
/// The error of the failed call.
pub fn loopback_up(plan: &Plan) -> Result<()> {
    if !plan.namespaces.creates(&NETWORK) {
        return Ok(());
    }
    process::loopback_up().context("bringing the loopback interface up")
}
