//! Creates init, and answers its requests until it is ready.
//! config.json: linux.namespaces
//! config.json: linux.timeOffsets.{monotonic, boottime}.{secs, nanosecs}
//! process: runtime

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::process::fchdir;

use super::child::{Child, close_runtime_end};
use super::console::Console;
use super::devices;
use super::mount_sources::MountSources;
use super::watch::Watch;
use super::{id_mappings, limits, stdio};
use crate::bootstrap;
use crate::cgroup::{Cgroup, CgroupMembership};
use crate::error::{AtKey, Context, Failure, Problem, Result};
use crate::init::{self, InitSetup, JoinedNamespace};
use crate::plan::Plan;
use crate::plan::namespaces::{CloneMethod, Join, NETWORK, NamespaceKind, PID, TIME};
use crate::plan::process::ProcessPlan;
use crate::sync::{self, FromInit, InitEnd, RuntimeEnd, ToInit};
use crate::sys::clone::{self, NewProcess, SingleThreaded};
use crate::sys::fd::FileId;
use crate::sys::pidfd::Exit;
use crate::sys::root::RootHandle;
use crate::sys::wait::{self, Bound};
use crate::sys::{self, Named, pidfd, signal};

impl AsMut<Child> for Init {
    fn as_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// Init, or a process of `exec`, while it is made: the process, and the wire to it.
#[derive(Debug)]
pub struct Init {
    /// The process.
    pub child: Child,
    pub(super) wire: RuntimeEnd,
}

/// An action that init requests while it is made.
#[derive(Debug)]
pub enum InitRequest {
    /// The rootfs is built. The network devices must be moved, the limits of the cgroup must be
    /// set, and the `prestart` and `createRuntime` hooks must run.
    Built,
    /// This listener must be sent to the agent of the filter.
    Listener(OwnedFd),
}

/// Creates init in the cgroup, with its namespaces and ids. Init begins its work after
/// [`Init::begin`].
///
/// # Errors
/// The error of the failed call, or the error that init or the bootstrap reports.
pub fn make_init(
    plan: &Plan,
    cgroup: &mut Cgroup,
    rootfs: &RootHandle,
    gate: Option<OwnedFd>,
) -> Result<Init> {
    let token = SingleThreaded::prove()?;
    let joined = open_namespaces(plan)?;
    let (wire, init_end) = sync::pair()?;
    // Init gets the rootfs as its working directory, because a user namespace may keep it from
    // reaching the path. A descriptor cannot replace this: it refers to our mount namespace, and
    // clone(2) with CLONE_NEWNS moves only the working directory to the copy.
    let bundle = sys::fd::open(".".as_ref(), OFlags::PATH | OFlags::DIRECTORY)?;
    fchdir(rootfs).named(|| "fchdir(rootfs)".to_owned()).at("/root/path")?;
    let cgroup_fd = cgroup.fd_for_clone3();
    let membership =
        if cgroup_fd.is_some() { CgroupMembership::Inside } else { CgroupMembership::Outside };
    let setup = InitSetup {
        plan,
        joined: &joined,
        gate,
        hook_output: init::open_hook_output(plan)?,
        alone: token,
    };
    let cloned = clone_first(&setup, &wire, init_end, cgroup_fd)?;
    let child = Child::adopt(cloned);
    cgroup.take_first(plan, child.pid, membership)?;
    // This is written before init changes its ids: after that, only root may write to its files in
    // /proc. If this process is the bootstrap, init inherits the value.
    limits::oom_score_adj(&plan.entry.process, child.pid)?;
    let init = match plan.namespaces.clone_method {
        CloneMethod::Direct => Init { child, wire },
        CloneMethod::ViaBootstrap => {
            wire.send(&ToInit::Begin)?;
            adopt_init(child, wire, &mut Watch::new(cgroup))?
        }
    };
    fchdir(&bundle).named(|| "fchdir(bundle)".to_owned())?;
    stdio::give(&plan.entry)?;
    limits::all_cpus(init.child.pid);
    id_mappings::write(&plan.entry.ids, init.child.pid)?;
    Ok(init)
}

/// Creates init, or the bootstrap. Closes `init_end` here, so that the wire ends with that process.
fn clone_first(
    setup: &InitSetup<'_>,
    wire: &RuntimeEnd,
    init_end: InitEnd,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<NewProcess> {
    let InitSetup { plan, joined, alone: token, .. } = *setup;
    match plan.namespaces.clone_method {
        CloneMethod::Direct => {
            let namespaces = plan.namespaces.create;
            let request = clone::CloneRequest { namespaces, cgroup, sibling: false };
            inheriting(plan, joined, || {
                clone::clone(token, &request, || {
                    close_runtime_end(wire);
                    init::main(setup, &init_end)
                })
                .context("making the container's init")
            })
        }
        CloneMethod::ViaBootstrap => {
            let request = clone::CloneRequest { namespaces: 0, cgroup, sibling: false };
            clone::clone(token, &request, || {
                close_runtime_end(wire);
                bootstrap::main(token, setup, &init_end)
            })
            .context("making the bootstrap process")
        }
    }
}

/// Receives the only message of the bootstrap: init's pid, or an error. Then the bootstrap ends.
pub(super) fn adopt_init(
    bootstrap: Child,
    wire: RuntimeEnd,
    watch: &mut Watch<'_>,
) -> Result<Init> {
    // A bootstrap that is killed before it sends the message may leave an init that waits for us.
    // So this does not wait for the wire alone. The init ends when the wire is closed.
    let ends = [wire.as_fd(), bootstrap.pidfd.as_fd()];
    let said = loop {
        match wait::either_readable(ends, Bound::Within(sync::SILENCE))? {
            [false, false] => watch.look(bootstrap.pid)?,
            [said, _] => break said,
        }
    };
    match if said { wire.receive()? } else { FromInit::End } {
        FromInit::Forked(pid) => {
            let child = Child::open(pid)?;
            let mut bootstrap = bootstrap;
            pidfd::reap_within(bootstrap.pidfd.as_fd(), wait::DEATH)?
                .context("the bootstrap process does not end")?;
            bootstrap.release();
            Ok(Init { child, wire })
        }
        FromInit::Failed(report) => Err(report.into()),
        other => anyhow::bail!("the bootstrap process died ({other:?})"),
    }
}

/// Opens the files of the namespaces to join, while their paths have the meaning that the user
/// intended.
fn open_namespaces(plan: &Plan) -> Result<Vec<JoinedNamespace>> {
    let open = |join: &Join| {
        // NONBLOCK, because the open of a fifo would wait for its other end.
        let file = sys::fd::open(&join.path, OFlags::RDONLY | OFlags::NONBLOCK)
            .with_context(|| {
                format!("joining the {} namespace {}", join.kind.name, join.path.display())
            })
            .at(format_args!("/linux/namespaces/{}/path", join.index))?;
        Ok(JoinedNamespace { kind: join.kind, index: join.index, path: join.path.clone(), file })
    };
    let joined: Vec<JoinedNamespace> =
        plan.namespaces.join.iter().map(open).collect::<Result<_>>()?;
    for joined in &joined {
        refuse_host_sysctl(plan, joined)?;
    }
    Ok(joined)
}

/// Refuses network parameters if the network namespace to join is the host's, since a container
/// must not change the parameters of the host.
fn refuse_host_sysctl(plan: &Plan, joined: &JoinedNamespace) -> Result<()> {
    let Some(sysctl) = plan.sysctl.iter().find(|sysctl| sysctl.file.starts_with("sys/net/")) else {
        return Ok(());
    };
    if *joined.kind != NETWORK {
        return Ok(());
    }
    let own = rustix::fs::stat("/proc/self/ns/net").named_on("stat", "/proc/self/ns/net")?;
    let other = rustix::fs::fstat(&joined.file).named(|| "fstat()".to_owned())?;
    if FileId::from(own) == FileId::from(other) {
        let text = format!(
            "sysctl {:?} is not allowed in host network namespace (linux.namespaces)",
            sysctl.name
        );
        let key = format!("/linux/sysctl/{}", sysctl.name);
        return Err(Failure::BadConfig(Problem::new(key, text)).into());
    }
    Ok(())
}

/// Enters pid and time namespaces only for the clone, because they only apply to new children.
fn inheriting(
    plan: &Plan,
    joined: &[JoinedNamespace],
    clone: impl FnOnce() -> Result<NewProcess>,
) -> Result<NewProcess> {
    let join = |kind: &NamespaceKind| joined.iter().find(|joined| joined.kind == kind);
    let makes_time = !plan.namespaces.time_offsets.is_empty();
    let kinds = [&PID, &TIME]
        .into_iter()
        .filter(|kind| join(kind).is_some() || (**kind == TIME && makes_time));
    with_namespaces_restored(kinds, || {
        for joined in [&PID, &TIME].into_iter().filter_map(join) {
            joined.explain(joined.enter())?;
        }
        let clocks = bootstrap::open_clocks(&plan.namespaces)?;
        bootstrap::make_time_namespace(&plan.namespaces, clocks)?;
        clone()
    })
}

/// Runs `there`, which may enter other namespaces of these kinds, and then returns to our own.
pub(super) fn with_namespaces_restored<T>(
    kinds: impl Iterator<Item = &'static NamespaceKind>,
    there: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let open = |kind: &'static NamespaceKind| {
        Ok((kind, sys::fd::open(format!("/proc/self/ns/{}", kind.file).as_ref(), OFlags::RDONLY)?))
    };
    let own: Vec<(&NamespaceKind, OwnedFd)> = kinds.map(open).collect::<Result<_>>()?;
    let result = there();
    for (kind, file) in own {
        clone::setns(file.as_fd(), kind.flag)
            .with_context(|| format!("coming back from the {} namespace", kind.name))?;
    }
    result
}

impl Init {
    /// Answers init until it is ready to become the program. `console` gets its terminal.
    /// `when_due` carries out the requests.
    ///
    /// # Errors
    /// Errors that init reports; an error if init dies or cannot run; errors of the answers.
    pub fn serve(
        &self,
        plan: &Plan,
        console: &mut Console,
        watch: &mut Watch<'_>,
        mut when_due: impl FnMut(InitRequest) -> Result<()>,
    ) -> Result<()> {
        let mut sources = MountSources::new(plan, self.child.pid);
        loop {
            match self.receive(watch)? {
                FromInit::MountSource(index, copy) => {
                    self.wire.send(&ToInit::MountSource(sources.open(index, copy)?))?;
                }
                FromInit::Devices => self.wire.send(&ToInit::Devices(devices::make(plan)?))?,
                FromInit::Built => {
                    when_due(InitRequest::Built)?;
                    if plan.init_waits() {
                        self.wire.send(&ToInit::Continue)?;
                    }
                }
                FromInit::Listener(listener) => {
                    when_due(InitRequest::Listener(listener))?;
                    self.wire.send(&ToInit::ListenerDelivered)?;
                }
                other => {
                    if self.answer(other, &plan.entry.process, console)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// As [`Self::serve`], for a process of `exec`.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub fn serve_exec(
        &self,
        plan: &ProcessPlan,
        console: &mut Console,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        while !self.answer(self.receive(watch)?, plan, console)? {}
        Ok(())
    }

    fn receive(&self, watch: &mut Watch<'_>) -> Result<FromInit> {
        self.wire.receive_watched(|| watch.look(self.child.pid))
    }

    /// Answers a message that every process may send. Returns true if the process is ready.
    fn answer(&self, message: FromInit, plan: &ProcessPlan, console: &mut Console) -> Result<bool> {
        match message {
            FromInit::Terminal(master) => {
                console.take(master)?;
                Ok(false)
            }
            FromInit::Limits => {
                init::limits::set(plan, self.child.pid)?;
                self.wire.send(&ToInit::LimitsSet)?;
                Ok(false)
            }
            FromInit::Ready => Ok(true),
            FromInit::Failed(report) => Err(report.into()),
            FromInit::End => Err(self.died()),
            other => anyhow::bail!("unexpected {other:?} from init"),
        }
    }

    /// Tells the process to begin its work.
    ///
    /// # Errors
    /// Errors of sendmsg(2).
    pub fn begin(&self) -> Result<()> {
        self.wire.send(&ToInit::Begin)
    }

    /// Tells a ready process that its state is saved. It then goes on to the gate, if it has one,
    /// or to the program.
    ///
    /// # Errors
    /// Errors of sendmsg(2).
    pub fn saved(&self) -> Result<()> {
        self.wire.send(&ToInit::Saved)
    }

    /// Waits until init has become the program, after [`Self::saved`] and without a gate.
    /// `send_listener` sends the listener of its filter to the agent.
    ///
    /// # Errors
    /// The error that init reports; errors of `send_listener`.
    pub fn serve_program(
        &self,
        watch: &mut Watch<'_>,
        mut send_listener: impl FnMut(OwnedFd) -> Result<()>,
    ) -> Result<()> {
        loop {
            match self.receive(watch)? {
                FromInit::Listener(listener) => {
                    send_listener(listener)?;
                    self.wire.send(&ToInit::ListenerDelivered)?;
                }
                FromInit::End => return Ok(()),
                FromInit::Failed(report) => return Err(report.into()),
                other => anyhow::bail!("unexpected {other:?} from init"),
            }
        }
    }

    fn died(&self) -> anyhow::Error {
        let how = match pidfd::ended_within(self.child.pidfd.as_fd(), wait::DEATH) {
            Ok(Some(Exit::Signal(libc::SIGKILL))) => "killed, or out of memory".to_owned(),
            Ok(Some(Exit::Code(code))) => format!("it ended with the status {code}"),
            Ok(Some(Exit::Signal(number))) => format!("killed by {}", signal::name(number)),
            _ => "it closed the wire".to_owned(),
        };
        anyhow::anyhow!("the process died before it reported an error ({how})")
    }
}

impl AsFd for Init {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }
}
