//! User and group ids of this process.

use nix::unistd::{Gid, Uid};

use super::{Call, Named};

/// Sets `uid` and `gid`, real, effective and saved (setresgid(2), setresuid(2)).
///
/// # Errors
/// The errors of the calls; `EINVAL` for an id that the user namespace does not map.
pub fn become_user(uid: u32, gid: u32) -> Result<(), Call> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    nix::unistd::setresgid(group, group, group).named(|| format!("setresgid({gid})"))?;
    nix::unistd::setresuid(user, user, user).named(|| format!("setresuid({uid})"))
}

/// Sets the supplementary groups (setgroups(2)).
///
/// # Errors
/// The error of the call; `EPERM` in a user namespace that denies it.
pub fn set_groups(gids: &[u32]) -> Result<(), Call> {
    let groups: Vec<Gid> = gids.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups).named(|| format!("setgroups({gids:?})"))
}
