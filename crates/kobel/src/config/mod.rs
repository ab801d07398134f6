//! Configuration: flags over `KOBEL_*` variables over `kobel.toml`, read once and checked as a
//! whole.

mod cluster;
mod options;
mod redact;
mod values;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use kobel_fanout::{Cors, Limits, Proxies, ServeLimits};
use kobel_hub::{
    logs::{Redaction, store::Keep},
    store::{Database, DatabaseUrlError, PostgresUrl},
};

pub(crate) use cluster::Clustering;
pub(crate) use options::{Common, Docker, LogFormat, ServeOptions, Switch};
pub(crate) use values::{HostName, Origin, SecretText, Size, Span};

use crate::tls;

/// Where `kobel.toml` is looked for when nobody names one.
const SYSTEM_FILE: &str = "/etc/kobel/kobel.toml";

/// Of less, blocks and journals would be too small to be worth it.
const LEAST_LOG_STORE: u64 = 10_000_000;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// The file says something that cannot be.
    #[error("the configuration {0} is wrong:\n{1}")]
    Wrong(PathBuf, toml::de::Error),
    /// No place for the data.
    #[error("no folder for the data: set HOME, or name one by --data")]
    NoDataFolder,
    /// The database's URL is none.
    #[error("{0}; it stands in KOBEL_DATABASE_URL, or as database-url in kobel.toml")]
    DatabaseUrl(DatabaseUrlError),
    /// The file of the database's password cannot be read.
    #[error("cannot read the database's password in {0}: {1}")]
    PasswordFile(PathBuf, std::io::Error),
    /// The options do not go together.
    #[error("{0}")]
    Contradiction(String),
}

/// Everything that `kobel serve` is told.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The folder of what this machine keeps: the database, unless nodes share one, log lines and
    /// keys.
    pub data: PathBuf,
    /// Where inventory and accounts are.
    pub database: Database,
    /// The certificate and its key; without them the port speaks plain HTTP.
    pub tls: Option<tls::Files>,
    /// The origin under which browsers reach the hub, where that is not the listen address.
    pub public_url: Option<Origin>,
    /// Whose word about a client is taken.
    pub proxies: Proxies,
    /// Names that the hub answers to, beside localhost, this machine's name and addresses.
    pub allowed_hosts: Vec<HostName>,
    /// Other origins whose pages may call.
    pub allowed_origins: Vec<Origin>,
    /// Where the container engine is.
    pub docker: Docker,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines there are.
    pub log: String,
    /// How much of containers' log lines is stored; `None` for nothing.
    pub log_store: Option<Keep>,
    /// What is masked in containers' log lines.
    pub redaction: Redaction,
    /// The file of the keys that secrets are sealed with.
    pub secret_key_file: PathBuf,
    /// How long a page's session lasts.
    pub session_lifetime: Duration,
    /// The most rooms one socket may be in.
    pub max_subscriptions: usize,
    /// The other nodes, where this is one of several.
    pub cluster: Option<Clustering>,
    /// The fan-out.
    pub fanout: kobel_fanout::Config,
    /// The listener.
    pub serve: ServeLimits,
}

impl Config {
    /// Puts together what flags and environment say with what the file says.
    ///
    /// # Errors
    /// When the file cannot be read, or something in it cannot be.
    pub(crate) fn load(common: &Common, options: ServeOptions) -> Result<Self, ConfigError> {
        let file = read_file(common.config.as_deref())?;
        let data = data_folder(common, &file)?;
        let database = database(common, &file, &data)?;
        Self::resolve(data, database, options.over(file))
    }

    fn resolve(
        data: PathBuf,
        database: Database,
        options: ServeOptions,
    ) -> Result<Self, ConfigError> {
        let tls = match (options.tls_cert, options.tls_key) {
            (Some(cert), Some(key)) => Some(tls::Files { cert, key }),
            (None, None) => None,
            (cert, _) => {
                let (given, missing) =
                    if cert.is_some() { ("cert", "key") } else { ("key", "cert") };
                return Err(ConfigError::Contradiction(format!(
                    "tls-{given} is given without tls-{missing}: TLS needs both, by --tls-cert \
                     and --tls-key"
                )));
            }
        };
        let span = |span: Option<Span>, default: Duration| span.map_or(default, |s| s.0);
        let (fanout, serve) = (kobel_fanout::Config::default(), ServeLimits::default());
        let origins = options.allowed_origins.unwrap_or_default();
        let limits = Limits {
            sessions: options.max_connections.unwrap_or(fanout.limits.sessions),
            events_per_second: options.events_per_second.unwrap_or(fanout.limits.events_per_second),
            backlog: options.max_backlog.unwrap_or(fanout.limits.backlog),
            backlog_total: options.max_backlog_total.unwrap_or(fanout.limits.backlog_total),
            ..fanout.limits
        };
        let fanout = kobel_fanout::Config {
            shards: options.shards.unwrap_or(fanout.shards),
            ping_interval: span(options.ping_interval, fanout.ping_interval),
            ping_timeout: span(options.ping_timeout, fanout.ping_timeout),
            upgrade_timeout: span(options.upgrade_timeout, fanout.upgrade_timeout),
            deflate_from: match options.deflate_from {
                Some(0) => None,
                given => given.or(fanout.deflate_from),
            },
            max_payload: options.max_payload.unwrap_or(fanout.max_payload),
            cors: Cors { origins: origins.iter().map(|o| o.as_str().to_owned()).collect() },
            limits,
            known_events: kobel_hub::gate::KNOWN_EVENTS.map(str::to_owned).to_vec(),
            ..fanout
        };
        if fanout.shards == 0 || fanout.shards > 250 {
            return Err(ConfigError::Contradiction("shards: use 1 to 250".into()));
        }
        let serve = ServeLimits {
            connections: options.max_connections.unwrap_or(serve.connections),
            connections_per_address: options
                .max_connections_per_address
                .unwrap_or(serve.connections_per_address),
            header_timeout: span(options.header_timeout, serve.header_timeout),
            ..serve
        };
        let keep = Keep::default();
        let days = |days| Duration::from_secs(u64::from(days) * 86_400);
        let keep = Keep {
            bytes: options.log_store_size.map_or(keep.bytes, |size| size.0),
            age: options.log_store_days.map_or(keep.age, days),
        };
        if keep.bytes < LEAST_LOG_STORE {
            let message = "log-store-size: use 10MB or more, or turn the store off by log-store";
            return Err(ConfigError::Contradiction(message.into()));
        }
        let listen = options.listen.unwrap_or_else(default_listen);
        let is_https = tls.is_some();
        let cluster = match options.enable_clustering.unwrap_or(false) {
            false => None,
            true => Some(cluster::resolve(
                options.redis_url,
                options.cluster_prefix,
                options.node_name,
                options.node_url,
                (listen, is_https),
                &database,
            )?),
        };
        let redacts = options.log_redact.unwrap_or(Switch::On) == Switch::On;
        let redaction = redact::redaction(redacts, options.logs.unwrap_or_default())
            .map_err(|error| ConfigError::Contradiction(format!("logs.redact: {error}")))?;
        let stores = options.log_store.unwrap_or(Switch::On) == Switch::On;
        Ok(Self {
            log_store: stores.then_some(keep),
            redaction,
            listen,
            cluster,
            secret_key_file: secret_key_file(&data, options.secret_key_file),
            data,
            database,
            tls,
            public_url: options.public_url,
            proxies: options.trusted_proxies.unwrap_or_default().into_iter().collect(),
            allowed_hosts: options.allowed_hosts.unwrap_or_default(),
            allowed_origins: origins,
            docker: options.docker.unwrap_or(Docker::Auto),
            log_format: options.log_format.unwrap_or(LogFormat::Human),
            log: options.log.unwrap_or_else(|| "info".into()),
            session_lifetime: span(options.session_lifetime, Duration::from_secs(30 * 86_400)),
            max_subscriptions: options.max_subscriptions.unwrap_or(1_000),
            fanout,
            serve,
        })
    }

    /// Whether browsers reach the hub by https for certain, whatever a request says of itself.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some() || self.public_url.as_ref().is_some_and(Origin::is_secure)
    }

    /// Where a browser on this machine, or through the proxy, finds the page.
    pub(crate) fn base_url(&self) -> String {
        match &self.public_url {
            Some(origin) => origin.to_string(),
            None => {
                let unspecified = self.listen.ip().is_unspecified();
                let ip = if unspecified { Ipv4Addr::LOCALHOST.into() } else { self.listen.ip() };
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{}", SocketAddr::new(ip, self.listen.port()))
            }
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000)
}

/// The folder of the data, for commands that need nothing else.
///
/// # Errors
/// When the configuration cannot be read, or names none and there is no home.
pub(crate) fn data_folder_of(common: &Common) -> Result<PathBuf, ConfigError> {
    let file = read_file(common.config.as_deref())?;
    data_folder(common, &file)
}

/// Where inventory and accounts are, for commands that need nothing else.
///
/// # Errors
/// When the configuration cannot be read, or names a database that is none.
pub(crate) fn database_of(common: &Common) -> Result<Database, ConfigError> {
    let file = read_file(common.config.as_deref())?;
    database(common, &file, &data_folder(common, &file)?)
}

/// A PostgreSQL that a command names itself; the password's file is the configured one.
///
/// # Errors
/// When the configuration cannot be read, or the URL is none.
pub(crate) fn postgres_of(common: &Common, url: &SecretText) -> Result<PostgresUrl, ConfigError> {
    let file = read_file(common.config.as_deref())?;
    postgres(url.reveal(), password_file(common, &file))
}

/// A PostgreSQL by its URL, and the password where that does not stand in it.
///
/// # Errors
/// When the URL is none or the file cannot be read.
fn postgres(url: &str, password: Option<&Path>) -> Result<PostgresUrl, ConfigError> {
    let password = password
        .map(|path| {
            std::fs::read_to_string(path)
                .map_err(|error| ConfigError::PasswordFile(path.to_owned(), error))
        })
        .transpose()?;
    let password = password.as_deref().map(|text| text.trim_end_matches(['\n', '\r']));
    PostgresUrl::read(url, password).map_err(ConfigError::DatabaseUrl)
}

fn database(common: &Common, file: &ServeOptions, data: &Path) -> Result<Database, ConfigError> {
    let url = common.database_url.as_ref().or(file.database_url.as_ref());
    // An empty variable is as good as none.
    let Some(url) = url.filter(|url| !url.reveal().is_empty()) else {
        return Ok(Database::Folder(data.to_owned()));
    };
    postgres(url.reveal(), password_file(common, file)).map(Database::Postgres)
}

fn password_file<'a>(common: &'a Common, file: &'a ServeOptions) -> Option<&'a Path> {
    common.database_password_file.as_deref().or(file.database_password_file.as_deref())
}

/// The file of the keys that secrets are sealed with, for commands that need nothing else.
///
/// # Errors
/// When the configuration cannot be read.
pub(crate) fn secret_key_file_of(
    common: &Common,
    named: Option<PathBuf>,
) -> Result<PathBuf, ConfigError> {
    let file = read_file(common.config.as_deref())?;
    let data = data_folder(common, &file)?;
    Ok(secret_key_file(&data, named.or(file.secret_key_file)))
}

/// Where nobody names one, it lies beside the database.
fn secret_key_file(data: &Path, named: Option<PathBuf>) -> PathBuf {
    named.unwrap_or_else(|| data.join("secret.key"))
}

fn data_folder(common: &Common, file: &ServeOptions) -> Result<PathBuf, ConfigError> {
    if let Some(folder) = common.data.clone().or_else(|| file.data.clone()) {
        return Ok(folder);
    }
    xdg("XDG_DATA_HOME", ".local/share").map(|d| d.join("kobel")).ok_or(ConfigError::NoDataFolder)
}

/// A folder of the XDG Base Directory Specification.
fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set(variable).or_else(|| Some(set("HOME")?.join(below_home)))
}

fn read_file(named: Option<&Path>) -> Result<ServeOptions, ConfigError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => {
            let own = xdg("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("kobel/kobel.toml"));
            let found = own.into_iter().chain([SYSTEM_FILE.into()]).find(|path| path.is_file());
            match found {
                Some(path) => path,
                None => return Ok(ServeOptions::default()),
            }
        }
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| ConfigError::Unreadable(path.clone(), error))?;
    toml::from_str(&text).map_err(|error| ConfigError::Wrong(path, error))
}

#[cfg(test)]
mod tests;
