//! Descriptors.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Call, CallText, Named, check};

/// Sets close-on-exec on all descriptors from `first` on (close_range(2)). So execve(2) does not
/// pass on any descriptor that was left open by mistake (CVE-2024-21626).
///
/// # Errors
/// The error of the call.
pub fn close_on_exec_from(first: u32) -> Result<(), Call> {
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC only changes descriptor flags.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })
    .named(|| format!("close_range({first}, ~0, CLOSE_RANGE_CLOEXEC)"))?;
    Ok(())
}

/// Whether the caller has left the descriptor `number` open for us: it is open and not
/// close-on-exec. All descriptors that we open are close-on-exec (fcntl(2), F_GETFD).
///
/// # Errors
/// The error of the call; also `EBADF` for a descriptor that we opened.
pub fn inherited(number: u32) -> Result<(), Call> {
    let name = || format!("fcntl({number}, F_GETFD)");
    let raw = i32::try_from(number).map_err(|_| Errno::BADF).named(name)?;
    // SAFETY: F_GETFD only reads the flags of a descriptor, or finds that there is none of that
    // number.
    match check(unsafe { libc::fcntl(raw, libc::F_GETFD) }).named(name)?
        & i64::from(libc::FD_CLOEXEC)
    {
        0 => Ok(()),
        _ => Err(Errno::BADF).named(name),
    }
}

/// The numbers of all descriptors that are open, ascending (proc_pid_fd(5)).
///
/// # Errors
/// Errors of open(2), getdents(2).
pub fn open_numbers() -> Result<Vec<u32>, Call> {
    let name = || CallText::on("getdents", "/proc/self/fd");
    let directory = open("/proc/self/fd".as_ref(), OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut numbers = Vec::new();
    for entry in Dir::new(directory).named(name)? {
        numbers.extend(
            entry.named(name)?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()),
        );
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Takes ownership of a descriptor that is [`inherited`] and writable.
///
/// # Errors
/// The error of the call; `EBADF` for a descriptor that we opened or that is read-only, `EINVAL`
/// for a standard stream.
pub fn take_writable(number: u32) -> Result<OwnedFd, Call> {
    let name = || format!("fcntl({number}, F_GETFL)");
    inherited(number)?;
    if number < 3 {
        return Err(Errno::INVAL).named(name);
    }
    // SAFETY: it is open. No value of ours owns a descriptor that was open when we started, and
    // nothing else takes it.
    let taken = unsafe { OwnedFd::from_raw_fd(number.cast_signed()) };
    let flags = rustix::fs::fcntl_getfl(&taken).named(name)?;
    if !flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
        return Err(Errno::BADF).named(name);
    }
    Ok(taken)
}

/// Clears close-on-exec of the descriptor `number` (fcntl(2), F_SETFD).
///
/// # Errors
/// The error of the call.
pub fn keep_over_exec(number: u32) -> Result<(), Call> {
    // SAFETY: F_SETFD only changes the flags of a descriptor.
    check(unsafe { libc::fcntl(number.cast_signed(), libc::F_SETFD, 0) })
        .named(|| format!("fcntl({number}, F_SETFD, 0)"))?;
    Ok(())
}

/// Closes a descriptor that was [`inherited`].
pub fn close_inherited(number: u32) {
    // SAFETY: no value of ours owns a descriptor that was open when we started.
    unsafe { libc::close(number.cast_signed()) };
}

/// Identifies a file of the machine: the device and the inode (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl From<Stat> for FileId {
    #[allow(clippy::useless_conversion, reason = "the fields have other types elsewhere")]
    fn from(stat: Stat) -> Self {
        Self { device: stat.st_dev.into(), inode: stat.st_ino.into() }
    }
}

/// Opens a file of the host.
///
/// # Errors
/// The error of the call.
pub fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Call> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).named_on("open", path)
}

/// Creates a file in `directory` (`O_EXCL`), without following a link.
///
/// # Errors
/// The error of the call.
pub fn create_new(directory: impl AsFd, name: &str, mode: u32) -> Result<File, Call> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(mode))
        .map(File::from)
        .named(|| CallText::with_path(format!("open({name:?}, O_CREAT|O_EXCL)"), name))
}

/// Makes a copy of `fd` the standard descriptor `number`, which execve(2) leaves open (dup2(2)).
///
/// # Errors
/// The error of the call.
pub fn become_standard(fd: BorrowedFd<'_>, number: i32) -> Result<(), Call> {
    // SAFETY: dup2 takes descriptors; 0, 1 and 2 are never owned by a value of ours.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) })
        .named(|| format!("dup2({number})"))
        .map(|_| ())
}

/// A file in memory, without a name (memfd_create(2)).
///
/// # Errors
/// The error of the call.
pub fn memory_file(name: &str) -> Result<File, Call> {
    rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)
        .map(File::from)
        .named(|| format!("memfd_create({name:?})"))
}

/// In a child made by [`super::clone::clone`]: closes its copy of a descriptor that the parent's
/// code owns.
pub fn close_copy(fd: BorrowedFd<'_>) {
    // SAFETY: the child leaves by execve or _exit and never returns into the code that owns the
    // descriptor, so no code uses or closes the number again.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// In a child made by [`super::clone::clone`], before execve(2): closes its copies of all
/// descriptors from `first` on, except the numbers in `kept`, which are ascending, and `except`
/// (close_range(2)).
///
/// # Errors
/// The error of the call.
pub fn close_copies_but(first: u32, kept: &[u32], except: BorrowedFd<'_>) -> Result<(), Call> {
    let except = except.as_raw_fd().unsigned_abs();
    let split = kept.partition_point(|number| *number < except);
    let (below, above) = kept.split_at(split);
    let mut first = first;
    for number in below.iter().chain([&except]).chain(above).copied() {
        if first < number {
            close_copies(first, number - 1)?;
        }
        first = number + 1;
    }
    close_copies(first, u32::MAX)
}

fn close_copies(first: u32, last: u32) -> Result<(), Call> {
    // SAFETY: as in `close_copy`: the child never returns into the code that owns the descriptors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
        .named(|| format!("close_range({first}, {last})"))?;
    Ok(())
}

/// Makes reads and writes fail (`EAGAIN`) instead of blocking, for all processes that share the
/// open file (fcntl(2), `F_SETFL`).
///
/// # Errors
/// The error of the call.
pub fn set_nonblocking(fd: impl AsFd) -> Result<(), Call> {
    rustix::fs::fcntl_getfl(&fd)
        .and_then(|flags| rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK))
        .named(|| "fcntl(F_SETFL, O_NONBLOCK)".to_owned())
}

/// Takes an exclusive lock on an open file (flock(2)). False if another process has it.
///
/// # Errors
/// The error of the call.
pub fn try_lock(fd: impl AsFd) -> Result<bool, Call> {
    match rustix::fs::flock(fd, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).named(|| "flock(LOCK_EX|LOCK_NB)".to_owned()),
    }
}

/// Whether another process has an exclusive lock. Several processes can test it at the same time.
///
/// # Errors
/// The error of the call.
pub fn is_locked(fd: impl AsFd) -> Result<bool, Call> {
    match rustix::fs::flock(&fd, rustix::fs::FlockOperation::NonBlockingLockShared) {
        Ok(()) => unlock(fd).map(|()| false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno).named(|| "flock(LOCK_SH|LOCK_NB)".to_owned()),
    }
}

/// Releases the lock, for all processes that share the open file.
///
/// # Errors
/// The error of the call.
pub fn unlock(fd: impl AsFd) -> Result<(), Call> {
    rustix::fs::flock(fd, rustix::fs::FlockOperation::Unlock).named(|| "flock(LOCK_UN)".to_owned())
}
