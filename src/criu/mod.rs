//! Runs criu(8), which saves and restores processes. `criu swrk` gets a request on a socket that it
//! inherits, sends notifications, and then a response.
//! process: runtime
//!
//! The images belong to the caller, and are trusted as much as config.json. The container is not
//! trusted: resources outside of it (`external`) have names that we choose, and never paths in its
//! rootfs. Before the processes continue, we check again that everything that must be read-only or
//! hidden still is (CVE-2026-119101).

pub mod external;
pub mod images;
pub mod message;
pub mod refused;

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::error::{Cause, Context, Failure, Report, Result};
use crate::sync::{self, FromInit, ToInit};
use crate::sys::clone::{self, CloneRequest, SingleThreaded};
use crate::sys::pidfd::{self, Exit};
use crate::sys::wait::{Bound, Unbounded};
use crate::sys::{Call, fd, process, signal, socket};
use message::{CriuMessage, RequestType, Response};

/// The oldest criu with all features that we use, in the form of [`Response::version`].
const OLDEST: u64 = 31_600;

/// How long criu may take to end after its response.
const END: Bound = Bound::Within(Duration::from_secs(30));

/// A criu of a supported version.
#[derive(Debug)]
pub struct CriuProgram(CString);

impl CriuProgram {
    /// Finds criu in `PATH`, and checks its version.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] if criu does not exist or is too old.
    pub fn find() -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_program = |file: &std::path::PathBuf| {
            file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok()
        };
        let found =
            std::env::split_paths(&path).map(|directory| directory.join("criu")).find(is_program);
        let Some(file) = found else {
            return Err(Failure::Unsupported(
                Cause::NoCriu.reason("criu: executable file not found in $PATH"),
            )
            .into());
        };
        let program = Self(CString::new(file.as_os_str().as_bytes())?);
        let criu = program.start(&CloneRequest::default(), &[], |_| Ok(()))?;
        let version = criu
            .ask(&message::request(RequestType::Version, &CriuMessage::default()), |_| Ok(()))?
            .version;
        log::debug!("{} has the version {version}", file.display());
        if version < OLDEST {
            let text = format!("criu version {version} is too old, it must be {OLDEST} or higher");
            return Err(Failure::Unsupported(Cause::NoCriu.reason(text)).into());
        }
        Ok(program)
    }

    /// Checks that criu and the kernel have a feature, by its number in `criu_features`.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] if they do not have it.
    pub fn need(&self, number: u32, name: &str) -> Result<()> {
        let criu = self.start(&CloneRequest::default(), &[], |_| Ok(()))?;
        let answer =
            criu.ask(&message::feature(number), |_| Ok(())).context("CRIU feature check failed")?;
        if !answer.features.contains(&number) {
            let text = format!("criu is missing features: {name}");
            return Err(Failure::Unsupported(Cause::NoCriuFeature.reason(text)).into());
        }
        Ok(())
    }

    /// Starts criu, in the cgroup of `request` if there is one. criu inherits our standard streams
    /// and our mounts, and `inherited` with the same numbers. It works in directories that we have
    /// opened. `settle` gets its pid before it runs.
    ///
    /// # Errors
    /// The error of a failed call in either process; the error of `settle`.
    pub fn start(
        &self,
        request: &CloneRequest<'_>,
        inherited: &[BorrowedFd<'_>],
        settle: impl FnOnce(i32) -> Result<()>,
    ) -> Result<Criu> {
        let token = SingleThreaded::prove()?;
        let (ours, theirs) = socket::pair()?;
        let (wire, their_wire) = sync::pair()?;
        let arguments = [
            CString::from(c"criu"),
            CString::from(c"swrk"),
            CString::new(theirs.as_raw_fd().to_string())?,
        ];
        let environment: Vec<CString> = std::env::vars_os()
            .filter_map(|(name, value)| {
                CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
            })
            .collect();
        let become_criu = || -> Result<()> {
            fd::close_copy(ours.as_fd());
            fd::close_copy(wire.as_fd());
            signal::reset_to_default()?;
            signal::reset_sigpipe()?;
            their_wire.wait_for_begin()?;
            fd::close_on_exec_from(3)?;
            for kept in inherited.iter().map(AsRawFd::as_raw_fd).chain([theirs.as_raw_fd()]) {
                fd::keep_over_exec(kept.unsigned_abs())?;
            }
            Err(process::execve(&self.0, &arguments, &environment).into())
        };
        let cloned = clone::clone(token, request, || {
            if let Err(error) = become_criu() {
                // If the other end is closed, the runtime does not need the error.
                let _ = their_wire.send(&FromInit::Failed(Report::of(&error)));
            }
            1
        })
        .context("making the process of criu")?;
        let criu = Criu { pid: cloned.pid, pidfd: cloned.pidfd, socket: ours, ended: false };
        drop((theirs, their_wire));
        settle(criu.pid)?;
        wire.send(&ToInit::Begin)?;
        match wire.receive()? {
            FromInit::End => Ok(criu),
            FromInit::Failed(report) => Err(report.into()),
            other => anyhow::bail!("unexpected {other:?} from criu's process"),
        }
    }
}

/// A notification of criu.
#[derive(Debug)]
pub struct Notification<'a> {
    /// Its name, such as `post-restore` (criu(8), "Action scripts").
    pub name: &'a str,
    /// The process of the notification, in our pid namespace.
    pub pid: i32,
    /// The descriptor that came with it.
    pub descriptor: Option<OwnedFd>,
}

/// A running criu. It is killed when this is dropped.
#[derive(Debug)]
pub struct Criu {
    /// Its pid.
    pub pid: i32,
    pidfd: OwnedFd,
    socket: OwnedFd,
    ended: bool,
}

/// criu has failed. runc has the same text, and tools search for it.
#[derive(Debug)]
struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "criu failed: {}", self.0)
    }
}

impl std::error::Error for Failed {}

impl Criu {
    /// Sends a request. `on_event` gets the notifications. If `on_event` returns an error, criu
    /// stops and undoes its work.
    ///
    /// # Errors
    /// The error of `on_event`; an error if criu has failed.
    pub fn ask(
        &self,
        request: &CriuMessage,
        mut on_event: impl FnMut(Notification<'_>) -> Result<()>,
    ) -> Result<Response> {
        let kind = Response::read(request.as_bytes())?.kind;
        socket::send(&self.socket, request.as_bytes(), None).context("asking criu")?;
        let mut buffer = vec![0; 64 * 1024];
        let mut given_up = None;
        loop {
            let (answer, descriptor) = match self.hear(&mut buffer) {
                Ok(heard) => heard,
                Err(error) => return Err(given_up.unwrap_or(error)),
            };
            if answer.is(RequestType::Notify) && answer.success {
                let served =
                    on_event(Notification { name: &answer.script, pid: answer.pid, descriptor });
                let went_well = given_up.is_none() && served.is_ok();
                if let Err(error) = served {
                    given_up.get_or_insert(error);
                }
                socket::send(&self.socket, message::notified(went_well).as_bytes(), None)
                    .context("answering criu")?;
                continue;
            }
            if let Some(error) = given_up {
                return Err(error);
            }
            if !answer.success || answer.kind != kind {
                let kinds = [
                    RequestType::Dump,
                    RequestType::Restore,
                    RequestType::PreDump,
                    RequestType::FeatureCheck,
                    RequestType::Version,
                ];
                let kind =
                    kinds.into_iter().find(|kind| answer.is(*kind)).unwrap_or(RequestType::Notify);
                return Err(Failed(format!("type {} errno {}", kind.name(), answer.errno)).into());
            }
            return Ok(answer);
        }
    }

    fn hear(&self, buffer: &mut [u8]) -> Result<(Response, Option<OwnedFd>)> {
        let (length, descriptor) =
            match socket::receive(&self.socket, buffer, Bound::Endless(Unbounded::PeerAtWork)) {
                Err(call) if call.is(Errno::CONNRESET) => (0, None),
                other => other.context("receiving from criu")?,
            };
        if length == 0 {
            return Err(Failed("it ended without an answer".to_owned()).into());
        }
        Ok((Response::read(buffer.get(..length).unwrap_or_default())?, descriptor))
    }

    /// Makes criu exit, and waits for it.
    ///
    /// # Errors
    /// Errors of shutdown(2), poll(2), waitid(2); an error if criu does not end.
    pub fn finish(mut self) -> Result<Exit> {
        match socket::shut_down(&self.socket) {
            Err(call) if !call.is(Errno::NOTCONN) => return Err(call.into()),
            _ => {}
        }
        let exit = pidfd::reap_within(self.pidfd.as_fd(), END)?.context("criu does not end")?;
        self.ended = true;
        Ok(exit)
    }

    /// The cgroups of criu, in which the restored processes will be: controllers and paths
    /// (proc_pid_cgroup(5)).
    ///
    /// # Errors
    /// Errors of reading /proc.
    pub fn cgroups(&self) -> Result<Vec<(String, String)>> {
        let text = crate::sys::proc::Proc::open()?.read(&format!("{}/cgroup", self.pid))?;
        Ok(split_cgroups(&text))
    }
}

/// The path of each controller, from lines such as `4:cpu,cpuacct:/a`. A line `0::/b` has an empty
/// controller here.
fn split_cgroups(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        Some((controllers, path))
    };
    let lines: Vec<(String, String)> = text.lines().filter_map(line).collect();
    lines
        .iter()
        .flat_map(|(names, path)| names.split(',').map(|name| (name.to_owned(), path.clone())))
        .collect()
}

impl Drop for Criu {
    fn drop(&mut self) {
        if !self.ended {
            // The caller already has an error, or only needed the version.
            let _: Result<(), Call> = pidfd::kill(self.pidfd.as_fd());
            let _ = pidfd::reap_within(self.pidfd.as_fd(), END);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split_cgroups;

    #[test]
    fn every_controller_has_its_path() {
        let text = "4:cpu,cpuacct:/a:b\n1:name=systemd:/c\n0::/d\n";
        let expected = [("cpu", "/a:b"), ("cpuacct", "/a:b"), ("name=systemd", "/c"), ("", "/d")];
        assert_eq!(
            split_cgroups(text),
            expected.map(|(name, path)| (name.to_owned(), path.to_owned()))
        );
    }
}
