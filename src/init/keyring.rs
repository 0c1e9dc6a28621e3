//! The session keyring of the container, so that its processes cannot use the keys of the caller.
//! config.json: process.selinuxLabel
//! process: init, and a process of `exec`

use std::ffi::CString;

use rustix::io::Errno;

use super::labels;
use crate::error::{Context, Result};
use crate::plan::EntryPlan;
use crate::sys::proc::Proc;
use crate::sys::process;

/// `KEY_POS_ALL & ~KEY_POS_SETATTR | KEY_USR_ALL`: the possessor may do everything except change
/// its owner and permissions, its user may do everything.
const PERMISSIONS: u32 = 0x1f3f_0000;

/// Joins the keyring of the container. The keyring that init joins is new, since its name is
/// random. If the kernel has no keyrings, this does nothing. A new keyring gets the label of the
/// program, which is set with `proc`, the procfs of the host.
///
/// # Errors
/// Errors of keyctl(2), such as `EDQUOT`.
pub fn join(plan: &EntryPlan, proc: Option<&Proc>) -> Result<()> {
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
