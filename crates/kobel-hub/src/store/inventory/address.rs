//! `ssh://user@host:port`: where the hub dials a device.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The port of SSH.
pub const SSH_PORT: u16 = 22;

/// The longest host and user name.
const LONGEST: usize = 253;

/// Where and as whom the hub signs in over SSH. Reads `ssh://me@host:2222`, `me@host`, `host` and
/// `[2001:db8::1]:22`; a form without a user says nothing of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshAddress {
    /// The user there; `None` until somebody names one.
    pub user: Option<String>,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshAddressError {
    /// Another scheme.
    #[error("{0:?} is not read over SSH: write the address as ssh://me@host or ssh://me@host:2222")]
    Scheme(String),
    /// More than an address.
    #[error("nothing may follow the port: write the address as ssh://me@host:2222")]
    Path,
    /// A password in the address would stand in lists and logs.
    #[error(
        "a password does not belong in an address: leave it away, and set it as the device's secret"
    )]
    Password,
    /// No host.
    #[error("no host: write the address as ssh://me@host")]
    NoHost,
    /// Not a host name.
    #[error(
        "{0:?} is no host: use letters, digits, '.', '-' and '_', not beginning with '-', or an address"
    )]
    Host(String),
    /// Not a port.
    #[error("{0:?} is no port: use 1 to 65535")]
    Port(String),
    /// Not a user.
    #[error("{0:?} is no user: use 1 to 64 printable characters without spaces, '@', ':' and '/'")]
    User(String),
}

impl SshAddress {
    /// `host:port`, as host keys are pinned by.
    pub fn host_port(&self) -> String {
        let host = &self.host;
        if host.contains(':') {
            format!("[{host}]:{}", self.port)
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl FromStr for SshAddress {
    type Err = SshAddressError;

    fn from_str(text: &str) -> Result<Self, SshAddressError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ssh") => rest,
            Some((scheme, _)) => return Err(SshAddressError::Scheme(printable(scheme))),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(SshAddressError::Path);
        }
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(SshAddressError::Password),
            Some((user, host)) if is_user(user) => (Some(user.to_owned()), host),
            Some((user, _)) => return Err(SshAddressError::User(printable(user))),
            None => (None, rest),
        };
        let (host, port) = host_and_port(host)?;
        let port = match port {
            None => SSH_PORT,
            Some(port) => match port.parse() {
                Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => number,
                _ => return Err(SshAddressError::Port(printable(port))),
            },
        };
        if host.is_empty() {
            return Err(SshAddressError::NoHost);
        }
        if !is_host(host) {
            return Err(SshAddressError::Host(printable(host)));
        }
        Ok(Self { user, host: host.to_ascii_lowercase(), port })
    }
}

fn host_and_port(text: &str) -> Result<(&str, Option<&str>), SshAddressError> {
    if let Some(inside) = text.strip_prefix('[') {
        let wrong = || SshAddressError::Host(printable(text));
        let (host, rest) = inside.split_once(']').ok_or_else(wrong)?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(wrong());
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(wrong()),
        };
    }
    // A bare IPv6 address has more than one colon and no port.
    Ok(match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    })
}

fn is_host(host: &str) -> bool {
    if host.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    host.len() <= LONGEST && !host.starts_with(['-', '.']) && host.bytes().all(fits)
}

/// Whether it can be a user: it never reaches a shell, but it is shown.
fn is_user(user: &str) -> bool {
    (1..=64).contains(&user.chars().count())
        && !user.starts_with('-')
        && !user.chars().any(|c| c.is_control() || c.is_whitespace() || "@:/".contains(c))
}

fn printable(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for SshAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.host.contains(':'), self.port) {
            (true, SSH_PORT) => write!(f, "[{}]", self.host),
            (false, SSH_PORT) => f.write_str(&self.host),
            _ => f.write_str(&self.host_port()),
        }
    }
}

impl Serialize for SshAddress {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SshAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        for (text, shown) in [
            ("ssh://me@host", "ssh://me@host"),
            ("SSH://me@Host.Example/", "ssh://me@host.example"),
            ("me@host:2222", "ssh://me@host:2222"),
            ("host", "ssh://host"),
            ("host:22", "ssh://host"),
            ("ssh://o'neil$(x)@10.0.0.7:22", "ssh://o'neil$(x)@10.0.0.7"),
            ("ssh://me@[2001:db8::1]:2222", "ssh://me@[2001:db8::1]:2222"),
            ("me@2001:db8::1", "ssh://me@[2001:db8::1]"),
            ("node_1", "ssh://node_1"),
        ] {
            assert_eq!(text.parse::<SshAddress>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, why) in [
            ("http://host", "not read over SSH"),
            ("ssh://me:hunter2@host", "password does not belong"),
            ("ssh://", "no host"),
            ("ssh://me@host/path", "nothing may follow"),
            ("ssh://me@-oProxyCommand=x", "is no host"),
            ("ssh://me@host;rm", "is no host"),
            ("ssh://me@host:0", "is no port"),
            ("ssh://me@host:+2", "is no port"),
            ("ssh://me@host:65536", "is no port"),
            ("ssh://m e@host", "is no user"),
            ("ssh://-l@host", "is no user"),
            ("ssh://a\nb@host", "is no user"),
            ("ssh://me@[::1", "is no host"),
        ] {
            let error = text.parse::<SshAddress>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_read_as_it_is_shown(text in "(ssh://)?([ -~]{0,10}@)?[a-z0-9:.\\[\\]-]{0,20}") {
            if let Ok(address) = text.parse::<SshAddress>() {
                prop_assert_eq!(address.to_string().parse::<SshAddress>().unwrap(), address);
            }
        }
    }
}
