//! state.json: all that is saved about a container.
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
use crate::kernel::CgroupPaths;
use crate::state::{ProcessState, State, Status, VERSION};
use crate::sys::{self, Call, Named, small_file};

/// The file's name.
pub(super) const FILE: &str = "state.json";

/// The content of state.json. A name that runc uses, too, is spelled as in runc.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StateFile {
    /// The container's id.
    pub id: String,
    /// Init's pid, or 0 if there is none yet.
    pub init_process_pid: i32,
    /// Init's start time, in clock ticks since boot. Together with the pid, it identifies one
    /// process, even if the pid is reused.
    pub init_process_start: u64,
    /// Time of creation, as in RFC 3339.
    pub created: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root filesystem.
    pub rootfs: PathBuf,
    /// `annotations`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The cgroup's directories: the controller (empty for cgroup v2) and the path.
    pub cgroup_paths: CgroupPaths,
    /// The unit of systemd that owns the cgroup. None if we made the cgroup ourselves. The next key
    /// is apart because older versions read this one as a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systemd_unit: Option<String>,
    /// Whether that unit belongs to the user's systemd and not to the system's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub systemd_user: bool,
    /// The control group of resctrl, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt_path: Option<PathBuf>,
    /// The monitoring group of resctrl, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt_mon_path: Option<PathBuf>,
    /// The groups among these two that we made, the inner one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intel_rdt_made: Vec<PathBuf>,
    /// The namespaces that are not the runtime's: runc's name for the kind, and the namespace's
    /// file while init is alive.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub namespace_paths: BTreeMap<String, PathBuf>,
    /// Whether init is in a pid namespace that was not made for the container. In that case, the
    /// end of init does not end other processes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared_pid_namespace: bool,
    /// Whether the container shares the session keyring of the process that created it.
    pub no_new_keyring: bool,
    /// Otherwise, the name of the container's own session keyring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// Path of the socket where the seccomp agent listens, if a rule of the filter notifies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// Text that the agent receives with the state.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub listener_metadata: String,
    /// Whether `create` has finished.
    pub complete: bool,
    /// Where `mounts` has bound something from the host. Some of these mounts may be gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added_mounts: Vec<String>,
    /// The hooks that `start` and `delete` run. A change of config.json has no effect on them.
    pub hooks: Hooks,
}

impl StateFile {
    /// The name of the container's own session keyring, if it has one. A state.json of an older
    /// version does not contain the name.
    #[must_use]
    pub fn own_keyring(&self) -> Option<Cow<'_, str>> {
        let named = || match &self.keyring {
            Some(name) => name.into(),
            None => format!("_ses.{}", self.id).into(),
        };
        (!self.no_new_keyring).then(named)
    }

    /// A name for a new container's keyring. It is random, so no other process can have made that
    /// keyring before.
    ///
    /// # Errors
    /// Errors of getrandom(2).
    pub fn name_keyring(id: &str) -> Result<String> {
        Ok(format!("_ses.{id}.{}", sys::random::word()?))
    }

    /// The state of a container whose `create` was killed before it wrote state.json.
    pub(super) fn nothing(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    /// Writes state.json into the container's directory. A reader sees the old file or the new one,
    /// never a part of one.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn write(&self, directory: BorrowedFd<'_>) -> Result<()> {
        const NEW: &str = ".state.json.new";
        let text = serde_json::to_vec(self)?;
        let mut file = match sys::fd::create_new(directory, NEW, 0o600) {
            // The file was left by a runtime that was killed.
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

    /// The JSON that a seccomp agent receives about the process `pid`.
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

    /// Reads the file `name` in `directory`. `None` if there is no such file: a `create` was killed
    /// before it wrote one.
    ///
    /// # Errors
    /// The error of the failed call; an error if the file is not JSON.
    pub(super) fn read(directory: BorrowedFd<'_>, name: &str) -> Result<Option<Self>> {
        match read_kept(directory, name) {
            Err(error) if is_missing(&error) => Ok(None),
            other => Self::parse(&other.context("reading state.json")?).map(Some),
        }
    }

    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let saved: Self = serde_json::from_slice(text).context("reading state.json")?;
        anyhow::ensure!(!saved.id.is_empty(), "reading state.json: it has no id");
        Ok(saved)
    }
}

/// The content of a file in the state root, which only we and root may write to.
pub(super) fn read_kept(directory: BorrowedFd<'_>, name: &str) -> Result<Vec<u8>> {
    let shown = || name.to_owned();
    // NONBLOCK, because the open of a fifo would wait for its other end.
    let file = small_file::open(directory, name, OFlags::RDONLY | OFlags::NONBLOCK, shown)?;
    trust::check_opened(&file, || name.into())?;
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
