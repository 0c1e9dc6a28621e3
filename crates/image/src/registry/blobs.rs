//! Blobs of a registry: checks for them, downloads them, deletes them.

use anyhow::{Context, Result, bail};
use oci_spec::image::{Descriptor, Digest};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::{Access, Registry, RegistryError, Scope};
use crate::digest;
use crate::layout::DOCUMENT_LIMIT;

/// The part of a blob that a response has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceivedPart {
    /// The whole blob: it was requested, or the registry does not support ranges.
    Whole,
    /// The blob from the requested offset on.
    Rest,
}

impl Registry {
    /// Whether a repository has a blob.
    ///
    /// # Errors
    /// Another answer than yes or no; the blob has another size.
    pub async fn has_blob(&self, repository: &str, descriptor: &Descriptor) -> Result<bool> {
        let digest = descriptor.digest();
        let url = self.url(repository, &format!("blobs/{digest}"))?;
        // The scope of a push, since the same token is needed for the upload.
        let scope = Scope::new(repository, Access::Push);
        let response = self.send(&scope, Method::HEAD, &url, |request| request).await?;
        let what = format!("blob {digest} of {repository}");
        let response = match self.expect(response, &[StatusCode::OK], &what).await {
            Err(error) if RegistryError::is(&error, StatusCode::NOT_FOUND) => return Ok(false),
            other => other?,
        };
        let length = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if length != descriptor.size() => {
                bail!(
                    "{}: {what} has {length} bytes, it should have {}",
                    self.host,
                    descriptor.size()
                )
            }
            _ => Ok(true),
        }
    }

    /// Requests a blob, from `offset` on if the registry supports ranges.
    ///
    /// # Errors
    /// It does not exist; the range or the length of the answer is wrong.
    pub async fn blob(
        &self,
        repository: &str,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<(ReceivedPart, Response)> {
        let digest = descriptor.digest();
        let url = self.url(repository, &format!("blobs/{digest}"))?;
        let scope = Scope::new(repository, Access::Pull);
        let complete = |request: reqwest::RequestBuilder| {
            let request = request.header(ACCEPT_ENCODING, "identity");
            if offset == 0 { request } else { request.header(RANGE, format!("bytes={offset}-")) }
        };
        let response = self.send(&scope, Method::GET, &url, complete).await?;
        let what = format!("blob {digest} of {repository}");
        let good = [StatusCode::OK, StatusCode::PARTIAL_CONTENT];
        let response = self.expect(response, &good, &what).await?;
        let whole = response.status() == StatusCode::OK;
        if !whole && beginning(&response) != Some(offset) {
            bail!("{}: {what}: asked for the part from {offset} on, got another one", self.host);
        }
        let expected = if whole { descriptor.size() } else { descriptor.size() - offset };
        if let Some(length) = response.content_length()
            && length != expected
        {
            bail!("{}: {what}: {length} bytes come, there should be {expected}", self.host);
        }
        Ok((if whole { ReceivedPart::Whole } else { ReceivedPart::Rest }, response))
    }

    /// Downloads a small blob and verifies its digest.
    ///
    /// # Errors
    /// It does not exist, is too large, or does not match its digest.
    pub async fn small_blob(&self, repository: &str, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let (_, response) = self.blob(repository, descriptor, 0).await?;
        let bytes = self.body(response, DOCUMENT_LIMIT).await?;
        digest::verify(&bytes, descriptor.digest())
            .with_context(|| format!("{}: {repository}", self.host))?;
        Ok(bytes)
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// It does not exist; the registry does not support deletion.
    pub async fn delete_blob(&self, repository: &str, digest: &Digest) -> Result<()> {
        let url = self.url(repository, &format!("blobs/{digest}"))?;
        let scope = Scope::new(repository, Access::Delete);
        let response = self.send(&scope, Method::DELETE, &url, |request| request).await?;
        let what = format!("deleting blob {digest} of {repository}");
        self.expect(
            response,
            &[StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT],
            &what,
        )
        .await
        .map(drop)
    }
}

/// `Content-Range: bytes 5-9/10` → 5.
fn beginning(response: &Response) -> Option<u64> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
