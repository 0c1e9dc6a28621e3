//! Debian's docker-registry on loopback, with the settings of a test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::judge;

/// The addresses in the certificate of a server: loopback, and two that are public.
pub const ADDRESSES: [&str; 3] = ["127.0.0.1", "11.0.0.1", "11.0.0.2"];

/// A registry. It ends when the value is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
    tls: bool,
}

/// The settings of a registry.
#[derive(Debug, Clone, Default)]
pub struct Kind {
    pub tls: bool,
    /// It demands a client certificate.
    pub knows_clients: bool,
    /// It has the user `me` with the password `secret`.
    pub password: bool,
    /// It demands tokens: the URL of the service, and the certificate of the issuer.
    pub tokens: Option<(String, String)>,
}

impl Registry {
    /// Plain HTTP, without credentials.
    pub fn start() -> Self {
        Self::of(Kind::default())
    }

    pub fn of(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http:\n  addr: 127.0.0.1:{port}\n  secret: s\n",
            at("data")
        );
        if kind.tls {
            certificates(dir.path());
            config += &format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                at("server.pem"),
                at("server.key")
            );
            if kind.knows_clients {
                config += &format!("    clientcas: [{}]\n", at("ca.pem"));
            }
        }
        if kind.password {
            let line = judge("htpasswd", &["-Bbn", "me", "secret"]);
            fs::write(at("htpasswd"), line).unwrap();
            config += &format!("auth:\n  htpasswd: {{realm: r, path: {}}}\n", at("htpasswd"));
        }
        if let Some((realm, certificate)) = &kind.tokens {
            config += &format!(
                "auth:\n  token: {{realm: \"{realm}\", service: the registry, issuer: tests, rootcertbundle: {certificate}}}\n"
            );
        }
        fs::write(at("config.yml"), config).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command
            .args(["serve", &at("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap();
        let mut registry = Self { child, port, dir, tls: kind.tls };
        registry.wait();
        registry
    }

    fn wait(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(
                self.child.try_wait().unwrap().is_none() && Instant::now() < end,
                "docker-registry: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn host(&self) -> String {
        // The name in the certificate.
        if self.tls {
            format!("localhost:{}", self.port)
        } else {
            format!("127.0.0.1:{}", self.port)
        }
    }

    /// `docker://…`
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host())
    }

    pub fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The path of a blob in the storage of the registry.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.dir
            .path()
            .join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An authority, and its certificates for a client and for a server, which is `localhost` and
/// [`ADDRESSES`].
pub fn certificates(dir: &Path) {
    let at = |name: &str| dir.join(name).display().to_string();
    let key = |name: &str| {
        judge(
            "openssl",
            &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &at(name)],
        )
    };
    key("ca.key");
    let subject = ["-subj", "/CN=orlop test authority", "-days", "2"];
    let constraints = "basicConstraints=critical,CA:TRUE";
    let mut args = vec!["req", "-x509", "-new", "-key"];
    let (ca_key, ca) = (at("ca.key"), at("ca.pem"));
    args.extend([ca_key.as_str(), "-out", &ca, "-addext", constraints]);
    args.extend(subject);
    judge("openssl", &args);
    let names = format!("subjectAltName=DNS:localhost,IP:{}", ADDRESSES.join(",IP:"));
    for (name, extension) in [("server", names.as_str()), ("client", "extendedKeyUsage=clientAuth")]
    {
        let (own_key, request, certificate) =
            (format!("{name}.key"), at(&format!("{name}.csr")), at(&format!("{name}.pem")));
        key(&own_key);
        let common = format!("/CN={name}");
        judge(
            "openssl",
            &["req", "-new", "-key", &at(&own_key), "-out", &request, "-subj", &common],
        );
        let extensions = at(&format!("{name}.ext"));
        fs::write(&extensions, extension).unwrap();
        let authority = ["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "2"];
        let mut args =
            vec!["x509", "-req", "-in", &request, "-out", &certificate, "-extfile", &extensions];
        args.extend(authority);
        judge("openssl", &args);
    }
}
