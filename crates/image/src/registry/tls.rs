//! Whom we trust, and how we show who we are, below HTTP.
//!
//! Besides the system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others) and what the
//! command line says, the directories `/etc/containers/certs.d/HOST` and `/etc/docker/certs.d/HOST`
//! are read, as in containers-certs.d(5): `*.crt` are authorities, `*.cert` with `*.key` is our
//! certificate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Certificate, Client, ClientBuilder, Identity};

use super::Connection;

const DIRECTORIES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// How long a connection may take to come about.
const CONNECTING: Duration = Duration::from_secs(30);

/// What curl and others take for an exception of every host. The matcher that we use takes it for
/// every name, but not for addresses.
fn wants_no_proxy() -> bool {
    ["NO_PROXY", "no_proxy"]
        .into_iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| value == "*"))
}

/// An HTTP client for a registry. Proxies are those of `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
/// `NO_PROXY`.
pub fn client(host: &str, connection: &Connection) -> Result<ClientBuilder> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // It fails if there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let mut authorities = connection.authorities.clone();
    let mut ours = connection.client_certificate.clone();
    for directory in DIRECTORIES {
        look_into(&Path::new(directory).join(host), &mut authorities, &mut ours)?;
    }
    let mut builder = Client::builder()
        .user_agent(concat!("orlop-image/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECTING.min(connection.silence))
        .tls_danger_accept_invalid_certs(connection.insecure);
    if wants_no_proxy() {
        builder = builder.no_proxy();
    }
    for path in authorities {
        let found = read(&path).and_then(|text| Ok(Certificate::from_pem_bundle(&text)?));
        builder = builder
            .tls_certs_merge(found.with_context(|| format!("certificate {}", path.display()))?);
    }
    if let Some((certificate, key)) = ours {
        let mut text = read(&certificate)?;
        text.push(b'\n');
        text.extend(read(&key)?);
        let identity = Identity::from_pem(&text);
        builder = builder
            .identity(identity.with_context(|| format!("certificate {}", certificate.display()))?);
    }
    Ok(builder)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

fn look_into(
    directory: &Path,
    authorities: &mut Vec<PathBuf>,
    ours: &mut Option<(PathBuf, PathBuf)>,
) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(());
        }
        other => other.with_context(|| directory.display().to_string())?,
    };
    for entry in entries {
        let path = entry.with_context(|| directory.display().to_string())?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => authorities.push(path),
            Some("cert") if ours.is_none() => {
                *ours = Some((path.clone(), path.with_extension("key")))
            }
            _ => {}
        }
    }
    Ok(())
}
