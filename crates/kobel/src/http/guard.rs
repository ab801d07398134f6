//! Which names and which origins the hub answers to.
//!
//! A browser can be made to send requests here by any page that it shows. The `Host` header tells
//! whether it was fooled about the name (DNS rebinding), the `Origin` header whose page it is.

use std::{collections::BTreeSet, net::IpAddr};

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::config::{HostName, Origin};

/// The names and origins that are let in.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    hosts: BTreeSet<String>,
    origins: BTreeSet<String>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It names no host, or something that is none.
    #[error("the request has no valid Host header")]
    BadHost,
    /// It names a host that is not this one.
    #[error("this hub does not answer to the name {0:?}; allow it by --allowed-host {0}")]
    ForeignHost(String),
    /// It comes from another site's page.
    #[error("pages of the origin {0:?} may not call this hub; allow them by --allowed-origin")]
    ForeignOrigin(String),
}

impl Refused {
    /// The HTTP status of the refusal.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadHost => StatusCode::BAD_REQUEST,
            Self::ForeignHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin(_) => StatusCode::FORBIDDEN,
        }
    }

    /// The code of the refusal, for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::BadHost => "BAD_HOST",
            Self::ForeignHost(_) => "FOREIGN_HOST",
            Self::ForeignOrigin(_) => "FOREIGN_ORIGIN",
        }
    }
}

impl Guard {
    /// `machine` is this machine's name; `public` the origin before a proxy.
    pub(crate) fn new(
        machine: &str,
        public: Option<&Origin>,
        hosts: &[HostName],
        origins: &[Origin],
    ) -> Self {
        let machine = machine.to_ascii_lowercase();
        let mut names = BTreeSet::from(["localhost".to_owned()]);
        if !machine.is_empty() {
            names.insert(format!("{machine}.local"));
            names.insert(machine);
        }
        names.extend(public.map(|o| split_port(o.authority()).0.to_owned()));
        names.extend(hosts.iter().map(|h| h.as_str().to_owned()));
        let origins = origins.iter().chain(public).map(|o| o.as_str().to_owned()).collect();
        Self { hosts: names, origins }
    }

    /// Whether a request with these headers may be answered. `secure`: it is known to have come
    /// by https; otherwise a proxy may have taken that off, and either scheme will do.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, headers: &HeaderMap, secure: bool) -> Result<(), Refused> {
        let host = self.host(headers)?;
        match headers.get(header::ORIGIN) {
            None => Ok(()),
            Some(origin) => {
                let origin = String::from_utf8_lossy(origin.as_bytes()).to_ascii_lowercase();
                if self.is_own(&origin, &host, secure) || self.origins.contains(&origin) {
                    Ok(())
                } else {
                    Err(Refused::ForeignOrigin(printable(&origin)))
                }
            }
        }
    }

    /// Whether a request, [checked](Self::check) before, comes from a page that may act for the
    /// person who is signed in: the hub's own, or one of a listed origin. A browser sends `Origin`
    /// with everything but a simple GET of the page's own site, and `Sec-Fetch-Site` with that.
    pub(crate) fn is_from_own_page(&self, headers: &HeaderMap) -> bool {
        const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
        headers.contains_key(header::ORIGIN)
            || headers.get(SITE).is_some_and(|s| s == "same-origin")
    }

    fn host(&self, headers: &HeaderMap) -> Result<String, Refused> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Refused::BadHost);
        };
        let host = host.to_str().map_err(|_| Refused::BadHost)?.to_ascii_lowercase();
        let (name, port) = split_port(&host);
        if name.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refused::BadHost);
        }
        // An address cannot be rebound: whoever asks for it by number means it.
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        if bare.parse::<IpAddr>().is_ok() || self.hosts.contains(name) {
            Ok(host)
        } else {
            Err(Refused::ForeignHost(printable(name)))
        }
    }

    /// Whether an origin is the one that the request was sent to. A page that came by plain http
    /// may be anybody's who sits on the wire: it is not the own one of what is asked by https.
    fn is_own(&self, origin: &str, host: &str, secure: bool) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else {
            return false;
        };
        let default = match scheme {
            "http" if !secure => ":80",
            "https" => ":443",
            _ => return false,
        };
        let strip = |a: &str| a.strip_suffix(default).unwrap_or(a).to_owned();
        strip(authority) == strip(host)
    }
}

fn split_port(authority: &str) -> (&str, &str) {
    // The colons of an IPv6 address stand in brackets.
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (authority, ""),
    }
}

fn printable(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn guard() -> Guard {
        let public = "https://kobel.example".parse().unwrap();
        let host = "other.example".parse().unwrap();
        let origin = "https://status.example".parse().unwrap();
        Guard::new("Nest", Some(&public), &[host], &[origin])
    }

    fn check(host: &str, origin: Option<&str>) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        guard().check(&headers, false)
    }

    #[test]
    fn own_names_and_addresses_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1:8000",
            "[::1]:8000",
            "192.168.1.7",
            "nest",
            "nest.local:8000",
            "kobel.example",
            "other.example:81",
        ] {
            assert_eq!(check(host, None), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "nest.evil", "kobel.example.evil:80"]
        {
            assert!(matches!(check(host, None), Err(Refused::ForeignHost(_))), "{host}");
        }
        for host in ["", ":80", "localhost:x"] {
            assert_eq!(check(host, None), Err(Refused::BadHost), "{host}");
        }
        assert_eq!(guard().check(&HeaderMap::new(), false), Err(Refused::BadHost));
    }

    #[test]
    fn own_and_listed_origins_are_let_in() {
        for (host, origin) in [
            ("localhost:8000", "http://localhost:8000"),
            ("nest", "http://nest"),
            ("nest:80", "http://nest"),
            ("nest:443", "https://nest"),
            ("127.0.0.1:9", "https://kobel.example"),
            ("localhost", "https://status.example"),
        ] {
            assert_eq!(check(host, Some(origin)), Ok(()), "{origin} to {host}");
        }
        for (host, origin) in [
            ("localhost:8000", "http://localhost:9000"),
            ("localhost:8000", "http://evil.example"),
            ("localhost:8000", "null"),
            ("localhost", "http://localhost.evil"),
            ("localhost", "http://status.example"),
            ("localhost", "file://localhost"),
        ] {
            assert!(
                matches!(check(host, Some(origin)), Err(Refused::ForeignOrigin(_))),
                "{origin}"
            );
        }
    }

    #[test]
    fn what_is_asked_by_https_is_not_told_to_a_page_that_came_by_http() {
        for (origin, secure, own) in [
            ("https://localhost:8443", true, true),
            ("http://localhost:8443", true, false),
            ("http://localhost:8443", false, true),
            ("https://localhost:8443", false, true),
            ("https://kobel.example", true, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("localhost:8443"));
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(guard().check(&headers, secure).is_ok(), own, "{origin} {secure}");
        }
    }

    #[test]
    fn a_page_shows_itself() {
        let mut headers = HeaderMap::new();
        assert!(!guard().is_from_own_page(&headers));
        headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
        assert!(!guard().is_from_own_page(&headers));
        headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
        assert!(guard().is_from_own_page(&headers));
    }

    proptest! {
        #[test]
        fn any_header_is_answered(host in "[ -~]{0,60}", origin in "[ -~]{0,60}") {
            let _ = check(&host, Some(&origin));
        }
    }
}
