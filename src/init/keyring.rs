//! A session keyring of the container's own, so that the keys of whoever started it are not within
//! its reach.
//! config.json: process.selinuxLabel
//! process: init, and what `exec` makes

use std::ffi::CString;

use rustix::io::Errno;

use super::labels;
use crate::error::{Context, Result};
use crate::plan::Entry;
use crate::sys::proc::Proc;
use crate::sys::process;

/// `KEY_POS_ALL & ~KEY_POS_SETATTR | KEY_USR_ALL`: whoever possesses it may search it, its user may
/// do everything.
const PERMISSIONS: u32 = 0x1f3f_0000;

/// Joins the container's keyring. It is new when init joins it, as nobody could know its name;
/// without keyrings in the kernel, there is nothing to be kept from. A new keyring is labelled as
/// the program, by `proc`, the host's procfs.
///
/// # Errors
/// keyctl(2)'s, such as `EDQUOT`.
pub fn join(plan: &Entry, proc: Option<&Proc>) -> Result<()> {
    let Some(name) = &plan.keyring else { return Ok(()) };
    let name = CString::new(name.as_str())?;
    match labels::while_keys_have(&plan.process.labels, proc, || {
        process::join_session_keyring(&name)
    })? {
        Err(call) if call.is(Errno::NOSYS) => Ok(()),
        Err(call) => Err(call).context("making a session keyring (--no-new-keyring does without)"),
        Ok(serial) => {
            process::set_key_permissions(serial, PERMISSIONS).context("making a session keyring")
        }
    }
}
