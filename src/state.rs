//! The state of a container, as the specification defines it: the output of `state` and the input
//! of hooks.
//! config.json: ociVersion, annotations

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Result;

/// The version of the specification that we follow.
pub const VERSION: &str = "1.3.0";

/// runtime-spec, runtime.md, "State".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` has not finished.
    Creating,
    /// Init waits at the gate.
    Created,
    /// The program runs.
    Running,
    /// The container is frozen.
    Paused,
    /// Init has ended.
    Stopped,
}

impl Status {
    /// The name in the specification.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The JSON that hooks read on their standard input.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State<'a> {
    /// Version of the specification.
    pub oci_version: &'static str,
    /// The container's id.
    pub id: &'a str,
    /// Its status.
    pub status: Status,
    /// Init's pid in the pid namespace of the hook. Left out if there is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub pid: i32,
    /// The bundle.
    pub bundle: &'a str,
    /// `annotations`.
    #[serde(skip_serializing_if = "is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
}

/// The JSON that a seccomp agent reads (config-linux.md, "The Container Process State").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessState<'a> {
    /// Version of the specification.
    pub oci_version: &'static str,
    /// The names of the descriptors that are sent with it, in order.
    pub fds: &'a [&'a str],
    /// The process with the filter, as a pid in the runtime's pid namespace.
    pub pid: i32,
    /// `linux.seccomp.listenerMetadata`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub metadata: &'a str,
    /// The container.
    pub state: State<'a>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_empty(map: &&BTreeMap<String, String>) -> bool {
    map.is_empty()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

impl ProcessState<'_> {
    /// The JSON text.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

impl State<'_> {
    /// The JSON text. A stopped container has no pid.
    ///
    /// # Errors
    /// None in practice: strings and numbers can always be written.
    pub fn to_json(mut self) -> Result<String> {
        if self.status == Status::Stopped {
            self.pid = 0;
        }
        Ok(serde_json::to_string(&self)?)
    }
}
