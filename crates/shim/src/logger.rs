//! A program that receives a container's output (`binary://`, `binary-v2://`).
//! process: worker
//!
//! It has the read ends of the two outputs as descriptors 3 and 4. It reports on descriptor 5 that
//! it is ready: it closes the descriptor or, with `binary-v2`, writes a byte.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use orlop::sys::clone::{self, CloneRequest, NewProcess, SingleThreaded};
use orlop::sys::wait::{self, Bound};
use orlop::sys::{fd, pidfd, process, signal};
use rustix::fs::Access;
use rustix::pipe::PipeFlags;

use crate::order::Order;
use crate::status::Failed;

/// The time for the logger to be ready.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(60));

/// A running logger, or none. It is killed when this is dropped, unless it is kept.
#[derive(Debug)]
pub struct Started(Option<NewProcess>);

impl Started {
    /// Keeps it running. Returns its pid, or 0.
    #[must_use]
    pub fn keep(mut self) -> i32 {
        self.0.take().map_or(0, |logger| logger.pid)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(logger) = &self.0 {
            // An error is being reported already. The daemon reaps the logger.
            let _ = pidfd::kill(logger.pidfd.as_fd());
        }
    }
}

/// Starts the logger of the order, if there is one, and waits until it is ready.
///
/// # Errors
/// An error if the URI is not that of a logger, or if the logger does not become ready.
pub fn start(order: &Order, ends: Vec<OwnedFd>) -> Result<Started, Failed> {
    if order.logger.is_empty() {
        return Ok(Started(None));
    }
    let uri = &order.logger;
    let failed = |why: String| Failed::unknown(format!("starting the logger {uri:?}: {why}"));
    let (scheme, rest) = uri.split_once("://").ok_or_else(|| failed("no scheme".to_owned()))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    rustix::fs::access(path, Access::EXEC_OK).map_err(|errno| failed(errno.to_string()))?;
    let string =
        |text: String| CString::new(text).map_err(|_| failed("a NUL in its arguments".to_owned()));
    let mut arguments = vec![string(path.to_owned())?];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        arguments.push(string(unescape(key))?);
        arguments.push(string(unescape(value))?);
    }
    let mut environment = Vec::new();
    for (name, value) in std::env::vars_os() {
        environment.push(string(format!(
            "{}={}",
            name.to_string_lossy(),
            value.to_string_lossy()
        ))?);
    }
    environment.push(string(format!("CONTAINER_ID={}", order.id))?);
    environment.push(string(format!("CONTAINER_NAMESPACE={}", order.namespace))?);
    let path = string(path.to_owned())?;

    let (ready, said) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.to_string()))?;
    let mut given = ends;
    given.push(said);
    let alone = SingleThreaded::prove().map_err(|call| failed(call.to_string()))?;
    let cloned = clone::clone(alone, &CloneRequest::default(), || {
        let _ = become_logger(&given, || process::execve(&path, &arguments, &environment));
        127
    });
    let started = Started(Some(cloned.map_err(|call| failed(call.to_string()))?));
    drop(given);
    let there = wait::readable(ready.as_fd(), PATIENCE).map_err(|call| failed(call.to_string()))?;
    let said = if there {
        rustix::io::read(&ready, &mut [0_u8; 1]).map_err(|errno| failed(errno.to_string()))?
    } else {
        0
    };
    if !there || (scheme == "binary-v2" && said == 0) {
        return Err(failed("it did not say that it is ready".to_owned()));
    }
    Ok(started)
}

/// In the child: gives the descriptors their numbers, 3 to 5, and executes the logger. Its stdio is
/// the worker's, /dev/null.
fn become_logger<T>(given: &[OwnedFd], execute: impl FnOnce() -> T) -> Result<T, orlop::sys::Call> {
    signal::reset_to_default()?;
    let high: Vec<OwnedFd> =
        given.iter().filter_map(|end| rustix::io::fcntl_dupfd_cloexec(end, 10).ok()).collect();
    for (number, end) in (3..).zip(&high) {
        fd::become_standard(end.as_fd(), number)?;
    }
    Ok(execute())
}

/// Decodes `%2F` and `+` of a query.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'%')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn a_query_is_unescaped() {
        assert_eq!(unescape("a%2Fb+c"), "a/b c");
        assert_eq!(unescape("plain"), "plain");
    }
}
