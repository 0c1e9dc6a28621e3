//! TLS in front of a [`Front`], on all addresses of the machine or of the network namespace of the
//! test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::front::{Deed, Front, Request};
use super::registry::certificates;

/// A server with TLS. Its certificate has the names of [`certificates`].
#[derive(Debug)]
pub struct TlsFront {
    pub front: Front,
    pub port: u16,
    dir: tempfile::TempDir,
}

impl TlsFront {
    /// A server whose answers may depend on its own port.
    pub fn alone(decide: impl Fn(&Request, u16) -> Deed + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let chain = CertificateDer::from_pem_file(dir.path().join("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(dir.path().join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let config =
            Arc::new(config.with_no_client_auth().with_single_cert(vec![chain], key).unwrap());
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let front = Front::alone(move |request| decide(request, port));
        let plain = front.host();
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let (config, plain) = (Arc::clone(&config), plain.clone());
                // A client that refuses the certificate closes the connection.
                thread::spawn(move || drop(hand_on(client, config, &plain)));
            }
        });
        Self { front, port, dir }
    }

    /// The certificate to trust.
    pub fn ca(&self) -> String {
        self.dir.path().join("ca.pem").display().to_string()
    }
}

/// One request and its answer.
fn hand_on(client: TcpStream, config: Arc<ServerConfig>, plain: &str) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, client));
    let (mut request, mut length) = (String::new(), 0);
    while !request.ends_with("\r\n\r\n") {
        let start = request.len();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        if let Some(value) = request[start..].to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut server = TcpStream::connect(plain)?;
    server.write_all(request.as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let mut stream = reader.into_inner();
    stream.write_all(&answer)?;
    stream.conn.send_close_notify();
    stream.flush()
}
