//! We are the bootstrap, a process in between that only a container with a user namespace and a joined one needs. Our
//! job: join what is to be joined, make init, and be gone.
//! config.json: linux.namespaces
//! process: bootstrap

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::error::{AtKey, Context, Report, Result};
use crate::init::{self, Joined, Setup};
use crate::plan::namespaces::USER;
use crate::sync::{FromInit, InitEnd};
use crate::sys::clone::{self, SingleThreaded};
use crate::sys::{Call, process};

/// Runs to its end and gives the exit code.
pub fn main(token: SingleThreaded, setup: &Setup<'_>, runtime: &InitEnd) -> i32 {
    let said = match run(token, setup, runtime) {
        Ok(pid) => runtime.tell(&FromInit::Forked(pid)),
        Err(error) => runtime.tell(&FromInit::Failed(Report::of(&error))),
    };
    // If nobody hears it, nobody wants to know.
    i32::from(said.is_err())
}

fn run(token: SingleThreaded, setup: &Setup<'_>, runtime: &InitEnd) -> Result<i32> {
    process::set_name(c"orlop:[boot]")?;
    runtime.wait()?;
    join(setup.joined)?;
    // Our sibling: the runtime is its parent, and hears of its end.
    let birth = clone::Birth { namespaces: setup.plan.namespaces.create, cgroup: None, sibling: true };
    let newborn = clone::clone(token, &birth, || init::main(setup, runtime)).context("making the container's init")?;
    Ok(newborn.pid)
}

/// All others before the user namespace, for which we have no rights over the host's any more; what belongs to it and is
/// refused (an ordinary user has rights only inside) after.
fn join(namespaces: &[Joined]) -> Result<()> {
    let mut refused = Vec::new();
    for joined in namespaces.iter().filter(|joined| *joined.kind != USER) {
        match clone::setns(joined.file.as_fd(), joined.kind.flag) {
            Err(call) if call.is(Errno::PERM) => refused.push(joined),
            result => explain(result, joined)?,
        }
    }
    for joined in namespaces.iter().filter(|joined| *joined.kind == USER).chain(refused) {
        explain(clone::setns(joined.file.as_fd(), joined.kind.flag), joined)?;
    }
    Ok(())
}

/// Says which namespace could not be joined.
pub(crate) fn explain(result: Result<(), Call>, joined: &Joined) -> Result<()> {
    result
        .with_context(|| format!("joining the {} namespace", joined.kind.name))
        .at(format_args!("/linux/namespaces/{}/path", joined.index))
}
