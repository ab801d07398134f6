//! Where Redis is.

use std::{fmt, str::FromStr};

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsMode,
    cluster::{ClusterClient, ClusterClientBuilder},
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};

/// The port where none is named, of Redis and of Sentinel.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The address of Redis: of a single server, of the Sentinels that know the master, or of some nodes
/// of a Redis Cluster.
///
/// ```text
/// redis://[user[:password]@]host[:port][/db]      rediss:// with TLS
/// redis+sentinel://[user[:password]@]host[:port][,host…]/master[/db]      rediss+sentinel://
/// redis+cluster://[user[:password]@]host[:port][,host…]      rediss+cluster://
/// ```
///
/// User and password of Sentinels, where they ask for any, are those of Redis. It never shows its
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterUrl {
    kind: Kind,
    tls: bool,
    hosts: Vec<(String, u16)>,
    user: Option<String>,
    password: Option<String>,
    db: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel { master: String },
    Cluster,
}

/// Why a text is no address of Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterUrlError {
    /// Another scheme.
    #[error(
        "it begins with redis://, rediss://, redis+sentinel:// or redis+cluster:// (rediss+…:// with \
         TLS)"
    )]
    Scheme,
    /// A part of it is wrong.
    #[error("{0}")]
    Part(&'static str),
}

impl FromStr for ClusterUrl {
    type Err = ClusterUrlError;

    fn from_str(text: &str) -> Result<Self, ClusterUrlError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(ClusterUrlError::Scheme)?;
        let (kind, tls) = match scheme.replace('-', "+").as_str() {
            "redis" => ("single", false),
            "rediss" => ("single", true),
            "redis+sentinel" => ("sentinel", false),
            "rediss+sentinel" => ("sentinel", true),
            "redis+cluster" => ("cluster", false),
            "rediss+cluster" => ("cluster", true),
            _ => return Err(ClusterUrlError::Scheme),
        };
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (credentials, rest),
            None => ("", rest),
        };
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (decoded(user)?, decoded(password)?),
            None => (decoded(credentials)?, None),
        };
        let mut path = rest.trim_end_matches('/').split('/');
        let port = if kind == "sentinel" { SENTINEL_PORT } else { PORT };
        let hosts = path.next().unwrap_or_default().split(',').map(|host| address(host, port));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        let kind = match kind {
            "sentinel" => {
                let master = path.next().filter(|master| !master.is_empty());
                let master = master.ok_or(ClusterUrlError::Part(
                    "it names no master: redis+sentinel://host:26379/mymaster",
                ))?;
                Kind::Sentinel { master: decoded(master)?.unwrap_or_default() }
            }
            "cluster" => Kind::Cluster,
            _ if hosts.len() > 1 => {
                return Err(ClusterUrlError::Part(
                    "it names several hosts: redis+cluster:// or redis+sentinel:// does",
                ));
            }
            _ => Kind::Single,
        };
        let db = match path.next() {
            None => 0,
            Some(_) if kind == Kind::Cluster => {
                return Err(ClusterUrlError::Part("a Redis Cluster has only database 0"));
            }
            Some(db) => {
                db.parse().map_err(|_| ClusterUrlError::Part("its database is no number"))?
            }
        };
        if path.next().is_some() {
            return Err(ClusterUrlError::Part("there is something behind the database"));
        }
        Ok(Self { kind, tls, hosts, user, password, db })
    }
}

fn address(text: &str, port: u16) -> Result<(String, u16), ClusterUrlError> {
    let wrong = || ClusterUrlError::Part("its port is no number from 1 to 65535");
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, port),
        Some((host, rest)) => {
            let port = rest.strip_prefix(':').ok_or_else(wrong)?;
            (host, port.parse().map_err(|_| wrong())?)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (text, port),
        },
    };
    if host.is_empty() || port == 0 {
        return Err(ClusterUrlError::Part("it names no host"));
    }
    Ok((host.to_owned(), port))
}

/// A part with its %-escapes undone; `None` where it is empty.
fn decoded(text: &str) -> Result<Option<String>, ClusterUrlError> {
    let wrong = ClusterUrlError::Part("a % in it is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| wrong.clone())?);
        rest = &rest[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Without user and password.
impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        f.write_str(match self.kind {
            Kind::Single => "://",
            Kind::Sentinel { .. } => "+sentinel://",
            Kind::Cluster => "+cluster://",
        })?;
        for (n, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            if host.contains(':') {
                write!(f, "{comma}[{host}]:{port}")?;
            } else {
                write!(f, "{comma}{host}:{port}")?;
            }
        }
        if let Kind::Sentinel { master } = &self.kind {
            write!(f, "/{master}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What makes connections.
pub(super) enum Server {
    Single(Box<Client>),
    Sentinel(Box<SentinelClient>),
    Cluster(Box<ClusterClientBuilder>),
}

impl ClusterUrl {
    /// Whether it is a Redis Cluster: its channels are sharded.
    pub fn is_cluster(&self) -> bool {
        self.kind == Kind::Cluster
    }

    pub(super) fn server(&self) -> redis::RedisResult<Server> {
        match &self.kind {
            Kind::Single => {
                let [first, ..] = self.hosts.as_slice() else { unreachable_host()? };
                Ok(Server::Single(Box::new(Client::open(self.info(first)?)?)))
            }
            Kind::Sentinel { master } => {
                let addresses = self.hosts.iter().map(|host| self.address(host));
                let mut builder = SentinelClientBuilder::new(
                    addresses,
                    master.clone(),
                    SentinelServerType::Master,
                )?
                .set_client_to_redis_protocol(ProtocolVersion::RESP3)
                .set_client_to_redis_db(self.db);
                if self.tls {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_sentinel_tls_mode(TlsMode::Secure);
                }
                if let Some(user) = &self.user {
                    builder = builder
                        .set_client_to_redis_username(user)
                        .set_client_to_sentinel_username(user);
                }
                if let Some(password) = &self.password {
                    builder = builder
                        .set_client_to_redis_password(password)
                        .set_client_to_sentinel_password(password);
                }
                Ok(Server::Sentinel(Box::new(builder.build()?)))
            }
            Kind::Cluster => {
                let nodes = self.hosts.iter().map(|host| self.info(host));
                let nodes = nodes.collect::<redis::RedisResult<Vec<_>>>()?;
                let builder = ClusterClient::builder(nodes).use_protocol(ProtocolVersion::RESP3);
                Ok(Server::Cluster(Box::new(builder)))
            }
        }
    }

    fn address(&self, (host, port): &(String, u16)) -> ConnectionAddr {
        if self.tls {
            let (host, port) = (host.clone(), *port);
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host.clone(), *port)
        }
    }

    fn info(&self, host: &(String, u16)) -> redis::RedisResult<ConnectionInfo> {
        let info = self.address(host).into_connection_info()?;
        let mut settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("kobel", env!("CARGO_PKG_VERSION"))
            .set_db(self.db);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        Ok(info.set_redis_settings(settings))
    }
}

/// An address is never without a host: it was read so.
fn unreachable_host<T>() -> redis::RedisResult<T> {
    Err((redis::ErrorKind::InvalidClientConfig, "no host of Redis").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_secrets() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("rediss://ann:s3cr%40t@redis.example:7000/2", "rediss://redis.example:7000"),
            ("redis://:pa:ss@[::1]:6380", "redis://[::1]:6380"),
            ("redis+sentinel://a,b:26380/mymaster", "redis+sentinel://a:26379,b:26380/mymaster"),
            ("redis-cluster://a:1,b:2", "redis+cluster://a:1,b:2"),
        ] {
            let url: ClusterUrl = text.parse().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.into(), shown.into()));
            assert!(url.server().is_ok(), "{text}");
        }
        let url: ClusterUrl = "redis://ann:s3cr%40t@h/2".parse().unwrap();
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("ann"), Some("s3cr@t")));
        assert_eq!(url.db, 2);
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("localhost:6379", "begins with"),
            ("http://localhost", "begins with"),
            ("redis://", "no host"),
            ("redis://h:0", "no host"),
            ("redis://h:x", "port"),
            ("redis://h/x", "database"),
            ("redis://a,b", "several hosts"),
            ("redis://h/1/2", "behind"),
            ("redis://%zz@h", "%"),
            ("redis+sentinel://a", "master"),
            ("redis+cluster://a/1", "database 0"),
        ] {
            let error = text.parse::<ClusterUrl>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
