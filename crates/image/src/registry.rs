//! A registry: the HTTP API of distribution-spec 1.1.
//!
//! | file | endpoints |
//! |---|---|
//! | `manifests.rs` | `GET`, `HEAD`, `PUT`, `DELETE` `/v2/NAME/manifests/…` |
//! | `blobs.rs` | `GET` (also of a part), `HEAD`, `DELETE` `/v2/NAME/blobs/…` |
//! | `upload.rs` | `POST`, `PATCH`, `GET`, `PUT` `/v2/NAME/blobs/uploads/`: in one piece, in chunks, or from another repository |
//! | `listing.rs` | `GET` `/v2/NAME/tags/list`, `/v2/NAME/referrers/…`, page by page |
//!
//! What every request needs is here: the credentials that the registry asks for ([`auth`]), the
//! rules for where it may send us ([`directions`]), another attempt when it is overloaded or the
//! line broke (`retry`), and an error that says what the registry said ([`failure`]).

pub mod auth;
mod blobs;
pub mod directions;
pub mod failure;
mod listing;
mod manifests;
pub(crate) mod retry;
mod subject;
mod tls;
mod upload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::AUTHORIZATION;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url};

pub use auth::{Access, Scope};
pub use blobs::Range;
pub use directions::Directions;
pub use failure::RegistryError;
pub use listing::Referrers;
pub use upload::{Content, Start};

use crate::credentials::{self, Credentials};
use crate::reference::DOCKER_HUB;

/// How to speak to registries.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Take any certificate, and plain HTTP from who speaks no TLS.
    pub insecure: bool,
    /// Certificates of authorities to trust besides the system's (PEM).
    pub authorities: Vec<PathBuf>,
    /// Our certificate and its key (PEM), for a registry that wants to know its clients so.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// How long a registry may be silent before it counts as gone.
    pub silence: Duration,
    /// How many times to try again what may succeed later.
    pub retries: u32,
    /// Instead of those of the auth files.
    pub credentials: Option<Credentials>,
    /// The auth file, instead of the usual ones.
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

/// One registry, and what it knows of us.
#[derive(Debug)]
pub struct Registry {
    host: String,
    base: Url,
    /// For what is answered at once: silence ends it.
    client: Client,
    /// For bodies that we send, during which the registry is silent: [`upload`] watches over it.
    uploads: Client,
    /// For services that give out tokens, which are told who we are.
    tokens: Client,
    directions: Directions,
    connection: Connection,
    auth: auth::Auth,
}

impl Registry {
    /// Makes ready to speak to a registry. Nothing is sent, except to find out whether it speaks
    /// TLS when it need not.
    ///
    /// # Errors
    /// A certificate that cannot be read; with `insecure`, a registry that cannot be reached at
    /// all.
    pub async fn connect(host: &str, connection: &Connection) -> Result<Self> {
        let address = if host == DOCKER_HUB { "registry-1.docker.io" } else { host };
        let parse = |scheme: &str| {
            Url::parse(&format!("{scheme}://{address}/v2/"))
                .with_context(|| format!("registry {host:?}"))
        };
        let silence = connection.silence;
        let mut base = parse("https")?;
        let directions = Directions::new(&base, connection.insecure);
        let builder = |policy: Policy| -> Result<ClientBuilder> {
            let builder =
                tls::client(host, connection)?.redirect(policy).dns_resolver(directions.clone());
            Ok(builder.https_only(!connection.insecure))
        };
        let http = "setting up HTTP";
        let client =
            builder(directions.redirects())?.read_timeout(silence).build().context(http)?;
        let uploads = builder(directions.redirects())?.build().context(http)?;
        let tokens =
            builder(Directions::same_server())?.read_timeout(silence).build().context(http)?;
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
            directions,
            connection,
            auth,
        })
    }

    /// Its name, as in references and auth files.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is there, speaks this API and takes our credentials (`GET /v2/`).
    ///
    /// # Errors
    /// It is not, does not, or refuses them.
    pub async fn ping(&self) -> Result<()> {
        let response =
            self.send(&Scope::none(), Method::GET, &self.base, |request| request).await?;
        self.expect(response, &[StatusCode::OK], "/v2/").await.map(drop)
    }

    /// The pauses between attempts at something.
    pub(crate) fn pause(&self) -> retry::Pause {
        retry::Pause::new(self.connection.retries)
    }

    /// The address of something in a repository.
    fn url(&self, repository: &str, rest: &str) -> Result<Url> {
        self.base
            .join(&format!("{repository}/{rest}"))
            .with_context(|| format!("{repository}/{rest}"))
    }

    /// Sends a request until it is answered for good, or there were too many attempts.
    ///
    /// `complete` adds headers and a body, for each attempt anew.
    async fn send(
        &self,
        scope: &Scope,
        method: Method,
        url: &Url,
        complete: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        let mut pause = self.pause();
        loop {
            let request = complete(self.client.request(method.clone(), url.clone()));
            match self.send_once(scope, request).await {
                Ok(response) if !retry::may_pass(response.status()) => return Ok(response),
                Ok(response) => {
                    let asked = retry::asked_for(response.headers());
                    let error = self.failure(response, url.path()).await;
                    pause.wait(error, asked).await?;
                }
                Err(error) if retry::is_passing(&error) => pause.wait(error, None).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a request, and answers the registry's question of who we are.
    async fn send_once(&self, scope: &Scope, request: RequestBuilder) -> Result<Response> {
        let (client, request) = request.build_split();
        let mut request = request.context("setting up a request")?;
        // The registry may send an upload elsewhere. Who we are is for the registry alone.
        if request.url().origin() != self.base.origin() {
            return client.execute(request).await.with_context(|| self.host.clone());
        }
        let again = request.try_clone();
        let known = self.auth.header(scope).await;
        if let Some(header) = &known {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        let response = client.execute(request).await.with_context(|| self.host.clone())?;
        // Nor may anybody ask whom the registry has sent us to.
        if response.status() != StatusCode::UNAUTHORIZED
            || response.url().origin() != self.base.origin()
        {
            return Ok(response);
        }
        let credentials = self.credentials(scope)?;
        let header =
            self.auth.answer(self, scope, &response, (known, credentials.as_ref())).await?;
        let Some(header) = header else {
            return Err(self.failure(response, "").await)
                .with_context(|| self.who(credentials.as_ref()));
        };
        // A body that is read as it is sent cannot be sent twice: the caller begins anew, with what
        // we know now.
        let Some(mut request) = again else { return Ok(response) };
        request.headers_mut().insert(AUTHORIZATION, header);
        let response = client.execute(request).await.with_context(|| self.host.clone())?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(self.failure(response, "").await)
                .with_context(|| self.who(credentials.as_ref()));
        }
        Ok(response)
    }

    /// Whom the registry has refused, and what to do about it.
    fn who(&self, credentials: Option<&Credentials>) -> String {
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

    /// The response, if its status is one of these.
    ///
    /// # Errors
    /// A [`RegistryError`] of what the registry said instead.
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

    /// The whole body of a response, which is small or an error.
    async fn body(&self, mut response: Response, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.with_context(|| self.host.clone())? {
            bytes.extend_from_slice(&chunk);
            ensure!(
                bytes.len() as u64 <= limit,
                "{}: an answer of more than {limit} bytes",
                self.host
            );
        }
        Ok(bytes)
    }
}
