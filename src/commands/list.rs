//! `list`: the containers below a state root.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::frozen_or_not;
use super::state::ContainerState;
use crate::container::{ContainerId, ContainerSummary, StateRoot};
use crate::error::{Context, Failure, Result};
use crate::host;
use crate::sys::{Named, passwd, small_file};

/// The containers below a state root. Each is read when the iterator reaches it.
#[derive(Debug)]
pub struct Listing {
    /// `None` if no container was made yet.
    root: Option<StateRoot>,
    ids: Vec<ContainerId>,
}

/// Finds the containers.
///
/// # Errors
/// An error if the state root does not exist. If the default one does not exist, there is no error,
/// because no container was made yet.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::list::list;
///
/// for container in list(Path::new("/run/orlop"))?.containers() {
///     println!("{} {}", container.id, container.status);
/// }
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn list(state_root: &Path) -> Result<Listing> {
    let Some(root) = StateRoot::open(state_root).context("reading the state root (--root)")? else {
        if state_root == host::default_state_root() {
            return Ok(Listing { root: None, ids: Vec::new() });
        }
        let missing = Err(Errno::NOENT).named_on("open", state_root);
        return missing.context("reading the state root (--root)");
    };
    let ids = root.ids().context("reading the state root (--root)")?;
    Ok(Listing { root: Some(root), ids })
}

impl Listing {
    /// The state of each container. One that cannot be read is left out, with a warning.
    pub fn containers(&self) -> impl Iterator<Item = ContainerState> {
        let mut owners = BTreeMap::new();
        self.each(move |root, id| look(root, id, &mut owners))
    }

    /// The id of each container, sorted. One that cannot be read is left out, with a warning.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        self.each(|root, id| root.saved(id).map(|_| id.to_string()))
    }

    fn each<T>(
        &self,
        mut look: impl FnMut(&StateRoot, &ContainerId) -> Result<T>,
    ) -> impl Iterator<Item = T> {
        let ids = self.root.iter().flat_map(|root| self.ids.iter().map(move |id| (root, id)));
        ids.filter_map(move |(root, id)| match look(root, id) {
            Ok(found) => Some(found),
            // It is being made or deleted meanwhile.
            Err(error) if error.downcast_ref() == Some(&Failure::NoSuchContainer) => None,
            Err(error) => {
                log::warn!("container {id}: {error:#}");
                None
            }
        })
    }
}

fn look(
    root: &StateRoot,
    id: &ContainerId,
    owners: &mut BTreeMap<u32, String>,
) -> Result<ContainerState> {
    let ContainerSummary { saved, status, owner } = root.look(id)?;
    let status = frozen_or_not(status, &saved)?;
    let owner = owners.entry(owner).or_insert_with(|| name_of(owner)).clone();
    Ok(ContainerState::of(saved, status, owner))
}

/// The name of a user in /etc/passwd, or `#` and the number if there is none.
fn name_of(uid: u32) -> String {
    const PASSWD: &str = "/etc/passwd";
    let text = small_file::read_all(CWD, PASSWD, || PASSWD.to_owned()).unwrap_or_default();
    match passwd::of(&text, uid).next() {
        Some(entry) => String::from_utf8_lossy(entry.name).into_owned(),
        None => format!("#{uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn who_has_no_name_is_a_number() {
        assert_eq!(name_of(0), "root");
        assert_eq!(name_of(3_999_999_999), "#3999999999");
    }
}
