//! `login` and `logout`: credentials for a registry, kept for later.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::connection::ConnectionFlags;
use crate::copy::runtime;
use crate::credentials::{self, Credentials};
use crate::reference::Remote;
use crate::registry::Registry;

/// Log in to a registry: try the credentials, and keep them in the auth file.
#[derive(Debug, Args)]
pub struct Login {
    /// HOST[:PORT]
    pub registry: String,
    /// The user's name [default: asked for]
    #[arg(short, long)]
    pub username: Option<String>,
    /// Read the password from standard input [default: asked for]
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// How to speak to registries
    #[command(flatten)]
    pub connection: ConnectionFlags,
}

/// Forget the credentials for a registry.
#[derive(Debug, Args)]
pub struct Logout {
    /// HOST[:PORT]
    pub registry: String,
    /// Forget those of this file alone [default: $REGISTRY_AUTH_FILE, or Podman's and Docker's
    /// files]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
}

/// Carries out `login`. Returns what to print.
///
/// # Errors
/// The registry refuses the credentials; they cannot be kept.
pub fn login(args: &Login) -> Result<String> {
    let host = host(&args.registry)?;
    let credentials = match &args.connection.creds {
        Some(given) => given.clone(),
        None => ask(args)?,
    };
    let mut connection = args.connection.connection();
    connection.credentials = Some(credentials.clone());
    runtime()?.block_on(async { Registry::connect(&host, &connection).await?.ping().await })?;
    let path = credentials::store(&host, &credentials, args.connection.authfile.as_deref())?;
    Ok(format!("logged in to {host} ({})\n", path.display()))
}

/// Carries out `logout`. Returns what to print.
///
/// # Errors
/// Nobody was logged in.
pub fn logout(args: &Logout) -> Result<String> {
    let host = host(&args.registry)?;
    let changed = credentials::forget(&host, args.authfile.as_deref())?;
    Ok(changed.iter().map(|path| format!("logged out of {host} ({})\n", path.display())).collect())
}

/// Checks the name of a registry, and gives it as auth files have it.
fn host(text: &str) -> Result<String> {
    // As it would be in a reference, where a host alone is told from a name by what follows.
    let remote = Remote::parse(&format!("{text}/x")).ok().filter(|remote| remote.repository == "x");
    remote
        .map(|remote| remote.host)
        .with_context(|| format!("{text:?} is not a registry: write HOST[:PORT]"))
}

fn ask(args: &Login) -> Result<Credentials> {
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
        read_unseen("Password: ")?
    };
    ensure!(!password.is_empty(), "there is no password");
    Ok(Credentials::Password { user, password })
}

fn read_line(prompt: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        bail!("there is nobody to ask: give --username and --password-stdin");
    }
    let mut stderr = io::stderr();
    stderr.write_all(prompt.as_bytes()).and_then(|()| stderr.flush()).context("asking")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("reading an answer")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a line that is not shown while it is typed.
fn read_unseen(prompt: &str) -> Result<String> {
    let stdin = io::stdin();
    let Ok(before) = tcgetattr(&stdin) else { return read_line(prompt) };
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).context("tcsetattr()")?;
    let line = read_line(prompt);
    tcsetattr(&stdin, OptionalActions::Flush, &before).context("tcsetattr()")?;
    // The end of the line was not shown either.
    let _ = writeln!(io::stderr());
    line
}
