//! Blobs into a registry: from another of its repositories, in one piece, or in chunks
//! (distribution-spec, "Pushing blobs").
//!
//! ```text
//! POST …/uploads/?mount=…&from=…   201: it is there        202: send it to Location
//! PUT Location?digest=…  all of it                          201
//! PATCH Location         a chunk                            202: the next one to the new Location
//! GET Location           after a break: how much came?      204: Range says it
//! PUT Location?digest=…  nothing more                       201
//! ```

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use oci_spec::image::Descriptor;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use reqwest::{Body, Method, Response, StatusCode, Url};

use super::{Access, Registry, RegistryError, Scope, retry};
use crate::extent::Extent;
use crate::progress::Item;

/// How an upload begins.
#[derive(Debug, Clone)]
pub enum Start {
    /// The registry had the blob in the other repository: there is nothing left to do.
    Mounted,
    /// The blob is to be sent here.
    At {
        /// The address of the upload.
        location: Url,
        /// The smallest chunk that the registry takes, but for the last, in bytes.
        least: u64,
    },
}

/// What to send, and how.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The blob.
    pub extent: &'a Extent,
    /// How large a chunk is, in bytes; 0 for all in one piece.
    pub chunk: u64,
    /// Who is told how far it is.
    pub item: &'a Arc<Item>,
}

/// One blob on its way.
struct Upload<'a> {
    registry: &'a Registry,
    scope: Scope,
    repository: &'a str,
    descriptor: &'a Descriptor,
    item: &'a Arc<Item>,
}

/// How much of a file is read at once, in bytes.
const PIECE: usize = 128 << 10;

impl Registry {
    /// Begins an upload. With `from`, the registry may take the blob out of that repository
    /// instead.
    ///
    /// # Errors
    /// The registry refuses.
    pub async fn start_upload(
        &self,
        repository: &str,
        descriptor: &Descriptor,
        from: Option<&str>,
    ) -> Result<Start> {
        let mut url = self.url(repository, "blobs/uploads/")?;
        let mut scope = Scope::new(repository, Access::Push);
        if let Some(from) = from {
            url.query_pairs_mut()
                .append_pair("mount", descriptor.digest().as_ref())
                .append_pair("from", from);
            scope = scope.and_from(from);
        }
        let complete = |request: reqwest::RequestBuilder| request.header(CONTENT_LENGTH, 0);
        let response = self.send(&scope, Method::POST, &url, complete).await?;
        let what = format!("uploading to {repository}");
        let response =
            self.expect(response, &[StatusCode::ACCEPTED, StatusCode::CREATED], &what).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(Start::Mounted);
        }
        let least = response
            .headers()
            .get("oci-chunk-min-length")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Start::At {
            location: self.location(&response).with_context(|| what)?,
            least: least.unwrap_or(0),
        })
    }

    /// Uploads a blob to where [`Registry::start_upload`] says: in chunks if it is larger than one,
    /// in one piece if not, or if the registry takes no chunks.
    ///
    /// # Errors
    /// The registry refuses it, for instance because the content does not match the digest; it is
    /// silent for too long.
    pub async fn upload(
        &self,
        repository: &str,
        descriptor: &Descriptor,
        content: Content<'_>,
        start: Start,
    ) -> Result<()> {
        let Start::At { location, least } = start else { return Ok(()) };
        let scope = Scope::new(repository, Access::Push);
        let upload = Upload { registry: self, scope, repository, descriptor, item: content.item };
        let (extent, chunk) = (content.extent, content.chunk.max(least));
        let sent = if content.chunk > 0 && extent.length() > chunk {
            upload.in_chunks(extent, chunk, location).await
        } else {
            upload.in_one_piece(extent, Some(location)).await
        };
        sent.with_context(|| format!("pushing blob {}", descriptor.digest()))
    }
}

impl Registry {
    /// Where an upload goes on.
    ///
    /// # Errors
    /// The registry does not say, or may not send us there.
    fn location(&self, response: &Response) -> Result<Url> {
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let text = text.context("the registry does not say where to upload to (no Location)")?;
        let url = response
            .url()
            .join(text)
            .with_context(|| format!("the registry's Location is {text:?}"))?;
        self.directions.check(&url)?;
        Ok(url)
    }
}

impl Upload<'_> {
    /// Another beginning, after one that led to nothing. Nothing if the registry has the blob by
    /// now.
    async fn start(&self) -> Result<Option<Url>> {
        match self.registry.start_upload(self.repository, self.descriptor, None).await? {
            Start::Mounted => Ok(None),
            Start::At { location, .. } => Ok(Some(location)),
        }
    }

    async fn in_one_piece(&self, content: &Extent, mut start: Option<Url>) -> Result<()> {
        let mut pause = self.registry.pause();
        loop {
            self.item.at(0);
            let location = match start.take() {
                Some(location) => location,
                None => match self.start().await? {
                    Some(location) => location,
                    None => return Ok(()),
                },
            };
            match self
                .request(Method::PUT, &self.last(location), (content, 0), HeaderMap::new())
                .await
            {
                Ok(response) => match self.outcome(response, StatusCode::CREATED).await? {
                    Outcome::Good(_) => return Ok(()),
                    Outcome::Again(error, asked) => pause.wait(error, asked).await?,
                    Outcome::Bad(error) => return Err(error),
                },
                Err(error) if retry::is_passing(&error) => pause.wait(error, None).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn in_chunks(&self, content: &Extent, chunk: u64, mut location: Url) -> Result<()> {
        let mut pause = self.registry.pause();
        let mut offset = 0;
        while offset < content.length() {
            let part = content.part(offset, chunk);
            let end = offset + part.length();
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, format!("{offset}-{}", end - 1).parse()?);
            let answer = self.request(Method::PATCH, &location, (&part, offset), headers).await;
            let (error, asked) = match answer {
                Ok(response) => match self.outcome(response, StatusCode::ACCEPTED).await? {
                    Outcome::Good(response) => {
                        location = self.registry.location(&response)?;
                        offset = received(response.headers()).unwrap_or(end);
                        continue;
                    }
                    Outcome::Again(error, asked) => (error, asked),
                    Outcome::Bad(error) if offset == 0 && takes_no_chunks(&error) => {
                        return self.in_one_piece(content, None).await;
                    }
                    Outcome::Bad(error)
                        if RegistryError::is(&error, StatusCode::RANGE_NOT_SATISFIABLE) =>
                    {
                        (error, None)
                    }
                    Outcome::Bad(error) => return Err(error),
                },
                Err(error) if retry::is_passing(&error) => (error, None),
                Err(error) => return Err(error),
            };
            pause.wait(error, asked).await?;
            (location, offset) = self.go_on_from(location).await?;
            self.item.at(offset);
        }
        let complete = |request: reqwest::RequestBuilder| request.header(CONTENT_LENGTH, 0);
        let response =
            self.registry.send(&self.scope, Method::PUT, &self.last(location), complete).await?;
        self.registry
            .expect(response, &[StatusCode::CREATED], "the end of the upload")
            .await
            .map(drop)
    }

    /// After a break: where to send the rest, and from which byte on. Anew, if the registry has
    /// given up as well.
    async fn go_on_from(&self, at: Url) -> Result<(Url, u64)> {
        let response = self.registry.send(&self.scope, Method::GET, &at, |request| request).await?;
        let good = [StatusCode::NO_CONTENT, StatusCode::ACCEPTED, StatusCode::OK];
        match self.registry.expect(response, &good, "the state of the upload").await {
            Ok(response) => Ok((
                self.registry.location(&response).unwrap_or(at),
                received(response.headers()).unwrap_or(0),
            )),
            Err(error) if RegistryError::is(&error, StatusCode::NOT_FOUND) => {
                match self.start().await? {
                    Some(location) => Ok((location, 0)),
                    None => bail!("the registry has lost the upload, and will not begin another"),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The address that ends the upload.
    fn last(&self, mut location: Url) -> Url {
        location.query_pairs_mut().append_pair("digest", self.descriptor.digest().as_ref());
        location
    }

    /// Sends a part of the blob, which begins at `offset` of it, and watches that it goes on.
    async fn request(
        &self,
        method: Method,
        url: &Url,
        (part, offset): (&Extent, u64),
        headers: HeaderMap,
    ) -> Result<Response> {
        let sent = Arc::new(AtomicU64::new(0));
        let request = self.registry.uploads.request(method, url.clone()).headers(headers);
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, part.length());
        let request =
            request.body(body(part.clone(), Arc::clone(&sent), (Arc::clone(self.item), offset)));
        let answer = self.registry.send_once(&self.scope, request);
        let silence = self.registry.connection.silence;
        let stalled = async {
            let mut before = u64::MAX;
            loop {
                let now = sent.load(Ordering::Relaxed);
                if now == before {
                    break;
                }
                before = now;
                tokio::time::sleep(silence).await;
            }
        };
        match futures_util::future::select(Box::pin(answer), Box::pin(stalled)).await {
            futures_util::future::Either::Left((answer, _)) => answer,
            futures_util::future::Either::Right(_) => {
                bail!("{}: it has taken nothing for {} s", self.registry.host, silence.as_secs())
            }
        }
    }

    async fn outcome(&self, response: Response, good: StatusCode) -> Result<Outcome> {
        let status = response.status();
        if status == good {
            return Ok(Outcome::Good(response));
        }
        let asked = retry::asked_for(response.headers());
        let error = self.registry.failure(response, "").await;
        // 401: the token was too old, and by now there is a new one.
        let again = retry::may_pass(status) || status == StatusCode::UNAUTHORIZED;
        Ok(if again { Outcome::Again(error, asked) } else { Outcome::Bad(error) })
    }
}

enum Outcome {
    Good(Response),
    Again(anyhow::Error, Option<std::time::Duration>),
    Bad(anyhow::Error),
}

/// Whether a registry refuses chunks as such.
fn takes_no_chunks(error: &anyhow::Error) -> bool {
    let refusals =
        [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED, StatusCode::NOT_FOUND];
    refusals.into_iter().any(|status| RegistryError::is(error, status))
}

/// `Range: 0-9` → 10 bytes have come. `0-0` is what distribution says of an upload that has just
/// begun.
fn received(headers: &HeaderMap) -> Option<u64> {
    let (_, last) = headers.get(RANGE)?.to_str().ok()?.rsplit_once('-')?;
    match last.parse::<u64>().ok()? {
        0 => Some(0),
        last => Some(last + 1),
    }
}

/// A body that is read from the file as it is sent.
fn body(part: Extent, sent: Arc<AtomicU64>, (item, offset): (Arc<Item>, u64)) -> Body {
    Body::wrap_stream(futures_util::stream::try_unfold(part, move |mut part| {
        let (sent, item) = (Arc::clone(&sent), Arc::clone(&item));
        async move {
            if part.length() == 0 {
                return Ok::<_, std::io::Error>(None);
            }
            let read = move || {
                let mut buffer = vec![0; PIECE];
                let count = part.read(&mut buffer)?;
                buffer.truncate(count);
                Ok::<_, std::io::Error>((buffer, part))
            };
            let (buffer, part) =
                tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
            let now = sent.fetch_add(buffer.len() as u64, Ordering::Relaxed) + buffer.len() as u64;
            item.at(offset + now);
            Ok(Some((Bytes::from(buffer), part)))
        }
    }))
}
