//! `mounts`: adds mounts to a running container, or removes them, as in crun.

use std::path::Path;

use super::{Document, lock, status_of, warn};
use crate::error::{Failure, Result};
use crate::host::Rootless;
use crate::plan::Host;
use crate::plan::mount_options::SourceLink;
use crate::plan::mounts::{MountSource, MountStep};
use crate::plan::running_mounts::{MountsChange, RunningMounts};
use crate::runtime::running_mounts;
use crate::state::Status;

/// A `mounts` request.
#[derive(Debug, Clone)]
pub struct Mounts {
    /// The container's id.
    pub id: String,
    /// What is done with the mounts.
    pub action: MountsAction,
    /// The list, as `mounts` of config.json. Only the destinations are used to remove mounts.
    pub mounts: Document,
}

/// What is done with the mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountsAction {
    /// They are added.
    Add,
    /// The mounts at their destinations are removed.
    Remove,
}

/// Adds or removes mounts.
///
/// # In a process of its own
/// The process must have one thread, because it creates a child that enters the container.
///
/// # Errors
/// An invalid list; an error if the container does not run; the error of the failed call. Then no
/// mount was added.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::Document;
/// use orlop::commands::mounts::{Mounts, MountsAction, mounts};
///
/// let list = br#"[{ "destination": "/data", "type": "tmpfs", "source": "tmpfs" }]"#;
/// let request = Mounts {
///     id: "web".to_owned(),
///     action: MountsAction::Add,
///     mounts: Document::Bytes(list.to_vec()),
/// };
/// mounts(&request, Path::new("/run/orlop"))?;
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn mounts(args: &Mounts, state_root: &Path) -> Result<()> {
    let mut container = lock(state_root, &args.id)?;
    match status_of(&container)? {
        Status::Created | Status::Running | Status::Paused => {}
        Status::Stopped => return Err(running_mounts::stopped()),
        Status::Creating => {
            let text = "cannot change the mounts of a container that is still being created";
            return Err(Failure::WrongStatus(text.into()).into());
        }
    }
    let Some(init) = container.init()? else { return Err(running_mounts::stopped()) };
    let list = args.mounts.read("reading the mounts")?;
    let config = container.config()?;
    let host = Host::probe(Rootless::default())?;
    let plan = match args.action {
        MountsAction::Add => RunningMounts::to_add(&config, &list, &container.saved.bundle, &host)?,
        MountsAction::Remove => RunningMounts::to_remove(&config, &list, &host)?,
    };
    warn(&plan.warnings);
    let pid = container.saved.init_process_pid;
    match &plan.change {
        MountsChange::Add(steps) => {
            let before = container.saved.added_mounts.clone();
            container
                .saved
                .added_mounts
                .extend(steps.iter().filter(|step| is_bound(step)).map(destination));
            if container.saved.added_mounts.len() == before.len() {
                return running_mounts::change(&plan, &init, pid);
            }
            container.save()?; // first, so that `checkpoint` finds all mounts here
            let changed = running_mounts::change(&plan, &init, pid);
            if changed.is_err() {
                container.saved.added_mounts = before;
                container.save()?;
            }
            changed
        }
        MountsChange::Remove(paths) => {
            running_mounts::change(&plan, &init, pid)?;
            let added = &mut container.saved.added_mounts;
            let known = added.len();
            added.retain(|path| paths.iter().all(|(_, gone)| gone != path));
            if added.len() == known { Ok(()) } else { container.save() }
        }
    }
}

/// Whether the mount binds something from the host that is not a symlink.
fn is_bound(step: &MountStep) -> bool {
    match &step.source {
        MountSource::Bind { path, link: SourceLink::Copy, .. } => !path.is_symlink(),
        MountSource::Bind { .. } => true,
        _ => false,
    }
}

fn destination(step: &MountStep) -> String {
    step.destination.clone()
}
