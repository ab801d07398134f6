//! The options of `kobel serve`. One struct for flags, variables and file, so that they cannot
//! differ.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these comments are the text of --help"
)]

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use kobel_fanout::Network;
use kobel_hub::cluster::ClusterUrl;
use serde::{Deserialize, Deserializer, de};

use super::{HostName, Origin, SecretText, Size, Span, redact::Logs};

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Common {
    /// The configuration file, TOML. Its keys are the names of the options of `kobel serve`
    /// [default: ~/.config/kobel/kobel.toml, then /etc/kobel/kobel.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "KOBEL_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// The folder of the database, of stored log lines and of the secrets' keys
    /// [default: ~/.local/share/kobel]
    #[arg(long, value_name = "FOLDER", env = "KOBEL_DATA", global = true)]
    pub data: Option<PathBuf>,
    /// A PostgreSQL in place of the folder's own database, for nodes that share one:
    /// postgres://user@host:5432/database?sslmode=verify-full. With a password only as the variable
    /// or in kobel.toml, never as the flag, which everybody on the machine can read
    #[arg(
        long,
        value_name = "URL",
        env = "KOBEL_DATABASE_URL",
        hide_env_values = true,
        global = true
    )]
    pub database_url: Option<SecretText>,
    /// The file in which the password of --database-url stands, where the URL has none
    #[arg(long, value_name = "FILE", env = "KOBEL_DATABASE_PASSWORD_FILE", global = true)]
    pub database_password_file: Option<PathBuf>,
}

/// Options of `kobel serve`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ServeOptions {
    /// Address and port to listen on; 0.0.0.0:8000 for every network [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS:PORT", env = "KOBEL_LISTEN", value_parser = socket_address)]
    #[serde(default, deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,

    // Of the file only; the flag stands with those of every command.
    #[arg(skip)]
    pub data: Option<PathBuf>,
    #[arg(skip)]
    pub database_url: Option<SecretText>,
    #[arg(skip)]
    pub database_password_file: Option<PathBuf>,

    /// The certificate for TLS, PEM: the server's own first, then those between it and the root.
    /// With it the port speaks https only. Taken anew when the file changes, without a restart
    #[arg(long, value_name = "FILE", env = "KOBEL_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, PEM, without a password
    #[arg(long, value_name = "FILE", env = "KOBEL_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// The origin under which browsers reach the hub when a proxy stands before it, such as
    /// https://kobel.example.com. Links are made with it, and with https cookies are marked Secure
    #[arg(long, value_name = "ORIGIN", env = "KOBEL_PUBLIC_URL")]
    pub public_url: Option<Origin>,

    /// A proxy, or a network of proxies such as 10.0.0.0/8, whose X-Forwarded-For and
    /// X-Forwarded-Proto are believed; from anybody else they are ignored [repeatable]
    #[arg(
        long = "trusted-proxy",
        value_name = "NETWORK",
        env = "KOBEL_TRUSTED_PROXIES",
        value_delimiter = ','
    )]
    pub trusted_proxies: Option<Vec<Network>>,

    /// Another host name that the hub answers to. It always answers to localhost, to its
    /// addresses, to this machine's name and to that of --public-url [repeatable]
    #[arg(
        long = "allowed-host",
        value_name = "NAME",
        env = "KOBEL_ALLOWED_HOSTS",
        value_delimiter = ','
    )]
    pub allowed_hosts: Option<Vec<HostName>>,

    /// Another origin whose pages may call the hub [repeatable]
    #[arg(
        long = "allowed-origin",
        value_name = "ORIGIN",
        env = "KOBEL_ALLOWED_ORIGINS",
        value_delimiter = ','
    )]
    pub allowed_origins: Option<Vec<Origin>>,

    /// The container engine: auto, off, cgroup-only, or an address such as
    /// unix:///run/podman/podman.sock. cgroup-only never touches a socket: it shows the containers
    /// that run and what they use, without names, images and logs. auto tries DOCKER_HOST, then the usual sockets of Docker and Podman, rootless ones too
    /// [default: auto]
    #[arg(long, value_name = "ENGINE", env = "KOBEL_DOCKER")]
    pub docker: Option<Docker>,

    /// How log lines look [default: human]
    #[arg(long, value_name = "FORMAT", env = "KOBEL_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// Which log lines there are: error, warn, info, debug or trace, or filters such as
    /// info,kobel_collect=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "KOBEL_LOG")]
    pub log: Option<String>,

    /// Whether log lines of containers are stored, and all that run followed for it; a container
    /// with the label kobel.logs=off is left out [default: on]
    #[arg(long, value_name = "STORE", env = "KOBEL_LOG_STORE", value_enum)]
    pub log_store: Option<Switch>,

    /// The most that stored log lines take on disk, such as 500MB; the oldest go [default: 2GB]
    #[arg(long, value_name = "SIZE", env = "KOBEL_LOG_STORE_SIZE")]
    pub log_store_size: Option<Size>,

    /// How many days log lines are stored [default: 14]
    #[arg(long, value_name = "DAYS", env = "KOBEL_LOG_STORE_DAYS",
        value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub log_store_days: Option<u32>,

    /// Whether bearer tokens, passwords and AWS keys in log lines of containers are masked, before
    /// anybody sees them and before they are stored; rules of one's own stand in kobel.toml as
    /// [[logs.redact]], and hold either way [default: on]
    #[arg(long, value_name = "SWITCH", env = "KOBEL_LOG_REDACT", value_enum)]
    pub log_redact: Option<Switch>,

    // Of the file only: a list of tables.
    #[arg(skip)]
    pub logs: Option<Logs>,

    /// The file of the keys that secrets of devices are sealed with; made with the first secret
    /// [default: secret.key in the data folder]
    #[arg(long, value_name = "FILE", env = "KOBEL_SECRET_KEY_FILE")]
    pub secret_key_file: Option<PathBuf>,

    /// How long a sign-in on the page lasts [default: 30d]
    #[arg(long, value_name = "TIME", env = "KOBEL_SESSION_LIFETIME")]
    pub session_lifetime: Option<Span>,

    /// Threads that serve viewers [default: one per core]
    #[arg(long, value_name = "COUNT", env = "KOBEL_SHARDS")]
    pub shards: Option<usize>,

    /// How often a viewer is pinged [default: 25s]
    #[arg(long, value_name = "TIME", env = "KOBEL_PING_INTERVAL")]
    pub ping_interval: Option<Span>,

    /// How long a viewer may take to answer a ping [default: 60s]
    #[arg(long, value_name = "TIME", env = "KOBEL_PING_TIMEOUT")]
    pub ping_timeout: Option<Span>,

    /// How long an upgrade from polling to WebSocket may take [default: 30s]
    #[arg(long, value_name = "TIME", env = "KOBEL_UPGRADE_TIMEOUT")]
    pub upgrade_timeout: Option<Span>,

    /// How long the head of an HTTP request may take [default: 10s]
    #[arg(long, value_name = "TIME", env = "KOBEL_HEADER_TIMEOUT")]
    pub header_timeout: Option<Span>,

    /// The most bytes of a message from a viewer [default: 1000000]
    #[arg(long, value_name = "BYTES", env = "KOBEL_MAX_PAYLOAD")]
    pub max_payload: Option<usize>,

    /// Messages of at least so many bytes are compressed for viewers that take permessage-deflate;
    /// 0: none is [default: 1024]
    #[arg(long, value_name = "BYTES", env = "KOBEL_DEFLATE_FROM")]
    pub deflate_from: Option<usize>,

    /// The most bytes that may wait for one viewer; over it the viewer is closed
    /// [default: 1000000]
    #[arg(long, value_name = "BYTES", env = "KOBEL_MAX_BACKLOG")]
    pub max_backlog: Option<usize>,

    /// The most bytes that may wait for all viewers together; over it the slowest are closed
    /// [default: 256000000]
    #[arg(long, value_name = "BYTES", env = "KOBEL_MAX_BACKLOG_TOTAL")]
    pub max_backlog_total: Option<usize>,

    /// The most connections in all [default: 100000]
    #[arg(long, value_name = "COUNT", env = "KOBEL_MAX_CONNECTIONS")]
    pub max_connections: Option<usize>,

    /// The most connections from one address [default: 20000]
    #[arg(long, value_name = "COUNT", env = "KOBEL_MAX_CONNECTIONS_PER_ADDRESS")]
    pub max_connections_per_address: Option<usize>,

    /// The most subscriptions of one connection [default: 1000]
    #[arg(long, value_name = "COUNT", env = "KOBEL_MAX_SUBSCRIPTIONS")]
    pub max_subscriptions: Option<usize>,

    /// The most events a second from one connection [default: 100]
    #[arg(long, value_name = "COUNT", env = "KOBEL_EVENTS_PER_SECOND")]
    pub events_per_second: Option<u32>,

    /// Whether this is one of several nodes that act as one. They need a Redis, by --redis-url, and a
    /// PostgreSQL, by --database-url [default: false]
    #[arg(long, value_name = "BOOL", env = "ENABLE_CLUSTERING")]
    pub enable_clustering: Option<bool>,

    /// The Redis (or Valkey) between the nodes, such as redis://:password@redis.example:6379;
    /// rediss:// with TLS; redis+sentinel://host:26379,host:26379/mymaster; and
    /// redis+cluster://host:6379,host:6379. REDIS_URL is read, too. A password belongs into the
    /// variable or the file: other users of the machine see command lines
    #[arg(long, value_name = "URL", env = "KOBEL_REDIS_URL", hide_env_values = true,
        value_parser = redis_url)]
    #[serde(default, deserialize_with = "redis")]
    pub redis_url: Option<ClusterUrl>,

    /// What the names of keys and channels in Redis begin with: another word for each cluster that
    /// shares a Redis [default: kobel:]
    #[arg(long, value_name = "TEXT", env = "KOBEL_CLUSTER_PREFIX")]
    pub cluster_prefix: Option<String>,

    /// What this node is called [default: the host's name]
    #[arg(long, value_name = "NAME", env = "KOBEL_NODE_NAME")]
    pub node_name: Option<String>,

    /// Where the other nodes reach this one [default: the address of --listen, where that is none
    /// of all networks]
    #[arg(long, value_name = "ORIGIN", env = "KOBEL_NODE_URL")]
    pub node_url: Option<Origin>,
}

impl ServeOptions {
    /// What is said here, and where nothing is said, what the file says.
    pub(crate) fn over(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            data: self.data.or(file.data),
            database_url: self.database_url.or(file.database_url),
            database_password_file: self.database_password_file.or(file.database_password_file),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            public_url: self.public_url.or(file.public_url),
            trusted_proxies: self.trusted_proxies.or(file.trusted_proxies),
            allowed_hosts: self.allowed_hosts.or(file.allowed_hosts),
            allowed_origins: self.allowed_origins.or(file.allowed_origins),
            docker: self.docker.or(file.docker),
            log_format: self.log_format.or(file.log_format),
            log: self.log.or(file.log),
            log_store: self.log_store.or(file.log_store),
            log_store_size: self.log_store_size.or(file.log_store_size),
            log_store_days: self.log_store_days.or(file.log_store_days),
            log_redact: self.log_redact.or(file.log_redact),
            logs: self.logs.or(file.logs),
            secret_key_file: self.secret_key_file.or(file.secret_key_file),
            session_lifetime: self.session_lifetime.or(file.session_lifetime),
            shards: self.shards.or(file.shards),
            ping_interval: self.ping_interval.or(file.ping_interval),
            ping_timeout: self.ping_timeout.or(file.ping_timeout),
            upgrade_timeout: self.upgrade_timeout.or(file.upgrade_timeout),
            header_timeout: self.header_timeout.or(file.header_timeout),
            max_payload: self.max_payload.or(file.max_payload),
            deflate_from: self.deflate_from.or(file.deflate_from),
            max_backlog: self.max_backlog.or(file.max_backlog),
            max_backlog_total: self.max_backlog_total.or(file.max_backlog_total),
            max_connections: self.max_connections.or(file.max_connections),
            max_connections_per_address: self
                .max_connections_per_address
                .or(file.max_connections_per_address),
            max_subscriptions: self.max_subscriptions.or(file.max_subscriptions),
            events_per_second: self.events_per_second.or(file.events_per_second),
            enable_clustering: self.enable_clustering.or(file.enable_clustering),
            redis_url: self.redis_url.or(file.redis_url),
            cluster_prefix: self.cluster_prefix.or(file.cluster_prefix),
            node_name: self.node_name.or(file.node_name),
            node_url: self.node_url.or(file.node_url),
        }
    }
}

/// Where the container engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Docker {
    /// Wherever it usually is.
    Auto,
    /// Nobody looks for one.
    Off,
    /// Nobody asks it: containers are read from the files of their cgroups.
    CgroupOnly,
    /// At this address.
    At(String),
}

impl FromStr for Docker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "cgroup-only" => Ok(Self::CgroupOnly),
            address => match kobel_collect::docker::Endpoints::only(address) {
                Ok(_) => Ok(Self::At(address.to_owned())),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Docker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is no address with a port: write it as 127.0.0.1:8000 or [::1]:8000")
    })
}

fn redis_url(text: &str) -> Result<ClusterUrl, String> {
    // Not the text itself: a password may stand in it.
    text.parse().map_err(|error| format!("it is no address of Redis: {error}"))
}

fn redis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ClusterUrl>, D::Error> {
    let text = String::deserialize(deserializer)?;
    redis_url(&text).map(Some).map_err(de::Error::custom)
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    socket_address(&text).map(Some).map_err(de::Error::custom)
}
