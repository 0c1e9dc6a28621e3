//! Creates a child that shares our memory copy-on-write (clone3(2)), and ends it without running
//! exit handlers.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::{Call, Named, check};

/// A set of `CLONE_NEW…` flags that can be printed.
struct Flags(u32);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(u32, &str); 8] = [
            (libc::CLONE_NEWUSER as u32, "NEWUSER"),
            (libc::CLONE_NEWNS as u32, "NEWNS"),
            (libc::CLONE_NEWPID as u32, "NEWPID"),
            (libc::CLONE_NEWNET as u32, "NEWNET"),
            (libc::CLONE_NEWIPC as u32, "NEWIPC"),
            (libc::CLONE_NEWUTS as u32, "NEWUTS"),
            (libc::CLONE_NEWCGROUP as u32, "NEWCGROUP"),
            (0x80, "NEWTIME"),
        ];
        let names: Vec<&str> =
            NAMES.iter().filter(|(flag, _)| self.0 & flag != 0).map(|(_, name)| *name).collect();
        f.write_str(&names.join("|"))
    }
}

/// Proof that this process has one thread. Only then may a child of [`clone`] run any code, because
/// then no other thread can hold a lock in the child's copy of our memory.
#[derive(Debug, Clone, Copy)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Counts the entries of /proc/self/task by its link count (proc(5): 2 and one for each
    /// thread).
    ///
    /// # Errors
    /// An error if /proc cannot be read, or if there is more than one thread (`EDEADLK`).
    pub fn prove() -> Result<Self, Call> {
        let stat = rustix::fs::stat("/proc/self/task").named_on("stat", "/proc/self/task")?;
        if stat.st_nlink > 3 {
            return Err(Errno::DEADLK)
                .named(|| "clone3(): this process has more than one thread".to_owned());
        }
        Ok(Self(()))
    }
}

/// The properties of the child.
#[derive(Debug, Default)]
pub struct CloneRequest<'a> {
    /// Namespaces to create for it: `CLONE_NEW…` flags.
    pub namespaces: u32,
    /// The directory of the cgroup (v2) in which it is created.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether it becomes our sibling instead of our child (`CLONE_PARENT`).
    pub sibling: bool,
}

/// A process that was created.
#[derive(Debug)]
pub struct NewProcess {
    /// Its id, in our pid namespace.
    pub pid: i32,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
}

/// `struct clone_args` of linux/sched.h, which has the same layout on every architecture; libc has
/// it only for some. In every field, zero means "none".
#[derive(Default)]
#[repr(C, align(8))]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// clone3(2) without shared memory: runs `child` in the new process, which never returns.
///
/// # Errors
/// The error of the call; with `CLONE_INTO_CGROUP` also the error of a cgroup that cannot take
/// processes.
pub fn clone(
    _: SingleThreaded,
    request: &CloneRequest<'_>,
    child: impl FnOnce() -> i32,
) -> Result<NewProcess, Call> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: u64::from(request.namespaces) | u64::from(libc::CLONE_PIDFD as u32),
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        ..CloneArgs::default()
    };
    if request.sibling {
        // The kernel allows no exit signal here: a sibling has the exit signal of its creator.
        args.flags |= u64::from(libc::CLONE_PARENT as u32);
    } else {
        args.exit_signal = u64::from(libc::SIGCHLD as u32);
    }
    if let Some(cgroup) = request.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: the arguments are a valid clone_args of its own size; without CLONE_VM the child has
    // its own copy of memory and stack, and one thread (the token), so it may run any code.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })
            .named(|| {
                format!(
                    "clone3({}{})",
                    Flags(request.namespaces),
                    if request.cgroup.is_some() { ", into cgroup" } else { "" }
                )
            })?;
    if pid == 0 {
        exit_now(child());
    }
    // SAFETY: the kernel stored a new descriptor for us there.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(NewProcess { pid: i32::try_from(pid).unwrap_or(-1), pidfd })
}

/// _exit(2): ends this process at once, without running atexit handlers or flushing output that the
/// parent has buffered.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any integer and does not return.
    unsafe { libc::_exit(code) }
}

/// unshare(2) of the `CLONE_NEW…` flags in `namespaces`.
///
/// # Errors
/// The error of the call.
pub fn unshare(namespaces: u32) -> Result<(), Call> {
    // SAFETY: unshare takes flags. Flags of namespaces do not affect memory or descriptors.
    check(unsafe { libc::unshare(namespaces.cast_signed()) })
        .named(|| format!("unshare({})", Flags(namespaces)))?;
    Ok(())
}

/// setns(2): joins the namespace `fd`, which must be of kind `namespace`.
///
/// # Errors
/// The error of the call; `EINVAL` if the file is a namespace of another kind.
pub fn setns(fd: BorrowedFd<'_>, namespace: u32) -> Result<(), Call> {
    // SAFETY: setns takes a descriptor, which is open for the time of the call, and flags.
    check(unsafe { libc::setns(fd.as_raw_fd(), namespace.cast_signed()) })
        .named(|| setns_text(fd, namespace))?;
    Ok(())
}

/// The text of [`setns`] in errors.
#[must_use]
pub fn setns_text(fd: BorrowedFd<'_>, namespace: u32) -> String {
    format!("setns({}, {})", fd.as_raw_fd(), Flags(namespace))
}

/// The type of a namespace file, `CLONE_NEW…` (ioctl_ns(2)); `None` for another file.
#[must_use]
pub fn kind_of_namespace(fd: BorrowedFd<'_>) -> Option<u32> {
    /// `NS_GET_NSTYPE` of linux/nsfs.h.
    const KIND: rustix::ioctl::Opcode = rustix::ioctl::opcode::none(0xb7, 3);
    // SAFETY: NS_GET_NSTYPE takes no argument; other files than namespaces have no such request.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), KIND as _) };
    u32::try_from(kind).ok()
}
