//! Finds the program, and sets its environment.
//! config.json: process.args, process.env
//! process: init, and a process of `exec`, inside the rootfs and as the container's user

use std::ffi::CString;
use std::fmt::Display;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{AtKey, Cause, Failure, Result};
use crate::plan::process::ProcessPlan;
use crate::sys::proc::Proc;
use crate::sys::root::{RootHandle, file_type};
use crate::sys::{Call, Named, passwd, process};

/// The file with the users.
const PASSWD: &str = "/etc/passwd";

/// The variable HOME, if the config has none.
#[derive(Debug)]
pub struct Home(Option<CString>);

impl Home {
    /// Looks the user up in the rootfs, while the host is visible. No device rules apply to us yet,
    /// so the type of the file is checked first, and then the same file is opened.
    #[must_use]
    pub fn look_up(plan: &ProcessPlan, root: &RootHandle, proc: &Proc) -> Self {
        Self::in_passwd(plan, || {
            let handle = root.resolve(PASSWD).ok().filter(is_file)?;
            proc.reopen(handle.as_fd(), OFlags::RDONLY).ok()
        })
    }

    /// Looks the user up in the container, with all of its rules. The file may be of any type, so
    /// it is opened non-blocking.
    #[must_use]
    pub fn look_up_inside(plan: &ProcessPlan) -> Self {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open =
            || rustix::fs::openat2(CWD, PASSWD, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        Self::in_passwd(plan, || open().ok().filter(is_file))
    }

    fn in_passwd(plan: &ProcessPlan, open: impl FnOnce() -> Option<OwnedFd>) -> Self {
        if !plan.needs_home {
            return Self(None);
        }
        let home =
            open().and_then(|file| home_of(plan.user.uid, file)).unwrap_or_else(|| b"/".to_vec());
        Self(CString::new([&b"HOME="[..], &home].concat()).ok())
    }
}

/// A program that exists and may be executed.
#[derive(Debug)]
pub struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Looks the program up as a shell does: a name with a slash is a path, and any other name is
    /// searched in the container's PATH.
    ///
    /// # Errors
    /// [`Failure::ProgramNotFound`], [`Failure::ProgramNotExecutable`], with the texts that callers
    /// match.
    pub fn find(plan: &ProcessPlan, home: Home) -> Result<Self> {
        let name =
            plan.args.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = locate(&name, &plan.search_path, check).at("/process/args/0")?;
        let mut env = plan.env.clone();
        env.extend(home.0);
        Ok(Self { path, args: plan.args.clone(), env })
    }

    /// Its environment.
    #[must_use]
    pub fn env(&self) -> &[CString] {
        &self.env
    }

    /// execve(2). Returns only an error.
    #[must_use]
    pub fn execute(&self) -> Call {
        process::execve(&self.path, &self.args, &self.env)
    }
}

/// The path of the program. `check` returns an error for a path that cannot be the program.
///
/// # Errors
/// [`Failure::ProgramNotFound`], [`Failure::ProgramNotExecutable`], with the texts that callers
/// match.
pub fn locate(
    name: &str,
    search_path: &str,
    check: impl Fn(&str) -> Result<CString, Errno>,
) -> Result<CString, Failure> {
    let text = |why: &dyn Display| format!("exec: {name:?}: {why}");
    let not_executable = |why: &dyn Display| Failure::ProgramNotExecutable(text(why).into());
    let forbidden_file = || {
        let reason = Cause::ProgramForbidden.reason(text(&"permission denied"));
        Failure::ProgramNotExecutable(reason)
    };
    if name.contains('/') {
        return check(name).named(|| format!("stat {name}")).map_err(|call| {
            if call.is(Errno::NOENT) || call.is(Errno::NOTDIR) {
                Failure::ProgramNotFound(text(&call).into())
            } else if call.is(Errno::ISDIR) {
                // The words of the newest runc, and the error of execve(2), for which Podman exits
                // with 126.
                not_executable(&"is a directory: permission denied")
            } else if call.is(Errno::ACCESS) {
                forbidden_file()
            } else {
                not_executable(&call)
            }
        });
    }
    let mut forbidden = false;
    for directory in search_path.split(':').filter(|_| !name.is_empty() && !search_path.is_empty())
    {
        let directory = if directory.is_empty() { "." } else { directory };
        match check(&format!("{directory}/{name}")) {
            Ok(path) if directory.starts_with('/') => return Ok(path),
            // As in Go: a file in the working directory must not be taken for a program of the same
            // name.
            Ok(_) => {
                let why = "cannot run executable found relative to current directory";
                let reason = Cause::RelativeInPath.reason(text(&why));
                return Err(Failure::ProgramNotExecutable(reason));
            }
            Err(Errno::ACCESS) => forbidden = true,
            Err(_) => {}
        }
    }
    if forbidden {
        return Err(forbidden_file());
    }
    let reason = Cause::NotInPath.reason(text(&"executable file not found in $PATH"));
    Err(Failure::ProgramNotFound(reason))
}

/// Checks that we may execute a file with our current privileges.
fn check(path: &str) -> Result<CString, Errno> {
    let stat = rustix::fs::stat(path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return Err(Errno::ISDIR),
        _ => rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?,
    }
    CString::new(path).map_err(|_| Errno::INVAL)
}

fn is_file(handle: &OwnedFd) -> bool {
    file_type(handle.as_fd()).is_ok_and(|kind| kind == FileType::RegularFile)
}

/// Reads the home directory from a passwd of the image, up to a reasonable size.
fn home_of(uid: u32, file: OwnedFd) -> Option<Vec<u8>> {
    const MOST: u64 = 1 << 20;
    let mut text = Vec::new();
    std::fs::File::from(file).take(MOST).read_to_end(&mut text).ok()?;
    let home = passwd::of(&text, uid).map(|entry| entry.home).find(|home| !home.is_empty());
    home.map(<[u8]>::to_owned)
}
