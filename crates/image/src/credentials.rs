//! Credentials for registries: the auth files of Podman and Docker, and credential helpers.
//!
//! The first file with credentials for the registry is used, as in containers-auth.json(5):
//!
//! 1. `--authfile`, or `$REGISTRY_AUTH_FILE`. If one of these is given, no other file is read.
//! 2. `$XDG_RUNTIME_DIR/containers/auth.json`, or `/run/containers/UID/auth.json`
//! 3. `$XDG_CONFIG_HOME/containers/auth.json`, or `~/.config/containers/auth.json`
//! 4. `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`
//!
//! `login` writes to the first of these files. `logout` removes the entry from all files that have
//! it.
//!
//! The crate docker_credential is not used. It reads a file of Docker or of Podman, but not the
//! list above. It has no entries for a part of a registry, it cannot write, and its errors do not
//! name the file.

mod file;
mod helper;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

pub use file::AuthFile;

use crate::reference::DOCKER_HUB;

/// The credentials of a user for a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user name and a password, or an access token in the place of the password.
    Password {
        /// The user's name.
        user: String,
        /// The password. No message contains it.
        password: String,
    },
    /// A refresh token of OAuth 2. `docker login` gets it from some registries.
    IdentityToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "password of {user:?}"),
            Self::IdentityToken(_) => f.write_str("identity token"),
        }
    }
}

impl std::str::FromStr for Credentials {
    type Err = anyhow::Error;

    /// Reads `user:password`.
    fn from_str(text: &str) -> Result<Self> {
        let (user, password) =
            text.split_once(':').context("credentials are written USER:PASSWORD")?;
        ensure!(!user.is_empty(), "credentials are written USER:PASSWORD");
        Ok(Self::Password { user: user.to_owned(), password: password.to_owned() })
    }
}

/// The credentials for a repository, from the first file that has some.
///
/// # Errors
/// A given file does not exist; a file is malformed; a helper fails.
pub fn look_up(
    host: &str,
    repository: &str,
    authfile: Option<&Path>,
) -> Result<Option<Credentials>> {
    for path in auth_files(authfile) {
        let Some(file) = AuthFile::read(&path)? else { continue };
        if let Some(found) =
            file.look_up(host, repository).with_context(|| path.display().to_string())?
        {
            return Ok(Some(found));
        }
    }
    if let Some(path) = authfile {
        ensure!(path.try_exists()?, "{}: no such file", path.display());
    }
    Ok(None)
}

/// Stores credentials for a registry. Returns the path of the auth file.
///
/// # Errors
/// The file is malformed or cannot be written; a helper fails.
pub fn store(host: &str, credentials: &Credentials, authfile: Option<&Path>) -> Result<PathBuf> {
    let path = auth_files(authfile)
        .into_iter()
        .next()
        .context("there is no path for an auth file: HOME is not set")?;
    AuthFile::update(&path, |file| file.store(host, credentials))?;
    Ok(path)
}

/// Removes the credentials for a registry. Returns the files that had them.
///
/// # Errors
/// No file had any; a file is malformed or cannot be written; a helper fails.
pub fn forget(host: &str, authfile: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    for path in auth_files(authfile) {
        let Some(file) = AuthFile::read(&path)? else { continue };
        if file.knows(host) {
            AuthFile::update(&path, |file| file.forget(host))?;
            changed.push(path);
        }
    }
    if changed.is_empty() {
        bail!("not logged in to {host}");
    }
    Ok(changed)
}

/// The auth files, in the order of the list above.
fn auth_files(authfile: Option<&Path>) -> Vec<PathBuf> {
    let variable =
        |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = authfile.map(Path::to_owned).or_else(|| variable("REGISTRY_AUTH_FILE")) {
        return vec![path];
    }
    let home = variable("HOME");
    let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let runtime = variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let uid = rustix::process::geteuid();
    let runtime =
        runtime.unwrap_or_else(|| PathBuf::from(format!("/run/containers/{uid}/auth.json")));
    let config = variable("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let docker = variable("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    let config = config.map(|dir| dir.join("containers/auth.json"));
    [Some(runtime), config, docker.map(|dir| dir.join("config.json"))]
        .into_iter()
        .flatten()
        .collect()
}

/// The name of a registry for helpers and in files of Docker.
fn server_name(host: &str) -> &str {
    if host == DOCKER_HUB { "https://index.docker.io/v1/" } else { host }
}
