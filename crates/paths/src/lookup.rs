//! Look-ups below the handle of a root, with openat2(2).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// How many times a look-up is repeated when the kernel returns `EAGAIN` because of a concurrent
/// rename (openat2(2)).
const TRIES: usize = 128;

/// How many dangling symbolic links are followed to create their targets. The kernel follows as
/// many in a look-up (path_resolution(7)).
pub const MAX_LINKS: usize = 40;

/// Opens `path` below `root`. `RESOLVE_NO_MAGICLINKS` is always added to `resolve`.
///
/// # Errors
/// Errors of openat2(2).
pub fn open_below(
    root: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut last = Errno::AGAIN;
    for _ in 0..TRIES {
        let (flags, resolve) = (flags | OFlags::CLOEXEC, resolve | ResolveFlags::NO_MAGICLINKS);
        match rustix::fs::openat2(root.as_fd(), path, flags, mode, resolve) {
            Err(errno @ (Errno::AGAIN | Errno::INTR)) => last = errno,
            other => return other,
        }
    }
    Err(last)
}
