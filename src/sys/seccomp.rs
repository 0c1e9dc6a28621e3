//! Loading a system call filter (seccomp(2)).

use std::hint::spin_loop;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::clone::exit_now;
use super::{Call, Named, check};
use crate::kernel::SockFilter;

/// Loads `program` for this thread. From then on, it also applies to our calls.
///
/// # Errors
/// The error of the call: `EACCES` without CAP_SYS_ADMIN or no_new_privs, `EINVAL` for a flag that
/// the kernel does not support.
pub fn load(program: &[SockFilter], flags: u64) -> Result<(), Call> {
    install(program, flags).map(|_| ())
}

/// As [`load`], with `SECCOMP_FILTER_FLAG_NEW_LISTENER` in the flags. `deliver` gets the listener,
/// and must return true. If it returns false, the process ends, since no agent would answer its
/// calls.
///
/// The filtered thread makes no system call until then, because any call could be forbidden, or
/// could wait for an answer before an agent can give one. So `deliver` runs in a second thread
/// without the filter, while this one polls memory. execve(2) ends all other threads, so the second
/// thread has ended before the program runs.
///
/// # Errors
/// As [`load`]; `EAGAIN` if a limit does not allow a second thread.
pub fn load_with_listener(
    program: &[SockFilter],
    flags: u64,
    deliver: impl FnOnce(OwnedFd) -> bool + Send + 'static,
) -> Result<(), Call> {
    const NOT_YET: i32 = -1;
    const NEVER: i32 = -2;
    static LISTENER: AtomicI32 = AtomicI32::new(NOT_YET);
    static DELIVERED: AtomicBool = AtomicBool::new(false);

    let messenger = move || {
        let listener = loop {
            match LISTENER.load(Ordering::Acquire) {
                NOT_YET => std::thread::yield_now(),
                NEVER => return,
                fd => break fd,
            }
        };
        // SAFETY: the other thread got this descriptor from the kernel and leaves it to us.
        if !deliver(unsafe { OwnedFd::from_raw_fd(listener) }) {
            exit_now(1);
        }
        DELIVERED.store(true, Ordering::Release);
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "there is no fork after this, but execve, which ends the thread"
    )]
    std::thread::Builder::new().stack_size(64 << 10).spawn(messenger).named(|| {
        "clone(CLONE_THREAD), for the time that the filter's listener is handed over".to_owned()
    })?;
    match install(program, flags) {
        Ok(listener) => LISTENER.store(listener, Ordering::Release),
        Err(call) => {
            LISTENER.store(NEVER, Ordering::Release);
            return Err(call);
        }
    }
    while !DELIVERED.load(Ordering::Acquire) {
        spin_loop();
    }
    Ok(())
}

fn install(program: &[SockFilter], flags: u64) -> Result<i32, Call> {
    #[repr(C)]
    struct SockFprog {
        length: u16,
        filter: *const SockFilter,
    }
    let length = program.len();
    let program =
        SockFprog { length: u16::try_from(length).unwrap_or(u16::MAX), filter: program.as_ptr() };
    // With 32-bit registers, a u64 would take two arguments.
    let word = flags as libc::c_ulong;
    // SAFETY: a struct sock_fprog whose array outlives the call; the kernel copies and checks it.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, word, &raw const program)
    })
    .map(|fd| i32::try_from(fd).unwrap_or(-1))
    .named(|| format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {length} instructions)"))
}
