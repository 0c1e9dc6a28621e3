//! The client of a registry: the HTTP API of distribution-spec 1.1.
//!
//! | file | endpoints |
//! |---|---|
//! | `manifests.rs` | `GET`, `HEAD`, `PUT`, `DELETE` `/v2/NAME/manifests/…` |
//! | `blobs.rs` | `GET` (also of a part), `HEAD`, `DELETE` `/v2/NAME/blobs/…` |
//! | `upload.rs` | `POST`, `PATCH`, `GET`, `PUT` `/v2/NAME/blobs/uploads/` |
//! | `lists.rs` | `GET` `/v2/NAME/tags/list`, `/v2/NAME/referrers/…`, page by page |
//! | `referrers.rs` | the same for a registry without the referrers API: a tag of an index |
//!
//! This file has the code for all requests: authentication ([`auth`]), the rules for the URLs that
//! a registry names ([`url_policy`]), retries (`backoff`), and errors with the message of the
//! registry ([`error`]).

pub mod auth;
pub(crate) mod backoff;
mod blobs;
pub mod error;
mod lists;
mod manifests;
mod referrers;
mod tls;
mod upload;
pub mod url_policy;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::AUTHORIZATION;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url};

pub use auth::{Access, Scope};
pub use blobs::ReceivedPart;
pub use error::RegistryError;
pub use lists::Referrers;
pub use upload::{UploadContent, UploadStart};
pub use url_policy::UrlPolicy;

use crate::credentials::{self, Credentials};
use crate::reference::DOCKER_HUB;

/// The options of a connection to a registry.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Accept any certificate, and use plain HTTP if the registry has no TLS.
    pub insecure: bool,
    /// Certificates of authorities that are trusted besides the system's (PEM).
    pub authorities: Vec<PathBuf>,
    /// The client certificate and its key (PEM).
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The time without any data after which a request fails.
    pub silence: Duration,
    /// How many times a request is tried again after a temporary failure.
    pub retries: u32,
    /// Credentials, instead of those of the auth files.
    pub credentials: Option<Credentials>,
    /// The auth file, instead of the default ones.
    pub authfile: Option<PathBuf>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            insecure: false,
            authorities: Vec::new(),
            client_certificate: None,
            silence: Duration::from_secs(60),
            retries: 5,
            credentials: None,
            authfile: None,
        }
    }
}

/// A registry, with the connections to it.
#[derive(Debug)]
pub struct Registry {
    host: String,
    base: Url,
    /// For requests with a small body. A read timeout ends them.
    client: Client,
    /// For uploads. The registry sends nothing until it has received the body, so [`upload`] checks
    /// the progress.
    uploads: Client,
    /// For token services, which get the credentials.
    tokens: Client,
    url_policy: UrlPolicy,
    connection: Connection,
    auth: auth::Auth,
}

impl Registry {
    /// Prepares the connections. With `insecure` a request is sent to find out whether the registry
    /// has TLS. Otherwise nothing is sent.
    ///
    /// # Errors
    /// A certificate cannot be read; with `insecure`, the registry cannot be reached at all.
    pub async fn connect(host: &str, connection: &Connection) -> Result<Self> {
        let address = if host == DOCKER_HUB { "registry-1.docker.io" } else { host };
        let parse = |scheme: &str| {
            Url::parse(&format!("{scheme}://{address}/v2/"))
                .with_context(|| format!("registry {host:?}"))
        };
        let silence = connection.silence;
        let mut base = parse("https")?;
        let url_policy = UrlPolicy::new(&base, connection.insecure);
        let builder = |policy: Policy| -> Result<ClientBuilder> {
            let builder =
                tls::client(host, connection)?.redirect(policy).dns_resolver(url_policy.clone());
            Ok(builder.https_only(!connection.insecure))
        };
        let http = "setting up HTTP";
        let client =
            builder(url_policy.redirects())?.read_timeout(silence).build().context(http)?;
        let uploads = builder(url_policy.redirects())?.build().context(http)?;
        let tokens =
            builder(UrlPolicy::same_server())?.read_timeout(silence).build().context(http)?;
        if connection.insecure
            && let Err(error) = client.get(base.clone()).send().await
            && error.is_connect()
        {
            base = parse("http")?;
        }
        let auth = auth::Auth::default();
        let connection = connection.clone();
        Ok(Self {
            host: host.to_owned(),
            base,
            client,
            uploads,
            tokens,
            url_policy,
            connection,
            auth,
        })
    }

    /// The host, as in references and auth files.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Checks that the registry answers, has this API and accepts the credentials (`GET /v2/`).
    ///
    /// # Errors
    /// It cannot be reached, has another API, or refuses the credentials.
    pub async fn ping(&self) -> Result<()> {
        let response =
            self.send(&Scope::none(), Method::GET, &self.base, |request| request).await?;
        self.expect(response, &[StatusCode::OK], "/v2/").await.map(drop)
    }

    /// The pauses between the attempts of a request.
    pub(crate) fn backoff(&self) -> backoff::Backoff {
        backoff::Backoff::new(self.connection.retries)
    }

    /// A URL in a repository.
    fn url(&self, repository: &str, rest: &str) -> Result<Url> {
        self.base
            .join(&format!("{repository}/{rest}"))
            .with_context(|| format!("{repository}/{rest}"))
    }

    /// Sends a request. After a temporary failure it is sent again, until no attempts are left.
    ///
    /// `complete` adds the headers and the body to each attempt.
    async fn send(
        &self,
        scope: &Scope,
        method: Method,
        url: &Url,
        complete: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        let mut backoff = self.backoff();
        loop {
            let request = complete(self.client.request(method.clone(), url.clone()));
            match self.send_once(scope, request).await {
                Ok(response) if !backoff::is_temporary_status(response.status()) => {
                    return Ok(response);
                }
                Ok(response) => {
                    let asked = backoff::retry_after(response.headers());
                    let error = self.failure(response, url.path()).await;
                    backoff.wait(error, asked).await?;
                }
                Err(error) if backoff::is_temporary(&error) => backoff.wait(error, None).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a request. After a 401 it authenticates and sends the request once more.
    async fn send_once(&self, scope: &Scope, request: RequestBuilder) -> Result<Response> {
        let (client, request) = request.build_split();
        let mut request = request.context("setting up a request")?;
        // The registry may name another server for an upload. That server does not get the
        // credentials.
        if request.url().origin() != self.base.origin() {
            return client.execute(request).await.with_context(|| self.host.clone());
        }
        let again = request.try_clone();
        let known = self.auth.header(scope).await;
        if let Some(header) = &known {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        let response = client.execute(request).await.with_context(|| self.host.clone())?;
        // A server to which the registry has redirected the request does not get them either.
        if response.status() != StatusCode::UNAUTHORIZED
            || response.url().origin() != self.base.origin()
        {
            return Ok(response);
        }
        let credentials = self.credentials(scope)?;
        let (sent, credentials) = (known.as_ref(), credentials.as_ref());
        let refusal = auth::Refusal401 { response: &response, sent, credentials };
        let header = self.auth.answer(self, scope, refusal).await?;
        let Some(header) = header else {
            return Err(self.failure(response, "").await)
                .with_context(|| self.refused_user(credentials));
        };
        // A body that is read while it is sent cannot be sent again. The caller must begin again,
        // with the new token.
        let Some(mut request) = again else { return Ok(response) };
        request.headers_mut().insert(AUTHORIZATION, header);
        let response = client.execute(request).await.with_context(|| self.host.clone())?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(self.failure(response, "").await)
                .with_context(|| self.refused_user(credentials));
        }
        Ok(response)
    }

    /// The refused user, and a hint.
    fn refused_user(&self, credentials: Option<&Credentials>) -> String {
        match credentials {
            None => format!("{host}: not logged in (orlop-image login {host})", host = self.host),
            Some(credentials) => format!("{}: the {credentials:?} is refused", self.host),
        }
    }

    fn credentials(&self, scope: &Scope) -> Result<Option<Credentials>> {
        if let Some(given) = &self.connection.credentials {
            return Ok(Some(given.clone()));
        }
        credentials::look_up(&self.host, scope.repository(), self.connection.authfile.as_deref())
    }

    /// The response, if its status is one of `good`.
    ///
    /// # Errors
    /// A [`RegistryError`] with the message of the registry.
    async fn expect(
        &self,
        response: Response,
        good: &[StatusCode],
        what: &str,
    ) -> Result<Response> {
        if good.contains(&response.status()) {
            return Ok(response);
        }
        Err(self.failure(response, what).await)
    }

    async fn failure(&self, response: Response, what: &str) -> anyhow::Error {
        RegistryError::read(&self.host, what, response).await.into()
    }

    /// The whole body of a response, of at most `limit` bytes.
    async fn body(&self, mut response: Response, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.with_context(|| self.host.clone())? {
            bytes.extend_from_slice(&chunk);
            ensure!(
                bytes.len() as u64 <= limit,
                "{}: an answer has more than {limit} bytes",
                self.host
            );
        }
        Ok(bytes)
    }
}
