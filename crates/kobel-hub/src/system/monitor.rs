//! The task that reads the counters once a second.

use std::time::Duration;

use kobel_fanout::Server;
use kobel_wire::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::figures::{Reading, When, between};
use crate::hub::HubHandle;

/// How often.
const PERIOD: Duration = Duration::from_secs(1);

/// What the operating system says of this process; what cannot be read is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessReading {
    /// Processor time since its start, seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
    /// The most of them.
    pub open_files_limit: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// Where the figures come from, and where they go.
pub struct Monitor<P> {
    /// The fan-out.
    pub server: Server,
    /// The hub.
    pub hub: HubHandle,
    /// Reads this process; called once a second, so it must be quick.
    pub process: P,
    /// The version that runs.
    pub version: &'static str,
}

impl<P: Fn() -> ProcessReading + Send> Monitor<P> {
    /// Reads once a second until cancelled.
    ///
    /// A shard that is late delays the reading, not the hub; the figures are then means over the
    /// longer time.
    pub async fn run(self, cancel: CancellationToken) {
        let started = Instant::now();
        let mut tick = interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<(Instant, Reading)> = None;
        loop {
            let reading = tokio::select! {
                () = cancel.cancelled() => return,
                reading = async { tick.tick().await; self.read().await } => reading,
            };
            let now = Instant::now();
            let Some((at, earlier)) = &before else {
                before = Some((now, reading));
                continue;
            };
            let when = When {
                interval: now - *at,
                uptime: now - started,
                wall: Timestamp::now(),
                version: self.version,
            };
            if let Some(figures) = between(earlier, &reading, when) {
                self.hub.tell_system(figures);
                before = Some((now, reading));
            }
        }
    }

    async fn read(&self) -> Reading {
        let fanout = self.server.snapshot().await;
        Reading { fanout, subscriptions: self.hub.stats().subscriptions, process: (self.process)() }
    }
}
