//! Filesystems in user space, which the program mount.fuse(8) mounts.
//! process: worker

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use orlop::sys::wait::{self, Bound};

use crate::messages::Mount;
use crate::status::Failed;

/// The time for the program. The filesystem is mounted when it ends.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(60));

/// The program for a type of mount, and the type that it gets: `fuse3.NAME` and `fuse.NAME`.
#[must_use]
pub fn helper(kind: &str) -> Option<(&'static str, &str)> {
    let of = |program, prefix| kind.strip_prefix(prefix).map(|name| (program, name));
    of("mount.fuse3", "fuse3.").or_else(|| of("mount.fuse", "fuse."))
}

/// Runs `mount.fuse3 SOURCE TARGET -o OPTION … -t NAME`.
///
/// # Errors
/// There is no such program, or it fails; its output.
pub fn mount(mount: &Mount, target: &Path) -> Result<(), Failed> {
    let Some((program, name)) = helper(&mount.kind) else {
        return Err(Failed::invalid(format!("{:?} is no type of FUSE", mount.kind)));
    };
    // A path through our own descriptor has no meaning in another process.
    let target = target.strip_prefix("/proc/self").map_or_else(
        |_| target.to_owned(),
        |rest| Path::new("/proc").join(std::process::id().to_string()).join(rest),
    );
    let mut command = Command::new(program);
    command.arg(&mount.source).arg(target);
    for option in &mount.options {
        command.args(["-o", option]);
    }
    command.args(["-t", name]);
    let failed =
        |why: &str| Failed::unknown(format!("failed to mount rootfs component: {program}: {why}"));
    let output = wait::run(&mut command, PATIENCE)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => failed("not found in PATH; install fuse3"),
            _ => failed(&error.to_string()),
        })?
        .ok_or_else(|| failed("it does not end"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Err(failed(&format!("{}: {}", output.status, said.trim())))
}
