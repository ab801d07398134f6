//! What makes this one of several nodes.

use std::net::SocketAddr;

use kobel_hub::{cluster::ClusterUrl, store::Database};

use super::{ConfigError, Origin};

/// The nodes' Redis, and what this one is called there.
#[derive(Debug, Clone)]
pub(crate) struct Clustering {
    /// Where Redis is.
    pub redis: ClusterUrl,
    /// What names in it begin with.
    pub prefix: String,
    /// What this node is called; `None`: as the host.
    pub name: Option<String>,
    /// Where the others reach it; `None`: at the address that it listens on.
    pub url: Option<Origin>,
}

/// Puts the options together.
///
/// # Errors
/// When something is missing or does not go together.
pub(super) fn resolve(
    redis: Option<ClusterUrl>,
    prefix: Option<String>,
    name: Option<String>,
    url: Option<Origin>,
    (listen, is_https): (SocketAddr, bool),
    database: &Database,
) -> Result<Clustering, ConfigError> {
    let wrong = |message: &str| Err(ConfigError::Contradiction(message.into()));
    let redis = match (redis, std::env::var("REDIS_URL")) {
        (Some(redis), _) => redis,
        (None, Ok(text)) => match text.parse() {
            Ok(redis) => redis,
            Err(error) => return wrong(&format!("REDIS_URL is no address of Redis: {error}")),
        },
        (None, Err(_)) => {
            return wrong(
                "enable-clustering: the nodes need a Redis between them; name it by --redis-url, \
                 such as redis://redis.example:6379",
            );
        }
    };
    if let Database::Folder(folder) = database {
        return wrong(&format!(
            "enable-clustering: the nodes share one database, and an SQLite file in {} cannot be \
             shared; name a PostgreSQL by KOBEL_DATABASE_URL, and copy what is there by kobel store \
             migrate",
            folder.display()
        ));
    }
    let prefix = prefix.unwrap_or_else(|| "kobel:".into());
    if prefix.len() > 64 || prefix.chars().any(|c| "{}".contains(c) || c.is_whitespace()) {
        return wrong("cluster-prefix: use up to 64 characters without spaces and braces");
    }
    if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > 100) {
        return wrong("node-name: use 1 to 100 characters");
    }
    if url.is_none() && listen.ip().is_unspecified() {
        let scheme = if is_https { "https" } else { "http" };
        return wrong(&format!(
            "enable-clustering: the hub listens on all addresses, so say by --node-url where the \
             other nodes reach this one, such as {scheme}://10.0.0.11:{}",
            listen.port()
        ));
    }
    Ok(Clustering { redis, prefix, name, url })
}
