//! `login` and `logout`: store and remove credentials for a registry.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::connection_args::ConnectionArgs;
use crate::copy::start_tokio;
use crate::credentials::{self, Credentials};
use crate::reference::RegistryReference;
use crate::registry::Registry;

/// Log in to a registry: check the credentials and store them in the auth file.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// HOST[:PORT]
    pub registry: String,
    /// The user's name [default: asked for]
    #[arg(short, long)]
    pub username: Option<String>,
    /// Read the password from standard input [default: asked for]
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// The connection to registries
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Log out of a registry: remove the credentials.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// HOST[:PORT]
    pub registry: String,
    /// Remove them from this file only [default: $REGISTRY_AUTH_FILE, or Podman's and Docker's
    /// files]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
}

/// Carries out `login`. Returns what to print.
///
/// # Errors
/// The registry refuses the credentials; they cannot be stored.
pub fn login(args: &LoginArgs) -> Result<String> {
    let host = host(&args.registry)?;
    let credentials = match &args.connection.creds {
        Some(credentials) => credentials.clone(),
        None => ask(args)?,
    };
    let mut connection = args.connection.connection();
    connection.credentials = Some(credentials.clone());
    start_tokio()?.block_on(async { Registry::connect(&host, &connection).await?.ping().await })?;
    let path = credentials::store(&host, &credentials, args.connection.authfile.as_deref())?;
    Ok(format!("logged in to {host} ({})\n", path.display()))
}

/// Carries out `logout`. Returns what to print.
///
/// # Errors
/// There are no credentials for the registry.
pub fn logout(args: &LogoutArgs) -> Result<String> {
    let host = host(&args.registry)?;
    let changed = credentials::forget(&host, args.authfile.as_deref())?;
    Ok(changed.iter().map(|path| format!("logged out of {host} ({})\n", path.display())).collect())
}

/// Checks the name of a registry. Returns it as in auth files.
fn host(text: &str) -> Result<String> {
    // Parsed as a reference, in which a host is recognized by the text after it.
    let remote = RegistryReference::parse(&format!("{text}/x"))
        .ok()
        .filter(|remote| remote.repository == "x");
    remote
        .map(|remote| remote.host)
        .with_context(|| format!("{text:?} is not a registry: write HOST[:PORT]"))
}

fn ask(args: &LoginArgs) -> Result<Credentials> {
    let user = match &args.username {
        Some(user) => user.clone(),
        None => read_line("Username: ")?,
    };
    ensure!(!user.is_empty() && !user.contains(':'), "{user:?} cannot be the name of a user");
    let password = if args.password_stdin {
        let mut text = String::new();
        io::stdin()
            .lock()
            .take(64 << 10)
            .read_to_string(&mut text)
            .context("reading the password")?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        read_hidden("Password: ")?
    };
    ensure!(!password.is_empty(), "the password is empty");
    Ok(Credentials::Password { user, password })
}

fn read_line(prompt: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        bail!("standard input is not a terminal: use --username and --password-stdin");
    }
    let mut stderr = io::stderr();
    stderr.write_all(prompt.as_bytes()).and_then(|()| stderr.flush()).context("asking")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("reading an answer")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a line without showing it.
fn read_hidden(prompt: &str) -> Result<String> {
    let stdin = io::stdin();
    let Ok(before) = tcgetattr(&stdin) else { return read_line(prompt) };
    let mut without_echo = before.clone();
    without_echo.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &without_echo).context("tcsetattr()")?;
    let line = read_line(prompt);
    tcsetattr(&stdin, OptionalActions::Flush, &before).context("tcsetattr()")?;
    // The newline of the user was not shown either.
    let _ = writeln!(io::stderr());
    line
}
