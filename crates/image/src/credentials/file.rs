//! One auth file: the keys `auths`, `credHelpers` and `credsStore`. All other keys are kept.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value, json};

use super::{Credentials, helper, server_name};
use crate::reference::DOCKER_HUB;

/// The content of an auth file.
#[derive(Debug)]
pub struct AuthFile {
    content: Map<String, Value>,
}

impl AuthFile {
    /// Reads a file. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// It cannot be read, or is malformed.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            other => other.with_context(|| path.display().to_string())?,
        };
        // An empty file, as mktemp(1) makes it, is an auth file without entries.
        let text = if text.trim().is_empty() { "{}" } else { &text };
        let content = serde_json::from_str(text).with_context(|| path.display().to_string())?;
        Ok(Some(Self { content }))
    }

    /// Changes a file, or creates it with a mode that only the owner can read.
    ///
    /// # Errors
    /// It cannot be read or written, or is malformed; the error of `change`.
    pub fn update(path: &Path, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let doing = || format!("writing {}", path.display());
        // A symbolic link is followed, so that the file is replaced and not the link.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).create(directory).with_context(doing)?;
        let lock = File::open(directory).with_context(doing)?;
        flock(&lock, FlockOperation::LockExclusive).with_context(doing)?;
        let mut file = Self::read(path)?.unwrap_or(Self { content: Map::new() });
        change(&mut file)?;
        let text = serde_json::to_vec_pretty(&file.content)?;
        let mut temporary = tempfile::NamedTempFile::new_in(directory).with_context(doing)?;
        temporary.write_all(&text).and_then(|()| temporary.write_all(b"\n")).with_context(doing)?;
        temporary.persist(path).with_context(doing)?;
        Ok(())
    }

    /// The credentials for a repository: from a helper, or from the entry with the longest prefix
    /// of `host/repository`.
    ///
    /// # Errors
    /// An entry is malformed; a helper fails.
    pub fn look_up(&self, host: &str, repository: &str) -> Result<Option<Credentials>> {
        if let Some(name) = self.helper_of(host) {
            return helper::get(name, server_name(host));
        }
        let mut name = format!("{host}/{repository}");
        loop {
            if let Some((key, entry)) = self.entry(&name)
                && let Some(found) = read_entry(entry).with_context(|| format!("auths[{key:?}]"))?
            {
                return Ok(Some(found));
            }
            match name.rfind('/') {
                Some(at) => name.truncate(at),
                None => break,
            }
        }
        match self.content.get("credsStore").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => helper::get(name, server_name(host)),
            _ => Ok(None),
        }
    }

    /// Whether `forget` has something to remove.
    #[must_use]
    pub fn knows(&self, host: &str) -> bool {
        self.helper_of(host).is_some()
            || self.entry(host).is_some()
            || self.default_helper().is_some()
    }

    /// Stores credentials in this file, or with the helper that it names.
    ///
    /// # Errors
    /// The helper fails.
    pub fn store(&mut self, host: &str, credentials: &Credentials) -> Result<()> {
        if let Some(name) = self.helper_of(host).or_else(|| self.default_helper()) {
            return helper::store(name, server_name(host), credentials);
        }
        let entry = match credentials {
            Credentials::Password { user, password } => {
                ensure!(!user.contains(':'), "a user name cannot have a colon");
                json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
            }
            Credentials::IdentityToken(token) => {
                json!({ "auth": STANDARD.encode("<token>:"), "identitytoken": token })
            }
        };
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        auths.as_object_mut().context("auths is not an object")?.insert(host.to_owned(), entry);
        Ok(())
    }

    /// Removes credentials from this file, or from the helper that it names.
    ///
    /// # Errors
    /// The helper fails.
    pub fn forget(&mut self, host: &str) -> Result<()> {
        if let Some(name) = self.helper_of(host).or_else(|| self.default_helper()) {
            helper::erase(name, server_name(host))?;
        }
        while let Some(key) = self.entry(host).map(|(key, _)| key.clone()) {
            self.content
                .get_mut("auths")
                .and_then(Value::as_object_mut)
                .and_then(|auths| auths.remove(&key));
        }
        Ok(())
    }

    fn helper_of(&self, host: &str) -> Option<&str> {
        let helpers = self.content.get("credHelpers")?.as_object()?;
        let found = helpers.iter().find(|(key, _)| normal(key) == host);
        found.and_then(|(_, name)| name.as_str()).filter(|name| !name.is_empty())
    }

    fn default_helper(&self) -> Option<&str> {
        self.content.get("credsStore").and_then(Value::as_str).filter(|name| !name.is_empty())
    }

    fn entry(&self, name: &str) -> Option<(&String, &Value)> {
        let auths = self.content.get("auths")?.as_object()?;
        auths.get_key_value(name).or_else(|| auths.iter().find(|(key, _)| normal(key) == name))
    }
}

/// A key in the form `host` or `host/part/of/a/name`. Docker writes the URL of an API:
/// `https://index.docker.io/v1/`.
fn normal(key: &str) -> &str {
    let (address, key) = match key.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, key),
    };
    let key = key.trim_end_matches('/');
    let key = match key.split_once('/') {
        Some((host, "v1" | "v2")) => host,
        Some((host, _)) if address => host,
        _ => key,
    };
    if matches!(key, "index.docker.io" | "registry-1.docker.io") { DOCKER_HUB } else { key }
}

/// The credentials of an entry; `None` if it is empty. `docker login` writes an empty entry if a
/// helper stores the secret.
fn read_entry(entry: &Value) -> Result<Option<Credentials>> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::IdentityToken(token.to_owned())));
    }
    if let Some(encoded) = text("auth") {
        let decoded =
            STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.context("auth is not base64 of USER:PASSWORD")?;
        let (user, password) =
            decoded.split_once(':').context("auth is not base64 of USER:PASSWORD")?;
        // Docker pads the password with NUL.
        let password = password.trim_end_matches('\0').to_owned();
        return Ok(Some(Credentials::Password { user: user.to_owned(), password }));
    }
    match (text("username"), text("password")) {
        (Some(user), Some(password)) => {
            Ok(Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() }))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> AuthFile {
        AuthFile { content: serde_json::from_str(text).unwrap() }
    }

    fn user(found: Option<Credentials>) -> Option<String> {
        match found? {
            Credentials::Password { user, password } => Some(format!("{user}/{password}")),
            Credentials::IdentityToken(token) => Some(token),
        }
    }

    #[test]
    fn the_longest_key_wins() {
        let file = file(
            r#"{"auths":{"h:5000":{"auth":"YTpi"},"h:5000/team":{"auth":"Yzpk"},
               "h:5000/team/x":{"auth":"ZTpm"},"https://index.docker.io/v1/":{"auth":"aHViOnB3"},
               "https://old.io/v2/":{"username":"o","password":"p"},
               "tok.io":{"auth":"PHRva2VuPjo=","identitytoken":"T"},"empty.io":{}}}"#,
        );
        for (host, repository, expected) in [
            ("h:5000", "other", Some("a/b")),
            ("h:5000", "team/y", Some("c/d")),
            ("h:5000", "team/x", Some("e/f")),
            ("h:5000", "team/x/z", Some("e/f")),
            ("h:5000", "teamwork", Some("a/b")),
            ("h", "team", None),
            ("docker.io", "library/nginx", Some("hub/pw")),
            ("old.io", "x", Some("o/p")),
            ("tok.io", "x", Some("T")),
            ("empty.io", "x", None),
        ] {
            let found = user(file.look_up(host, repository).unwrap());
            assert_eq!(found.as_deref(), expected, "{host}/{repository}");
        }
    }

    #[test]
    fn entries_that_cannot_be_understood() {
        for entry in [r#"{"auth":"%"}"#, r#"{"auth":"YQ=="}"#, r#"{"auth":"/w=="}"#] {
            let file = file(&format!(r#"{{"auths":{{"h":{entry}}}}}"#));
            assert!(file.look_up("h", "x").is_err(), "{entry}");
        }
    }

    #[test]
    fn what_others_keep_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/auth.json");
        let mine: Credentials = "me:se:cret".parse().unwrap();
        AuthFile::update(&path, |file| {
            file.content.insert("HttpHeaders".to_owned(), json!({ "a": "b" }));
            file.store("h", &mine)
        })
        .unwrap();
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let file = AuthFile::read(&path).unwrap().unwrap();
        assert_eq!(file.look_up("h", "x").unwrap(), Some(mine));
        AuthFile::update(&path, |file| file.forget("h")).unwrap();
        let file = AuthFile::read(&path).unwrap().unwrap();
        assert!(!file.knows("h") && file.content["HttpHeaders"]["a"] == "b");
    }
}
