//! System calls. This is the only folder with `unsafe`, and the place where an error gets the name
//! of the call.
//!
//! Each function does one thing, names its manual page in its documentation, and returns a [`Call`]
//! that prints the call as strace does: `move_mount(4, "/proc"): permission denied`. Nothing here
//! is specific to containers.

#![allow(unsafe_code, reason = "this folder is where unsafe lives")]

pub mod bpf;
pub mod caller;
pub mod clone;
pub mod device;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod early;
mod errno_text;
pub mod fd;
pub mod ids;
pub mod loop_device;
pub mod mount;
pub mod mountinfo;
pub mod netlink;
pub mod passwd;
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

use std::ffi::OsStr;
use std::fmt::{self, Debug};
use std::io;

use rustix::io::Errno;

/// A failed system call: the call with its arguments, and the errno.
#[derive(Debug)]
pub struct Call {
    text: CallText,
    errno: Errno,
}

impl Call {
    /// The call with its arguments.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text.text
    }

    /// The absolute path among the arguments, or empty.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text.path
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
        write!(f, "{}: {}", self.text(), errno_text::describe(self.errno))
    }
}

impl std::error::Error for Call {}

/// A call as it is printed: its name, then its arguments in parentheses.
#[derive(Debug)]
pub struct CallText {
    text: String,
    path: String,
}

impl CallText {
    /// `name("path")`.
    #[must_use]
    pub fn on(name: &str, path: impl AsRef<OsStr> + Debug) -> Self {
        Self::with_path(format!("{name}({path:?})"), path)
    }

    /// A call that has `path` among its arguments. A relative path is not kept, because only the
    /// caller knows what it is relative to.
    #[must_use]
    pub fn with_path(text: String, path: impl AsRef<OsStr>) -> Self {
        let path = path.as_ref().to_string_lossy();
        Self { text, path: if path.starts_with('/') { path.into_owned() } else { String::new() } }
    }
}

impl From<String> for CallText {
    fn from(text: String) -> Self {
        Self { text, path: String::new() }
    }
}

/// Adds the call to an errno.
pub trait Named<T>: Sized {
    /// Makes a [`Call`] of an errno. `text` is only called if there is an error.
    ///
    /// # Errors
    /// The original error, with the call.
    fn named<C: Into<CallText>>(self, text: impl FnOnce() -> C) -> Result<T, Call>;

    /// As [`Self::named`], for a call whose only argument of interest is a path.
    ///
    /// # Errors
    /// The original error, with the call.
    fn named_on(self, name: &str, path: impl AsRef<OsStr> + Debug) -> Result<T, Call> {
        self.named(|| CallText::on(name, path))
    }
}

impl<T> Named<T> for Result<T, Errno> {
    fn named<C: Into<CallText>>(self, text: impl FnOnce() -> C) -> Result<T, Call> {
        self.map_err(|errno| Call { text: text().into(), errno })
    }
}

impl<T> Named<T> for Result<T, nix::errno::Errno> {
    fn named<C: Into<CallText>>(self, text: impl FnOnce() -> C) -> Result<T, Call> {
        self.map_err(|errno| Errno::from_raw_os_error(errno as i32)).named(text)
    }
}

impl<T> Named<T> for io::Result<T> {
    fn named<C: Into<CallText>>(self, text: impl FnOnce() -> C) -> Result<T, Call> {
        let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
        self.map_err(|error| Errno::from_raw_os_error(errno(error))).named(text)
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

#[cfg(test)]
mod tests {
    use super::{CallText, Errno, Named};

    #[test]
    fn a_call_keeps_its_absolute_path() {
        for (text, shown, path) in [
            (CallText::on("open", "/a \"b\""), r#"open("/a \"b\"")"#, "/a \"b\""),
            (CallText::on("open", "b"), "open(\"b\")", ""),
            (CallText::with_path("exec /bin/sh".to_owned(), "/bin/sh"), "exec /bin/sh", "/bin/sh"),
            (CallText::from("fsopen(\"nofs\")".to_owned()), "fsopen(\"nofs\")", ""),
        ] {
            let call = Err::<(), _>(Errno::NOENT).named(|| text).expect_err(shown);
            assert_eq!((call.text(), call.path()), (shown, path));
        }
    }
}
