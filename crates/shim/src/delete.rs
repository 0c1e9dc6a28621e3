//! `delete`: cleans up after a daemon that has been killed. containerd runs it in the bundle.
//! process: delete

use std::io::Write;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::flags::Flags;
use crate::messages::{DeleteResponse, Timestamp};
use crate::options::Options;
use crate::order::Order;
use crate::status::Failed;
use crate::{library, mounts, socket, start};

/// The exit status of a container whose shim was killed: that of SIGKILL.
const KILLED: u32 = 128 + 9;

/// Cleans up, and returns the output. Errors of single steps are printed on standard error.
///
/// # Errors
/// An error if there is no bundle.
pub fn delete(flags: &Flags) -> Result<Vec<u8>, Failed> {
    flags.need_container()?;
    let bundle = bundle(flags)?;
    let options = Options::kept(&bundle).unwrap_or_else(|error| {
        warn(&format!("reading the options of {bundle:?}: {error}"));
        Options::default()
    });
    let order = Order {
        id: flags.id.clone(),
        bundle: bundle.to_string_lossy().into_owned(),
        namespace: flags.namespace.clone(),
        options: Some(options),
        all: true,
        ..Order::default()
    };
    if let Err(error) = library::delete(&order) {
        warn(&format!("deleting {}: {error:#}", flags.id));
    }
    mounts::unmount(&bundle.join("rootfs"));
    remove_socket(&bundle);
    let pid = std::fs::read_to_string(bundle.join(library::PID_FILE)).ok();
    let pid = pid.and_then(|pid| pid.trim().parse().ok()).unwrap_or(0);
    Ok(DeleteResponse { pid, exit_status: KILLED, exited_at: Some(Timestamp::now()) }
        .encode_to_vec())
}

/// The bundle of the container: the directory in the flag or, as in the Go shim, the one beside the
/// current directory.
fn bundle(flags: &Flags) -> Result<PathBuf, Failed> {
    let failed = |error: std::io::Error| Failed::unknown(format!("finding the bundle: {error}"));
    let here = std::env::current_dir().map_err(failed)?;
    let beside = here.parent().unwrap_or(&here).join(&flags.id);
    let given = if flags.bundle.is_empty() { beside } else { here.join(&flags.bundle) };
    std::fs::metadata(&given)
        .map_err(|error| Failed::not_found(format!("the bundle {given:?} (-bundle): {error}")))?;
    Ok(given)
}

/// Removes the socket of a daemon that does not answer. A new daemon of the same group may use this
/// path.
fn remove_socket(bundle: &Path) {
    let Ok(address) = std::fs::read_to_string(bundle.join(start::ADDRESS_FILE)) else { return };
    let Some(path) = address.trim().strip_prefix("unix://") else { return };
    let _lock = socket::lock(path); // an error is none of the container's
    if !socket::answers(path) {
        let _ = std::fs::remove_file(path);
    }
}

fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}"); // containerd copies it to its log
}
