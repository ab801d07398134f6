//! This node among others.

use std::{io, sync::Arc, time::Duration};

use kobel_hub::{
    cluster::{Cluster, ClusterTasks, ClusterUrl, MemberInfo, NodeId},
    hub::Hub,
    ingest::Ingest,
};
use kobel_wire::{DeviceUuid, Timestamp};

use kobel_fanout::NodeTag;
use tokio::time::{Instant, sleep};

use super::ServeError;
use crate::{
    config::{Clustering, Config},
    http::forward::{ClusterSecret, Forward, Peers, Settings},
};

/// How long it is tried to reach Redis before the start is given up.
const JOIN: Duration = Duration::from_secs(15);

/// A connection to another node is given up a while before that one closes it.
const IDLE: Duration = Duration::from_secs(5);

/// A node that is about to join.
pub(super) struct Joining {
    redis: ClusterUrl,
    prefix: String,
    node: NodeId,
    info: MemberInfo,
}

/// What this node says of itself; `machine` is the device that it runs on.
pub(super) fn node(
    clustering: &Clustering,
    config: &Config,
    hostname: &str,
    machine: DeviceUuid,
) -> Result<Joining, ServeError> {
    let node = NodeId::generate().map_err(io::Error::other)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let url = match &clustering.url {
        Some(url) => url.to_string(),
        None => format!("{scheme}://{}", config.listen),
    };
    let info = MemberInfo {
        name: clustering.name.clone().unwrap_or_else(|| hostname.to_owned()),
        version: env!("CARGO_PKG_VERSION").into(),
        url,
        started_at: Timestamp::now().as_millis(),
        machine,
        draining: false,
        connections: 0,
        devices: 0,
        redis_us: 0,
    };
    let (redis, prefix) = (clustering.redis.clone(), clustering.prefix.clone());
    Ok(Joining { redis, prefix, node, info })
}

/// The other nodes, where they say that they are reached.
struct Roll(Cluster);

impl Peers for Roll {
    fn url(&self, tag: &str) -> Option<Arc<http::Uri>> {
        let roll = self.0.members().roll();
        let url = roll.borrow().get(&NodeId::from(tag))?.url.parse().ok()?;
        Some(Arc::new(url))
    }
}

/// Passes requests on to the other nodes, once Redis is reached.
///
/// # Errors
/// When it is not in time.
pub(super) async fn forward(cluster: &Cluster, config: &Config) -> Result<Forward, ServeError> {
    let until = Instant::now() + JOIN;
    let secret = loop {
        match cluster.secret().await {
            Ok(secret) => break secret,
            Err(error) if Instant::now() >= until => return Err(ServeError::Redis(error)),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    };
    let tag: NodeTag = cluster.members().node().as_str().parse().map_err(io::Error::other)?;
    let settings = Settings {
        tag,
        secret: ClusterSecret::new(secret),
        peers: Arc::new(Roll(cluster.clone())),
        authorities: Vec::new(),
        idle: config.serve.header_timeout.saturating_sub(IDLE).max(Duration::from_secs(1)),
        at_once: config.serve.connections / 4,
    };
    Forward::new(settings).map_err(|error| ServeError::Start(io::Error::other(error)))
}

impl Joining {
    /// What the ids of its sessions begin with.
    pub(super) fn tag(&self) -> Option<NodeTag> {
        self.node.as_str().parse().ok()
    }

    /// Joins; what other nodes tell goes to `ingest`.
    pub(super) fn join(self, ingest: Ingest, hub: &mut Hub) -> (Cluster, ClusterTasks) {
        let Self { redis, prefix, node, info } = self;
        Cluster::new(redis, &prefix, node, info, ingest, hub)
    }
}
