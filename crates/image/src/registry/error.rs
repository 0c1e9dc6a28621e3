//! Errors of a registry (distribution-spec, "Error Codes").

use std::fmt::{self, Display};

use reqwest::{Response, StatusCode};
use serde::Deserialize;

/// A response with an unexpected status.
#[derive(Debug, Clone)]
pub struct RegistryError {
    host: String,
    what: String,
    /// The HTTP status.
    pub status: StatusCode,
    /// The error codes in the body: `MANIFEST_UNKNOWN`, `DENIED`, …
    pub codes: Vec<String>,
    text: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The limit on shown bytes of a body that is not a list of errors.
const SHOWN: usize = 200;

impl RegistryError {
    /// Reads the error from a response. `what` names the request.
    pub(super) async fn read(host: &str, what: &str, mut response: Response) -> Self {
        let status = response.status();
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > 64 << 10 {
                break;
            }
        }
        let (codes, text) = parse(&bytes);
        Self { host: host.to_owned(), what: what.to_owned(), status, codes, text }
    }

    /// Whether an error is a [`RegistryError`] with this status.
    #[must_use]
    pub fn is(error: &anyhow::Error, status: StatusCode) -> bool {
        error.downcast_ref::<Self>().is_some_and(|error| error.status == status)
    }
}

impl Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.status.canonical_reason().unwrap_or("unknown status");
        write!(f, "{}", self.host)?;
        if !self.what.is_empty() {
            write!(f, ": {}", self.what)?;
        }
        write!(f, ": {} {reason}", self.status.as_u16())?;
        if self.text.is_empty() { Ok(()) } else { write!(f, " ({})", self.text) }
    }
}

impl std::error::Error for RegistryError {}

/// The error codes, and the text in one line without control characters, which could affect the
/// user's terminal.
fn parse(body: &[u8]) -> (Vec<String>, String) {
    let plain = |text: &str| {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    if let Ok(body) = serde_json::from_slice::<ErrorBody>(body) {
        let show = |entry: &ErrorEntry| match (plain(&entry.code), plain(&entry.message)) {
            (code, message) if message.is_empty() => code,
            (code, message) => format!("{code}: {message}"),
        };
        let text: Vec<String> = body.errors.iter().map(show).collect();
        return (body.errors.into_iter().map(|entry| entry.code).collect(), text.join("; "));
    }
    let text = plain(&String::from_utf8_lossy(&body[..body.len().min(SHOWN)]));
    // An HTML page is not shown.
    (Vec::new(), if text.starts_with('<') { String::new() } else { text })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn errors_are_shown_in_one_line() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","detail":{},
            "message":"manifest\nunknown\u001b[31m"},{"code":"X"}]}"#;
        let (codes, text) = parse(body);
        assert_eq!(codes, ["MANIFEST_UNKNOWN", "X"]);
        assert_eq!(text, "MANIFEST_UNKNOWN: manifest unknown [31m; X");
        assert_eq!(parse(b"<html>no</html>").1, "");
        assert_eq!(parse(b"no\r\nluck").1, "no luck");
        assert_eq!(parse(b"").1, "");
    }
}
