//! Retries with exponential backoff, when a registry is overloaded or a connection fails.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::url_policy::UrlRefused;

/// The first pause. Each further one is twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause of the backoff.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest pause that a registry may request. If it requests a longer one, its error is
/// returned.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// The pauses between the attempts at one request.
#[derive(Debug)]
pub struct Backoff {
    left: u32,
    next: Duration,
}

impl Backoff {
    pub fn new(retries: u32) -> Self {
        Self { left: retries, next: FIRST }
    }

    /// Waits before the next attempt: as long as the registry requests, else twice as long as the
    /// last time.
    ///
    /// # Errors
    /// `error`, if no attempts are left.
    pub async fn wait(&mut self, error: anyhow::Error, asked: Option<Duration>) -> Result<()> {
        if self.left == 0 || asked.is_some_and(|asked| asked > LONGEST_ASKED) {
            return Err(error);
        }
        self.left -= 1;
        // Random, so that not all clients of an overloaded registry try again at the same time.
        let spread = self.next.mul_f64(f64::from(clock_nanoseconds() % 256) / 512.0);
        tokio::time::sleep(asked.unwrap_or(self.next) + spread).await;
        self.next = (self.next * 2).min(LONGEST);
        Ok(())
    }
}

fn clock_nanoseconds() -> u32 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos())
}

/// Whether a request with this status may succeed later.
pub fn is_temporary_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

/// Whether an error is a connection failure that may be temporary. A wrong certificate, a refused
/// connection, a redirect that is not allowed and a malformed request are not temporary.
pub fn is_temporary(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<reqwest::Error>() {
        Some(error) => !error.is_builder() && !error.is_redirect() && !is_final(error),
        None => false,
    }
}

/// Whether another attempt would fail in the same way.
fn is_final(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() || error.is::<UrlRefused>() {
        return true;
    }
    // `source` of an I/O error is the source of its inner error. So the inner error is checked
    // here.
    if let Some(error) = error.downcast_ref::<io::Error>() {
        let inner = error.get_ref().is_some_and(|inner| is_final(inner));
        return inner || error.kind() == io::ErrorKind::ConnectionRefused;
    }
    error.source().is_some_and(is_final)
}

/// The pause of the header `Retry-After`, in either of its forms (RFC 9110, 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after() {
        let asked =
            |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(asked(&later).unwrap().as_secs().abs_diff(100) <= 2);
    }
}
