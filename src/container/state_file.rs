//! What is remembered of a container: state.json.
//! config.json: annotations

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::trust;
use crate::config::Hooks;
use crate::error::{Context, Result};
use crate::state::{ProcessState, State, Status, VERSION};
use crate::sys::{self, Call, Named, small_file};

/// The file's name.
pub(super) const FILE: &str = "state.json";

/// state.json. Names that runc has, too, are spelled as runc does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StateFile {
    /// The container's id.
    pub id: String,
    /// Init's pid, or 0 as long as there is none.
    pub init_process_pid: i32,
    /// Init's start time in clock ticks since boot: with the pid, it names one process for good.
    pub init_process_start: u64,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The root filesystem, absolute.
    pub rootfs: PathBuf,
    /// `annotations`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The cgroup's directories: controller (or nothing) and path.
    pub cgroup_paths: Vec<(String, PathBuf)>,
    /// The unit of systemd that has the cgroup; empty if we made it ourselves.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_unit: String,
    /// Whether that is a unit of the user's systemd and not the system's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub systemd_user: bool,
    /// The control group of resctrl, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt_path: Option<PathBuf>,
    /// The monitoring group, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt_mon_path: Option<PathBuf>,
    /// Those of them that were made for it, the inner one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intel_rdt_made: Vec<PathBuf>,
    /// The namespaces that are not the runtime's: what each kind is called there, and its file
    /// while init lives.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub namespace_paths: BTreeMap<String, PathBuf>,
    /// Whether init is in a pid namespace that was not made for the container: then its end ends no
    /// other process.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared_pid_namespace: bool,
    /// Whether the container shares the session keyring of whoever created it.
    pub no_new_keyring: bool,
    /// The name of its own otherwise.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub keyring: String,
    /// Where the agent listens that a notifying seccomp filter asks; empty when no rule notifies.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub listener_path: String,
    /// What it is told besides the state.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub listener_metadata: String,
    /// Whether `create` came to its end.
    pub complete: bool,
    /// Where `mounts` has bound something of the host; of those that are gone some may be left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added_mounts: Vec<String>,
    /// The hooks that `start` and `delete` run: a change of config.json has no effect on them.
    pub hooks: Hooks,
}

impl StateFile {
    /// The name of the container's own session keyring, if it has one. State of an older version
    /// does not have it.
    #[must_use]
    pub fn own_keyring(&self) -> Option<Cow<'_, str>> {
        let named = || {
            if self.keyring.is_empty() {
                format!("_ses.{}", self.id).into()
            } else {
                (&*self.keyring).into()
            }
        };
        (!self.no_new_keyring).then(named)
    }

    /// A name for the keyring of a new container, which nobody can have made before.
    ///
    /// # Errors
    /// Errors of getrandom(2).
    pub fn name_keyring(id: &str) -> Result<String> {
        Ok(format!("_ses.{id}.{}", sys::random::word()?))
    }

    /// Of a container whose `create` was killed before it had written anything.
    pub(super) fn nothing(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    /// Writes it into the container's directory, so that a reader sees the old one or the new one,
    /// never a part.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn write(&self, directory: BorrowedFd<'_>) -> Result<()> {
        const NEW: &str = ".state.json.new";
        let text = serde_json::to_vec(self)?;
        let mut file = match sys::fd::create_new(directory, NEW, 0o600) {
            // Left by a runtime that was killed.
            Err(call) if call.is(Errno::EXIST) => {
                remove(directory, NEW)?;
                sys::fd::create_new(directory, NEW, 0o600)
            }
            other => other,
        }
        .context("writing state.json")?;
        file.write_all(&text).context("writing state.json")?;
        rustix::fs::renameat(directory, NEW, directory, FILE)
            .named(|| format!("rename({NEW:?}, {FILE:?})"))
            .context("writing state.json")
    }

    /// The state for hooks in the runtime's namespaces, as JSON.
    ///
    /// # Errors
    /// None in practice.
    pub fn hook_state(&self, status: Status) -> Result<String> {
        self.state(status, &self.bundle.to_string_lossy()).to_json()
    }

    /// What a seccomp agent is told of the process `pid`, as JSON.
    ///
    /// # Errors
    /// None in practice.
    pub fn process_state(&self, status: Status, pid: i32) -> Result<String> {
        ProcessState {
            oci_version: VERSION,
            fds: &["seccompFd"],
            pid,
            metadata: &self.listener_metadata,
            state: self.state(status, &self.bundle.to_string_lossy()),
        }
        .to_json()
    }

    fn state<'a>(&'a self, status: Status, bundle: &'a str) -> State<'a> {
        let (id, pid) = (&self.id, self.init_process_pid);
        State { oci_version: VERSION, id, status, pid, bundle, annotations: &self.annotations }
    }

    /// Reads it from the file `name` of `directory`; nothing when a `create` was killed before it
    /// had written one.
    ///
    /// # Errors
    /// The error of the failed call; when it is not JSON.
    pub(super) fn read(directory: BorrowedFd<'_>, name: &str) -> Result<Option<Self>> {
        match read_kept(directory, name) {
            Err(error) if is_missing(&error) => Ok(None),
            other => Self::parse(&other.context("reading state.json")?).map(Some),
        }
    }

    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let saved: Self = serde_json::from_slice(text).context("reading state.json")?;
        anyhow::ensure!(!saved.id.is_empty(), "reading state.json: it is that of no container");
        Ok(saved)
    }
}

/// The whole of a file in the state root, which only we and root may write to.
pub(super) fn read_kept(directory: BorrowedFd<'_>, name: &str) -> Result<Vec<u8>> {
    let shown = || name.to_owned();
    // Should it be a fifo, we do not wait for its other end.
    let file = small_file::open(directory, name, OFlags::RDONLY | OFlags::NONBLOCK, shown)?;
    trust::judge_kept(&file, || name.into())?;
    Ok(small_file::read_open(&file, shown)?)
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Call>().is_some_and(|call| call.is(Errno::NOENT))
}

fn remove(directory: BorrowedFd<'_>, name: &str) -> Result<()> {
    rustix::fs::unlinkat(directory, name, rustix::fs::AtFlags::empty())
        .named(|| format!("unlink({name:?})"))
        .context("writing state.json")
}
