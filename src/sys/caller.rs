//! What the caller gave us at the start: the arguments and the environment, which /proc/PID/cmdline
//! and /proc/PID/environ show to whoever may look. A child that becomes a process of a container
//! forgets both.

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{Call, process, signal};

/// The array of the arguments, once it is known.
static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Notes where the arguments of `main` are, which must be the kernel's.
pub fn note_arguments(arguments: *const *const c_char) {
    ARGUMENTS.store(arguments.cast_mut().cast(), Ordering::Relaxed);
}

/// In a child made by [`super::clone::clone`]: empties its copy of the arguments and of the
/// environment, for which nobody asks after that, and shows itself under this name in both places
/// where `ps` looks. Signals end its waits no more.
///
/// # Errors
/// prctl(2)'s.
pub fn forget(name: &CStr) -> Result<(), Call> {
    signal::forget_waits();
    process::set_name(name)?;
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    // SAFETY: the child has one thread, and this memory is its own. Both are arrays of
    // NUL-terminated strings that end in a null pointer, or there are none. The strings of the
    // arguments lie one after the other (`erase` says how long they are together), so that the name
    // may go on into the next.
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

/// Fills strings with zeros; how many bytes they were with their ends.
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
