//! Authentication to a registry: Basic, or a Bearer token from the service that the registry names
//! (distribution's "Token Authentication Specification" and "OAuth2").
//!
//! A token is valid for one scope (actions on one repository) and for some minutes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_auth::{ChallengeParser, ChallengeRef};
use reqwest::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Registry, backoff};
use crate::credentials::Credentials;

/// The actions on a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
    /// Read, write and delete.
    Delete,
}

/// The scope of a request: a repository and the actions on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    repository: String,
    access: Access,
    /// Another repository, for reading.
    from: Option<String>,
}

impl Scope {
    /// An access to one repository.
    #[must_use]
    pub fn new(repository: &str, access: Access) -> Self {
        Self { repository: repository.to_owned(), access, from: None }
    }

    /// No repository: the request only authenticates.
    #[must_use]
    pub fn none() -> Self {
        Self::new("", Access::Pull)
    }

    /// Adds reading from another repository.
    #[must_use]
    pub fn and_from(self, repository: &str) -> Self {
        Self { from: Some(repository.to_owned()), ..self }
    }

    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// The values of `scope` in a request for a token.
    fn words(&self) -> Vec<String> {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "pull,push,delete",
        };
        let own = (!self.repository.is_empty())
            .then(|| format!("repository:{}:{actions}", self.repository));
        let other = self.from.as_ref().map(|from| format!("repository:{from}:pull"));
        own.into_iter().chain(other).collect()
    }
}

/// The credentials and tokens that the registry has accepted before.
#[derive(Debug, Default)]
pub struct Auth {
    known: Mutex<AuthCache>,
}

#[derive(Debug, Default)]
struct AuthCache {
    basic: Option<HeaderValue>,
    tokens: HashMap<Scope, Token>,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    until: Instant,
}

/// A response with status 401.
pub(super) struct Refusal401<'a> {
    pub response: &'a Response,
    /// The header that was sent with the request.
    pub sent: Option<&'a HeaderValue>,
    /// The credentials for the registry, if there are any.
    pub credentials: Option<&'a Credentials>,
}

impl Auth {
    /// The header for the first attempt of a request.
    pub(super) async fn header(&self, scope: &Scope) -> Option<HeaderValue> {
        let known = self.known.lock().await;
        let token = known.tokens.get(scope).filter(|token| token.until > Instant::now());
        token.map(|token| &token.header).or(known.basic.as_ref()).cloned()
    }

    /// The header for another attempt after a 401. Returns `None` if there is no other header than
    /// the refused one.
    pub(super) async fn answer(
        &self,
        registry: &Registry,
        scope: &Scope,
        refusal: Refusal401<'_>,
    ) -> Result<Option<HeaderValue>> {
        let Refusal401 { response, sent, credentials } = refusal;
        let challenges = Challenges::read(response);
        let mut known = self.known.lock().await;
        if let Some(bearer) = challenges.bearer {
            // Another request may have got a token while this one was waiting for the lock.
            if let Some(token) = known.tokens.get(scope)
                && Some(&token.header) != sent
            {
                return Ok(Some(token.header.clone()));
            }
            let token = bearer.token(registry, scope, credentials).await?;
            let header = token.header.clone();
            known.tokens.insert(scope.clone(), token);
            return Ok(Some(header));
        }
        match credentials {
            Some(Credentials::Password { user, password }) if challenges.basic => {
                let header =
                    sensitive(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))?;
                known.basic = Some(header.clone());
                Ok(Some(header).filter(|header| Some(header) != sent))
            }
            _ => Ok(None),
        }
    }
}

fn sensitive(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .context("the token has characters that a header cannot have")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The authentication schemes that a registry offers.
#[derive(Debug, Default)]
struct Challenges {
    basic: bool,
    bearer: Option<Bearer>,
}

#[derive(Debug)]
struct Bearer {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

impl Challenges {
    fn read(response: &Response) -> Self {
        let texts = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        Self::parse(texts)
    }

    fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut found = Self::default();
        for challenge in texts.flat_map(ChallengeParser::new).filter_map(Result::ok) {
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found.basic = true;
            } else if challenge.scheme.eq_ignore_ascii_case("bearer") && found.bearer.is_none() {
                found.bearer = Bearer::read(&challenge);
            }
        }
        found
    }
}

impl Bearer {
    fn read(challenge: &ChallengeRef<'_>) -> Option<Self> {
        let value = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        Some(Self { realm: value("realm")?, service: value("service"), scope: value("scope") })
    }

    /// Gets a token.
    async fn token(
        &self,
        registry: &Registry,
        scope: &Scope,
        credentials: Option<&Credentials>,
    ) -> Result<Token> {
        let realm = Url::parse(&self.realm)
            .with_context(|| format!("{}: realm {:?}", registry.host, self.realm))?;
        registry
            .url_policy
            .check(&realm)
            .with_context(|| format!("{}: the realm of its tokens", registry.host))?;
        let response = self.ask(registry, &realm, scope, credentials).await?;
        if response.status() != StatusCode::OK {
            let error = registry
                .failure(response, &format!("token of {}", realm.host_str().unwrap_or_default()))
                .await;
            return Err(error).with_context(|| registry.refused_user(credentials));
        }
        let body = registry.body(response, 1 << 20).await?;
        Token::read(&body).with_context(|| format!("{}: the answer of {realm}", registry.host))
    }

    async fn ask(
        &self,
        registry: &Registry,
        realm: &Url,
        scope: &Scope,
        credentials: Option<&Credentials>,
    ) -> Result<Response> {
        let fields = self.fields(scope);
        let mut backoff = registry.backoff();
        loop {
            let request = match credentials {
                Some(Credentials::IdentityToken(token)) => {
                    let body = form(realm, &fields, token);
                    let request = registry.tokens.post(realm.clone()).body(body);
                    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                }
                Some(Credentials::Password { user, password }) => {
                    registry.tokens.get(query(realm, &fields)).basic_auth(user, Some(password))
                }
                None => registry.tokens.get(query(realm, &fields)),
            };
            let sent = request.send().await.with_context(|| realm.to_string());
            match sent {
                Ok(response) if backoff::is_temporary_status(response.status()) => {
                    let asked = backoff::retry_after(response.headers());
                    backoff.wait(registry.failure(response, "token").await, asked).await?;
                }
                Err(error) if backoff::is_temporary(&error) => backoff.wait(error, None).await?,
                other => return other,
            }
        }
    }

    fn fields(&self, scope: &Scope) -> Vec<(&'static str, String)> {
        let mut scopes = scope.words();
        // The registry may name another scope in its challenge.
        if let Some(asked) = &self.scope {
            scopes.extend(asked.split(' ').filter(|word| !word.is_empty()).map(str::to_owned));
            scopes.sort();
            scopes.dedup();
        }
        let service = self.service.clone().map(|service| ("service", service));
        service.into_iter().chain(scopes.into_iter().map(|scope| ("scope", scope))).collect()
    }
}

/// The body of an OAuth2 request: each field once, the scopes separated by spaces.
fn form(realm: &Url, fields: &[(&'static str, String)], token: &str) -> String {
    let (scopes, others): (Vec<_>, Vec<_>) = fields.iter().partition(|(key, _)| *key == "scope");
    let scopes: Vec<&str> = scopes.into_iter().map(|(_, scope)| scope.as_str()).collect();
    let own =
        [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "orlop-image")];
    // A form is encoded like a query.
    let mut written = realm.clone();
    written.set_query(None);
    written.query_pairs_mut().extend_pairs(own).extend_pairs(others);
    if !scopes.is_empty() {
        written.query_pairs_mut().append_pair("scope", &scopes.join(" "));
    }
    written.query().unwrap_or_default().to_owned()
}

/// A URL with these fields as its query.
fn query(address: &Url, fields: &[(&'static str, String)]) -> Url {
    let mut address = address.clone();
    address.query_pairs_mut().extend_pairs(fields);
    address
}

impl Token {
    fn read(body: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct TokenResponse {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let answer: TokenResponse = serde_json::from_slice(body)?;
        let Some(token) = answer.token.or(answer.access_token).filter(|token| !token.is_empty())
        else {
            bail!("there is no token in it");
        };
        // 60 s is the default and the minimum of the specification. 5 s are reserved for the
        // transfer.
        let seconds = answer.expires_in.unwrap_or(60).max(60) - 5;
        let until = Instant::now() + Duration::from_secs(seconds.min(24 * 60 * 60));
        Ok(Self { header: sensitive(&format!("Bearer {token}"))?, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of distribution's specification, a challenge with both schemes, and unusual
    /// ones.
    #[test]
    fn challenges() {
        let hub = concat!(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io","#,
            r#"scope="repository:samalba/my-app:pull,push""#
        );
        let found = Challenges::parse([hub].into_iter());
        let bearer = found.bearer.unwrap();
        assert_eq!(bearer.realm, "https://auth.docker.io/token");
        assert_eq!(bearer.service.as_deref(), Some("registry.docker.io"));
        assert_eq!(bearer.scope.as_deref(), Some("repository:samalba/my-app:pull,push"));
        let found = Challenges::parse(
            [r#"basic Realm="a, b""#, r#"BEARER realm="https://x/""#].into_iter(),
        );
        assert!(found.basic && found.bearer.is_some());
        let found = Challenges::parse([r#"Bearer service="x""#, "Negotiate", "\"", ""].into_iter());
        assert!(!found.basic && found.bearer.is_none());
    }

    #[test]
    fn a_token_is_asked_for_by_all_its_scopes() {
        let bearer = Bearer {
            realm: "https://x/t?a=b".to_owned(),
            service: Some("s y".to_owned()),
            scope: Some("repository:to:pull,push repository:odd:*".to_owned()),
        };
        let scope = Scope::new("to", Access::Push).and_from("from");
        let url = query(&Url::parse(&bearer.realm).unwrap(), &bearer.fields(&scope));
        let expected = "https://x/t?a=b&service=s+y&scope=repository%3Afrom%3Apull\
                        &scope=repository%3Aodd%3A*&scope=repository%3Ato%3Apull%2Cpush";
        assert_eq!(url.as_str(), expected);
    }

    #[test]
    fn answers_of_token_services() {
        assert!(Token::read(br#"{"token":"a","expires_in":300}"#).is_ok());
        assert!(Token::read(br#"{"access_token":"a"}"#).is_ok());
        for bad in ["{}", r#"{"token":""}"#, "no", r#"{"token":"a\nb"}"#] {
            assert!(Token::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
