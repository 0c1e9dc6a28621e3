//! The arguments and the environment of this process, which /proc/PID/cmdline and /proc/PID/environ
//! show to other processes. A child that becomes a process of a container clears both.

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{Call, process, signal};

/// The array of the arguments, once it is set.
static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Records the address of the arguments of `main`, which must be the ones that the kernel made.
pub fn note_arguments(arguments: *const *const c_char) {
    ARGUMENTS.store(arguments.cast_mut().cast(), Ordering::Relaxed);
}

/// The arguments. If `main` is a function of C, std has them with glibc only: musl does not pass
/// them to the functions that run before `main`.
#[must_use]
pub fn arguments() -> Vec<OsString> {
    let mut next = ARGUMENTS.load(Ordering::Relaxed);
    if next.is_null() {
        return std::env::args_os().collect();
    }
    let mut found = Vec::new();
    // SAFETY: an array of NUL-terminated strings that ends in a null pointer; only a child writes
    // to its copy ([`erase_and_rename`]).
    unsafe {
        while !(*next).is_null() {
            found.push(OsStr::from_bytes(CStr::from_ptr(*next).to_bytes()).to_owned());
            next = next.add(1);
        }
    }
    found
}

/// In a child of [`super::clone::clone`]: clears its copy of the arguments and of the environment,
/// which are not used afterwards, and sets this name in both places where `ps` looks. From then on
/// signals do not end its waits.
///
/// # Errors
/// Errors of prctl(2).
pub fn erase_and_rename(name: &CStr) -> Result<(), Call> {
    signal::forget_waits();
    process::set_name(name)?;
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    // SAFETY: the child has one thread, and this memory is its own. Both are arrays of
    // NUL-terminated strings that end in a null pointer, or there are none. The strings of the
    // arguments are adjacent (`erase` returns their total length), so the name may extend into the
    // next one.
    unsafe {
        erase(environ);
        if !arguments.is_null() && !(*arguments).is_null() {
            let first: *mut c_char = *arguments;
            let length = erase(arguments).saturating_sub(1).min(name.count_bytes());
            ptr::copy_nonoverlapping(name.as_ptr(), first, length);
        }
    }
    Ok(())
}

/// Fills strings with zeros. Returns their total length with the final NULs.
///
/// # Safety
/// `strings` is null, or an array of NUL-terminated strings that may be written to and ends in a
/// null pointer.
unsafe fn erase(mut strings: *mut *mut c_char) -> usize {
    let mut sum = 0;
    // SAFETY: as above; a string keeps its place and its length.
    unsafe {
        while !strings.is_null() && !(*strings).is_null() {
            let length = libc::strlen(*strings);
            libc::memset((*strings).cast(), 0, length);
            sum += length + 1;
            strings = strings.add(1);
        }
    }
    sum
}
