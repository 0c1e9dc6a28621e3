//! Finds device nodes of the host by their numbers.

use std::os::fd::BorrowedFd;

use rustix::fs::{CWD, FileType, major, makedev, minor};

use super::{Call, Named, small_file};

/// The device of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    /// Its type: character, block, or fifo, which has no number.
    pub kind: FileType,
    /// Its number; 0 for a fifo.
    pub number: u64,
}

impl Id {
    /// From the letter of mknod(1): `c`, `b` or `p`.
    #[must_use]
    pub fn new(letter: char, major: u32, minor: u32) -> Self {
        match letter {
            'b' => Self { kind: FileType::BlockDevice, number: makedev(major, minor) },
            'p' => Self { kind: FileType::Fifo, number: 0 },
            _ => Self { kind: FileType::CharacterDevice, number: makedev(major, minor) },
        }
    }

    /// The device of `fd`.
    ///
    /// # Errors
    /// Errors of fstat(2).
    pub fn of(fd: BorrowedFd<'_>) -> Result<Self, Call> {
        let stat = rustix::fs::fstat(fd).named(|| "fstat(device)".to_owned())?;
        Ok(Self { kind: FileType::from_raw_mode(stat.st_mode), number: stat.st_rdev })
    }
}

/// The path of a node of the device on the host: `path` if it is that device, else the path that
/// the kernel names in `/sys/dev`.
#[must_use]
pub fn find(path: &str, id: Id) -> Option<String> {
    let is_it = |path: &str| {
        let stat = rustix::fs::stat(path).ok()?;
        let found = Id { kind: FileType::from_raw_mode(stat.st_mode), number: stat.st_rdev };
        (found == id).then(|| path.to_owned())
    };
    is_it(path).or_else(|| is_it(&kernel_path(id)?))
}

fn kernel_path(id: Id) -> Option<String> {
    let class = if id.kind == FileType::BlockDevice { "block" } else { "char" };
    let file = format!("/sys/dev/{class}/{}:{}/uevent", major(id.number), minor(id.number));
    let properties = small_file::read_all(CWD, file.as_str(), String::new).ok()?;
    let properties = String::from_utf8(properties).ok()?;
    properties
        .lines()
        .find_map(|line| line.strip_prefix("DEVNAME="))
        .map(|name| format!("/dev/{name}"))
}
