//! The host's procfs, through a handle that was checked. Writes to it set labels, ids and kernel
//! parameters, and must not reach a file that a container has put there (CVE-2019-16884,
//! CVE-2025-52881).

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;

use super::{Call, CallText, Named, small_file};

/// The whole path of `path`, which is below /proc.
fn shown(path: &str) -> String {
    format!("/proc/{path}")
}

/// A handle of a procfs.
#[derive(Debug)]
pub struct Proc(OwnedFd);

impl AsFd for Proc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Proc {
    /// Opens /proc. Must be called while /proc of the host is visible.
    ///
    /// # Errors
    /// The error of the failed call; `EXDEV` if /proc is not a procfs.
    pub fn open() -> Result<Self, Call> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open("/proc", flags, Mode::empty()).named_on("open", "/proc")?;
        if !is_proc(&handle)? {
            return Err(Errno::XDEV).named(|| "/proc is not a procfs".to_owned());
        }
        Ok(Self(handle))
    }

    /// Opens `path` below /proc. Fails if something is mounted on the file. Follows no magic links,
    /// only the links `self` and `thread-self`.
    ///
    /// # Errors
    /// The error of the call; `EXDEV` if something is mounted on the file.
    pub fn open_in(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Call> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(
            &self.0,
            path,
            flags | OFlags::CLOEXEC | OFlags::NOCTTY,
            Mode::empty(),
            resolve,
        )
        .named(|| CallText::on("open", shown(path)))
    }

    /// Opens the file of one of our handles (`O_PATH`).
    ///
    /// # Errors
    /// The error of the call.
    pub fn reopen(&self, handle: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Call> {
        let path = format!("self/fd/{}", handle.as_raw_fd());
        rustix::fs::openat(&self.0, &path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
            .named(|| CallText::on("open", shown(&path)))
    }

    /// Writes `value` in one write(2).
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn write(&self, path: &str, value: &str) -> Result<(), Call> {
        let mut file = std::fs::File::from(self.open_in(path, OFlags::WRONLY)?);
        file.write_all(value.as_bytes()).named(|| {
            let path = shown(path);
            CallText::with_path(format!("write({path:?}, {value:?})"), path)
        })
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn read(&self, path: &str) -> Result<String, Call> {
        let mut file = std::fs::File::from(self.open_in(path, OFlags::RDONLY)?);
        let mut text = String::new();
        file.read_to_string(&mut text).named(|| CallText::on("read", shown(path)))?;
        Ok(text)
    }

    /// As [`Self::read`], for a file that is not UTF-8 if the path of a mount is not.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn read_bytes(&self, path: &str) -> Result<Vec<u8>, Call> {
        let mut file = std::fs::File::from(self.open_in(path, OFlags::RDONLY)?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).named(|| format!("read(\"/proc/{path}\")"))?;
        Ok(bytes)
    }
}

/// Whether a handle is on a procfs.
///
/// # Errors
/// Errors of fstatfs(2).
pub fn is_proc(handle: impl AsFd) -> Result<bool, Call> {
    let stat = rustix::fs::fstatfs(handle).named(|| "fstatfs()".to_owned())?;
    Ok(stat.f_type == PROC_SUPER_MAGIC)
}

/// Whether our user namespace is not the first one. The file of the first user namespace always has
/// the same inode (`PROC_USER_INIT_INO`).
///
/// # Errors
/// Errors of stat(2).
pub fn in_user_namespace() -> Result<bool, Call> {
    const FIRST: u64 = 0xefff_fffd;
    let stat = rustix::fs::stat("/proc/self/ns/user").named_on("stat", "/proc/self/ns/user")?;
    Ok(stat.st_ino != FIRST)
}

/// The fields of /proc/PID/stat that we use (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 2, the name in `ps`, which the process may change.
    pub name: Vec<u8>,
    /// Field 3, the state of the first thread. That thread may have ended before the others.
    pub state: u8,
    /// Fields 14 and 15 together, the CPU time that it has used in clock ticks.
    pub cpu: u64,
    /// Field 20, the number of threads.
    pub threads: u32,
    /// Field 22, the start time in clock ticks since boot.
    pub start: u64,
}

/// Reads /proc/PID/stat.
///
/// # Errors
/// The error of the failed call: `ENOENT` or `ESRCH` if there is no such process.
pub fn stat(pid: i32) -> Result<Stat, Call> {
    let path = format!("/proc/{pid}/stat");
    let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .named_on("open", &path)?;
    let mut buffer = [0; 1024];
    let length = rustix::io::read(&file, &mut buffer).named_on("read", &path)?;
    parse_stat(buffer.get(..length).unwrap_or_default()).ok_or(Errno::INVAL).named_on("read", path)
}

/// The process of a thread. `None` if the thread has ended.
#[must_use]
pub fn process_of(thread: i32) -> Option<i32> {
    let path = format!("/proc/{thread}/status");
    let status = small_file::read_short(CWD, &path, || path.clone()).ok()?;
    String::from_utf8_lossy(&status)
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))?
        .trim()
        .parse()
        .ok()
}

/// The name in field 2 may contain any character, so the fields are counted from the last
/// parenthesis.
pub(crate) fn parse_stat(line: &[u8]) -> Option<Stat> {
    let begin = line.iter().position(|byte| *byte == b'(')?;
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(end + 2..)?).ok()?;
    let mut fields = rest.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    let user: u64 = fields.nth(10)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let threads = fields.nth(4)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    let name = line.get(begin + 1..end)?.to_owned();
    Some(Stat { name, state, cpu: user.saturating_add(system), threads, start })
}

impl Stat {
    /// Whether the process has ended: it is a zombie.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        b"ZX".contains(&self.state) && self.threads <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::{Proc, Stat, parse_stat, process_of, stat};

    #[test]
    fn stat_survives_strange_names() {
        let line = b"7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20\n";
        assert_eq!(
            parse_stat(line),
            Some(Stat {
                name: b"a) b (c".to_vec(),
                state: b'S',
                cpu: 23,
                threads: 17,
                start: 4242
            })
        );
        assert_eq!(parse_stat(b"7 (a"), None);
    }

    #[test]
    fn a_process_lives_as_long_as_one_of_its_threads() {
        let dead = |state: &str, threads: u32| {
            let line = format!(
                "7 (a) {state} 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 {threads} 18 4242 20\n"
            );
            parse_stat(line.as_bytes()).map(|stat| stat.is_dead())
        };
        for (state, threads, expected) in
            [("S", 1, false), ("Z", 1, true), ("Z", 0, true), ("Z", 2, false)]
        {
            assert_eq!(dead(state, threads), Some(expected), "{state} {threads}");
        }
    }

    #[test]
    fn a_thread_is_of_its_process() {
        let own = std::process::id().cast_signed();
        let of_this_thread = || process_of(rustix::thread::gettid().as_raw_nonzero().get());
        let other = std::thread::scope(|scope| scope.spawn(of_this_thread).join());
        assert_eq!(other.expect("a thread"), Some(own));
        assert_eq!(process_of(0), None);
    }

    #[test]
    fn our_own_stat_can_be_read() {
        let own = stat(std::process::id().cast_signed()).expect("our own");
        assert!(b"RS".contains(&own.state) && own.start > 0 && !own.name.is_empty());
        let proc = Proc::open().expect("a procfs");
        assert!(proc.read("self/status").expect("our own").contains("Name:"));
    }
}
