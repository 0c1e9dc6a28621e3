//! Loading a system call filter (seccomp(2)).

use super::{Call, Named, check};

/// One instruction, as the kernel reads it (struct sock_filter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when true.
    pub jt: u8,
    /// Instructions to skip when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Installs `program` on this thread. From here on the filter judges us too.
///
/// # Errors
/// The call's: `EACCES` without CAP_SYS_ADMIN or no_new_privs, `EINVAL` for a flag the kernel does not know.
pub fn load(program: &[Instruction], flags: u64) -> Result<i32, Call> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const Instruction,
    }
    let length = program.len();
    let program = Program { length: u16::try_from(length).unwrap_or(u16::MAX), filter: program.as_ptr() };
    // SAFETY: a struct sock_fprog whose array outlives the call; the kernel copies and checks it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) })
        .map(|fd| i32::try_from(fd).unwrap_or(-1))
        .named(|| format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {length} instructions)"))
}
