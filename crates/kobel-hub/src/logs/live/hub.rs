//! The way to the log streams, and what they are made of.

use std::sync::Arc;

use kobel_fanout::Server;
use kobel_wire::log::{LogStreamId, StreamVolume};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{LogBus, LogRequest, LogSources, runner::Runner, volume::LogVolume};
use crate::logs::{Redaction, store::LogStore};

/// Requests that wait for the log streams, and those that wait for one. Full: whoever asks waits.
pub(super) const REQUESTS: usize = 4_096;

/// How much goes through each stream, as of the last look.
pub type Volumes = Vec<(LogStreamId, StreamVolume)>;

/// The way to the log streams, and what they tell all the time.
#[derive(Debug, Clone)]
pub struct LogRequests {
    queue: mpsc::Sender<LogRequest>,
    volumes: watch::Receiver<Volumes>,
}

impl LogRequests {
    /// Hands a request over; waits while too many wait.
    pub async fn send(&self, request: LogRequest) {
        // Log streams that have ended have no viewers either.
        let _ = self.queue.send(request).await;
    }

    /// How much goes through each stream, every few seconds. Newer figures replace those that wait.
    pub fn volumes(&self) -> watch::Receiver<Volumes> {
        self.volumes.clone()
    }
}

/// Runs the log streams.
pub struct LogHub {
    pub(super) requests: mpsc::Receiver<LogRequest>,
    pub(super) sources: LogSources,
    pub(super) redaction: Arc<Redaction>,
    pub(super) store: Option<LogStore>,
    pub(super) volume: Arc<LogVolume>,
    /// How much goes through each, told every few seconds.
    pub(super) volumes: watch::Sender<Volumes>,
    /// The log streams of other nodes.
    pub(super) bus: Option<Arc<dyn LogBus>>,
}

impl LogHub {
    /// Log streams from these sources.
    pub fn new(sources: LogSources, redaction: Redaction) -> (Self, LogRequests) {
        let (send, requests) = mpsc::channel(REQUESTS);
        let volumes = watch::Sender::new(Volumes::new());
        let way = LogRequests { queue: send, volumes: volumes.subscribe() };
        let redaction = Arc::new(redaction);
        let volume = Arc::default();
        (Self { requests, sources, redaction, store: None, volume, volumes, bus: None }, way)
    }

    /// Its streams and those of other nodes are one.
    pub fn clustered(mut self, bus: Arc<dyn LogBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Stores what is followed, and follows what runs.
    pub fn stored(mut self, store: LogStore) -> Self {
        self.store = Some(store);
        self
    }

    /// How much goes through.
    pub fn volume(&self) -> Arc<LogVolume> {
        Arc::clone(&self.volume)
    }

    /// Runs until cancelled.
    pub async fn run(self, server: Server, cancel: CancellationToken) {
        Runner::new(self, server, cancel).run().await;
    }
}
