//! bpf(2), as far as a cgroup's device program needs it: load, attach, replace, detach, list.
//!
//! No memory lock limit is raised: since Linux 5.11 programs are charged to the memory cgroup
//! instead.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::{Call, Named, check};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// The number of programs of one type that the kernel allows on a cgroup (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: u32 = 64;

/// Several programs may be attached, here and below. All of them must permit an access.
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

/// The licence. The kernel only checks it for helpers for GPL programs, and ours calls none.
const LICENSE: &CStr = c"Apache-2.0";

/// One instruction: `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BpfInstruction {
    /// The class, the operation, and whether the operand is `imm` or a register.
    pub code: u8,
    /// Destination and source register, in the two halves (which is which depends on the machine's
    /// byte order).
    pub registers: u8,
    /// The offset of a jump or a memory access.
    pub offset: i16,
    /// The constant operand.
    pub imm: i32,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`. The kernel treats the rest as zero.
#[repr(C)]
struct LoadAttr {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The head of `union bpf_attr` for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct AttachAttr {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// The head of `union bpf_attr` for `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct IdAttr {
    id: u32,
    next: u32,
    flags: u32,
}

/// The head of `union bpf_attr` for `BPF_PROG_QUERY`.
#[repr(C)]
struct QueryAttr {
    target: u32,
    kind: u32,
    flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// Calls bpf(2) with `attr`.
///
/// # Safety
/// `T` must begin as the part of `union bpf_attr` that `command` reads, and every pointer in it
/// must be valid for what `command` does with it.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<i64, Errno> {
    // SAFETY: attr is a live, exclusive reference of the size given; the rest is the caller's
    // promise.
    check(unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>())
    })
}

/// A program in the kernel. It exists as long as this value, or a cgroup that it is attached to.
#[derive(Debug)]
pub struct LoadedProgram(OwnedFd);

impl LoadedProgram {
    /// Loads a program that checks device accesses (`BPF_PROG_TYPE_CGROUP_DEVICE`).
    ///
    /// # Errors
    /// Errors of bpf(2): `EPERM` without CAP_BPF and CAP_NET_ADMIN or CAP_SYS_ADMIN in the first
    /// user namespace, `EINVAL` or `EACCES` if the verifier refuses the program.
    pub fn load_device(instructions: &[BpfInstruction]) -> Result<Self, Call> {
        let mut attr = LoadAttr {
            kind: TYPE_CGROUP_DEVICE,
            instruction_count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
            instructions: instructions.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buffer: 0,
            kernel_version: 0,
            flags: 0,
            name: *b"orlop_devices\0\0\0",
        };
        // SAFETY: LoadAttr is the head of the union for this command; both pointers outlive the
        // call and have the length, or the NUL, that the kernel reads to.
        let fd = unsafe { bpf(PROG_LOAD, &mut attr) };
        owned(fd).named(|| {
            format!("bpf(BPF_PROG_LOAD, cgroup device, {} instructions)", instructions.len())
        })
    }

    /// The program with an id of [`attached`].
    ///
    /// # Errors
    /// Errors of bpf(2): `ENOENT` if it does not exist any more, `EPERM` without CAP_SYS_ADMIN.
    pub fn by_id(id: u32) -> Result<Self, Call> {
        let mut attr = IdAttr { id, next: 0, flags: 0 };
        // SAFETY: IdAttr is the head of the union for this command and holds no pointer.
        let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) };
        owned(fd).named(|| format!("bpf(BPF_PROG_GET_FD_BY_ID, {id})"))
    }

    /// Attaches the program to the cgroup with the directory `cgroup`: atomically in the place of
    /// `replaced`, or in addition to the others.
    ///
    /// # Errors
    /// Errors of bpf(2).
    pub fn attach(&self, cgroup: BorrowedFd<'_>, replaced: Option<&Self>) -> Result<(), Call> {
        let mut attr = self.attachment(cgroup);
        attr.flags = ALLOW_MULTI;
        if let Some(replaced) = replaced {
            attr.flags |= REPLACE;
            attr.replaced = raw(&replaced.0);
        }
        // SAFETY: AttachAttr is the head of the union for this command and holds no pointer.
        unsafe { bpf(PROG_ATTACH, &mut attr) }
            .map(drop)
            .named(|| "bpf(BPF_PROG_ATTACH, cgroup device)".to_owned())
    }

    /// Detaches the program from the cgroup whose directory is `cgroup`.
    ///
    /// # Errors
    /// Errors of bpf(2): `ENOENT` if it is not attached there.
    pub fn detach(&self, cgroup: BorrowedFd<'_>) -> Result<(), Call> {
        let mut attr = self.attachment(cgroup);
        // SAFETY: AttachAttr is the head of the union for this command and holds no pointer.
        unsafe { bpf(PROG_DETACH, &mut attr) }
            .map(drop)
            .named(|| "bpf(BPF_PROG_DETACH, cgroup device)".to_owned())
    }

    fn attachment(&self, cgroup: BorrowedFd<'_>) -> AttachAttr {
        AttachAttr {
            target: raw(&cgroup),
            program: raw(&self.0),
            kind: ATTACH_CGROUP_DEVICE,
            flags: 0,
            replaced: 0,
        }
    }
}

/// The ids of the device programs that are attached to the cgroup whose directory is `cgroup`,
/// without the programs of its parents.
///
/// # Errors
/// Errors of bpf(2): `EPERM` without CAP_NET_ADMIN.
pub fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, Call> {
    let mut ids = vec![0_u32; MAX_PROGRAMS as usize];
    let mut attr = QueryAttr {
        target: raw(&cgroup),
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: MAX_PROGRAMS,
        padding: 0,
    };
    // SAFETY: QueryAttr is the head of the union for this command; ids has room for the count
    // given.
    unsafe { bpf(PROG_QUERY, &mut attr) }
        .named(|| "bpf(BPF_PROG_QUERY, cgroup device)".to_owned())?;
    ids.truncate(attr.count as usize);
    Ok(ids)
}

fn owned(result: Result<i64, Errno>) -> Result<LoadedProgram, Errno> {
    let fd = i32::try_from(result?).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel just made this descriptor for us, and nothing else owns it. bpf(2) sets
    // close-on-exec by itself.
    Ok(LoadedProgram(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// A descriptor in the type of bpf(2). An open one is never negative.
fn raw(fd: &impl AsRawFd) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}
