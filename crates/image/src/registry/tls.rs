//! TLS: the trusted authorities and the client certificate.
//!
//! Trusted authorities are those of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others) and
//! those of the command line. The directories `/etc/containers/certs.d/HOST` and
//! `/etc/docker/certs.d/HOST` are read as in containers-certs.d(5): `*.crt` are authorities,
//! `*.cert` with `*.key` is the client certificate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Certificate, Client, ClientBuilder, Identity};

use super::Connection;

const DIRECTORIES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// The timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether `NO_PROXY` is `*`. Then curl and others use no proxy at all. The library does so for
/// names, but not for IP addresses.
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
        // This fails if there is a provider already, which is harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let mut authorities = connection.authorities.clone();
    let mut client_certificate = connection.client_certificate.clone();
    for directory in DIRECTORIES {
        read_directory(
            &Path::new(directory).join(host),
            &mut authorities,
            &mut client_certificate,
        )?;
    }
    let mut builder = Client::builder()
        .user_agent(concat!("orlop-image/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT.min(connection.silence))
        .tls_danger_accept_invalid_certs(connection.insecure);
    if wants_no_proxy() {
        builder = builder.no_proxy();
    }
    for path in authorities {
        let found = read(&path).and_then(|text| Ok(Certificate::from_pem_bundle(&text)?));
        builder = builder
            .tls_certs_merge(found.with_context(|| format!("certificate {}", path.display()))?);
    }
    if let Some((certificate, key)) = client_certificate {
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

fn read_directory(
    directory: &Path,
    authorities: &mut Vec<PathBuf>,
    client_certificate: &mut Option<(PathBuf, PathBuf)>,
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
            Some("cert") if client_certificate.is_none() => {
                *client_certificate = Some((path.clone(), path.with_extension("key")))
            }
            _ => {}
        }
    }
    Ok(())
}
