//! Lists of a registry, which consist of pages: the tags of a repository, the referrers of a
//! manifest.

use anyhow::{Context, Result, ensure};
use oci_spec::image::{Descriptor, Digest, ImageIndex, MediaType};
use reqwest::header::{ACCEPT, LINK};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::{Access, Registry, RegistryError, Scope};
use crate::document::{Document, media_types};

/// The referrers of a manifest.
#[derive(Debug)]
pub struct Referrers {
    /// Their descriptors.
    pub found: Vec<Descriptor>,
    /// Whether they come from the fallback tag ("Referrers Tag Schema"), not from the API.
    pub by_tag: bool,
}

/// The limit on bytes of all pages of a list together.
const MAX_BYTES: u64 = 16 << 20;
/// The limit on pages of a list.
const MAX_PAGES: usize = 10_000;

impl Registry {
    /// The tags of a repository, sorted. `page` is the requested page size.
    ///
    /// # Errors
    /// The repository does not exist; the answer is malformed.
    pub async fn tags(&self, repository: &str, page: Option<u32>) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct TagsPage {
            // The registry distribution answers null if there are none.
            tags: Option<Vec<String>>,
        }
        let mut url = self.url(repository, "tags/list")?;
        if let Some(page) = page {
            url.query_pairs_mut().append_pair("n", &page.to_string());
        }
        let mut tags = Vec::new();
        for bytes in self.pages(repository, url, "tags").await? {
            let page: TagsPage = serde_json::from_slice(&bytes)
                .with_context(|| format!("{}: list of tags", self.host))?;
            tags.extend(page.tags.unwrap_or_default());
        }
        // The specification requires this order. The registry distribution 2 has another one.
        tags.sort_unstable();
        Ok(tags)
    }

    /// The referrers of a manifest; only those of one artifact type if `kind` is given.
    ///
    /// # Errors
    /// The answer is malformed.
    pub async fn referrers(
        &self,
        repository: &str,
        digest: &Digest,
        kind: Option<&str>,
    ) -> Result<Referrers> {
        let mut url = self.url(repository, &format!("referrers/{digest}"))?;
        if let Some(kind) = kind {
            url.query_pairs_mut().append_pair("artifactType", kind);
        }
        let (mut found, by_tag) = match self.pages(repository, url, "referrers").await {
            Ok(pages) => {
                let mut found = Vec::new();
                for bytes in pages {
                    found.extend(
                        entries(&bytes).with_context(|| format!("{}: referrers", self.host))?,
                    );
                }
                (found, false)
            }
            Err(error) if RegistryError::is(&error, StatusCode::NOT_FOUND) => {
                (self.tagged_referrers(repository, digest).await?.0, true)
            }
            Err(error) => return Err(error),
        };
        // A registry may ignore the filter.
        if let Some(kind) = kind {
            found.retain(|entry| artifact_type(entry).as_deref() == Some(kind));
        }
        Ok(Referrers { found, by_tag })
    }

    /// The referrers in the index of the fallback tag, and the descriptor of that index.
    ///
    /// # Errors
    /// The tag is not that of an index.
    pub async fn tagged_referrers(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<(Vec<Descriptor>, Option<Descriptor>)> {
        let (own, bytes) = match self.manifest(repository, &fallback_tag(digest)).await {
            Err(error) if RegistryError::is(&error, StatusCode::NOT_FOUND) => {
                return Ok((Vec::new(), None));
            }
            other => other?,
        };
        let found = entries(&bytes)
            .with_context(|| format!("{}: tag {}", self.host, fallback_tag(digest)))?;
        Ok((found, Some(own)))
    }

    /// All pages of a list.
    async fn pages(&self, repository: &str, first: Url, what: &str) -> Result<Vec<Vec<u8>>> {
        let scope = Scope::new(repository, Access::Pull);
        let (mut pages, mut left) = (Vec::new(), MAX_BYTES);
        let mut next = Some(first);
        while let Some(url) = next {
            ensure!(
                pages.len() < MAX_PAGES,
                "{}: {what} of {repository}: more than {MAX_PAGES} pages",
                self.host
            );
            let accept = format!("{}, application/json", media_types::INDEX);
            let response = self
                .send(&scope, Method::GET, &url, |request| request.header(ACCEPT, &accept))
                .await?;
            let response = self
                .expect(response, &[StatusCode::OK], &format!("{what} of {repository}"))
                .await?;
            next = self.next_page(&response)?;
            let page = self.body(response, left).await;
            let page = page.with_context(|| {
                format!("{what} of {repository}, at most {MAX_BYTES} bytes in all")
            })?;
            left -= page.len() as u64;
            pages.push(page);
        }
        Ok(pages)
    }

    /// `Link: </v2/name/tags/list?last=x&n=10>; rel="next"` (RFC 8288).
    fn next_page(&self, response: &Response) -> Result<Option<Url>> {
        let links = response.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(target) = links.filter_map(next_target).next() else { return Ok(None) };
        let url = response
            .url()
            .join(target)
            .with_context(|| format!("{}: Link {target:?}", self.host))?;
        // The token is sent with the request, and must not be sent to another server.
        ensure!(
            url.origin() == self.base.origin(),
            "{}: the next page is on another server, at {url}",
            self.host
        );
        Ok(Some(url))
    }
}

fn next_target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = |parameter: &str| {
        let (key, value) = parameter.split_once('=').unwrap_or_default();
        key.trim().eq_ignore_ascii_case("rel")
            && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
    };
    parameters.split(';').any(next).then_some(target)
}

/// The entries of an index.
fn entries(bytes: &[u8]) -> Result<Vec<Descriptor>> {
    match Document::parse(bytes, media_types::INDEX)? {
        Document::Index(index) => Ok(ImageIndex::manifests(&index).clone()),
        Document::Manifest(_) => Ok(Vec::new()),
    }
}

/// The fallback tag for a registry without the referrers API ("Referrers Tag Schema"): the digest
/// with `-` for `:`, cut to the length of a tag.
#[must_use]
pub fn fallback_tag(digest: &Digest) -> String {
    format!("{}-{:.64}", digest.algorithm(), digest.digest())
}

fn artifact_type(entry: &Descriptor) -> Option<String> {
    entry.artifact_type().as_ref().map(MediaType::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page() {
        assert_eq!(
            next_target(r#"</v2/a/tags/list?last=b&n=1>; rel="next""#),
            Some("/v2/a/tags/list?last=b&n=1")
        );
        assert_eq!(next_target("<http://x/y>;foo=bar; REL=next"), Some("http://x/y"));
        assert_eq!(next_target(r#"</v2/a>; rel="prev""#), None);
        assert_eq!(next_target("/v2/a"), None);
    }
}
