//! Uploads blobs to a registry: mounts them from another repository, or sends them in one piece or
//! in chunks (distribution-spec, "Pushing blobs").
//!
//! ```text
//! POST …/uploads/?mount=…&from=…   201: mounted     202: send the blob to Location
//! PUT Location?digest=…  the whole blob               201
//! PATCH Location         a chunk                      202: send the next one to the new Location
//! GET Location           after a connection failure   204: Range has the bytes that were received
//! PUT Location?digest=…  no content, at the end       201
//! ```

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::future::{Either, select};
use oci_spec::image::Descriptor;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use reqwest::{Body, Method, Response, StatusCode, Url};

use super::{Access, Registry, RegistryError, Scope, backoff};
use crate::extent::Extent;
use crate::progress::BlobProgress;

/// The result of the first request of an upload.
#[derive(Debug, Clone)]
pub enum UploadStart {
    /// The registry has mounted the blob from the other repository. No upload is needed.
    Mounted,
    /// The blob must be sent.
    At {
        /// The URL of the upload.
        location: Url,
        /// The smallest chunk that the registry accepts, in bytes; the last one may be smaller.
        least: u64,
    },
}

/// The content and the options of an upload.
#[derive(Debug, Clone, Copy)]
pub struct UploadContent<'a> {
    /// The blob.
    pub extent: &'a Extent,
    /// The size of a chunk in bytes; 0 for one piece.
    pub chunk: u64,
    /// The display of the progress.
    pub progress: &'a Arc<BlobProgress>,
}

/// One upload.
struct Upload<'a> {
    registry: &'a Registry,
    scope: Scope,
    repository: &'a str,
    descriptor: &'a Descriptor,
    progress: &'a Arc<BlobProgress>,
}

/// A part of a blob.
struct BlobPart {
    content: Extent,
    /// The offset in the blob.
    offset: u64,
}

/// The bytes of a file that are read at once.
const READ_SIZE: usize = 128 << 10;

impl Registry {
    /// Begins an upload. With `from`, the registry may mount the blob from that repository instead.
    ///
    /// # Errors
    /// The registry refuses.
    pub async fn start_upload(
        &self,
        repository: &str,
        descriptor: &Descriptor,
        from: Option<&str>,
    ) -> Result<UploadStart> {
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
            return Ok(UploadStart::Mounted);
        }
        let least = response
            .headers()
            .get("oci-chunk-min-length")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(UploadStart::At {
            location: self.location(&response).with_context(|| what)?,
            least: least.unwrap_or(0),
        })
    }

    /// Sends a blob to the URL of [`Registry::start_upload`]: in chunks if it is larger than one
    /// chunk and the registry supports that, else in one piece.
    ///
    /// # Errors
    /// The registry refuses the blob, for instance because the content does not match the digest;
    /// the registry receives no bytes for too long.
    pub async fn upload(
        &self,
        repository: &str,
        descriptor: &Descriptor,
        content: UploadContent<'_>,
        start: UploadStart,
    ) -> Result<()> {
        let UploadStart::At { location, least } = start else { return Ok(()) };
        let scope = Scope::new(repository, Access::Push);
        let progress = content.progress;
        let upload = Upload { registry: self, scope, repository, descriptor, progress };
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
    /// The URL for the next request of an upload.
    ///
    /// # Errors
    /// There is no `Location`, or [`UrlPolicy`](super::UrlPolicy) forbids it.
    fn location(&self, response: &Response) -> Result<Url> {
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let text = text.context("the registry names no URL to upload to (no Location)")?;
        let url = response
            .url()
            .join(text)
            .with_context(|| format!("the registry's Location is {text:?}"))?;
        self.url_policy.check(&url)?;
        Ok(url)
    }
}

impl Upload<'_> {
    /// Begins another upload, after a failed one. Returns `None` if the registry has got the blob
    /// in the meantime.
    async fn start(&self) -> Result<Option<Url>> {
        match self.registry.start_upload(self.repository, self.descriptor, None).await? {
            UploadStart::Mounted => Ok(None),
            UploadStart::At { location, .. } => Ok(Some(location)),
        }
    }

    async fn in_one_piece(&self, content: &Extent, mut start: Option<Url>) -> Result<()> {
        let mut backoff = self.registry.backoff();
        loop {
            self.progress.set_position(0);
            let location = match start.take() {
                Some(location) => location,
                None => match self.start().await? {
                    Some(location) => location,
                    None => return Ok(()),
                },
            };
            let (url, part) =
                (self.last(location), BlobPart { content: content.clone(), offset: 0 });
            let response = self.request(Method::PUT, &url, part, HeaderMap::new()).await;
            match self.reply(response, StatusCode::CREATED).await {
                UploadReply::Accepted(_) => return Ok(()),
                UploadReply::Temporary(error, asked) => backoff.wait(error, asked).await?,
                UploadReply::Refused(error) => return Err(error),
            }
        }
    }

    async fn in_chunks(&self, content: &Extent, chunk: u64, mut location: Url) -> Result<()> {
        let mut backoff = self.registry.backoff();
        let mut offset = 0;
        while offset < content.length() {
            let part = BlobPart { content: content.part(offset, chunk), offset };
            let end = offset + part.content.length();
            let (error, asked) = match self.chunk(part, &location).await? {
                UploadReply::Accepted(response) => {
                    location = self.registry.location(&response)?;
                    offset = received(response.headers()).unwrap_or(end);
                    continue;
                }
                UploadReply::Temporary(error, asked) => (error, asked),
                UploadReply::Refused(error) if offset == 0 && accepts_no_chunks(&error) => {
                    return self.in_one_piece(content, None).await;
                }
                UploadReply::Refused(error)
                    if RegistryError::is(&error, StatusCode::RANGE_NOT_SATISFIABLE) =>
                {
                    (error, None)
                }
                UploadReply::Refused(error) => return Err(error),
            };
            backoff.wait(error, asked).await?;
            (location, offset) = self.resume(location).await?;
            self.progress.set_position(offset);
        }
        let complete = |request: reqwest::RequestBuilder| request.header(CONTENT_LENGTH, 0);
        let url = self.last(location);
        let response = self.registry.send(&self.scope, Method::PUT, &url, complete).await?;
        let good = [StatusCode::CREATED];
        self.registry.expect(response, &good, "the end of the upload").await.map(drop)
    }

    async fn chunk(&self, part: BlobPart, location: &Url) -> Result<UploadReply> {
        let last = part.offset + part.content.length() - 1;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, format!("{}-{last}", part.offset).parse()?);
        let response = self.request(Method::PATCH, location, part, headers).await;
        Ok(self.reply(response, StatusCode::ACCEPTED).await)
    }

    /// The URL and the first byte for the rest, after a failure. If the registry has lost the
    /// upload, another one is begun.
    async fn resume(&self, at: Url) -> Result<(Url, u64)> {
        let response = self.registry.send(&self.scope, Method::GET, &at, |request| request).await?;
        let good = [StatusCode::NO_CONTENT, StatusCode::ACCEPTED, StatusCode::OK];
        match self.registry.expect(response, &good, "the state of the upload").await {
            Ok(response) => {
                let location = self.registry.location(&response).unwrap_or(at);
                Ok((location, received(response.headers()).unwrap_or(0)))
            }
            Err(error) if RegistryError::is(&error, StatusCode::NOT_FOUND) => {
                let location = self.start().await?;
                let text = "the registry has lost the upload, and does not begin another";
                Ok((location.context(text)?, 0))
            }
            Err(error) => Err(error),
        }
    }

    /// The URL of the request that ends the upload.
    fn last(&self, mut location: Url) -> Url {
        location.query_pairs_mut().append_pair("digest", self.descriptor.digest().as_ref());
        location
    }

    /// Sends a part of the blob. Fails if the registry receives no bytes for too long.
    async fn request(
        &self,
        method: Method,
        url: &Url,
        part: BlobPart,
        headers: HeaderMap,
    ) -> Result<Response> {
        let sent = Arc::new(AtomicU64::new(0));
        let request = self.registry.uploads.request(method, url.clone()).headers(headers);
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, part.content.length())
            .body(part.body(Arc::clone(&sent), Arc::clone(self.progress)));
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
        match select(Box::pin(answer), Box::pin(stalled)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let seconds = silence.as_secs();
                bail!("{}: it has received nothing for {seconds} s", self.registry.host)
            }
        }
    }

    async fn reply(&self, response: Result<Response>, good: StatusCode) -> UploadReply {
        let response = match response {
            Ok(response) if response.status() == good => return UploadReply::Accepted(response),
            Ok(response) => response,
            Err(error) if backoff::is_temporary(&error) => {
                return UploadReply::Temporary(error, None);
            }
            Err(error) => return UploadReply::Refused(error),
        };
        let (status, asked) = (response.status(), backoff::retry_after(response.headers()));
        let error = self.registry.failure(response, "").await;
        // Status 401: the token had expired. `send_once` has got a new one.
        if backoff::is_temporary_status(status) || status == StatusCode::UNAUTHORIZED {
            UploadReply::Temporary(error, asked)
        } else {
            UploadReply::Refused(error)
        }
    }
}

/// The result of a request that sends a part of a blob.
enum UploadReply {
    Accepted(Response),
    /// The request may succeed later. The pause is the one that the registry requests.
    Temporary(anyhow::Error, Option<Duration>),
    Refused(anyhow::Error),
}

/// Whether the error means that the registry does not support chunks.
fn accepts_no_chunks(error: &anyhow::Error) -> bool {
    let refusals =
        [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED, StatusCode::NOT_FOUND];
    refusals.into_iter().any(|status| RegistryError::is(error, status))
}

/// The number of bytes that the registry has received: `Range: 0-9` means 10. The registry
/// distribution answers `0-0` for an upload without any bytes.
fn received(headers: &HeaderMap) -> Option<u64> {
    let (_, last) = headers.get(RANGE)?.to_str().ok()?.rsplit_once('-')?;
    match last.parse::<u64>().ok()? {
        0 => Some(0),
        last => Some(last + 1),
    }
}

impl BlobPart {
    /// A request body that is read from the file while it is sent.
    fn body(self, sent: Arc<AtomicU64>, progress: Arc<BlobProgress>) -> Body {
        let offset = self.offset;
        Body::wrap_stream(futures_util::stream::try_unfold(self.content, move |mut rest| {
            let (sent, progress) = (Arc::clone(&sent), Arc::clone(&progress));
            async move {
                if rest.length() == 0 {
                    return Ok::<_, std::io::Error>(None);
                }
                let read = move || {
                    let mut buffer = vec![0; READ_SIZE];
                    let count = rest.read(&mut buffer)?;
                    buffer.truncate(count);
                    Ok::<_, std::io::Error>((buffer, rest))
                };
                let (buffer, rest) =
                    tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
                let count = buffer.len() as u64;
                let now = sent.fetch_add(count, Ordering::Relaxed) + count;
                progress.set_position(offset + now);
                Ok(Some((Bytes::from(buffer), rest)))
            }
        }))
    }
}
