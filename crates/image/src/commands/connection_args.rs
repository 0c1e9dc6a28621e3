//! The flags of all commands that connect to registries.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::credentials::Credentials;
use crate::registry::Connection;

/// The flags for connections to registries.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry")]
pub struct ConnectionArgs {
    /// Accept any certificate, and use plain HTTP if there is no TLS
    #[arg(long)]
    pub insecure: bool,
    /// Trust this authority besides those of the system (PEM); may be given several times
    #[arg(long = "ca", value_name = "FILE")]
    pub authorities: Vec<PathBuf>,
    /// The client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// The key of the client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// Use these credentials instead of those of the auth files; other users of this machine can
    /// see them (better: login)
    #[arg(long, value_name = "USER:PASSWORD")]
    pub creds: Option<Credentials>,
    /// Read credentials from this file alone [default: $REGISTRY_AUTH_FILE, or Podman's and
    /// Docker's files]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// Give up when a registry sends nothing for this time, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// How many times to try again when a registry is overloaded or a connection fails
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub retries: u32,
}

impl ConnectionArgs {
    /// The options for the client.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection {
            insecure: self.insecure,
            authorities: self.authorities.clone(),
            client_certificate: self.client_cert.clone().zip(self.client_key.clone()),
            silence: Duration::from_secs(self.timeout),
            retries: self.retries,
            credentials: self.creds.clone(),
            authfile: self.authfile.clone(),
        }
    }
}
