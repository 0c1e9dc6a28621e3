//! Everything that `create`, `run` and `restore` make for a new container. All of it is kept, or
//! all of it is undone.

use std::ffi::OsStr;
use std::mem::{replace, take};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::SystemTime;

use super::run_poststop_hooks;
use crate::cgroup::{self, Cgroup};
use crate::container::notify::{self, Notify};
use crate::container::{self, Container, ContainerId, Reserved, StateFile};
use crate::error::{Context, Result};
use crate::hooks::{self, HookContext, Output};
use crate::plan::Plan;
use crate::plan::hooks::{HookPoint, Hooks};
use crate::plan::namespaces::{NamespaceKind, PID};
use crate::resctrl::Groups;
use crate::runtime::child::Child;
use crate::runtime::net_devices::MovedDevices;
use crate::runtime::pid_file::PidFile;
use crate::runtime::restore::MountPoint;
use crate::state::Status;

/// Who starts the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// `start`: init waits for it at the gate.
    StartCommand,
    /// The command that makes the container. There is no gate.
    SameCommand,
}

/// A container that is being made. If it is dropped before it was [kept](Self::keep), everything
/// that was made is undone: the network devices, init, the cgroup, the groups of resctrl, the mount
/// point, the directory. If hooks have run, the poststop hooks run at the end.
#[derive(Debug)]
pub(super) struct Creation<I: AsMut<Child>> {
    /// The content of state.json.
    pub(super) saved: StateFile,
    /// Its directory.
    pub(super) reserved: Reserved,
    /// Its cgroup; none until it is made.
    pub(super) cgroup: Cgroup,
    /// Its groups of resctrl.
    pub(super) resctrl: Option<Groups>,
    /// Where `restore` mounts the rootfs for criu.
    pub(super) mount_point: Option<MountPoint>,
    /// Its init.
    pub(super) init: Option<I>,
    /// The network devices that were moved into it.
    pub(super) net_devices: MovedDevices,
    /// Whether there may be processes in the cgroup that do not end with init.
    pub(super) outlives_init: bool,
    /// Whether the poststop hooks run when this is undone.
    pub(super) runs_poststop: bool,
    kept: bool,
}

impl<I: AsMut<Child>> Creation<I> {
    /// Reserves the id. From here on, `delete --force` finds what we leave if we are killed.
    pub(super) fn reserve(
        state_root: &Path,
        id: &ContainerId,
        plan: &Plan,
        config: &[u8],
    ) -> Result<Self> {
        let reserved = container::reserve(state_root, id)?;
        let creation = Self {
            saved: describe(plan),
            reserved,
            cgroup: Cgroup::none(),
            resctrl: None,
            mount_point: None,
            init: None,
            net_devices: MovedDevices::default(),
            outlives_init: false,
            runs_poststop: false,
            kept: false,
        };
        creation.save()?;
        creation.reserved.keep_config(config)?;
        Ok(creation)
    }

    /// Writes state.json.
    pub(super) fn save(&self) -> Result<()> {
        self.reserved.save(&self.saved)
    }

    /// Makes the directory of the notify socket, which is mounted in the container. Also makes the
    /// socket, if this process starts the program. `host` is our own `NOTIFY_SOCKET`.
    pub(super) fn prepare_notify(
        &self,
        host: Option<&OsStr>,
        starter: Starter,
    ) -> Result<Option<Notify>> {
        let Some(host) = host else { return Ok(None) };
        notify::make_directory(self.reserved.fd())?;
        if starter == Starter::StartCommand {
            return Ok(None);
        }
        // The container runs without notifications, too.
        let socket = Notify::listen(self.reserved.fd(), host);
        Ok(socket.inspect_err(|error| log::warn!("{error:#}")).ok())
    }

    /// Makes the groups of resctrl, and saves them in state.json before anything else can fail.
    pub(super) fn make_groups(&mut self, plan: &Plan) -> Result<()> {
        self.resctrl = plan.intel_rdt.as_ref().map(Groups::make).transpose()?;
        let Some(groups) = &self.resctrl else { return Ok(()) };
        self.saved.intel_rdt_made = groups.containers_own();
        self.save()
    }

    /// Adds init, and saves what is known about it. Init has done nothing yet, and would end with
    /// us.
    pub(super) fn take_init(&mut self, plan: &Plan, init: I) -> Result<()> {
        self.outlives_init |= self.saved.shared_pid_namespace;
        let child = self.init.insert(init).as_mut();
        note_init(&mut self.saved, plan, child, &self.cgroup)?;
        let pid = child.pid;
        self.save()?;
        self.resctrl.as_ref().map_or(Ok(()), |groups| groups.add(pid))
    }

    /// Adds to an error that the OOM killer has killed in the cgroup, if it has.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        if self.cgroup.oom_killed() {
            error.context("container init was OOM-killed (memory limit too low?)")
        } else {
            error
        }
    }

    /// Writes the pid file and the final state. After that, only the pid file is undone, until it
    /// is kept, too.
    pub(super) fn keep(mut self, pid_file: Option<&Path>) -> Result<(I, Container, PidFile<'_>)> {
        self.runs_poststop = true; // the container existed, even if this fails
        self.mount_point = None;
        let mut init = self.init.take().context("there is no init")?;
        let kept = self.write_final_state(init.as_mut().pid, pid_file);
        let (directory, pid_file) = match kept {
            Ok(kept) => kept,
            Err(error) => {
                self.init = Some(init); // it is undone with the rest
                return Err(error);
            }
        };
        init.as_mut().release();
        self.net_devices.keep();
        self.cgroup.keep();
        if let Some(groups) = &mut self.resctrl {
            groups.keep();
        }
        self.kept = true;
        Ok((init, Container::kept(take(&mut self.saved), directory), pid_file))
    }

    fn write_final_state<'p>(
        &mut self,
        pid: i32,
        pid_file: Option<&'p Path>,
    ) -> Result<(container::Directory, PidFile<'p>)> {
        let pid_file = PidFile::write(pid_file, pid)?;
        self.saved.complete = true;
        Ok((self.reserved.commit(&self.saved)?, pid_file))
    }
}

impl<I: AsMut<Child>> Drop for Creation<I> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        drop((take(&mut self.net_devices), self.init.take()));
        if self.outlives_init {
            // If a process does not die, its cgroup cannot be removed anyway.
            let _ = self.cgroup.kill();
        }
        // A cgroup with a process cannot be removed.
        drop(replace(&mut self.cgroup, Cgroup::none()));
        drop((self.resctrl.take(), self.mount_point.take()));
        self.reserved.discard();
        if self.runs_poststop {
            run_poststop_hooks(&self.saved);
        }
    }
}

/// Runs the prestart and createRuntime hooks.
pub(super) fn run_runtime_hooks(
    hooks: &Hooks,
    saved: &StateFile,
    init: BorrowedFd<'_>,
) -> Result<()> {
    if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() {
        return Ok(());
    }
    let state = saved.hook_state(Status::Creating)?;
    let output = Output::open(&saved.annotations)?;
    let around = HookContext { init: Some(init), output: Some(&output), ..HookContext::default() };
    hooks::run(hooks, HookPoint::Prestart, &state, &around)?;
    hooks::run(hooks, HookPoint::CreateRuntime, &state, &around)
}

/// Adds what is known after init was made.
fn note_init(saved: &mut StateFile, plan: &Plan, init: &Child, cgroup: &Cgroup) -> Result<()> {
    cgroup.paths().clone_into(&mut saved.cgroup_paths);
    if let Some(unit) = cgroup.unit() {
        saved.systemd_unit = Some(unit.name.clone());
        saved.systemd_user = unit.user;
    }
    saved.init_process_pid = init.pid;
    saved.init_process_start = init.start_time()?;
    let file = |kind: &NamespaceKind| {
        (kind.saved.to_owned(), format!("/proc/{}/ns/{}", init.pid, kind.file).into())
    };
    saved.namespace_paths = plan.namespaces.own().map(file).collect();
    Ok(())
}

/// What is known about the container before it is made.
fn describe(plan: &Plan) -> StateFile {
    StateFile {
        id: plan.entry.id.clone(),
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        bundle: plan.bundle.clone(),
        rootfs: plan.rootfs.path.clone(),
        annotations: plan.annotations.clone(),
        shared_pid_namespace: !plan.namespaces.creates(&PID),
        no_new_keyring: plan.entry.keyring.is_none(),
        keyring: plan.entry.keyring.clone(),
        cgroup_paths: cgroup::planned_paths(&plan.cgroup),
        intel_rdt_path: plan.intel_rdt.as_ref().map(|rdt| rdt.group.clone()),
        intel_rdt_mon_path: plan.intel_rdt.as_ref().and_then(|rdt| rdt.monitoring.clone()),
        hooks: Hooks {
            poststart: plan.hooks.poststart.clone(),
            poststop: plan.hooks.poststop.clone(),
            ..Hooks::default()
        },
        listener_path: plan.listener().map(|agent| agent.path.clone()),
        listener_metadata: plan.listener().map(|agent| agent.metadata.clone()).unwrap_or_default(),
        ..StateFile::default()
    }
}
