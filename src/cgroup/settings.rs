//! Writes settings into the files of a cgroup, and explains what the kernel says to them.
//! config.json: linux.resources

use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use super::dir::Dir;
use crate::error::{AtKey, Context, Failure, Result};
use crate::plan::resources::Write;
use crate::sys::Call;

/// Carries out `writes`; `dir` finds the directory of a controller.
pub(super) fn write_all<'a, 'w>(
    writes: impl Iterator<Item = &'w Write>,
    dir: impl Fn(&str) -> Option<&'a Dir>,
) -> Result<()> {
    let mut refused: Vec<&Write> = Vec::new();
    let mut writes = writes.peekable();
    while let Some(setting) = writes.next() {
        let Some(dir) = dir(&setting.controller) else {
            if setting.optional {
                continue;
            }
            return Err(unavailable(&setting.controller)).at(&setting.key);
        };
        match write_one(dir, setting) {
            Ok(()) => {}
            Err(call) if setting.optional && call.is(Errno::NOENT) => {}
            Err(call) if setting.retried && call.is(Errno::INVAL) => refused.push(setting),
            Err(call) => return explain(call, dir, setting),
        }
        if writes.peek().is_none_or(|next| next.controller != setting.controller) {
            for setting in refused.drain(..) {
                write_one(dir, setting).or_else(|call| explain(call, dir, setting))?;
            }
        }
    }
    Ok(())
}

fn write_one(dir: &Dir, setting: &Write) -> Result<(), Call> {
    match (dir.write(&setting.file, &setting.value), &setting.or) {
        (Err(call), Some((file, value))) if call.is(Errno::NOENT) => dir.write(file, value),
        (result, _) => result,
    }
}

/// The error of a setting; when its file is missing because the controller was not handed down, that is said.
fn explain(call: Call, dir: &Dir, setting: &Write) -> Result<()> {
    let handed_down = |list: String| list.split_ascii_whitespace().any(|name| name == setting.controller);
    if call.is(Errno::NOENT)
        && setting.controller != "cgroup"
        && dir.read("cgroup.controllers").is_ok_and(|list| !handed_down(list))
    {
        let failure = match dir.path().components().any(|part| part.as_os_str().as_bytes().starts_with(b"user@")) {
            true => Failure::Unsupported(format!(
                "cgroup controller {:?} is not available: systemd has not delegated it to this user",
                setting.controller
            )),
            false => unavailable_failure(&setting.controller),
        };
        return Err(call).context(failure).at(&setting.key);
    }
    Err(call).at(&setting.key)
}

fn unavailable(controller: &str) -> anyhow::Error {
    unavailable_failure(controller).into()
}

fn unavailable_failure(controller: &str) -> Failure {
    Failure::Unsupported(format!("cgroup controller {controller:?} is not available"))
}
