//! `state`: what a container is doing.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::{open, status_of};
use crate::container::StateFile;
use crate::error::Result;
use crate::state::{Status, VERSION};

/// Show the state of a container.
#[derive(Debug, Args)]
pub struct State {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub id: String,
}

/// The fields that runc prints, in its order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    oci_version: &'static str,
    pub(super) id: String,
    pub(super) pid: i32,
    pub(super) status: Status,
    pub(super) bundle: String,
    rootfs: String,
    pub(super) created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    pub(super) owner: String,
}

impl Shown {
    /// Of a container that does `status`. `owner` is empty but in `list`.
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

/// Carries out `state`; gives the text for standard output, without a newline at its end, as runc
/// does.
///
/// # Errors
/// No such container; errors of looking.
pub fn state(args: &State, state_root: &Path) -> Result<String> {
    let container = open(state_root, &args.id)?;
    let status = status_of(&container)?;
    let shown = Shown::of(container.saved, status, String::new());
    Ok(serde_json::to_string_pretty(&shown)?)
}
