//! The system call filter.
//! config.json: linux.seccomp.{defaultAction, defaultErrnoRet, architectures, flags}
//! config.json: linux.seccomp.syscalls[].{names, action, errnoRet}
//! config.json: linux.seccomp.syscalls[].args[].{index, value, valueTwo, op}
//! process: init (as the last step before execve, or at `create` with `early_filter`), a
//! startContainer hook, and a process of `exec`

use rustix::io::Errno;

use crate::error::{AtKey, Context, Result};
use crate::plan::seccomp::{SeccompPlan, WAIT_KILLABLE_RECV};
use crate::sync::InitEnd;
use crate::sys::Call;
use crate::sys::seccomp::{load as load_filter, load_with_listener};

/// Loads the filter. After that, only execve and an error message on the socket must pass the
/// filter. If the filter notifies an agent, the agent gets the listener before the first
/// notification.
///
/// # Errors
/// Errors of seccomp(2).
pub fn load(plan: Option<&SeccompPlan>, wire: &InitEnd) -> Result<()> {
    let Some(seccomp) = plan else { return Ok(()) };
    let program = &seccomp.filter.program;
    let loaded = match &seccomp.listener {
        None => load_filter(program, seccomp.flags.into()),
        Some(_) => {
            let wire = wire.try_clone()?;
            load_with_listener(program, seccomp.flags.into(), move |listener| {
                wire.send_listener(listener).is_ok()
            })
        }
    };
    explain(seccomp, loaded).at("/linux/seccomp")
}

/// Adds to an error of an old kernel which feature is missing, with the texts of runc.
fn explain(plan: &SeccompPlan, loaded: Result<(), Call>) -> Result<()> {
    match loaded {
        Err(call) if call.is(Errno::INVAL) && plan.flags & WAIT_KILLABLE_RECV != 0 => Err(call)
            .context(
                "error adding WaitKill flag to seccomp filter: SetWaitKill requires Linux 5.19",
            ),
        Err(call) if call.is(Errno::INVAL) && plan.listener.is_some() => {
            Err(call).context("seccomp notify unsupported: SCMP_ACT_NOTIFY requires Linux 5.0")
        }
        loaded => Ok(loaded?),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::explain;
    use crate::plan::seccomp::{Filter, ListenerPlan, SeccompPlan, WAIT_KILLABLE_RECV};
    use crate::sys::Named;

    #[test]
    fn an_old_kernel_is_said_to_be_one() {
        let listener = || {
            Some(ListenerPlan {
                path: "/a".to_owned(),
                metadata: String::new(),
                calls_of_ours: Vec::new(),
            })
        };
        for (listener, flags, errno, begins) in [
            (
                listener(),
                WAIT_KILLABLE_RECV,
                Errno::INVAL,
                "error adding WaitKill flag to seccomp filter: SetWaitKill",
            ),
            (listener(), 0, Errno::INVAL, "seccomp notify unsupported:"),
            (listener(), WAIT_KILLABLE_RECV, Errno::BUSY, "seccomp(): "),
            (None, 0, Errno::INVAL, "seccomp(): invalid argument"),
        ] {
            let plan = SeccompPlan { filter: Filter { program: Vec::new() }, flags, listener };
            let error =
                explain(&plan, Err(errno).named(|| "seccomp()".to_owned())).expect_err("an error");
            assert!(format!("{error:#}").starts_with(begins), "{error:#}");
        }
    }
}
