//! The properties of this process: its name, capabilities, limits, keyring and personality; and
//! execve(2).

use std::ffi::CStr;

use nix::sys::signal::{SigHandler, Signal};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid};
use rustix::thread::{CapabilitySet, CapabilitySets, CpuSet};

use super::{Call, CallText, Named, check};

/// Sets the name in `ps`, of at most 15 bytes.
///
/// # Errors
/// The error of the call.
pub fn set_name(name: &CStr) -> Result<(), Call> {
    rustix::thread::set_name(name).named(|| "prctl(PR_SET_NAME)".to_owned())
}

/// Sets whether other processes of our user may trace this one and open its descriptors
/// (CVE-2016-9962). Children inherit the flag. execve(2) sets it. A change of user or of user
/// namespace sets it to fs.suid_dumpable, by default 0. For users other than root, files in /proc
/// of a non-dumpable process are read-only at best.
///
/// # Errors
/// The error of the call.
pub fn set_dumpable(dumpable: bool) -> Result<(), Call> {
    let behavior =
        if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    rustix::process::set_dumpable_behavior(behavior).named(|| "prctl(PR_SET_DUMPABLE)".to_owned())
}

/// Runs `work` while this process is not dumpable, and then restores the flag.
///
/// # Errors
/// The errors of the calls.
pub fn while_undumpable<T>(work: impl FnOnce() -> T) -> Result<T, Call> {
    let dumpable = rustix::process::dumpable_behavior()
        .named(|| "prctl(PR_GET_DUMPABLE)".to_owned())?
        == DumpableBehavior::Dumpable;
    if dumpable {
        set_dumpable(false)?;
    }
    let result = work();
    if dumpable {
        set_dumpable(true)?;
    }
    Ok(result)
}

/// Makes this process the parent of descendants whose parents end (`PR_SET_CHILD_SUBREAPER`).
///
/// # Errors
/// The error of the call.
pub fn adopt_orphans() -> Result<(), Call> {
    rustix::process::set_child_subreaper(Some(Pid::INIT))
        .named(|| "prctl(PR_SET_CHILD_SUBREAPER)".to_owned())
}

/// Prepares this process. A process of root is never dumpable, for two reasons. All our children
/// have descriptors and memory that belong to the host. And a container may share their pid
/// namespace, or own the user namespace that they join. A process of an ordinary user is dumpable
/// until it enters a user namespace with other processes ([`set_dumpable`]).
///
/// It also does what std would do at its start (`main.rs`). It opens missing standard descriptors,
/// so that no other file gets their numbers. It ignores SIGPIPE, so that a broken pipe is an error.
/// And it sets SIGCHLD to its default action: if the caller ignores it, we inherit that, and could
/// not wait for children.
///
/// # Errors
/// Errors of prctl(2), poll(2), open(2), sigaction(2).
pub fn begin() -> Result<(), Call> {
    // SAFETY: this only reads what the kernel passed to us at the start.
    if unsafe { libc::getauxval(libc::AT_EUID) } == 0 {
        set_dumpable(false)?;
    }
    let mut standard = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: an array of three that outlives the call, which does not wait.
    let found = unsafe { libc::poll(standard.as_mut_ptr(), 3, 0) }; // no wait: a time of 0
    check(found).named(|| "poll(0, 1, 2)".to_owned())?;
    for _ in standard.iter().filter(|fd| fd.revents & libc::POLLNVAL != 0) {
        // open(2) returns the lowest free number, which is the closed one.
        let null = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty());
        std::mem::forget(null.named_on("open", "/dev/null")?);
    }
    // SAFETY: no handler is installed.
    unsafe {
        nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigIgn)
            .named(|| "signal(SIGPIPE)".to_owned())?;
        nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl)
            .named(|| "signal(SIGCHLD)".to_owned())?;
    }
    Ok(())
}

/// Sets no_new_privs: execve(2) then gives no additional privileges.
///
/// # Errors
/// The error of the call.
pub fn set_no_new_privs() -> Result<(), Call> {
    rustix::thread::set_no_new_privs(true).named(|| "prctl(PR_SET_NO_NEW_PRIVS)".to_owned())
}

/// Sets whether permitted capabilities survive leaving uid 0.
///
/// # Errors
/// The error of the call.
pub fn set_keep_caps(keep: bool) -> Result<(), Call> {
    rustix::thread::set_keep_capabilities(keep).named(|| "prctl(PR_SET_KEEPCAPS)".to_owned())
}

/// The set with only this capability, also for one that rustix has no name for.
fn set_of(capability: u32) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << capability)
}

/// Removes a capability from the bounding set.
///
/// # Errors
/// The error of the call.
pub fn drop_bounding(capability: u32) -> Result<(), Call> {
    rustix::thread::remove_capability_from_bounding_set(set_of(capability))
        .named(|| "prctl(PR_CAPBSET_DROP)".to_owned())
}

/// Empties the ambient set.
///
/// # Errors
/// The error of the call.
pub fn clear_ambient() -> Result<(), Call> {
    rustix::thread::clear_ambient_capability_set()
        .named(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)".to_owned())
}

/// Adds a capability to the ambient set.
///
/// # Errors
/// The error of the call; `EPERM` if it is not both permitted and inheritable.
pub fn raise_ambient(capability: u32) -> Result<(), Call> {
    rustix::thread::configure_capability_in_ambient_set(set_of(capability), true)
        .named(|| "prctl(PR_CAP_AMBIENT_RAISE)".to_owned())
}

/// Sets the effective, permitted and inheritable sets at once (capset(2), version 3).
///
/// # Errors
/// The error of the call; `EPERM` for a permitted capability that we do not have.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Call> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    rustix::thread::set_capabilities(None, sets)
        .named(|| format!("capset({effective:#x}, {permitted:#x}, {inheritable:#x})"))
}

/// The permitted set of this process (capget(2), version 3).
///
/// # Errors
/// The error of the call.
pub fn permitted() -> Result<u64, Call> {
    let sets = rustix::thread::capabilities(None).named(|| "capget()".to_owned())?;
    Ok(sets.permitted.bits())
}

/// Joins a new session keyring of this name and returns its serial number (keyctl(2)).
///
/// # Errors
/// The error of the call; `ENOSYS` if the kernel has no keyrings.
pub fn join_session_keyring(name: &CStr) -> Result<i32, Call> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: an option and a NUL-terminated string that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
        .named(|| format!("keyctl(JOIN_SESSION_KEYRING, {name:?})"))
        .map(|serial| i32::try_from(serial).unwrap_or(0))
}

/// Sets the permissions of a key: `KEY_POS_…`, `KEY_USR_…` bits (keyctl_setperm(3)).
///
/// # Errors
/// The error of the call.
pub fn set_key_permissions(serial: i32, permissions: u32) -> Result<(), Call> {
    const KEYCTL_SETPERM: libc::c_int = 5;
    // SAFETY: integers.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, serial, permissions) })
        .named(|| format!("keyctl(SETPERM, {permissions:#x})"))
        .map(|_| ())
}

/// personality(2).
///
/// # Errors
/// The error of the call.
pub fn set_personality(domain: u64) -> Result<(), Call> {
    // SAFETY: an integer.
    check(unsafe { libc::personality(domain as libc::c_ulong) })
        .named(|| format!("personality({domain:#x})"))
        .map(|_| ())
}

/// setdomainname(2).
///
/// # Errors
/// The error of the call.
pub fn set_domain_name(name: &str) -> Result<(), Call> {
    rustix::system::setdomainname(name.as_bytes()).named(|| format!("setdomainname({name:?})"))
}

/// prlimit(2) on another process or, with pid 0, on ourselves.
///
/// # Errors
/// The error of the call; `EPERM` if a hard limit is raised without CAP_SYS_RESOURCE.
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<(), Call> {
    let limit = [soft, hard];
    // SAFETY: limit is laid out as struct rlimit64; no old limit is requested.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, limit.as_ptr(), std::ptr::null::<u64>())
    })
    .named(|| set_rlimit_text(pid, resource, soft, hard))
    .map(|_| ())
}

/// The text of [`set_rlimit`] in errors.
#[must_use]
pub fn set_rlimit_text(pid: i32, resource: u32, soft: u64, hard: u64) -> String {
    format!("prlimit({pid}, {resource}, {soft}, {hard})")
}

/// Our own hard limit (prlimit(2)), if the kernel has that limit.
#[must_use]
pub fn hard_limit(resource: u32) -> Option<u64> {
    let mut limit = [0_u64; 2];
    // SAFETY: limit is laid out as struct rlimit64; no new limit is given.
    let done = unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, std::ptr::null::<u64>(), limit.as_mut_ptr())
    };
    (done == 0).then_some(limit[1])
}

/// The CPUs that a process, or with pid 0 this one, may run on (sched_getaffinity(2)).
///
/// # Errors
/// The error of the call.
pub fn cpus(pid: i32) -> Result<Vec<usize>, Call> {
    let set = rustix::thread::sched_getaffinity(Pid::from_raw(pid))
        .named(|| format!("sched_getaffinity({pid})"))?;
    Ok(EVERY_CPU.filter(|cpu| set.is_set(*cpu)).collect())
}

/// All CPUs of any kernel (sched_setaffinity(2)).
pub const EVERY_CPU: std::ops::Range<usize> = 0..CpuSet::MAX_CPU;

/// Sets the CPUs (sched_setaffinity(2)). The kernel leaves out CPUs outside of the cpuset of the
/// process's cgroup.
///
/// # Errors
/// The error of the call: `EINVAL` if none is left.
pub fn set_cpus(
    pid: i32,
    cpus: impl Iterator<Item = usize> + Clone + std::fmt::Debug,
) -> Result<(), Call> {
    let mut set = CpuSet::new();
    for cpu in cpus.clone().filter(|cpu| *cpu < CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    rustix::thread::sched_setaffinity(Pid::from_raw(pid), &set)
        .named(|| format!("sched_setaffinity({pid}, {cpus:?})"))
}

/// Sets the interface `lo` of this network namespace up (netdevice(7)).
///
/// # Errors
/// The error of the failed call.
pub fn loopback_up() -> Result<(), Call> {
    use std::os::fd::AsRawFd;
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .named(|| "socket(AF_INET)".to_owned())?;
    // SAFETY: ifreq is a C structure for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads the ifreq, which outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })
        .named(|| "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".to_owned())
        .map(|_| ())
}

/// execve(2). Returns only an error.
#[must_use]
pub fn execve(
    path: &CStr,
    arguments: &[std::ffi::CString],
    environment: &[std::ffi::CString],
) -> Call {
    let pointers = |strings: &[std::ffi::CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: NUL-terminated strings in arrays that end in a null pointer.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    let path = path.to_string_lossy();
    Call {
        text: CallText::with_path(format!("exec {path}"), &*path),
        errno: Errno::from_raw_os_error(errno),
    }
}
