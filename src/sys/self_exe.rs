//! The runtime's own binary, out of the reach of containers (CVE-2019-5736).
//!
//! A process of a container can get hold of our binary through `/proc/<pid>/exe` while one of our processes is among
//! those of the container, keep the descriptor, and write to the file once we are gone. So the verbs that enter a
//! container run from a mount of the binary that is read-only and belongs to no mount namespace: nobody can make it
//! writable again, and nothing has been copied. Costs three calls and an execve.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mount::Depth;
use super::{Call, Named, mount};

const EXE: &str = "/proc/self/exe";

/// Makes sure that this process runs from a file that cannot be opened for writing; executes itself anew if need be,
/// with the same arguments and environment, and then does not return.
///
/// # Errors
/// When the binary could be neither mounted read-only nor copied.
pub fn seal() -> Result<(), Call> {
    if is_sealed()? {
        return Ok(());
    }
    let sealed = match read_only_mount() {
        Ok(sealed) => sealed,
        // Without CAP_SYS_ADMIN no mount, but then the container's processes have no more rights over the file than we.
        Err(call) if call.is(Errno::PERM) && !is_ours()? => return Ok(()),
        Err(_) => copy()?,
    };
    Err(execute(&sealed))
}

/// Whether the mount that we run from is read-only, or the file is a sealed copy.
fn is_sealed() -> Result<bool, Call> {
    let stat = rustix::fs::statvfs(EXE).named(|| format!("statfs({EXE:?})"))?;
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    let exe =
        rustix::fs::open(EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).named(|| format!("open({EXE:?})"))?;
    Ok(rustix::fs::fcntl_get_seals(&exe).is_ok_and(|seals| seals.contains(SealFlags::WRITE)))
}

/// Whether our user could change the file.
fn is_ours() -> Result<bool, Call> {
    let stat = rustix::fs::stat(EXE).named(|| format!("stat({EXE:?})"))?;
    Ok(stat.st_uid == rustix::process::geteuid().as_raw()
        || rustix::fs::accessat(CWD, EXE, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS).is_ok())
}

/// A detached, read-only mount of the file itself. It dies with the last process that runs from it.
fn read_only_mount() -> Result<OwnedFd, Call> {
    let tree = mount::clone_tree_at(CWD, EXE, Depth::This)?;
    let read_only = u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    mount::set_attributes(tree.as_fd(), read_only, 0, Depth::This)?;
    Ok(tree)
}

/// A copy in memory that can no longer be written to (memfd_create(2)).
fn copy() -> Result<OwnedFd, Call> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("orlop", flags).named(|| "memfd_create()".to_owned())?;
    let mut memory = File::from(memory);
    let mut exe = rustix::fs::open(EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map(File::from)
        .named(|| format!("open({EXE:?})"))?;
    std::io::copy(&mut exe, &mut memory).named(|| format!("read({EXE:?})"))?;
    memory.flush().named(|| "write(memfd)".to_owned())?;
    rustix::fs::fchmod(&memory, Mode::from_raw_mode(0o500)).named(|| "fchmod(memfd)".to_owned())?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&memory, seals).named(|| "fcntl(F_ADD_SEALS)".to_owned())?;
    Ok(memory.into())
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// Executes `file` with our arguments and environment; the descriptor closes itself, and with it the last hold that
/// anybody has on the mount.
fn execute(file: &OwnedFd) -> Call {
    let arguments: Vec<std::ffi::CString> = std::env::args_os()
        .filter_map(|argument| std::ffi::CString::new(std::os::unix::ffi::OsStringExt::into_vec(argument)).ok())
        .collect();
    let pointers: Vec<*const libc::c_char> =
        arguments.iter().map(|argument| argument.as_ptr()).chain([std::ptr::null()]).collect();
    let empty: &CStr = c"";
    // SAFETY: NUL-terminated strings in arrays that end in a null pointer; environ is libc's own, and nobody changes it.
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
    Call { text: format!("execveat({EXE:?})"), errno: Errno::from_raw_os_error(errno) }
}
