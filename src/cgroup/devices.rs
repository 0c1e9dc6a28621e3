//! Applies the device rules: with a program on cgroup v2, with exceptions on v1.
//! config.json: linux.resources.devices[].{allow, type, major, minor, access}

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::Result;
use crate::plan::resources::{DevicePolicy, Verdict};
use crate::sys::bpf::{BpfInstruction, LoadedProgram, attached};
use crate::sys::{Call, proc, small_file};

use super::bpf;
use super::dir::Dir;

/// cgroup v2: replaces the attached programs by the one for `policy`. A program is attached at all
/// times.
pub(super) fn attach(dir: &Dir, policy: &DevicePolicy) -> Result<()> {
    excuse(try_attach(dir, &bpf::assemble(policy)?))
}

fn try_attach(dir: &Dir, instructions: &[BpfInstruction]) -> Result<(), Call> {
    let Some(fd) = dir.fd() else {
        // It had been detached when it was opened.
        return try_attach(&Dir::open(dir.path().to_owned())?, instructions);
    };
    let mut old = Vec::new();
    for id in attached(fd)? {
        match LoadedProgram::by_id(id) {
            Ok(program) => old.push(program),
            // A program of another process that a security module hides, or one that is detached
            // meanwhile. It can only forbid more.
            Err(call)
                if call.is(Errno::PERM) || call.is(Errno::ACCESS) || call.is(Errno::NOENT) => {}
            Err(call) => return Err(call),
        }
    }
    let mut superfluous = old.as_slice();
    if !instructions.is_empty() {
        let program = LoadedProgram::load_device(instructions)?;
        let replaced = match old.as_slice() {
            [only] => Some(only),
            // All attached programs must permit an access, so the old and the new one can be
            // attached at the same time.
            _ => None,
        };
        program.attach(fd, replaced)?;
        if replaced.is_some() {
            superfluous = &[];
        }
    }
    for program in superfluous {
        program.detach(fd)?;
    }
    Ok(())
}

/// cgroup v1: sets the default, which drops all exceptions, and adds those of `policy`.
pub(super) fn write(dir: &Dir, policy: &DevicePolicy) -> Result<()> {
    excuse(try_write(dir, policy))
}

fn try_write(dir: &Dir, policy: &DevicePolicy) -> Result<(), Call> {
    let (default, exception) = match policy.default {
        Verdict::Deny => ("devices.deny", "devices.allow"),
        Verdict::Allow => ("devices.allow", "devices.deny"),
    };
    dir.write(default, "a")?;
    if policy.rules.is_empty() {
        return Ok(());
    }
    let file = dir.open_file(exception, OFlags::WRONLY)?;
    // One rule in each write: the kernel reads no more.
    policy
        .rules
        .iter()
        .try_for_each(|rule| small_file::write_to(&file, &rule.to_v1(), || dir.shown(exception)))
}

/// Neither ordinary users nor user namespaces may set device rules. They cannot make or open
/// devices of the host either.
fn excuse(result: Result<(), Call>) -> Result<()> {
    match result {
        Err(call) if (call.is(Errno::PERM) || call.is(Errno::ACCESS)) && is_unprivileged() => {
            Ok(())
        }
        result => Ok(result?),
    }
}

fn is_unprivileged() -> bool {
    !rustix::process::geteuid().is_root() || proc::in_user_namespace().unwrap_or(true)
}
