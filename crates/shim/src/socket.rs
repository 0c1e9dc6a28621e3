//! The daemon's socket: its path, its listener, and who may connect.
//! process: start, daemon

use std::fmt::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use orlop::sys::fd::{self, FileId};
use orlop::sys::wait::{self, Bound};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use sha2::{Digest, Sha256};

use crate::status::Failed;

/// The directory of sockets, unless containerd names another one.
pub const DIRECTORY: &str = "/run/containerd/s";

/// The longest path of a socket (`sun_path` without its NUL, and one byte less, as in Go).
const LONGEST: usize = 106;

/// The path of the socket for a group of containers, as containerd's own shims name it.
///
/// # Errors
/// An error if the path is too long.
pub fn path(
    directory: &str,
    address: &str,
    namespace: &str,
    group: &str,
) -> Result<String, Failed> {
    let mut named = String::new();
    for part in [address, namespace, group].into_iter().filter(|part| !part.is_empty()) {
        if !named.is_empty() {
            named.push('/');
        }
        named.push_str(part);
    }
    let mut path = format!("{directory}/");
    for byte in Sha256::digest(clean(&named).as_bytes()) {
        let _ = write!(path, "{byte:02x}"); // to a String, which cannot fail
    }
    if path.len() > LONGEST {
        return Err(Failed::invalid(format!(
            "{path}: the path of a socket has at most {LONGEST} bytes"
        )));
    }
    Ok(path)
}

/// Cleans a path as Go's `filepath.Join`.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{}{}", if path.starts_with('/') { "/" } else { "" }, parts.join("/"))
}

/// Whether we or another daemon listens on the socket.
#[derive(Debug)]
pub enum Taken {
    /// We listen.
    Ours(OwnedFd),
    /// A daemon of the same group listens.
    Others,
}

/// Listens on the socket. A socket without a listener is removed first.
///
/// # Errors
/// Errors of the calls.
pub fn take(path: &str) -> Result<Taken, Failed> {
    let failed = |call: &str, errno: Errno| Failed::unknown(format!("{call}({path:?}): {errno}"));
    if let Some(directory) = Path::new(path).parent() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| Failed::unknown(format!("mkdir({directory:?}): {error}")))?;
    }
    let address = SocketAddrUnix::new(path).map_err(|errno| failed("socket address", errno))?;
    let _lock = lock(path)?;
    for _ in 0..3 {
        let socket = new().map_err(|errno| failed("socket", errno))?;
        let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = rustix::net::bind(&socket, &address);
        rustix::process::umask(mask);
        match bound {
            Ok(()) => {
                rustix::net::listen(&socket, 128).map_err(|errno| failed("listen", errno))?;
                return Ok(Taken::Ours(socket));
            }
            Err(Errno::ADDRINUSE) if answers(path) => return Ok(Taken::Others),
            Err(Errno::ADDRINUSE) => match rustix::fs::unlink(path) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed("unlink", errno)),
            },
            Err(errno) => return Err(failed("bind", errno)),
        }
    }
    Err(failed("bind", Errno::ADDRINUSE))
}

/// The time for other commands that look at the sockets.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(10));
/// The times between two attempts: the first and the longest.
const PAUSES: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(10)];

/// Locks the directory of a socket, so that nobody takes a socket that another process has bound,
/// but does not listen on yet, for that of a dead daemon.
///
/// # Errors
/// Errors of the calls.
pub fn lock(path: &str) -> Result<OwnedFd, Failed> {
    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
    let lock = || -> anyhow::Result<OwnedFd> {
        let directory = fd::open(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let locked = wait::retry(PATIENCE, PAUSES, || {
            fd::try_lock(&directory).map(|locked| locked.then_some(()))
        })?;
        locked.context("another process keeps the lock")?;
        Ok(directory)
    };
    lock().map_err(|error| Failed::unknown(format!("locking {directory:?}: {error:#}")))
}

/// The file at the path.
#[must_use]
pub fn file_at(path: &str) -> Option<FileId> {
    rustix::fs::stat(path).ok().map(FileId::from)
}

fn new() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Connects without blocking.
///
/// # Errors
/// Errors of the calls; `EAGAIN` if the queue of the listener is full.
pub fn connect(path: &str) -> Result<OwnedFd, Errno> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
        None => SocketAddrUnix::new(path)?,
    };
    let socket = new()?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// Whether a process listens there.
#[must_use]
pub fn answers(path: &str) -> bool {
    matches!(connect(path), Ok(_) | Err(Errno::AGAIN))
}

/// Whether the other process runs as our user.
#[must_use]
pub fn is_our_user(peer: impl AsFd) -> bool {
    sockopt::socket_peercred(peer).is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

#[cfg(test)]
mod tests {
    use super::{DIRECTORY, path};

    #[test]
    fn the_name_is_that_of_containerd() {
        // printf %s /run/containerd/containerd.sock/default/x | sha256sum
        let wanted =
            "/run/containerd/s/5e250b13f984a15f73216d143af1bf3c64171aa56c781ba9d4040c75b2c1eee2";
        let found = path(DIRECTORY, "/run/containerd/containerd.sock", "default", "x").unwrap();
        assert_eq!(found, wanted);
        let same = path(DIRECTORY, "/run//containerd/./containerd.sock/", "default", "x").unwrap();
        assert_eq!(found, same);
        assert_ne!(
            found,
            path(DIRECTORY, "/run/containerd/containerd.sock", "default", "y").unwrap()
        );
    }

    #[test]
    fn a_path_has_a_longest_length() {
        assert!(path(&format!("/{}", "d".repeat(40)), "", "n", "x").is_ok());
        assert!(path(&format!("/{}", "d".repeat(41)), "", "n", "x").is_err());
    }
}
