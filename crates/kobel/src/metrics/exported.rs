//! Names, labels and help of every metric.

use std::{fmt, sync::Arc};

use kobel_collect::{
    CollectSnapshot,
    agent::{AgentSnapshot, RefusedReason},
};
use kobel_fanout::{Histogram, Latency, Snapshot};
use kobel_hub::{
    cluster::ClusterStats,
    ingest::Replaced,
    live::LiveStats,
    logs::{
        live::{LogVolume, StreamSeries},
        store::StoreFigures,
    },
    room::RoomKind,
    system::ProcessReading,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

use crate::http::forward::Figures;

/// Upper bounds of the message sizes, bytes; those of the fan-out's histogram.
const SIZES: [f64; 6] = [100.0, 1e3, 1e4, 1e5, 1e6, f64::MAX];

/// Figures at one instant.
#[derive(Debug)]
pub(crate) struct Exported {
    pub fanout: Snapshot,
    pub hub: LiveStats,
    pub replaced: Replaced,
    pub collect: CollectSnapshot,
    pub logs: Arc<LogVolume>,
    pub log_store: Option<StoreFigures>,
    pub agents: AgentSnapshot,
    pub forward: Option<Figures>,
    pub cluster: Option<ClusterStats>,
    pub process: ProcessReading,
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&(value as i64))?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Into<Option<u64>>) -> fmt::Result {
        match value.into() {
            Some(value) => self.counters(name, help, [(NONE, value)]),
            None => Ok(()),
        }
    }

    fn seconds(&mut self, name: &str, help: &str, value: impl Into<Option<f64>>) -> fmt::Result {
        let Some(value) = value.into() else { return Ok(()) };
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Into<Option<u64>>) -> fmt::Result {
        match value.into() {
            Some(value) => self.gauges(name, help, [(NONE, value)]),
            None => Ok(()),
        }
    }
}

const NONE: [(&str, &str); 0] = [];

impl Collector for Exported {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.websocket(&mut out)?;
        self.fanout(&mut out)?;
        self.hub(&mut out)?;
        self.collect(&mut out)?;
        self.agents(&mut out)?;
        self.logs(&mut out)?;
        self.nodes(&mut out)?;
        self.cluster(&mut out)?;
        self.process(&mut out)
    }
}

impl Exported {
    /// The names of the post that the project grew from.
    fn websocket(&self, out: &mut Out<'_>) -> fmt::Result {
        let fanout = &self.fanout;
        let namespace = |(ns, n): (&Arc<str>, &u64)| ([("namespace", ns.to_string())], *n);
        let event = |((ns, event), n): (&(Arc<str>, Arc<str>), &u64)| {
            ([("namespace", ns.to_string()), ("event", event.to_string())], *n)
        };
        out.counters(
            "websocket_connections",
            "Sockets that ever connected, by namespace",
            fanout.connections.iter().map(namespace),
        )?;
        out.gauges(
            "websocket_connections_active",
            "Sockets that are connected, by namespace",
            fanout.active.iter().map(namespace),
        )?;
        out.counters(
            "websocket_messages_received",
            "Messages from clients; unknown events count as other",
            fanout.received.iter().map(event),
        )?;
        out.counters(
            "websocket_messages_sent",
            "Messages to clients; a broadcast counts once per recipient",
            fanout.sent.iter().map(event),
        )?;
        self.sizes(out)?;
        let kinds = RoomKind::ALL.iter().zip(self.hub.subscriptions);
        out.gauges(
            "websocket_subscriptions_active",
            "Subscriptions, by type of room",
            kinds.map(|(kind, count)| ([("type", kind.as_str())], count)),
        )?;
        out.counters(
            "websocket_errors",
            "Errors of clients and of connections",
            fanout.errors.iter().map(|((ns, kind), n)| {
                ([("namespace", ns.to_string()), ("error_type", (*kind).to_owned())], *n)
            }),
        )
    }

    fn sizes(&self, out: &mut Out<'_>) -> fmt::Result {
        let mut metric = out.0.encode_descriptor(
            "websocket_message_size_bytes",
            "Sizes of messages: JSON from clients, complete frames to clients",
            None,
            MetricType::Histogram,
        )?;
        for (direction, sizes) in
            [("in", &self.fanout.received_size), ("out", &self.fanout.sent_size)]
        {
            for (namespace, Histogram { buckets, sum }) in sizes {
                let labels = [("namespace", namespace.as_ref()), ("direction", direction)];
                let buckets: Vec<_> = SIZES.into_iter().zip(*buckets).collect();
                let count = buckets.iter().map(|(_, n)| n).sum();
                metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                    *sum as f64,
                    count,
                    &buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }

    fn fanout(&self, out: &mut Out<'_>) -> fmt::Result {
        let fanout = &self.fanout;
        let transports = [("polling", fanout.polling), ("websocket", fanout.websocket)];
        out.gauges(
            "kobel_sessions",
            "Engine.IO sessions, by transport",
            transports.map(|(transport, count)| ([("transport", transport)], count)),
        )?;
        out.counters(
            "kobel_sessions_closed",
            "Engine.IO sessions that ended, by reason",
            fanout.closed.iter().map(|(reason, n)| ([("reason", *reason)], *n)),
        )?;
        let help = "Frames that a newer one replaced before a slow client took them";
        out.counter("kobel_frames_conflated", help, fanout.conflated)?;
        let help = "Frames dropped because too much waited for a slow client";
        out.counter("kobel_frames_dropped", help, fanout.dropped)?;
        let help = "Bytes that wait for slow clients";
        out.gauge("kobel_backlog_bytes", help, fanout.backlog_bytes)?;
        let latency = &fanout.delivery;
        let mut metric = out.0.encode_descriptor(
            "kobel_delivery_latency_seconds",
            "From the publish of a message to its write, for each delivery",
            None,
            MetricType::Histogram,
        )?;
        let bounds = Latency::bounds().chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(latency.buckets).collect();
        let sum = latency.sum_micros as f64 / 1e6;
        metric.encode_histogram::<NoLabelSet>(sum, latency.count(), &buckets, None)
    }

    fn hub(&self, out: &mut Out<'_>) -> fmt::Result {
        let hub = &self.hub;
        out.gauge("kobel_devices", "Devices known", hub.devices)?;
        let help = "Devices that somebody needs more often than twice a minute";
        out.gauge("kobel_devices_watched", help, hub.watched_devices)?;
        let saved = [("demand", hub.samples_spared), ("tier", hub.samples_held)];
        out.counters(
            "kobel_samples_saved",
            "Samples that were not sent since nobody needed them: by their source (demand), to a \
             group of viewers (tier)",
            saved.map(|(by, count)| ([("by", by)], count)),
        )?;
        out.gauge("kobel_containers", "Containers known", hub.containers)?;
        out.gauge("kobel_viewers", "Sockets that are signed in", hub.viewers)?;
        out.counter("kobel_room_events", "Events of all rooms, watched or not", hub.events)?;
        let help = "Events kept back from viewers who may not see the device any more";
        out.counter("kobel_events_denied", help, hub.denied)?;
        let replaced = [("sample", self.replaced.samples), ("container", self.replaced.containers)];
        out.counters(
            "kobel_ingest_replaced",
            "Reports that a newer one replaced before the hub took them",
            replaced.map(|(kind, count)| ([("kind", kind)], count)),
        )
    }

    fn collect(&self, out: &mut Out<'_>) -> fmt::Result {
        let collect = &self.collect;
        out.counter("kobel_collect_samples", "Samples read", collect.samples)?;
        let help = "Samples that could not be read";
        out.counter("kobel_collect_sample_errors", help, collect.sample_errors)?;
        let help = "Time spent reading samples";
        let spent = collect.sample_duration_micros as f64 / 1e6;
        out.seconds("kobel_collect_sample_duration_seconds", help, spent)?;
        let mut lag = out.0.encode_descriptor(
            "kobel_collect_lag_seconds",
            "How late the last sample was read",
            None,
            MetricType::Gauge,
        )?;
        lag.encode_gauge(&(collect.lag_micros as f64 / 1e6))?;
        let help = "Events of container engines";
        out.counter("kobel_collect_container_events", help, collect.container_events)?;
        let help = "How often a container engine was reached again after it had been lost";
        out.counter("kobel_collect_engine_reconnects", help, collect.engine_reconnects)?;
        let pool = &collect.ssh_pool;
        let help = "Streams to hosts over SSH that were given a place on a connection";
        out.counter("kobel_ssh_pool_acquired", help, pool.acquired)?;
        let help = "Connections to hosts over SSH that were opened";
        out.counter("kobel_ssh_pool_created", help, pool.created)?;
        let help = "Connections to hosts over SSH that could not be opened, or did not answer \
                    when they were to be used again";
        out.counter("kobel_ssh_pool_failed", help, pool.failed)?;
        let help = "Connections to hosts over SSH that something goes over";
        out.gauge("kobel_ssh_pool_in_use", help, pool.in_use)?;
        let help = "Connections to hosts over SSH that nobody uses";
        out.gauge("kobel_ssh_pool_idle", help, pool.idle)
    }

    fn agents(&self, out: &mut Out<'_>) -> fmt::Result {
        let agents = &self.agents;
        out.gauge("kobel_agent_links", "Agents that are connected", agents.links)?;
        out.gauge("kobel_agent_devices", "Devices that agents speak for", agents.devices)?;
        let help = "Messages from agents";
        out.counter("kobel_agent_messages_received", help, agents.messages)?;
        out.counter("kobel_agent_bytes_received", "Bytes of these", agents.bytes)?;
        let help = "Reports from agents, by kind";
        let reports = [("sample", agents.samples), ("summary", agents.summaries)];
        let labelled = reports.map(|(kind, count)| ([("kind", kind)], count));
        out.counters("kobel_agent_reports_received", help, labelled)?;
        let help = "Reports that agents gave up while the hub was away for too long";
        out.counter("kobel_agent_reports_shed", help, agents.shed)?;
        let refused = RefusedReason::ALL.iter().zip(agents.refused);
        out.counters(
            "kobel_agent_refused",
            "What of agents was not taken, by reason",
            refused.map(|(reason, count)| ([("reason", reason.as_str())], count)),
        )
    }

    fn logs(&self, out: &mut Out<'_>) -> fmt::Result {
        let logs = &self.logs;
        out.gauge("kobel_log_streams", "Containers whose log is followed now", logs.streams())?;
        out.counter("kobel_log_lines", "Lines of logs that came", logs.lines())?;
        out.counter("kobel_log_bytes", "Bytes of their text", logs.bytes())?;
        let help = "Lines of logs that came faster than they could be worked on, and were dropped";
        out.counter("kobel_log_lines_dropped", help, logs.dropped())?;
        let help = "Follows of containers that were begun: one for all who want its lines";
        out.counter("kobel_log_follows", help, logs.follows())?;
        let help = "How often a filter looked at a line: once for all viewers with equal filters";
        out.counter("kobel_log_filter_passes", help, logs.passes())?;
        self.log_streams(out)?;
        let Some(store) = &self.log_store else { return Ok(()) };
        out.counter("kobel_log_store_lines", "Lines of logs that were stored", store.lines)?;
        out.counter("kobel_log_store_text_bytes", "Bytes of their text", store.bytes)?;
        let help = "Lines of logs that were not stored: the disk was full or too slow";
        out.counter("kobel_log_store_lines_dropped", help, store.dropped)?;
        out.gauge("kobel_log_store_disk_bytes", "What stored lines take on disk", store.disk)?;
        let help = "Bytes of stored lines that were found damaged at the start";
        out.gauge("kobel_log_store_damaged_bytes", help, store.damaged)?;
        let help = "Whether log lines cannot be stored now";
        out.gauge("kobel_log_store_faulty", help, u64::from(store.fault.is_some()))
    }

    /// The noisiest streams by name, all others together: as many series whatever containers there
    /// are.
    fn log_streams(&self, out: &mut Out<'_>) -> fmt::Result {
        let series = self.logs.series();
        let labels = |one: &StreamSeries| {
            [("device", one.device.clone()), ("container", one.container.clone())]
        };
        let mut counters = |name, help, count: fn(&StreamSeries) -> u64| {
            out.counters(name, help, series.iter().map(|one| (labels(one), count(one))))
        };
        let whose = "by container: the noisiest 50, and all others as \"other\" of no device";
        let help = format!("Lines of logs that came, {whose}");
        counters("kobel_log_stream_lines", &help, |one| one.lines)?;
        let help = format!("Bytes of their text, {whose}");
        counters("kobel_log_stream_bytes", &help, |one| one.bytes)?;
        let help = format!("Lines that were dropped, {whose}");
        counters("kobel_log_stream_dropped", &help, |one| one.dropped)?;
        let help = format!("The most that a line was late in the last 5 s, {whose}");
        let name = "kobel_log_stream_lag_seconds";
        let mut metric = out.0.encode_descriptor(name, &help, None, MetricType::Gauge)?;
        for one in &series {
            metric.encode_family(&labels(one))?.encode_gauge(&(one.lag_ms as f64 / 1e3))?;
        }
        Ok(())
    }

    fn nodes(&self, out: &mut Out<'_>) -> fmt::Result {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        out.gauge("kobel_cluster_nodes", "Nodes that live", cluster.nodes)?;
        out.gauge("kobel_cluster_owned_devices", "Devices that this node reads", cluster.owned)?;
        let help = "Whether this node reaches Redis";
        out.gauge("kobel_cluster_redis_up", help, u64::from(cluster.is_connected))?;
        let help = "Whether this node may read devices";
        out.gauge("kobel_cluster_lease_held", help, u64::from(cluster.has_lease))?;
        let help = "Connections to Redis that were made";
        out.counter("kobel_cluster_redis_connections", help, cluster.connections)?;
        out.counter("kobel_cluster_redis_commands", "Commands to Redis", cluster.commands)?;
        let help = "Commands to Redis that failed";
        out.counter("kobel_cluster_redis_errors", help, cluster.failed)?;
        let help = "Bytes that were told other nodes";
        out.counter("kobel_cluster_published_bytes", help, cluster.bytes_out)?;
        let help = "Messages of other nodes";
        out.counter("kobel_cluster_received_messages", help, cluster.messages_in)?;
        out.counter("kobel_cluster_received_bytes", "Their bytes", cluster.bytes_in)?;
        let help = "Messages of other nodes that came too fast and were read again";
        out.counter("kobel_cluster_dropped_messages", help, cluster.dropped)?;
        let help = "Log entries that other nodes were not told, since Redis was too slow";
        out.counter("kobel_cluster_log_lines_dropped", help, cluster.log_lines_dropped)?;
        let help = "How long Redis took for the last beat";
        let name = "kobel_cluster_redis_seconds";
        let mut metric = out.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&(cluster.redis_us as f64 / 1e6))
    }

    fn cluster(&self, out: &mut Out<'_>) -> fmt::Result {
        let Some(forward) = &self.forward else { return Ok(()) };
        let labelled = |counts: &[(&'static str, u64)], name: &'static str| {
            counts.iter().map(|(value, n)| ([(name, *value)], *n)).collect::<Vec<_>>()
        };
        out.counters(
            "kobel_cluster_forwarded_requests",
            "Requests for other nodes' sessions and the like, by what became of them",
            labelled(&forward.results, "result"),
        )?;
        out.counters(
            "kobel_cluster_forwarded_headers_refused",
            "Headers that said who a request's client is and were not another node's, by reason",
            labelled(&forward.no_words, "reason"),
        )?;
        let help = "WebSockets that go through this node to another one";
        out.gauge("kobel_cluster_tunnels", help, forward.tunnels)
    }

    fn process(&self, out: &mut Out<'_>) -> fmt::Result {
        let process = &self.process;
        out.seconds("process_cpu_seconds", "User and system time", process.cpu_seconds)?;
        out.gauge("process_resident_memory_bytes", "Resident memory", process.memory_bytes)?;
        out.gauge("process_open_fds", "Open file descriptors", process.open_files)?;
        out.gauge("process_max_fds", "The most file descriptors", process.open_files_limit)?;
        out.gauge("process_threads", "Threads", process.threads)?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        out.gauges("kobel_build_info", "The version that runs", [(version, 1)])
    }
}
