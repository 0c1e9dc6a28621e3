//! Credential helpers: `docker-credential-NAME get|store|erase` with JSON
//! (docker/docker-credential-helpers).

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::Credentials;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HelperCredentials {
    #[serde(rename = "ServerURL", default)]
    server: String,
    username: String,
    secret: String,
}

/// The user name of an entry whose secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Gets credentials from a helper; `None` if it has none for the server.
pub fn get(helper: &str, server: &str) -> Result<Option<Credentials>> {
    let (done, answer) = call(helper, "get", server.as_bytes())?;
    if !done {
        // The protocol reports missing credentials only by this text, not by a status.
        if answer.contains("credentials not found") {
            return Ok(None);
        }
        bail!("docker-credential-{helper} get {server}: {answer}");
    }
    let entry: HelperCredentials = serde_json::from_str(&answer).map_err(|error| {
        anyhow::anyhow!("docker-credential-{helper} get {server}: not an answer: {error}")
    })?;
    Ok(Some(match entry.username.as_str() {
        TOKEN_USER => Credentials::IdentityToken(entry.secret),
        _ => Credentials::Password { user: entry.username, password: entry.secret },
    }))
}

/// Stores credentials with a helper.
pub fn store(helper: &str, server: &str, credentials: &Credentials) -> Result<()> {
    let (username, secret) = match credentials {
        Credentials::Password { user, password } => (user.as_str(), password),
        Credentials::IdentityToken(token) => (TOKEN_USER, token),
    };
    let entry = HelperCredentials {
        server: server.to_owned(),
        username: username.to_owned(),
        secret: secret.clone(),
    };
    let (done, answer) = call(helper, "store", &serde_json::to_vec(&entry)?)?;
    ensure!(done, "docker-credential-{helper} store {server}: {answer}");
    Ok(())
}

/// Removes the credentials for a server from a helper.
pub fn erase(helper: &str, server: &str) -> Result<()> {
    let (done, answer) = call(helper, "erase", server.as_bytes())?;
    ensure!(done, "docker-credential-{helper} erase {server}: {answer}");
    Ok(())
}

/// Runs a helper. Returns whether it succeeded, and its output.
fn call(helper: &str, verb: &str, input: &[u8]) -> Result<(bool, String)> {
    ensure!(!helper.contains('/'), "{helper:?} is not the name of a credential helper");
    let program = format!("docker-credential-{helper}");
    let mut command = Command::new(&program);
    command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().with_context(|| format!("starting {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If the helper does not read its input, its answer shows the error.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().with_context(|| program.clone())?;
    let answer =
        String::from_utf8(output.stdout).with_context(|| format!("{program}: not an answer"))?;
    Ok((output.status.success(), answer.trim().to_owned()))
}
