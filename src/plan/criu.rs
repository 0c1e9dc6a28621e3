//! The file of settings that criu reads besides its flags. The annotation `org.criu.config` can
//! name one.
//!
//! Such a file can name programs that criu starts as the user of the runtime, so it is as dangerous
//! as a hook. But annotations are less protected than `hooks`: engines and image tools copy labels
//! of images into them. The layers of an image are files of the host whose paths can be predicted.
//! So only files in a directory of the administrator are accepted.

use std::collections::BTreeMap;

use super::annotations::CRIU_CONFIG;
use crate::error::{Failure, Problem, Result};

/// The file that is read without the annotation; it need not exist.
const DEFAULT: &str = "/etc/criu/runc.conf";

/// Where the file must be.
const DIRECTORY: &str = "/etc/criu";

/// The file of settings, if criu is to read one.
///
/// # Errors
/// The annotation names a file that is not directly in `/etc/criu`.
pub fn config_file(annotations: &BTreeMap<String, String>) -> Result<Option<&str>> {
    let file = annotations.get(CRIU_CONFIG).map_or(DEFAULT, String::as_str);
    if file.is_empty() {
        return Ok(None);
    }
    let name = file.strip_prefix(DIRECTORY).and_then(|rest| rest.strip_prefix('/'));
    if name.is_some_and(|name| !name.contains('/') && !matches!(name, "" | "." | "..")) {
        return Ok(Some(file));
    }
    let text =
        format!("{file:?} is not a file in {DIRECTORY}, and no other can be trusted: put it there");
    Err(Failure::BadConfig(Problem::new(format!("/annotations/{CRIU_CONFIG}"), text)).into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{CRIU_CONFIG, config_file};

    #[test]
    fn only_files_of_the_administrators_directory() {
        let read = |file: &str| {
            let annotations = BTreeMap::from([(CRIU_CONFIG.to_owned(), file.to_owned())]);
            config_file(&annotations).map(|file| file.map(str::to_owned))
        };
        assert_eq!(config_file(&BTreeMap::new()).unwrap(), Some("/etc/criu/runc.conf"));
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("/etc/criu/web.conf").unwrap().as_deref(), Some("/etc/criu/web.conf"));
        for file in [
            "/tmp/x",
            "x",
            "/etc/criu",
            "/etc/criu/",
            "/etc/criu/..",
            "/etc/criu/../x",
            "/etc/criux",
            "/etc/criu/a/b",
        ] {
            assert!(read(file).is_err(), "{file}");
        }
    }
}
