//! The names of the UTS namespace.
//! config.json: hostname, domainname
//! process: init

use crate::error::{AtKey, Result};
use crate::plan::Plan;
use crate::sys::{Named, process};

/// Sets the names (sethostname(2), setdomainname(2)).
///
/// # Errors
/// The error of the failed call.
pub fn set(plan: &Plan) -> Result<()> {
    let names = &plan.namespaces;
    if !names.hostname.is_empty() {
        let call = || format!("sethostname({:?})", names.hostname);
        nix::unistd::sethostname(&names.hostname).named(call).at("/hostname")?;
    }
    if !names.domainname.is_empty() {
        process::set_domain_name(&names.domainname).at(names.domainname_key)?;
    }
    Ok(())
}
