//! What a registry says when it says no (distribution-spec, "Error Codes").

use std::fmt::{self, Display};

use reqwest::{Response, StatusCode};
use serde::Deserialize;

/// An answer other than the one that was hoped for.
#[derive(Debug, Clone)]
pub struct RegistryError {
    host: String,
    what: String,
    /// The HTTP status.
    pub status: StatusCode,
    /// The codes of the registry's own errors: `MANIFEST_UNKNOWN`, `DENIED`, …
    pub codes: Vec<String>,
    text: String,
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// How much of an answer that is no list of errors is worth telling, in bytes.
const TELLING: usize = 200;

impl RegistryError {
    /// Takes an error out of a response. `what` is what was asked for.
    pub(super) async fn read(host: &str, what: &str, mut response: Response) -> Self {
        let status = response.status();
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > 64 << 10 {
                break;
            }
        }
        let (codes, text) = tell(&bytes);
        Self { host: host.to_owned(), what: what.to_owned(), status, codes, text }
    }

    /// Whether an error is one of a registry, with this status.
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

/// The codes, and all in one line without control characters: a registry must not write to our
/// terminal as it likes.
fn tell(body: &[u8]) -> (Vec<String>, String) {
    let plain = |text: &str| {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    if let Ok(body) = serde_json::from_slice::<Body>(body) {
        let tell = |entry: &Entry| match (plain(&entry.code), plain(&entry.message)) {
            (code, message) if message.is_empty() => code,
            (code, message) => format!("{code}: {message}"),
        };
        let text: Vec<String> = body.errors.iter().map(tell).collect();
        return (body.errors.into_iter().map(|entry| entry.code).collect(), text.join("; "));
    }
    let text = plain(&String::from_utf8_lossy(&body[..body.len().min(TELLING)]));
    // A page for people with browsers tells nothing here.
    (Vec::new(), if text.starts_with('<') { String::new() } else { text })
}

#[cfg(test)]
mod tests {
    use super::tell;

    #[test]
    fn told_in_one_line() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest\nunknown\u001b[31m","detail":{}},{"code":"X"}]}"#;
        let (codes, text) = tell(body);
        assert_eq!(codes, ["MANIFEST_UNKNOWN", "X"]);
        assert_eq!(text, "MANIFEST_UNKNOWN: manifest unknown [31m; X");
        assert_eq!(tell(b"<html>no</html>").1, "");
        assert_eq!(tell(b"no\r\nluck").1, "no luck");
        assert_eq!(tell(b"").1, "");
    }
}
