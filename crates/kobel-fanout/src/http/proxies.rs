//! Who the client is where a proxy stands between: the `X-Forwarded-…` headers (a convention that
//! RFC 7239, section 7, describes; nginx, Caddy, HAProxy and the clouds' balancers keep to it).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use http::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, de};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who sent a request, as far as the listener knows. [`serve_with`](super::serve_with) puts it
/// into each request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address; the port is 0 where a proxy did not say it.
    pub address: SocketAddr,
    /// Whether nobody between client and server, or between client and trusted proxy, can read
    /// along.
    pub secure: bool,
    /// Whether a trusted proxy passed the request on, and said what stands here.
    pub proxied: bool,
}

/// A network, in CIDR notation, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

/// Why a text names no network of proxies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is neither an address nor CIDR.
    #[error("{0:?} is no network: write it as 10.0.0.0/8, 192.168.1.7 or fd00::/8")]
    NoNetwork(String),
    /// It is everything.
    #[error(
        "{0:?} is everybody, and so anybody could claim any address: name the proxies' own \
         addresses or networks"
    )]
    Everybody(String),
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError::NoNetwork(text.to_owned());
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| wrong())?.trunc(),
        };
        // Addresses are compared in their IPv4 form where they have one.
        let network = match network {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
                Some(v4) => Ipv4Net::new(v4, v6.prefix_len() - 96).map_err(|_| wrong())?.into(),
                None => network,
            },
            _ => network,
        };
        if network.prefix_len() == 0 {
            return Err(NetworkError::Everybody(text.to_owned()));
        }
        Ok(Self(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The proxies whose word about a client is taken. Default: none, and every `X-Forwarded-…` header
/// is as good as absent, since anybody can send one.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[Network]>);

impl FromIterator<Network> for Proxies {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl Proxies {
    /// Whether an address is a trusted proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    /// Who sent a request with these headers that came from `peer`, by an encrypted connection or
    /// not.
    ///
    /// The client is the right-most address in `X-Forwarded-For` that is no trusted proxy's: each
    /// proxy adds on the right whom it heard, and what an untrusted one heard is its own claim. If
    /// all are trusted it is the left-most; if the walk meets what is no address, the peer.
    /// `X-Forwarded-Proto` counts by its last word, that of the nearest proxy.
    pub fn client(&self, peer: SocketAddr, encrypted: bool, headers: &HeaderMap) -> Client {
        if !self.trusts(peer.ip()) {
            return Client { address: peer, secure: encrypted, proxied: false };
        }
        let scheme = headers.get_all(&FORWARDED_PROTO).iter().next_back();
        let scheme = scheme.and_then(|value| {
            value.as_bytes().rsplit(|byte| *byte == b',').next().map(<[u8]>::trim_ascii)
        });
        Client {
            address: self.forwarded(headers).unwrap_or(peer),
            secure: scheme.map_or(encrypted, |s| s.eq_ignore_ascii_case(b"https")),
            proxied: true,
        }
    }

    fn forwarded(&self, headers: &HeaderMap) -> Option<SocketAddr> {
        let mut left_most = None;
        for value in headers.get_all(&FORWARDED_FOR).iter().rev() {
            for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
                let address = address(entry.trim_ascii())?;
                if !self.trusts(address.ip()) {
                    return Some(address);
                }
                left_most = Some(address);
            }
        }
        left_most
    }
}

/// An address, alone, in brackets, or with a port, as some balancers write it.
fn address(entry: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, 0),
        Err(_) => text.parse::<SocketAddr>().ok()?,
    };
    // Nobody's address is no client's.
    let ip = address.ip().to_canonical();
    (!ip.is_unspecified()).then_some(SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests;
