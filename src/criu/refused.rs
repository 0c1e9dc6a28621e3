//! Refuses checkpoints of containers that criu cannot restore, for example with some mounts that
//! were added at run time, or with a cgroup that the container manages itself.
//! config.json: mounts[].options, annotations
//! process: runtime

use super::external::View;
use crate::error::{AtKey, Failure, Problem, Result};
use crate::plan::Plan;
use crate::plan::annotations::DELEGATE_CGROUP;
use crate::plan::mount_options::SourceLink;
use crate::plan::mounts::{MountSource, MountStep, host_stand_in};
use crate::plan::namespaces::{NETWORK, USER};

/// Refuses links that `copy-symlink` has made, since they are neither mounts nor in the images.
/// Also refuses mounts that `mounts` has added (`added`), since they are not in config.json.
///
/// # Errors
/// [`Failure::BadConfig`], [`Failure::WrongStatus`]; an error if the mounts cannot be examined.
pub fn refuse_mounts(view: &View, plan: &Plan, added: &[String]) -> Result<()> {
    for step in &plan.mounts {
        let key = format!("/mounts/{}/options", step.index);
        let copied = matches!(step.source, MountSource::Bind { link: SourceLink::Copy, .. });
        if copied && view.is_link(&step.destination).at(&key)? {
            let text = format!(
                "criu cannot save the link /{}, which copy-symlink has made",
                step.destination
            );
            return Err(Failure::BadConfig(Problem::new(key, text)).into());
        }
    }
    refuse_sources_on_mounts(plan)?;
    for path in added {
        if view.is_mount(path)? {
            let text = format!(
                "criu cannot save the mount on /{path}, which \"mounts add\" has made and config.json does not have (take \
                 it away with \"mounts remove\" first)"
            );
            return Err(Failure::WrongStatus(text.into()).into());
        }
    }
    Ok(())
}

/// Refuses a mount whose source is on an earlier mount of config.json. `restore` would look for the
/// source in the rootfs, where it does not exist.
fn refuse_sources_on_mounts(plan: &Plan) -> Result<()> {
    for (place, step) in plan.mounts.iter().enumerate() {
        let MountSource::Bind { path, .. } = &step.source else { continue };
        let Some(source) = plan.rootfs.below(path) else { continue };
        let covers = |earlier: &&MountStep| {
            let rest = source.strip_prefix(&*earlier.destination);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(earlier) = plan.mounts.iter().take(place).find(covers) {
            let text = format!(
                "criu cannot save a mount whose source is on the one of mounts[{}], /{}",
                earlier.index, earlier.destination
            );
            let key = format!("/mounts/{}/source", step.index);
            return Err(Failure::BadConfig(Problem::new(key, text)).into());
        }
    }
    Ok(())
}

/// Refuses a container with processes in cgroups that it has made itself. criu is in the cgroup
/// above while it restores the processes. A cgroup with a process cannot enable controllers for the
/// cgroups below it.
///
/// # Errors
/// [`Failure::BadConfig`].
pub fn refuse_delegated(plan: &Plan) -> Result<()> {
    if plan.delegated.is_none() {
        return Ok(());
    }
    let text = "a container that manages its cgroup cannot be checkpointed".to_owned();
    Err(Failure::BadConfig(Problem::new(format!("/annotations/{DELEGATE_CGROUP}"), text)).into())
}

/// Refuses a sysfs in a user namespace with the network of the host. It is a bind mount of the
/// host's sysfs with everything that is mounted on it, and criu would treat it as a sysfs that the
/// container may mount.
///
/// # Errors
/// [`Failure::BadConfig`].
pub fn refuse_stand_ins(plan: &Plan) -> Result<()> {
    if !plan.namespaces.has_own(&USER) || plan.namespaces.has_own(&NETWORK) {
        return Ok(());
    }
    let is_host = |step: &&MountStep| match &step.source {
        MountSource::Filesystem { kind, .. } => host_stand_in(kind).is_some(),
        _ => false,
    };
    match plan.mounts.iter().find(is_host) {
        None => Ok(()),
        Some(step) => {
            let place = step.destination.trim_start_matches('/');
            let text = format!(
                "criu cannot save /{place}, which is the host's: the network is the host's, too"
            );
            Err(Failure::BadConfig(Problem::new(format!("/mounts/{}", step.index), text)).into())
        }
    }
}
