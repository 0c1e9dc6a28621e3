//! Manifests and indexes of a registry.

use anyhow::{Context, Result, bail};
use oci_spec::image::{Descriptor, MediaType};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response, StatusCode};

use super::{Access, Registry, Scope};
use crate::digest;
use crate::document::media_types::{DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST};
use crate::layout::DOCUMENT_LIMIT;

/// The header with the digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";

impl Registry {
    /// Downloads a manifest or index by its tag or digest. It is verified: against `selector` if
    /// that is a digest, else against the digest in the header of the registry.
    ///
    /// # Errors
    /// It does not exist, is too large, or does not match its digest.
    pub async fn manifest(
        &self,
        repository: &str,
        selector: &str,
    ) -> Result<(Descriptor, Vec<u8>)> {
        let response = self.ask_manifest(Method::GET, repository, selector).await?;
        let (media_type, claimed) =
            (media_type(response.headers()), claimed_digest(response.headers()));
        let bytes = self.body(response, DOCUMENT_LIMIT).await?;
        let digest = match digest::parse(selector).ok() {
            Some(asked) => asked,
            None => match claimed {
                Some(claimed) => digest::parse(&claimed).with_context(|| self.host.clone())?,
                None => digest::of(&bytes)?,
            },
        };
        digest::verify(&bytes, &digest)
            .with_context(|| format!("{}: manifest {selector} of {repository}", self.host))?;
        Ok((Descriptor::new(media_type, bytes.len() as u64, digest), bytes))
    }

    /// The descriptor of a manifest, without downloading it; `None` if it does not exist.
    ///
    /// # Errors
    /// Another answer than yes or no.
    pub async fn manifest_descriptor(
        &self,
        repository: &str,
        selector: &str,
    ) -> Result<Option<Descriptor>> {
        let response = match self.ask_manifest(Method::HEAD, repository, selector).await {
            Err(error) if super::RegistryError::is(&error, StatusCode::NOT_FOUND) => {
                return Ok(None);
            }
            other => other?,
        };
        let headers = response.headers();
        let size =
            headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let digest = claimed_digest(headers)
            .or_else(|| Some(selector.to_owned()).filter(|text| text.contains(':')));
        let (Some(size), Some(digest)) = (size, digest) else {
            // A response to HEAD need not have these headers. The manifest has all of the data.
            return self
                .manifest(repository, selector)
                .await
                .map(|(descriptor, _)| Some(descriptor));
        };
        Ok(Some(Descriptor::new(media_type(headers), size, digest::parse(&digest)?)))
    }

    async fn ask_manifest(
        &self,
        method: Method,
        repository: &str,
        selector: &str,
    ) -> Result<Response> {
        let url = self.url(repository, &format!("manifests/{selector}"))?;
        let accept = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST].join(", ");
        let scope = Scope::new(repository, Access::Pull);
        let response =
            self.send(&scope, method, &url, |request| request.header(ACCEPT, &accept)).await?;
        self.expect(response, &[StatusCode::OK], &format!("manifest {selector} of {repository}"))
            .await
    }

    /// Uploads a manifest or index under a tag or its digest. Returns whether the registry supports
    /// subjects and has added the manifest to the referrers of its subject.
    ///
    /// # Errors
    /// The registry refuses it, for instance because a blob is missing.
    pub async fn put_manifest(
        &self,
        repository: &str,
        selector: &str,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<bool> {
        let url = self.url(repository, &format!("manifests/{selector}"))?;
        let media_type = descriptor.media_type().to_string();
        let scope = Scope::new(repository, Access::Push);
        let complete = |request: reqwest::RequestBuilder| {
            request.header(CONTENT_TYPE, &media_type).body(bytes.to_owned())
        };
        let response = self.send(&scope, Method::PUT, &url, complete).await?;
        let what = format!("putting manifest {selector} of {repository}");
        let response = self.expect(response, &[StatusCode::CREATED, StatusCode::OK], &what).await?;
        if let Some(claimed) = claimed_digest(response.headers())
            && claimed != descriptor.digest().as_ref()
        {
            bail!(
                "{}: {what}: the registry says that the digest of {} is {claimed}",
                self.host,
                descriptor.digest()
            );
        }
        Ok(response.headers().contains_key("oci-subject"))
    }

    /// Deletes a manifest by its digest, with all its tags, or a tag alone.
    ///
    /// # Errors
    /// It does not exist; the registry does not support deletion (405), or not of tags (400 or
    /// 405).
    pub async fn delete_manifest(&self, repository: &str, selector: &str) -> Result<()> {
        let url = self.url(repository, &format!("manifests/{selector}"))?;
        let scope = Scope::new(repository, Access::Delete);
        let response = self.send(&scope, Method::DELETE, &url, |request| request).await?;
        let what = format!("deleting manifest {selector} of {repository}");
        self.expect(
            response,
            &[StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT],
            &what,
        )
        .await
        .map(drop)
    }
}

fn media_type(headers: &HeaderMap) -> MediaType {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    MediaType::from(text.split(';').next().unwrap_or_default().trim())
}

fn claimed_digest(headers: &HeaderMap) -> Option<String> {
    headers.get(CONTENT_DIGEST)?.to_str().ok().map(str::to_owned)
}
