//! Checks that the content of the state root can be trusted. This matters because we run the hooks
//! in state.json and send signals to the process that it names. The rules are in
//! [`orlop_paths::trust`].

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use orlop_paths::trust::{Distrust, check_directory, check_file};

use crate::error::{Failure, Result};
use crate::sys::{CallText, Named};

/// Checks the state root and the directories above it. False if the state root does not exist.
///
/// # Errors
/// [`Failure::Usage`], which names the directory and who may write to it; errors of lstat(2) and
/// readlink(2).
pub(super) fn check_root(state_root: &Path) -> Result<bool> {
    with_text(check_directory(state_root))
}

/// Checks an open file or directory in the state root.
///
/// # Errors
/// As [`check_root`].
pub(super) fn check_opened(file: impl AsFd, path: impl FnOnce() -> PathBuf) -> Result<()> {
    with_text(check_file(file, path))
}

fn with_text<T>(checked: Result<T, Distrust>) -> Result<T> {
    match checked {
        Ok(value) => Ok(value),
        Err(Distrust::Call { call, path, errno }) => {
            Ok(Err(errno).named(|| CallText::with_path(call, path))?)
        }
        Err(Distrust::Untrusted { path, reason }) => {
            let text = format!(
                "the state root (--root) cannot be trusted: {path:?} {reason}, who could choose the programs that we \
                 run as hooks; use a directory that only its owner can write to"
            );
            Err(Failure::Usage(text).into())
        }
    }
}
