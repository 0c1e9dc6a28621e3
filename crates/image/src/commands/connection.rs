//! The flags of every command that speaks to registries.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::credentials::Credentials;
use crate::registry::Connection;

/// How to speak to registries.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry")]
pub struct ConnectionFlags {
    /// Take any certificate, and plain HTTP
    #[arg(long)]
    pub insecure: bool,
    /// Certificate of an authority to trust besides the system's, PEM; may be given several times
    #[arg(long = "ca", value_name = "FILE")]
    pub authorities: Vec<PathBuf>,
    /// Our certificate, PEM
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// The key of our certificate, PEM
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// Instead of those of the auth files; other users of this machine can see it (better: login)
    #[arg(long, value_name = "USER:PASSWORD")]
    pub creds: Option<Credentials>,
    /// Read credentials from this file alone [default: $REGISTRY_AUTH_FILE, or Podman's and
    /// Docker's files]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// How long a registry may be silent, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// How many times to try again when a registry is overloaded or the line breaks
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub retries: u32,
}

impl ConnectionFlags {
    /// As the client takes them.
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
