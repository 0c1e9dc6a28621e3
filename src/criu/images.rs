//! The directories that criu writes to: the images, and its log.
//! process: runtime

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use super::Failed;
use super::message::{CriuMessage, option};
use crate::error::{Cause, Context, Reason, Result};
use crate::sys::{self, Named, small_file};

/// The file with the names of the standard streams. runc uses the same name.
const DESCRIPTORS: &str = "descriptors.json";

/// The log level of criu: everything except debug messages.
const LOG_LEVEL: u64 = 4;

/// The directory of the images, and the directory for everything else.
#[derive(Debug)]
pub struct Images {
    directory: OwnedFd,
    work: Option<OwnedFd>,
    log: PathBuf,
}

impl Images {
    /// Opens the directories, and creates them if `make` is set. `log` is the name of the log. The
    /// default work directory is the directory of the images.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn open(path: &Path, work: Option<&Path>, log: &str, make: bool) -> Result<Self> {
        if make {
            self::make(path).context("making the directory of the images (--image-path)")?;
        }
        let directory = open(path).context("the directory of the images (--image-path)")?;
        let opened = work.map(|work| {
            make_and_open(work).context("the directory of the work files (--work-path)")
        });
        Ok(Self { directory, work: opened.transpose()?, log: work.unwrap_or(path).join(log) })
    }

    /// The options of criu for these directories.
    #[must_use]
    pub fn options(&self) -> CriuMessage {
        let mut options = CriuMessage::default();
        options.number(option::IMAGES_DIR_FD, number(&self.directory));
        if let Some(work) = &self.work {
            options.number(option::WORK_DIR_FD, number(work));
        }
        options.number(option::LOG_LEVEL, LOG_LEVEL);
        let name = self.log.file_name().unwrap_or_default();
        options.text(option::LOG_FILE, &name.to_string_lossy());
        options
    }

    /// Writes the names of the standard streams.
    ///
    /// # Errors
    /// The error of the failed call.
    pub fn keep_descriptors(&self, descriptors: &[String]) -> Result<()> {
        use std::io::Write;
        match rustix::fs::unlinkat(&self.directory, DESCRIPTORS, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => Err(errno).named(|| format!("unlink({DESCRIPTORS:?})"))?,
        }
        let mut file = sys::fd::create_new(&self.directory, DESCRIPTORS, 0o600)?;
        file.write_all(&serde_json::to_vec(descriptors)?)
            .with_context(|| format!("writing {DESCRIPTORS}"))
    }

    /// Reads the names of the standard streams.
    ///
    /// # Errors
    /// The error of the failed call; an error if the file is not a list of strings.
    pub fn descriptors(&self) -> Result<Vec<String>> {
        let text =
            small_file::read_all(self.directory.as_fd(), DESCRIPTORS, || DESCRIPTORS.to_owned())
                .context("these are no images of a container (--image-path)")?;
        serde_json::from_slice(&text)
            .with_context(|| format!("reading {DESCRIPTORS} (--image-path)"))
    }

    /// Adds to an error of criu the path of its log, and the line of the log with the reason.
    #[must_use]
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        if !error.is::<Failed>() {
            return error;
        }
        let log = self.log.display();
        match std::fs::File::open(&self.log).ok().and_then(decisive_error) {
            Some(line) => {
                let cause = line.ends_with(NO_PIPE).then_some(Cause::PipeLimit);
                let text = format!("{error}, log file: {log}: {line}");
                anyhow::anyhow!(Reason { text, cause })
            }
            None => anyhow::anyhow!("{error}, log file: {log}"),
        }
    }
}

/// An error line that criu logs before it continues: without CAP_SYS_RESOURCE it cannot raise its
/// own limit.
const HARMLESS: &[&str] = &["Can't setup RLIMIT_NOFILE for self"];

/// The end of the error line of a page server (criu(8), `--lazy-pages`) without its pipe. Without
/// CAP_SYS_RESOURCE, the limits of pipe(7) can forbid a pipe as large as criu wants. criu continues
/// without it, and fails at the first request for a page.
const NO_PIPE: &str = "splice: -1: Bad file descriptor";

/// The line of the error that made criu fail, without the time and the position in criu's sources.
/// It is the first error, since later errors are its consequences.
fn decisive_error(log: impl Read) -> Option<String> {
    let mut lines = BufReader::new(log).split(b'\n').map_while(Result::ok);
    let line = lines.find_map(|line| {
        let line = String::from_utf8_lossy(&line).into_owned();
        let (_, rest) = line.split_once("Error (")?;
        (!HARMLESS.iter().any(|harmless| rest.contains(harmless))).then(|| rest.to_owned())
    })?;
    let text = line.split_once("): ").map_or(line.as_str(), |(_, text)| text);
    Some(text.chars().filter(|letter| !letter.is_control()).collect::<String>().trim().to_owned())
}

fn number(fd: &OwnedFd) -> u64 {
    u64::from(fd.as_raw_fd().unsigned_abs())
}

fn make(path: &Path) -> Result<()> {
    Ok(std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .named_on("mkdir", path)?)
}

fn open(path: &Path) -> Result<OwnedFd> {
    Ok(sys::fd::open(path, OFlags::RDONLY | OFlags::DIRECTORY)?)
}

fn make_and_open(path: &Path) -> Result<OwnedFd> {
    make(path)?;
    open(path)
}

#[cfg(test)]
mod tests {
    use super::decisive_error;

    #[test]
    fn the_error_that_ended_it_is_found_in_the_log() {
        let log =
            b"(00.1) Warn  (criu/a.c:1): x\n(00.2) Error (criu/b.c:2): no \x1bway\n(00.3) Error (criu/c.c:3): y\n";
        assert_eq!(decisive_error(&log[..]).as_deref(), Some("no way"));
        let limit = "(00.0) Error (criu/util.c:9): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n";
        let after = [limit.as_bytes(), log].concat();
        assert_eq!(decisive_error(&after[..]).as_deref(), Some("no way"));
        assert_eq!(decisive_error(limit.as_bytes()), None);
        assert_eq!(decisive_error(&b"\xff\nall is well\n"[..]), None);
    }
}
