//! System calls. This is the only folder with `unsafe`, and the place where an error gets the name
//! of the call.
//!
//! Each function does one thing, names its manual page in its documentation, and returns a [`Call`]
//! that prints the call as strace does: `move_mount(4, "/proc"): permission denied`. The functions
//! know nothing of containers.

#![allow(unsafe_code, reason = "this folder is where unsafe lives")]

pub mod bpf;
pub mod caller;
pub mod clone;
pub mod device;
#[cfg(target_arch = "x86_64")]
mod early;
mod errno_text;
pub mod fd;
pub mod ids;
pub mod mount;
pub mod mountinfo;
pub mod netlink;
pub mod pidfd;
pub mod proc;
pub mod process;
pub mod random;
pub mod root;
pub mod scheduling;
pub mod seccomp;
pub mod self_exe;
pub mod signal;
pub mod small_file;
pub mod socket;
pub mod terminal;
pub mod wait;

use std::fmt;
use std::io;

use rustix::io::Errno;

/// A failed system call: the call with its arguments, and the errno.
#[derive(Debug)]
pub struct Call {
    text: String,
    errno: Errno,
}

impl Call {
    /// The call with its arguments.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The error number.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno.raw_os_error()
    }

    /// Whether the call failed with `errno`.
    #[must_use]
    pub fn is(&self, errno: Errno) -> bool {
        self.errno == errno
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.text, errno_text::describe(self.errno))
    }
}

impl std::error::Error for Call {}

/// Adds the call to an errno.
pub trait Named<T> {
    /// Makes a [`Call`] of an errno. `text` is only called if there is an error.
    ///
    /// # Errors
    /// The original error, with the call.
    fn named(self, text: impl FnOnce() -> String) -> Result<T, Call>;
}

impl<T> Named<T> for Result<T, Errno> {
    fn named(self, text: impl FnOnce() -> String) -> Result<T, Call> {
        self.map_err(|errno| Call { text: text(), errno })
    }
}

impl<T> Named<T> for Result<T, nix::errno::Errno> {
    fn named(self, text: impl FnOnce() -> String) -> Result<T, Call> {
        self.map_err(|errno| Call { text: text(), errno: Errno::from_raw_os_error(errno as i32) })
    }
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, text: impl FnOnce() -> String) -> Result<T, Call> {
        self.map_err(|error| {
            let errno = Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO));
            Call { text: text(), errno }
        })
    }
}

/// Turns the return value of a raw call, an `int` or a `long` of C, into a result.
fn check(value: impl Into<i64>) -> Result<i64, Errno> {
    let value = value.into();
    if value < 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(value)
}
