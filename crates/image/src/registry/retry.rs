//! Trying again what may pass: an overloaded registry, a line that broke.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::directions::Refused;

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause of our own.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest that a registry may ask for. Who wants more is told of as an error.
const PATIENCE: Duration = Duration::from_secs(120);

/// The pauses between attempts at one thing.
#[derive(Debug)]
pub struct Pause {
    left: u32,
    next: Duration,
}

impl Pause {
    pub fn new(retries: u32) -> Self {
        Self { left: retries, next: FIRST }
    }

    /// Waits before the next attempt: as long as the registry has asked for, or twice as long as
    /// the last time.
    ///
    /// # Errors
    /// The one of the last attempt, when there is no further one.
    pub async fn wait(&mut self, error: anyhow::Error, asked: Option<Duration>) -> Result<()> {
        if self.left == 0 || asked.is_some_and(|asked| asked > PATIENCE) {
            return Err(error);
        }
        self.left -= 1;
        // Not all clients of an overloaded registry at the same moment.
        let spread = self.next.mul_f64(f64::from(clock_nanoseconds() % 256) / 512.0);
        tokio::time::sleep(asked.unwrap_or(self.next) + spread).await;
        self.next = (self.next * 2).min(LONGEST);
        Ok(())
    }
}

fn clock_nanoseconds() -> u32 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos())
}

/// Whether an answer of this status may become a better one.
pub fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

/// Whether an error is one of the line, not of what was asked for, of a certificate, of where we
/// may be sent, or that nobody is there.
pub fn is_passing(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<reqwest::Error>() {
        Some(error) => !error.is_builder() && !error.is_redirect() && !is_final(error),
        None => false,
    }
}

/// Whether the same will come of another attempt.
fn is_final(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() || error.is::<Refused>() {
        return true;
    }
    // An I/O error says of the error in it that its source is that one's source.
    if let Some(error) = error.downcast_ref::<io::Error>() {
        let inner = error.get_ref().is_some_and(|inner| is_final(inner));
        return inner || error.kind() == io::ErrorKind::ConnectionRefused;
    }
    error.source().is_some_and(is_final)
}

/// What `Retry-After` asks for, in either of its forms (RFC 9110, 10.2.3).
pub fn asked_for(headers: &HeaderMap) -> Option<Duration> {
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
            |text: &str| asked_for(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(asked(&later).unwrap().as_secs().abs_diff(100) <= 2);
    }
}
