//! The errors that a caller may branch on, and how an error is printed in one line.
//!
//! Internally, errors are [`anyhow::Error`]s. `sys/` says which call failed ([`Call`]). The layers
//! above add what they were doing ([`At`] names the place in config.json). [`Failure`] marks the
//! few cases that callers distinguish. Only `cli.rs` prints an error, once; no other code logs it.

mod cause;
mod hints;

use std::fmt::{self, Display};

pub use anyhow::{Context, Result};
pub use cause::{Cause, Reason};

use crate::sys::Call;

/// The cases a caller may branch on. The texts of the first group are runc's, which containerd and
/// Podman match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No container of this id below the state root.
    NoSuchContainer,
    /// The id is taken.
    ContainerExists,
    /// An id that is empty, `.`, `..`, or has a character outside `[A-Za-z0-9_+-.]`.
    InvalidId,
    /// The container is not in a status that allows the operation; the text says which.
    WrongStatus(Reason),
    /// A value of config.json that cannot be honoured: where (a JSON pointer) and why.
    BadConfig(Problem),
    /// The program of `process.args` is not in the container.
    ProgramNotFound(Reason),
    /// The program of `process.args` may not be executed.
    ProgramNotExecutable(Reason),
    /// The host or this build lacks something that was requested.
    Unsupported(Reason),
    /// A flag or argument of the command line that cannot be honoured.
    Usage(String),
}

impl Failure {
    /// The stable name of the case, for programs (`code` in the JSON log line).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchContainer => "no-such-container",
            Self::ContainerExists => "container-exists",
            Self::InvalidId => "invalid-id",
            Self::WrongStatus(_) => "wrong-status",
            Self::BadConfig(_) => "bad-config",
            Self::ProgramNotFound(_) => "program-not-found",
            Self::ProgramNotExecutable(_) => "program-not-executable",
            Self::Unsupported(_) => "unsupported",
            Self::Usage(_) => "usage",
        }
    }

    /// The cause, if there is advice on it.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::BadConfig(problem) => problem.cause,
            Self::ProgramNotFound(reason)
            | Self::ProgramNotExecutable(reason)
            | Self::WrongStatus(reason)
            | Self::Unsupported(reason) => reason.cause,
            Self::NoSuchContainer | Self::ContainerExists | Self::InvalidId | Self::Usage(_) => {
                None
            }
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchContainer => f.write_str("container does not exist"),
            Self::ContainerExists => f.write_str("container with given ID already exists"),
            Self::InvalidId => f.write_str("invalid container ID format"),
            Self::BadConfig(problem) => problem.fmt(f),
            Self::ProgramNotFound(reason)
            | Self::ProgramNotExecutable(reason)
            | Self::WrongStatus(reason)
            | Self::Unsupported(reason) => reason.fmt(f),
            Self::Usage(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

/// A problem in a config.json: where it is, what it is, and its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer (RFC 6901) into config.json; empty for the document itself.
    pub key: String,
    /// What is wrong, in one sentence without a full stop.
    pub text: String,
    /// The cause, if there is advice on it.
    pub cause: Option<Cause>,
}

impl Problem {
    /// A problem at the JSON pointer `key`.
    #[must_use]
    pub fn new(key: impl Into<String>, reason: impl Into<Reason>) -> Self {
        let Reason { text, cause } = reason.into();
        Self { key: key.into(), text, cause }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "config.json: {}", self.text);
        }
        write!(f, "{}: {}", At::dotted(&self.key), self.text)
    }
}

/// Context that names a place in config.json; printed as people write it (`mounts[3].source`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At(pub String);

impl At {
    /// `/mounts/3/source` → `mounts[3].source`.
    fn dotted(pointer: &str) -> String {
        let mut text = String::with_capacity(pointer.len());
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
                text.push('[');
                text.push_str(&part);
                text.push(']');
                continue;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&part);
        }
        text
    }
}

impl Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::dotted(&self.0))
    }
}

/// `.at(key)` on a result: names the place in config.json that was being applied.
pub trait AtKey<T> {
    /// Adds the JSON pointer `key` to an error. Costs nothing if there is no error.
    ///
    /// # Errors
    /// The original error, with the place.
    fn at(self, key: impl Display) -> Result<T>;
}

impl<T, E> AtKey<T> for Result<T, E>
where
    Result<T, E>: Context<T, E>,
{
    fn at(self, key: impl Display) -> Result<T> {
        self.with_context(|| At(key.to_string()))
    }
}

/// An error as plain data. Init sends it to the runtime on the wire, and the JSON log line has its
/// fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The whole chain in one line.
    pub text: String,
    /// [`Failure::code`], or `internal`.
    pub code: String,
    /// [`Cause::name`], or empty.
    pub cause: String,
    /// JSON pointer into config.json, or empty.
    pub key: String,
    /// The failed call with its arguments, or empty.
    pub call: String,
    /// The absolute path among its arguments, or empty.
    pub path: String,
    /// The error number of the failed call, or 0.
    pub errno: i32,
}

impl Report {
    /// Reads the chain of `error`. A report that came over the wire keeps its fields and gets the
    /// outer context.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let mut report = error.downcast_ref::<Self>().cloned().unwrap_or_default();
        report.text = shorten(format!("{error:#}").replace('\n', " "));
        if let Some(failure) = error.downcast_ref::<Failure>() {
            failure.code().clone_into(&mut report.code);
            if let Failure::BadConfig(problem) = failure {
                problem.key.clone_into(&mut report.key);
            }
        }
        if let Some(At(key)) = error.downcast_ref::<At>() {
            key.clone_into(&mut report.key);
        }
        if let Some(cause) = cause_of(error) {
            cause.name().clone_into(&mut report.cause);
        }
        if let Some(call) = error.downcast_ref::<Call>() {
            report.call = shorten(call.text().to_owned());
            report.path = shorten(call.path().to_owned());
            report.errno = call.errno();
        }
        if report.code.is_empty() {
            report.code = "internal".to_owned();
        }
        report.key = shorten(report.key);
        report
    }
}

impl Report {
    /// The report as bytes, for another process. [`Self::decode`] reads them.
    ///
    /// # Examples
    /// ```
    /// use orlop::error::{Failure, Report};
    ///
    /// let report = Report::of(&Failure::NoSuchContainer.into());
    /// assert_eq!(Report::decode(&report.encode()), report);
    /// ```
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let errno = u64::from(self.errno.unsigned_abs()).to_le_bytes();
        let parts =
            [&*self.code, &self.cause, &self.key, &self.call, &self.path, &self.text].join("\0");
        [&errno, parts.as_bytes()].concat()
    }

    /// Reads what [`Self::encode`] has made. The end of its text may be missing.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let errno = bytes.first_chunk().copied().map_or(0, u64::from_le_bytes);
        let text = String::from_utf8_lossy(bytes.get(8..).unwrap_or_default()).into_owned();
        let mut parts = text.splitn(6, '\0').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        Self {
            code: part(),
            cause: part(),
            key: part(),
            call: part(),
            path: part(),
            text: part(),
            errno: i32::try_from(errno).unwrap_or(0),
        }
    }

    /// The name of the failed call, or empty. The text of the call begins with it.
    #[must_use]
    pub fn call_name(&self) -> &str {
        self.call.split(['(', ' ']).next().unwrap_or_default()
    }

    /// The text, without the place in config.json that it begins with.
    #[must_use]
    pub fn without_key(&self) -> String {
        let place =
            if self.key.is_empty() { "config.json".to_owned() } else { At::dotted(&self.key) };
        self.text.strip_prefix(&format!("{place}: ")).unwrap_or(&self.text).to_owned()
    }

    /// What to do about it, or empty.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        hints::hint(self)
    }
}

fn cause_of(error: &anyhow::Error) -> Option<Cause> {
    let reason = || error.downcast_ref::<Reason>().and_then(|reason| reason.cause);
    error.downcast_ref().and_then(Failure::cause).or_else(reason)
}

/// Removes the middle of a text (as a path of the config) that is too long for a line and for a
/// packet of the wire. The beginning says what was done, and the end why it failed.
fn shorten(text: String) -> String {
    const LONGEST: usize = 1200;
    if text.len() <= LONGEST {
        return text;
    }
    let (begin, end) =
        (text.floor_char_boundary(LONGEST / 2), text.ceil_char_boundary(text.len() - LONGEST / 2));
    format!("{} […] {}", text.get(..begin).unwrap_or_default(), text.get(end..).unwrap_or_default())
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::{At, Problem, shorten};

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(shorten("short".to_owned()), "short");
        let text = shorten(format!("mounts[0]: open({:?}): too long", "/ü".repeat(40_000)));
        assert!(
            text.len() < 1300 && text.starts_with("mounts[0]: ") && text.ends_with("too long"),
            "{text}"
        );
    }

    #[test]
    fn keys_read_as_people_write_them() {
        assert_eq!(At("/mounts/3/source".into()).to_string(), "mounts[3].source");
        assert_eq!(
            At("/linux/sysctl/net.ipv4.ip_forward".into()).to_string(),
            "linux.sysctl.net.ipv4.ip_forward"
        );
        let problem = Problem::new("/process/args", "args must not be empty");
        assert_eq!(problem.to_string(), "process.args: args must not be empty");
    }
}
