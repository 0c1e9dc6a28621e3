//! The rules for the URLs that a registry names: the token service (`realm`), the target of a
//! redirect, and the upload location (`Location`).
//!
//! Without rules, the owner of a registry could make us send requests that the owner cannot send:
//! to services on this machine or in its private network, or without encryption. So these rules
//! apply without `--insecure`:
//!
//! * The URL must be `https`.
//! * Its address must not be nearer to us than that of the registry ([`AddressScope`]): a registry
//!   on the Internet cannot name a server in a private network, and one in a private network cannot
//!   name this machine. The addresses are checked when a connection is made, so a DNS name cannot
//!   bypass the check. If a proxy resolves the names, the proxy must check them.

use std::error::Error;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};

/// The limit on redirects in a row.
const REDIRECTS: usize = 10;

/// The variables that name proxies.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The networks from which an address can be reached, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressScope {
    /// From this machine only.
    Loopback,
    /// From the same link.
    LinkLocal,
    /// From a private network. Addresses that do not belong to one host, such as multicast, count
    /// as private too.
    Private,
    /// From the Internet.
    Global,
}

impl AddressScope {
    /// The scope of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // connect(2) treats 0.0.0.0 as this machine.
            [0 | 127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [10, ..] | [192, 168, ..] | [198, 18 | 19, ..] | [192, 0, 0, _] | [224..=255, ..] => {
                Self::Private
            }
            [172, second, ..] if second & 0xf0 == 16 => Self::Private,
            [100, second, ..] if second & 0xc0 == 64 => Self::Private,
            _ => Self::Global,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let v4 = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Self::Loopback,
            // IPv4 addresses in IPv6: compatible, mapped, NAT64, 6to4.
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                v4(high, low)
            }
            [0x2002, high, low, ..] => v4(high, low),
            [first, ..] if first & 0xffc0 == 0xfe80 => Self::LinkLocal,
            [first, ..] if first & 0xfe00 == 0xfc00 || first >= 0xfec0 || first == 0x64 => {
                Self::Private
            }
            _ => Self::Global,
        }
    }
}

/// A URL or address that the rules do not allow.
#[derive(Debug)]
pub struct UrlRefused(String);

impl Display for UrlRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UrlRefused {}

/// The rules for one registry.
#[derive(Debug, Clone)]
pub struct UrlPolicy {
    insecure: bool,
    /// Its host, without the port.
    registry: String,
    /// The scope of its address: `Global`, the strictest one, until its name is resolved.
    own: Arc<Mutex<AddressScope>>,
    /// The hosts of proxies. The user names them, so they may have any address.
    proxies: Arc<[String]>,
}

impl UrlPolicy {
    /// The rules for the registry at `base`.
    #[must_use]
    pub fn new(base: &Url, insecure: bool) -> Self {
        let own = literal(base).map_or(AddressScope::Global, AddressScope::of);
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

    /// Checks a URL that the registry has named. A DNS name in it is checked when it is resolved.
    ///
    /// # Errors
    /// The rules do not allow it.
    pub fn check(&self, url: &Url) -> Result<(), UrlRefused> {
        if self.insecure {
            return Ok(());
        }
        if url.scheme() != "https" {
            return Err(UrlRefused(format!(
                "the registry names {url}, which is not encrypted (--insecure allows it)"
            )));
        }
        let host = url.host_str().unwrap_or_default();
        let name = host.trim_end_matches('.');
        let here = name == "localhost" || name.ends_with(".localhost");
        let scope = literal(url).map(AddressScope::of).or(here.then_some(AddressScope::Loopback));
        match scope {
            Some(scope) if host != self.registry && scope < self.own() => Err(self.too_near(host)),
            _ => Ok(()),
        }
    }

    /// Follows the redirects that the rules allow.
    #[must_use]
    pub fn redirects(&self) -> Policy {
        let rules = self.clone();
        Policy::custom(move |attempt| match rules.check(attempt.url()) {
            Ok(()) if attempt.previous().len() > REDIRECTS => {
                attempt.error(UrlRefused("too many redirects".to_owned()))
            }
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        })
    }

    /// Follows redirects only to the same server, for requests with credentials.
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
                "redirected to {}, which must not get the credentials",
                attempt.url().origin().ascii_serialization()
            );
            attempt.error(UrlRefused(text))
        })
    }

    fn own(&self) -> AddressScope {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn too_near(&self, host: &str) -> UrlRefused {
        let registry = &self.registry;
        UrlRefused(format!(
            "{registry} names the server {host}, which is nearer to us than itself \
             (--insecure allows it)"
        ))
    }

    /// The addresses of a name that the rules allow.
    fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
        let mut found: Vec<SocketAddr> = (name, 0).to_socket_addrs()?.collect();
        if self.insecure || self.proxies.iter().any(|proxy| proxy == name) {
            return Ok(found);
        }
        if name == self.registry {
            // The most distant scope of all its addresses, so that one near address does not allow
            // more.
            if let Some(scope) = found.iter().map(|address| AddressScope::of(address.ip())).max() {
                *self.own.lock().unwrap_or_else(PoisonError::into_inner) = scope;
            }
            return Ok(found);
        }
        let (own, any) = (self.own(), !found.is_empty());
        found.retain(|address| AddressScope::of(address.ip()) >= own);
        if any && found.is_empty() {
            return Err(self.too_near(name).into());
        }
        Ok(found)
    }
}

impl Resolve for UrlPolicy {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.clone();
        Box::pin(async move {
            let found =
                tokio::task::spawn_blocking(move || rules.addresses(name.as_str())).await??;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The address in a URL, if its host is not a name.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let cases = [
            (
                AddressScope::Loopback,
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
                AddressScope::LinkLocal,
                &["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.1.1", "2002:a9fe:1::"],
            ),
            (
                AddressScope::Private,
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
                AddressScope::Private,
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
                AddressScope::Global,
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
        for (scope, addresses) in cases {
            for address in addresses {
                assert_eq!(AddressScope::of(address.parse().unwrap()), scope, "{address}");
            }
        }
    }

    /// The scope of the registry decides; its own host is always allowed, and `--insecure` allows
    /// everything.
    #[test]
    fn never_nearer_than_the_registry() {
        let allowed = |registry: &str, insecure: bool, url: &str| {
            let rules = UrlPolicy::new(&Url::parse(registry).unwrap(), insecure);
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
        let rules = |registry: &str| UrlPolicy::new(&Url::parse(registry).unwrap(), false);
        let refused = rules("https://1.1.1.1/").addresses("localhost").unwrap_err().to_string();
        assert!(refused.contains("localhost, which is nearer"), "{refused}");
        assert!(!rules("https://127.0.0.1/").addresses("localhost").unwrap().is_empty());
        let own = rules("https://localhost/");
        assert_eq!(own.own(), AddressScope::Global);
        assert!(!own.addresses("localhost").unwrap().is_empty());
        assert_eq!(own.own(), AddressScope::Loopback);
    }
}
