//! The streams of a new process: our pipes for it, and the files at their other ends.
//! process: daemon
//!
//! The container never gets containerd's fifos, since its output must continue when containerd
//! stops. Each output fifo is opened for reading, too, so that writing does not fail while it has
//! no other reader.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::container::Stdio;
use crate::options::Options;
use crate::status::Failed;

/// The streams of the process, and our ends of them.
#[derive(Debug)]
pub struct Streams {
    /// Standard input and outputs of the process, then the pipe ends for a logger. Empty if the
    /// streams are all /dev/null or a terminal, and there is no logger.
    theirs: Vec<OwnedFd>,
    /// The outputs: source and sink.
    pub outputs: Vec<(OwnedFd, Sink)>,
    /// Our end of its input.
    pub input: Option<OwnedFd>,
    /// The logger's URI.
    pub logger: String,
}

/// The sink of an output.
#[derive(Debug)]
pub enum Sink {
    /// A fifo, or another file that epoll(7) supports.
    Fifo(OwnedFd),
    /// A regular file, which epoll does not support.
    File(OwnedFd),
}

impl Streams {
    /// Takes the process's streams.
    #[must_use]
    pub fn take_theirs(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.theirs)
    }

    /// The descriptors for the worker.
    #[must_use]
    pub fn theirs(&self) -> Vec<BorrowedFd<'_>> {
        self.theirs.iter().map(AsFd::as_fd).collect()
    }
}

/// Opens the files of the request, and creates the pipes.
///
/// # Errors
/// An error if a file does not exist, or if the scheme is unknown.
pub fn open(stdio: &Stdio, options: &Options) -> Result<Streams, Failed> {
    let mut streams =
        Streams { theirs: Vec::new(), outputs: Vec::new(), input: None, logger: String::new() };
    if let Some((scheme @ ("binary" | "binary-v2"), _)) = stdio.stdout.split_once("://") {
        log::debug!("the output goes to a logger ({scheme})");
        stdio.stdout.clone_into(&mut streams.logger);
        let (out, their_out) = pipe(options)?;
        let (errors, their_errors) = pipe(options)?;
        streams.theirs = if stdio.terminal {
            // The program writes to its terminal, and we write what it shows to the logger.
            nonblocking(&their_out)?;
            streams.outputs.push((null()?, Sink::Fifo(their_out)));
            vec![null()?, null()?, null()?, out, errors]
        } else {
            vec![null()?, their_out, their_errors, out, errors]
        };
        return Ok(streams);
    }
    let (out, errors) =
        (sink(&stdio.stdout)?, if stdio.terminal { None } else { sink(&stdio.stderr)? });
    if !stdio.stdin.is_empty() {
        let stat = rustix::fs::stat(&*stdio.stdin).map_err(|errno| missing(&stdio.stdin, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
            return Err(Failed::invalid(format!(
                "the standard input, {:?}, is no fifo",
                stdio.stdin
            )));
        }
    }
    if stdio.terminal {
        // The source, the master of the terminal, comes with the worker's answer.
        streams.outputs.extend(out.map(|sink| null().map(|null| (null, sink))).transpose()?);
        return Ok(streams);
    }
    if stdio.stdin.is_empty() && out.is_none() && errors.is_none() {
        return Ok(streams);
    }
    if stdio.stdin.is_empty() {
        streams.theirs.push(null()?);
    } else {
        let (theirs, ours) = pipe(options)?;
        nonblocking(&ours)?;
        streams.theirs.push(theirs);
        streams.input = Some(ours);
    }
    for sink in [out, errors] {
        let Some(sink) = sink else {
            streams.theirs.push(null()?);
            continue;
        };
        let (ours, theirs) = pipe(options)?;
        nonblocking(&ours)?;
        streams.theirs.push(theirs);
        streams.outputs.push((ours, sink));
    }
    Ok(streams)
}

fn missing(path: &str, errno: Errno) -> Failed {
    Failed::invalid(format!("opening the stream {path:?}: {errno}"))
}

/// The sink for a path; none for an empty path.
fn sink(path: &str) -> Result<Option<Sink>, Failed> {
    let path = match path.split_once("://") {
        _ if path.is_empty() => return Ok(None),
        Some(("file", file)) => return file_sink(file).map(Some),
        Some(("fifo", file)) => file,
        Some((scheme, _)) => return Err(Failed::invalid(format!("unknown STDIO scheme {scheme}"))),
        None => path,
    };
    let stat = rustix::fs::stat(path).map_err(|errno| missing(path, errno))?;
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => Sink::Fifo(
            rustix::fs::open(path, flags | OFlags::RDWR, Mode::empty())
                .map_err(|e| missing(path, e))?,
        ),
        FileType::CharacterDevice => Sink::Fifo(
            rustix::fs::open(path, flags | OFlags::WRONLY, Mode::empty())
                .map_err(|e| missing(path, e))?,
        ),
        _ => {
            let flags = flags | OFlags::WRONLY | OFlags::APPEND;
            Sink::File(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| missing(path, e))?)
        }
    }))
}

/// `file://`: the file and its directory are created.
fn file_sink(path: &str) -> Result<Sink, Failed> {
    let failed =
        |error: std::io::Error| Failed::invalid(format!("opening the log file {path:?}: {error}"));
    if let Some(directory) = Path::new(path).parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut open = std::fs::OpenOptions::new();
    // A fifo in its place would block us.
    open.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    let file = open.append(true).create(true).mode(0o644).open(path).map_err(failed)?;
    Ok(Sink::File(file.into()))
}

fn null() -> Result<OwnedFd, Failed> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Failed::unknown(format!("open(/dev/null): {errno}")))
}

/// A pipe that belongs to the user in the options.
fn pipe(options: &Options) -> Result<(OwnedFd, OwnedFd), Failed> {
    let failed = |errno| Failed::unknown(format!("making a pipe for stdio: {errno}"));
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let (uid, gid) = (Uid::from_raw(options.io_uid), Gid::from_raw(options.io_gid));
    if !uid.is_root() || !gid.is_root() {
        for end in [&read, &write] {
            rustix::fs::fchown(end, Some(uid), Some(gid)).map_err(failed)?;
        }
    }
    Ok((read, write))
}

fn nonblocking(fd: &OwnedFd) -> Result<(), Failed> {
    orlop::sys::fd::set_nonblocking(fd).map_err(|call| Failed::unknown(call.to_string()))
}

/// Opens the fifo of the standard input: the reader, and a writer that keeps it open until CloseIO.
/// It is opened late, after the process exists.
///
/// # Errors
/// Errors of open(2).
pub fn open_input(path: &str) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK;
    let reader = rustix::fs::open(path, flags | OFlags::RDONLY, Mode::empty())?;
    let writer = rustix::fs::open(path, flags | OFlags::WRONLY, Mode::empty())?;
    Ok((reader, writer))
}
