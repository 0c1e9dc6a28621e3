//! Where a registry may send us: to a service that gives out tokens (`realm`), to storage that has
//! the blobs (redirects), to where blobs are uploaded to (`Location`).
//!
//! Whoever runs a registry, or stands in its place, could otherwise have requests made in our name:
//! to services of this machine or its network that only we can reach, or in clear to everybody on
//! the way. Hence, without `--insecure`:
//!
//! * Always with TLS.
//! * Never nearer than the registry itself: one on the Internet does not send us into a private
//!   network, nor one in a private network to this machine. Addresses are checked as they are
//!   connected to, so a name does not help. What a proxy makes of a name is for the proxy to check.

use std::error::Error;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};

/// How many redirects in a row are followed.
const REDIRECTS: usize = 10;

/// The variables that name proxies.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From this machine alone.
    Machine,
    /// From the same link.
    Link,
    /// From a private network; or it is not the address of one host.
    Private,
    /// From everywhere.
    Public,
}

impl Reach {
    /// That of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // 0.0.0.0 is this machine to connect(2).
            [0 | 127, ..] => Self::Machine,
            [169, 254, ..] => Self::Link,
            [10, ..] | [192, 168, ..] | [198, 18 | 19, ..] | [192, 0, 0, _] | [224..=255, ..] => {
                Self::Private
            }
            [172, second, ..] if second & 0xf0 == 16 => Self::Private,
            [100, second, ..] if second & 0xc0 == 64 => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let v4 = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Self::Machine,
            // Addresses of IPv4 in their several forms: compatible, mapped, NAT64, 6to4.
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                v4(high, low)
            }
            [0x2002, high, low, ..] => v4(high, low),
            [first, ..] if first & 0xffc0 == 0xfe80 => Self::Link,
            [first, ..] if first & 0xfe00 == 0xfc00 || first >= 0xfec0 || first == 0x64 => {
                Self::Private
            }
            _ => Self::Public,
        }
    }
}

/// Somewhere a registry may not send us.
#[derive(Debug)]
pub struct Refused(String);

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refused {}

/// The rules for one registry.
#[derive(Debug, Clone)]
pub struct Directions {
    insecure: bool,
    /// Its host, without the port.
    registry: String,
    /// Its own reach; `Public`, for which the most is forbidden, until its name has been resolved.
    own: Arc<Mutex<Reach>>,
    /// The hosts of proxies, which are named by who calls us.
    proxies: Arc<[String]>,
}

impl Directions {
    /// The rules for the registry at `base`.
    #[must_use]
    pub fn new(base: &Url, insecure: bool) -> Self {
        let own = literal(base).map_or(Reach::Public, Reach::of);
        let proxies = PROXIES.iter().filter_map(|name| {
            let text = std::env::var(name).ok()?;
            let url = Url::parse(&text)
                .ok()
                .filter(Url::has_host)
                .or_else(|| Url::parse(&format!("http://{text}")).ok())?;
            url.host_str().map(str::to_owned)
        });
        Self {
            insecure,
            registry: base.host_str().unwrap_or_default().to_owned(),
            own: Arc::new(Mutex::new(own)),
            proxies: proxies.collect(),
        }
    }

    /// Whether an address that the registry has named may be asked. Names are checked when they are
    /// resolved.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        if self.insecure {
            return Ok(());
        }
        if url.scheme() != "https" {
            return Err(Refused(format!(
                "sent on to {url}, which is without encryption (--insecure allows it)"
            )));
        }
        let host = url.host_str().unwrap_or_default();
        let name = host.trim_end_matches('.');
        let here = name == "localhost" || name.ends_with(".localhost");
        let reach = literal(url).map(Reach::of).or(here.then_some(Reach::Machine));
        match reach {
            Some(reach) if host != self.registry && reach < self.own() => Err(self.too_near(host)),
            _ => Ok(()),
        }
    }

    /// Follows redirects that lead to where the registry may send us.
    #[must_use]
    pub fn redirects(&self) -> Policy {
        let rules = self.clone();
        Policy::custom(move |attempt| match rules.check(attempt.url()) {
            Ok(()) if attempt.previous().len() > REDIRECTS => {
                attempt.error(Refused("too many redirects".to_owned()))
            }
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        })
    }

    /// Follows redirects to the very same server, for requests that say who we are.
    #[must_use]
    pub fn same_server() -> Policy {
        Policy::custom(|attempt: Attempt<'_>| {
            let stays = attempt
                .previous()
                .first()
                .is_some_and(|first| first.origin() == attempt.url().origin());
            if stays && attempt.previous().len() <= REDIRECTS {
                return attempt.follow();
            }
            let text = format!(
                "sent on to {}, which is not told who we are",
                attempt.url().origin().ascii_serialization()
            );
            attempt.error(Refused(text))
        })
    }

    fn own(&self) -> Reach {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn too_near(&self, host: &str) -> Refused {
        let registry = &self.registry;
        Refused(format!(
            "{registry} sends us to {host}, which is nearer to us than itself (--insecure allows it)"
        ))
    }

    /// The addresses of a name that may be connected to.
    fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
        let mut found: Vec<SocketAddr> = (name, 0).to_socket_addrs()?.collect();
        if self.insecure || self.proxies.iter().any(|proxy| proxy == name) {
            return Ok(found);
        }
        if name == self.registry {
            // The farthest of its addresses, which one alone cannot bring nearer.
            if let Some(reach) = found.iter().map(|address| Reach::of(address.ip())).max() {
                *self.own.lock().unwrap_or_else(PoisonError::into_inner) = reach;
            }
            return Ok(found);
        }
        let (own, any) = (self.own(), !found.is_empty());
        found.retain(|address| Reach::of(address.ip()) >= own);
        if any && found.is_empty() {
            return Err(self.too_near(name).into());
        }
        Ok(found)
    }
}

impl Resolve for Directions {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.clone();
        Box::pin(async move {
            let found =
                tokio::task::spawn_blocking(move || rules.addresses(name.as_str())).await??;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The address in a URL that has no name.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches() {
        let cases = [
            (
                Reach::Machine,
                &[
                    "127.0.0.1",
                    "127.9.9.9",
                    "0.0.0.0",
                    "::1",
                    "::",
                    "::ffff:127.0.0.1",
                    "64:ff9b::7f00:1",
                ][..],
            ),
            (
                Reach::Link,
                &["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.1.1", "2002:a9fe:1::"],
            ),
            (
                Reach::Private,
                &[
                    "10.1.2.3",
                    "172.16.0.1",
                    "172.31.9.9",
                    "192.168.1.1",
                    "100.64.0.1",
                    "100.127.0.1",
                ],
            ),
            (
                Reach::Private,
                &[
                    "224.0.0.1",
                    "255.255.255.255",
                    "fc00::1",
                    "fdff::1",
                    "fec0::1",
                    "ff02::1",
                    "64:ff9b:1::",
                ],
            ),
            (
                Reach::Public,
                &[
                    "1.1.1.1",
                    "172.32.0.1",
                    "100.128.0.1",
                    "2600::1",
                    "64:ff9b::101:101",
                    "192.0.1.1",
                ],
            ),
        ];
        for (reach, addresses) in cases {
            for address in addresses {
                assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
            }
        }
    }

    /// A registry's own reach decides; its own host is always allowed, and `--insecure` allows
    /// everything.
    #[test]
    fn never_nearer_than_the_registry() {
        let allowed = |registry: &str, insecure: bool, url: &str| {
            let rules = Directions::new(&Url::parse(registry).unwrap(), insecure);
            rules.check(&Url::parse(url).unwrap()).is_ok()
        };
        for (registry, url, expected) in [
            ("https://1.1.1.1/", "https://8.8.8.8/x", true),
            ("https://1.1.1.1/", "https://storage.example/x", true),
            ("https://1.1.1.1/", "http://8.8.8.8/x", false),
            ("https://1.1.1.1/", "http://1.1.1.1/x", false),
            ("https://1.1.1.1/", "https://10.0.0.1/x", false),
            ("https://1.1.1.1/", "https://[::ffff:10.0.0.1]/x", false),
            ("https://1.1.1.1/", "https://2130706433/x", false),
            ("https://1.1.1.1/", "https://x.localhost./x", false),
            ("https://registry.example/", "https://127.0.0.1/x", false),
            ("https://10.0.0.1/", "https://192.168.0.1/x", true),
            ("https://10.0.0.1/", "https://169.254.169.254/x", false),
            ("https://10.0.0.1/", "https://localhost/x", false),
            ("https://127.0.0.1:5000/", "https://localhost/x", true),
            ("https://127.0.0.1:5000/", "http://127.0.0.1:5001/x", false),
        ] {
            assert_eq!(allowed(registry, false, url), expected, "{registry} → {url}");
            assert!(allowed(registry, true, url), "{registry} → {url}");
        }
    }

    #[test]
    fn a_name_is_as_near_as_its_addresses() {
        let rules = |registry: &str| Directions::new(&Url::parse(registry).unwrap(), false);
        let refused = rules("https://1.1.1.1/").addresses("localhost").unwrap_err().to_string();
        assert!(refused.contains("localhost, which is nearer"), "{refused}");
        assert!(!rules("https://127.0.0.1/").addresses("localhost").unwrap().is_empty());
        let own = rules("https://localhost/");
        assert_eq!(own.own(), Reach::Public);
        assert!(!own.addresses("localhost").unwrap().is_empty());
        assert_eq!(own.own(), Reach::Machine);
    }
}
