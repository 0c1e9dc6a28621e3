//! Mounts as descriptors. They are created detached, get their attributes, and are then attached
//! (fsopen(2), open_tree(2), mount_setattr(2), move_mount(2)). So no process can see a mount before
//! it has its attributes, for example while it is still writable.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use libc::c_ulong;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxAttributes, StatxFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use super::proc::Proc;
use super::{Call, CallText, Named, check, mountinfo};
use crate::kernel::FsOption;

/// Propagation of a mount: none.
const MS_PRIVATE: u64 = 1 << 18;

/// Whether a call applies to one mount or also to the mounts below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Only the mount itself.
    This,
    /// The mount and all mounts below it.
    Recursive,
}

/// How a symbolic link at the end of a path is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLink {
    /// It is followed.
    Follow,
    /// It is not followed.
    Keep,
}

/// Creates a filesystem as a detached mount: fsopen(2), fsconfig(2), fsmount(2).
///
/// # Errors
/// The error of the failed call, with the message of the kernel if there is one.
pub fn new_filesystem(
    kind: &str,
    source: &str,
    options: &[FsOption],
    attributes: u64,
) -> Result<OwnedFd, Call> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
        .named(|| format!("fsopen({kind:?})"))?;
    if !source.is_empty() {
        configure(&context, "source", Some(source))?;
    }
    for FsOption { name, value } in options {
        configure(&context, name, value.as_deref())?;
    }
    rustix::mount::fsconfig_create(context.as_fd())
        .named(|| format!("fsconfig({kind:?}, create){}", explanation(&context)))?;
    let flags = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(0));
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .named(|| format!("fsmount({kind:?}, {flags:?}){}", explanation(&context)))
}

fn configure(context: &OwnedFd, key: &str, value: Option<&str>) -> Result<(), Call> {
    let result = match value {
        Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), key, value),
        None => rustix::mount::fsconfig_set_flag(context.as_fd(), key),
    };
    result.named(|| {
        let value = value.unwrap_or_default();
        let text = format!("fsconfig({key:?}, {value:?}){}", explanation(context));
        CallText::with_path(text, value)
    })
}

/// The message of the kernel about the last error on a filesystem context (fsopen(2), "Message
/// retrieval").
fn explanation(context: &OwnedFd) -> String {
    let Ok(copy) = context.try_clone() else { return String::new() };
    let mut file = std::fs::File::from(copy);
    let mut texts = String::new();
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = file.read(&mut buffer) {
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        texts.push_str(" [");
        texts.push_str(text.trim_start_matches(['e', 'w', 'i', ' ']).trim());
        texts.push(']');
    }
    texts
}

/// Creates a filesystem with mount(2), for options that fsconfig(2) cannot pass (values over 255
/// bytes, `silent`, `iversion`). It is mounted on /proc of the host for a moment, in this mount
/// namespace only, and then detached as a descriptor.
///
/// # Errors
/// The error of the failed call.
pub fn new_filesystem_by_mount(
    kind: &str,
    source: &str,
    data: &str,
    flags: u64,
) -> Result<OwnedFd, Call> {
    const PLACE: &str = "/proc";
    let name = || CallText::with_path(format!("mount({source:?}, {kind:?}, {data:?})"), source);
    let (c_kind, c_source, c_data) = (c_string(kind)?, c_string(source)?, c_string(data)?);
    // If config.json makes the rootfs shared, /proc may still be in the peer group of the host's
    // /proc. The mount would then also appear on the host, and stay there.
    set_propagation(open_attached(CWD, PLACE)?.as_fd(), MS_PRIVATE, Depth::This)?;
    // SAFETY: the strings end in NUL and outlive the call.
    let result = unsafe {
        libc::mount(
            c_source.as_ptr(),
            c"/proc".as_ptr(),
            c_kind.as_ptr(),
            flags as c_ulong,
            c_data.as_ptr().cast(),
        )
    };
    check(result).named(name)?;
    open_attached(CWD, PLACE)
}

/// Detached mounts of files of a detached mount. open_tree(2) only copies attached mounts, so the
/// mount is attached to /proc of the host for a moment, in this mount namespace only.
///
/// # Errors
/// The error of the failed call.
pub fn files_of(
    mount: BorrowedFd<'_>,
    names: impl Iterator<Item = String>,
) -> Result<Vec<OwnedFd>, Call> {
    const PLACE: &str = "/proc";
    let place = open_attached(CWD, PLACE)?;
    set_propagation(place.as_fd(), MS_PRIVATE, Depth::This)?;
    attach(mount, place.as_fd())?;
    let files = names.map(|name| clone_tree_at(mount, &name, Depth::This)).collect();
    detach(Path::new(PLACE))?;
    files
}

fn c_string(text: &str) -> Result<CString, Call> {
    CString::new(text).map_err(|_| Errno::INVAL).named_on("mount", text)
}

/// Sets the SELinux label of the root directory of a mount that no other process can see yet
/// (fsetxattr(2)).
///
/// # Errors
/// The error of the failed call.
pub fn set_label(mount: BorrowedFd<'_>, label: &str) -> Result<(), Call> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::openat(mount, ".", flags, Mode::empty()).named(|| "open(mount)".to_owned())?;
    rustix::fs::fsetxattr(&root, "security.selinux", label.as_bytes(), XattrFlags::empty())
        .named(|| format!("fsetxattr(mount, \"security.selinux\", {label:?})"))
}

/// A descriptor of the mount that is on top at `path` (open_tree(2) without cloning).
///
/// # Errors
/// The error of the call.
pub fn open_attached(directory: BorrowedFd<'_>, path: impl AsRef<Path>) -> Result<OwnedFd, Call> {
    let path = path.as_ref();
    rustix::mount::open_tree(directory, path, OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .named_on("open_tree", path)
}

/// Makes a detached copy of the mount at the descriptor `from`, like `mount --bind` (open_tree(2)).
///
/// # Errors
/// The error of the call; `EINVAL` if the mount belongs to another mount namespace, or if `depth`
/// leaves out locked mounts below it.
pub fn clone_tree(from: BorrowedFd<'_>, depth: Depth) -> Result<OwnedFd, Call> {
    clone_tree_at(from, "", depth)
}

/// A detached copy of the mount that `path` leads to from `directory`.
///
/// # Errors
/// As [`clone_tree`]; errors of looking up `path`.
pub fn clone_tree_at(directory: BorrowedFd<'_>, path: &str, depth: Depth) -> Result<OwnedFd, Call> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if depth == Depth::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(directory, path, flags)
        .named(|| CallText::with_path(format!("open_tree({path:?}, {depth:?})"), path))
}

/// A detached copy of the mount that contains the file `path` of the host. That file is the root of
/// the copy.
///
/// # Errors
/// As [`clone_tree_at`].
pub fn clone_source(path: &str, depth: Depth, last: LastLink) -> Result<OwnedFd, Call> {
    if last == LastLink::Follow {
        return clone_tree_at(CWD, path, depth);
    }
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if depth == Depth::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, path, flags)
        .named(|| CallText::with_path(format!("open_tree({path:?}, {depth:?}, NOFOLLOW)"), path))
}

/// Checks that [`clone_source`] finds `path`. Opens it without copying anything.
///
/// # Errors
/// Errors of looking up `path`.
pub fn reach(path: &str, depth: Depth, last: LastLink) -> Result<(), Call> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if last == LastLink::Keep {
        flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    }
    let opened = rustix::mount::open_tree(CWD, path, flags);
    opened.map(drop).named(|| CallText::with_path(format!("open_tree({path:?}, {depth:?})"), path))
}

/// The position of a descriptor in the tree of mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreePosition {
    /// The id of the mount that it is on.
    pub id: u64,
    /// Whether it is the root of that mount.
    pub is_root: bool,
    /// The type of the file.
    pub kind: FileType,
}

impl TreePosition {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(self) -> bool {
        self.kind == FileType::Directory
    }
}

/// The position of `fd` (statx(2)).
///
/// # Errors
/// The error of the call.
pub fn of(fd: BorrowedFd<'_>) -> Result<TreePosition, Call> {
    let wanted = StatxFlags::MNT_ID | StatxFlags::TYPE;
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, wanted)
        .named(|| "statx(STATX_MNT_ID)".to_owned())?;
    Ok(TreePosition {
        id: stat.stx_mnt_id,
        is_root: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        kind: FileType::from_raw_mode(stat.stx_mode.into()),
    })
}

/// Attaches the mount `mount` on top of `target` (move_mount(2)).
///
/// # Errors
/// The error of the call; `ENOTDIR` if one is a directory and the other is not.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Call> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let result = match rustix::mount::move_mount(mount, "", target, "", flags) {
        // Callers expect the error of mount(2), which is ENOTDIR.
        Err(Errno::INVAL) if of(mount)?.is_directory() != of(target)?.is_directory() => {
            Err(Errno::NOTDIR)
        }
        result => result,
    };
    result.named(|| "move_mount()".to_owned())
}

/// Changes the attributes of the mount `mount`: `MOUNT_ATTR_…` bits to clear, then to set
/// (mount_setattr(2)).
///
/// # Errors
/// The error of the call; `EPERM` for a flag that a user namespace has locked.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    depth: Depth,
) -> Result<(), Call> {
    set_attr(mount, [set, clear, 0, 0], depth)
        .named(|| format!("mount_setattr({depth:?}, set {set:#x}, clear {clear:#x})"))
}

/// Changes the propagation of the mount `mount`: one of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`,
/// `MS_UNBINDABLE`.
///
/// # Errors
/// The error of the call.
pub fn set_propagation(mount: BorrowedFd<'_>, propagation: u64, depth: Depth) -> Result<(), Call> {
    set_attr(mount, [0, 0, propagation, 0], depth)
        .named(|| format!("mount_setattr({depth:?}, propagation {propagation:#x})"))
}

/// Makes the mount `mount` private, but not the mounts below it, and sets attributes of it.
///
/// # Errors
/// The error of the call.
pub fn make_private(mount: BorrowedFd<'_>, set: u64) -> Result<(), Call> {
    set_attr(mount, [set, 0, MS_PRIVATE, 0], Depth::This)
        .named(|| format!("mount_setattr(set {set:#x}, MS_PRIVATE)"))
}

/// Gives the detached mount `mount` the id mappings of the user namespace `user`
/// (`MOUNT_ATTR_IDMAP`).
///
/// # Errors
/// The error of the call: `EINVAL` if the filesystem does not support it, `EPERM` without
/// CAP_SYS_ADMIN over the filesystem, or if the mount already has id mappings.
pub fn map_ids(mount: BorrowedFd<'_>, user: BorrowedFd<'_>, depth: Depth) -> Result<(), Call> {
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    set_attr(mount, [MOUNT_ATTR_IDMAP, 0, 0, u64::from(user.as_raw_fd().unsigned_abs())], depth)
        .named(|| format!("mount_setattr({depth:?}, MOUNT_ATTR_IDMAP)"))
}

fn set_attr(mount: BorrowedFd<'_>, attr: [u64; 4], depth: Depth) -> Result<(), Errno> {
    let flags =
        libc::AT_EMPTY_PATH | if depth == Depth::Recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path ends in NUL, and attr is laid out as struct mount_attr (set, clear,
    // propagation, userns_fd).
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            attr.as_ptr(),
            size_of_val(&attr),
        )
    })
    .map(|_| ())
}

/// Makes only the mount that `place` is on private: later mounts on it do not propagate.
///
/// # Errors
/// The error of the failed call; `ENOENT` if the mount is not in /proc/self/mountinfo.
pub fn isolate(proc: &Proc, place: &str) -> Result<(), Call> {
    let stat = rustix::fs::statx(CWD, place, AtFlags::empty(), StatxFlags::MNT_ID)
        .named(|| CallText::with_path(format!("statx({place:?}, STATX_MNT_ID)"), place))?;
    let mounts = proc.read_bytes("self/mountinfo")?;
    let found = mountinfo::find(&mounts, stat.stx_mnt_id).ok_or(Errno::NOENT).named(|| {
        CallText::with_path(format!("the mount of {place:?} in /proc/self/mountinfo"), place)
    })?;
    let mount = open_attached(CWD, found.path())?;
    set_propagation(mount.as_fd(), MS_PRIVATE, Depth::This)
}

/// Changes the propagation of every mount of this mount namespace.
///
/// # Errors
/// Errors of mount(2).
pub fn set_namespace_propagation(propagation: MountPropagationFlags) -> Result<(), Call> {
    let flags = propagation | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags)
        .named(|| CallText::with_path(format!("mount(\"/\", {flags:?})"), "/"))
}

/// Changes the flags of the mount at `target`, a working directory or file, and the options of its
/// filesystem (mount(2) with `MS_REMOUNT`).
///
/// # Errors
/// The errors of the calls.
pub fn remount(target: BorrowedFd<'_>, flags: u64, data: &str) -> Result<(), Call> {
    let path = c_string(&format!("/proc/self/fd/{}", target.as_raw_fd()))?;
    let c_data = c_string(data)?;
    // SAFETY: the strings end in NUL and outlive the call.
    let result = unsafe {
        libc::mount(
            c"".as_ptr(),
            path.as_ptr(),
            c"".as_ptr(),
            flags as c_ulong | libc::MS_REMOUNT,
            c_data.as_ptr().cast(),
        )
    };
    check(result).named(|| format!("mount(MS_REMOUNT|{flags:#x}, {data:?})")).map(|_| ())
}

/// Makes the working directory the root of this mount namespace (pivot_root(2)). With `.` as both
/// arguments, no directory for the old root is needed: it stays mounted on top of the new root
/// until [`leave_old_root`].
///
/// # Errors
/// The error of the call.
pub fn pivot_to_cwd() -> Result<(), Call> {
    rustix::process::pivot_root(".", ".").named(|| "pivot_root(\".\", \".\")".to_owned())
}

/// Detaches the old root.
///
/// # Errors
/// The error of the failed call.
pub fn leave_old_root() -> Result<(), Call> {
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .named(|| "umount2(\".\", MNT_DETACH)".to_owned())?;
    rustix::process::chdir("/").named_on("chdir", "/")
}

/// Detaches the mount on `path`.
///
/// # Errors
/// The error of the call.
pub fn detach(path: &Path) -> Result<(), Call> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .named(|| CallText::with_path(format!("umount2({path:?}, MNT_DETACH)"), path))
}

/// Detaches the mount whose root is `mount`. No call takes the descriptor of the mount to detach,
/// so this uses a link in the host's procfs. Changes the working directory to the root of that
/// procfs.
///
/// # Errors
/// The error of the failed call; `EINVAL` if `mount` is not the root of a mount, or if a user
/// namespace has locked the mount.
pub fn detach_handle(proc: &Proc, mount: BorrowedFd<'_>) -> Result<(), Call> {
    rustix::process::fchdir(proc).named(|| "fchdir(/proc)".to_owned())?;
    let path = format!("self/fd/{}", mount.as_raw_fd());
    rustix::mount::unmount(&path, UnmountFlags::DETACH)
        .named(|| CallText::with_path(format!("umount2({path:?}, MNT_DETACH)"), path))
}

/// chroot(2) to the working directory.
///
/// # Errors
/// The error of the call.
pub fn chroot_to_cwd() -> Result<(), Call> {
    rustix::process::chroot(".").named(|| "chroot(\".\")".to_owned())?;
    rustix::process::chdir("/").named_on("chdir", "/")
}
