//! `state`: the state of a container.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{open, status_of};
use crate::container::StateFile;
use crate::error::Result;
use crate::state::{Status, VERSION};

/// The state of a container: the fields that runc prints, in its order.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// The version of the specification.
    pub oci_version: &'static str,
    /// Its id.
    pub id: String,
    /// Init's pid, or 0 if the container is stopped.
    pub pid: i32,
    /// Its status.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root filesystem.
    pub rootfs: String,
    /// Time of creation, as in RFC 3339.
    pub created: String,
    /// The annotations of config.json.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The owner of the container. Empty except in the result of `list`.
    pub owner: String,
}

impl ContainerState {
    /// The state of a container with this status. `owner` is empty except in `list`.
    pub(super) fn of(saved: StateFile, status: Status, owner: String) -> Self {
        Self {
            oci_version: VERSION,
            id: saved.id,
            pid: if status == Status::Stopped { 0 } else { saved.init_process_pid },
            status,
            bundle: saved.bundle.to_string_lossy().into_owned(),
            rootfs: saved.rootfs.to_string_lossy().into_owned(),
            created: saved.created,
            annotations: saved.annotations,
            owner,
        }
    }
}

/// The state of a container.
///
/// # Errors
/// An error if there is no such container; errors of reading /proc or the cgroup.
///
/// # Examples
/// ```
/// use orlop::commands::state::state;
/// use orlop::error::Failure;
/// use orlop::state::Status;
///
/// # let directory = tempfile::tempdir()?;
/// # let state_root = directory.path();
/// match state("web", state_root) {
///     Ok(state) => println!("it runs: {}", state.status == Status::Running),
///     Err(error) => match error.downcast_ref() {
///         Some(Failure::NoSuchContainer) => println!("there is none"),
///         _ => return Err(error),
///     },
/// }
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn state(id: &str, state_root: &Path) -> Result<ContainerState> {
    let container = open(state_root, id)?;
    let status = status_of(&container)?;
    Ok(ContainerState::of(container.saved, status, String::new()))
}
