//! Protects the binary of the runtime from containers (CVE-2019-5736).
//!
//! A process of a container can open our binary through `/proc/<pid>/exe` while one of our
//! processes is in the container, or with a script whose interpreter is `/proc/self/exe`. It can
//! keep the descriptor and later write to the file, open other files of the filesystem by handle,
//! or change options of the filesystem. So the verbs that enter a container run from an overlay of
//! the directory of the binary. The overlay is read-only, has its own superblock, gives no file
//! handles, and its mount is in no mount namespace. If there can be no overlay, the binary is
//! copied to memory, which costs more (docs/performance.md).
//!
//! This is done for all containers, also without the capabilities to open file handles or to change
//! filesystems: such a container may share a pid namespace with one that has them.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, MemfdFlags, Mode, OFlags, SealFlags, Stat};
use rustix::io::Errno;

use super::mount::Depth;
use super::wait::{self, Bound};
use super::{Call, CallText, Named, mount};
use crate::kernel::FsOption;

const EXE: &str = "/proc/self/exe";

/// The type of overlayfs in statfs(2).
pub(super) const OVERLAY: u64 = 0x794c_7630;
/// The attributes of the mount: MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, which have
/// the same bits in statfs(2).
pub(super) const REQUIRED: u64 = 0b111;
/// An overlay without an upper layer needs two lower ones. This directory exists on all machines,
/// and nothing is mounted below it.
pub(super) const SECOND_LAYER: &CStr = c":/sys/bus";

/// The kind of the file that we run from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// It is an ordinary file.
    None,
    /// A read-only overlay, perhaps ours.
    Doubtful,
    /// A file on our own mount, or a sealed copy.
    Ours,
}

/// Makes sure that this process runs from a file that gives no access to the binary on the host. If
/// needed, this process executes itself again, with the same arguments and environment, and this
/// function does not return.
///
/// # Errors
/// An error if neither an overlay nor a copy of the binary can be made.
pub fn seal() -> Result<(), Call> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if super::early::is_proven() {
        return Ok(());
    }
    let sealed = match find_seal()? {
        Seal::Ours => return Ok(()),
        Seal::Doubtful => copy()?,
        Seal::None => match overlay() {
            Ok(sealed) => sealed,
            // Without CAP_SYS_ADMIN, we cannot mount. But then processes of the container have no
            // more privileges over the file than we have.
            Err(call) if call.is(Errno::PERM) && !is_writable()? => return Ok(()),
            Err(_) => copy()?,
        },
    };
    Err(execute(&sealed))
}

/// A read-only overlay is ours if it has two signs. open_tree(2) cannot clone it, since it is in no
/// mount namespace. And our file is at its root, as the path of `/proc/self/exe` shows.
/// open_tree(2) also fails for an overlay of the host that is unbindable or in another mount
/// namespace. If one of the two signs is missing, a copy is made, which cannot be mistaken for
/// another file. So the process cannot execute itself endlessly.
fn find_seal() -> Result<Seal, Call> {
    let name = || CallText::on("statfs", EXE);
    let kind = rustix::fs::statfs(EXE).named(name)?.f_type;
    if u64::try_from(kind).is_ok_and(|kind| kind == OVERLAY) {
        let flags = rustix::fs::statvfs(EXE).named(name)?.f_flag.bits();
        if flags & REQUIRED != REQUIRED {
            return Ok(Seal::None);
        }
        let detached =
            mount::clone_tree_at(CWD, EXE, Depth::This).is_err_and(|call| call.is(Errno::INVAL));
        let path = rustix::fs::readlink(EXE, Vec::new()).named_on("readlink", EXE)?;
        let at_root = path.to_bytes().iter().rposition(|byte| *byte == b'/') == Some(0);
        return Ok(if detached && at_root { Seal::Ours } else { Seal::Doubtful });
    }
    let exe = rustix::fs::open(EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .named_on("open", EXE)?;
    let copied =
        rustix::fs::fcntl_get_seals(&exe).is_ok_and(|seals| seals.contains(SealFlags::WRITE));
    Ok(if copied { Seal::Ours } else { Seal::None })
}

/// Mounts an overlay of the directory of the binary. The mount exists until the last process that
/// runs from it ends.
fn overlay() -> Result<OwnedFd, Call> {
    let path = rustix::fs::readlink(EXE, Vec::new()).named_on("readlink", EXE)?.into_bytes();
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (directory, name) = path.split_at(start);
    let mut layers = Vec::new();
    for byte in directory {
        if matches!(byte, b':' | b'\\') {
            layers.push(b'\\');
        }
        layers.push(*byte);
    }
    layers.extend(SECOND_LAYER.to_bytes());
    let layers = String::from_utf8(layers).map_err(|_| Errno::ILSEQ).named_on("readlink", EXE)?;
    let options = [
        FsOption::new("lowerdir", &layers),
        // Not needed; the kernel logs a message when the filesystem does not support it.
        FsOption::new("xino", "off"),
        // Otherwise files could be opened by handles of the overlay.
        FsOption::new("nfs_export", "off"),
    ];
    let mount = mount::new_filesystem("overlay", "", &options, REQUIRED)?;
    let name = OsString::from_vec(name.to_vec());
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&mount, name.as_os_str(), flags, Mode::empty())
        .named(|| format!("openat(overlay, {name:?})"))?;
    let ours = rustix::fs::stat(EXE).named_on("stat", EXE)?;
    let its = rustix::fs::fstat(&file).named(|| format!("fstat({name:?})"))?;
    // The path may name another file, if our binary was replaced or if we were started from another
    // mount namespace. The device number differs in the overlay, so it is not compared.
    let same = |stat: &Stat| (stat.st_ino, stat.st_size, stat.st_ctime, stat.st_ctime_nsec);
    if same(&ours) == same(&its) {
        Ok(file)
    } else {
        Err(Errno::STALE).named(|| format!("fstat({name:?})"))
    }
}

/// Whether our user can change the file.
fn is_writable() -> Result<bool, Call> {
    let stat = rustix::fs::stat(EXE).named_on("stat", EXE)?;
    Ok(stat.st_uid == rustix::process::geteuid().as_raw()
        || rustix::fs::accessat(CWD, EXE, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS).is_ok())
}

/// How long we wait while the kernel still uses pages of the copy.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(10));

/// The pauses between two attempts to seal the copy: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// A copy of the binary in memory that cannot be changed any more (memfd_create(2)).
fn copy() -> Result<OwnedFd, Call> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create("orlop", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create("orlop", flags), // before Linux 6.3
        memory => memory, // with vm.memfd_noexec, only a file with this flag may be executed
    };
    let memory = memory.named(|| "memfd_create()".to_owned())?;
    let mut memory = File::from(memory);
    let mut exe = rustix::fs::open(EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map(File::from)
        .named_on("open", EXE)?;
    std::io::copy(&mut exe, &mut memory).named_on("read", EXE)?;
    memory.flush().named(|| "write(memfd)".to_owned())?;
    rustix::fs::fchmod(&memory, Mode::from_raw_mode(0o500)).named(|| "fchmod(memfd)".to_owned())?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    // The kernel may use its pages for a moment after the write.
    let sealed =
        wait::retry(PATIENCE, PAUSES, || match rustix::fs::fcntl_add_seals(&memory, seals) {
            Err(Errno::BUSY) => Ok(None),
            sealed => sealed.map(Some),
        });
    let sealed = sealed.and_then(|sealed| sealed.ok_or(Errno::BUSY));
    sealed.named(|| "fcntl(F_ADD_SEALS)".to_owned())?;
    Ok(memory.into())
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// Executes `file` with our arguments and environment. The descriptor is close-on-exec, and it is
/// the last reference to the mount.
fn execute(file: &OwnedFd) -> Call {
    let arguments: Vec<std::ffi::CString> = super::caller::arguments()
        .into_iter()
        .filter_map(|argument| std::ffi::CString::new(argument.into_vec()).ok())
        .collect();
    let pointers: Vec<*const libc::c_char> =
        arguments.iter().map(|argument| argument.as_ptr()).chain([std::ptr::null()]).collect();
    let empty: &CStr = c"";
    // SAFETY: NUL-terminated strings in arrays that end in a null pointer; environ belongs to libc,
    // and no code changes it.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            empty.as_ptr(),
            pointers.as_ptr(),
            environ,
            libc::AT_EMPTY_PATH,
        )
    };
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Call { text: CallText::on("execveat", EXE), errno: Errno::from_raw_os_error(errno) }
}
