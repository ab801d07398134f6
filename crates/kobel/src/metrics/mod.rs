//! Metrics of the hub itself, for Prometheus.
//!
//! Nothing is counted here. Each part of the hub counts for itself, where it costs next to
//! nothing; a scrape gathers the figures and writes them down.

mod exported;
mod process;

use std::sync::Arc;

use kobel_collect::{CollectStats, agent::AgentLinks};
use kobel_fanout::Server;
use kobel_hub::{
    cluster::Cluster,
    hub::HubHandle,
    ingest::Ingest,
    logs::{live::LogVolume, store::LogStore},
};
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::http::forward::Forward;

use exported::Exported;
pub(crate) use process::read as read_process;

/// Where the figures come from.
pub(crate) struct Gather {
    /// The fan-out.
    pub server: Server,
    /// The hub.
    pub hub: HubHandle,
    /// The way from the sources.
    pub ingest: Ingest,
    /// The sources.
    pub collect: Arc<CollectStats>,
    /// The log streams.
    pub logs: Arc<LogVolume>,
    /// The stored lines, where any are.
    pub log_store: Option<LogStore>,
    /// The links of agents.
    pub agents: AgentLinks,
    /// The way to other nodes, where there are any.
    pub forward: Option<Forward>,
    /// Those nodes.
    pub cluster: Option<Cluster>,
}

impl Gather {
    /// All figures now, as OpenMetrics text.
    pub(crate) async fn text(&self) -> String {
        let exported = Exported {
            fanout: self.server.snapshot().await,
            hub: self.hub.stats(),
            replaced: self.ingest.replaced(),
            collect: self.collect.snapshot(),
            logs: Arc::clone(&self.logs),
            log_store: self.log_store.as_ref().map(LogStore::figures),
            agents: self.agents.snapshot(),
            forward: self.forward.as_ref().map(Forward::figures),
            cluster: self.cluster.as_ref().map(Cluster::stats),
            process: process::read(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(exported));
        let mut text = String::with_capacity(8 * 1024);
        // Writing to a `String` does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
