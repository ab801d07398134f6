//! A fleet that does not exist, for demonstrations, tests and benches: plausible hosts and
//! containers, reported over the agent link as real ones would be.
//!
//! `host`, `series` and `containers` are functions of a seed and the time; `part` says when which of
//! them is asked. Start reading there.

mod chatter;
mod containers;
mod host;
mod noise;
mod part;
mod series;

use std::sync::Arc;

use kobel_wire::{SourceKind, Timestamp};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::agent::{DialError, Dialer, Hello, Hub, Progress};

/// The most devices of a fleet.
pub const MOST_DEVICES: u32 = 100_000;

/// The most containers of a device.
pub const MOST_CONTAINERS: u16 = 100;

/// Devices of one link.
const EACH_LINK: usize = 5_000;

/// A fleet.
#[derive(Debug, Clone, Copy)]
pub struct Simulation {
    /// How many devices.
    pub devices: u32,
    /// How many containers each has.
    pub containers: u16,
    /// The same seed is the same fleet.
    pub seed: u64,
    /// Lines a second that each container writes on the whole, while somebody follows it.
    pub log_rate: f64,
}

/// The most lines a second of a container.
pub const MOST_LINES: f64 = 20_000.0;

impl Simulation {
    /// Attaches the fleet to a hub, until cancelled.
    ///
    /// # Errors
    /// When the hub refuses in a way that only a person can change.
    pub async fn run(
        self,
        hub: Hub,
        token: &str,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<(), DialError> {
        let mut hosts = host::hosts(self.seed, self.devices);
        let mut links = JoinSet::new();
        while !hosts.is_empty() {
            let rest = hosts.split_off(hosts.len().min(EACH_LINK));
            let of_link = std::mem::replace(&mut hosts, rest);
            let part = part::Part::new(
                of_link,
                self.containers,
                self.log_rate,
                Timestamp::now(),
                Instant::now(),
            );
            let hello = Hello {
                instance: format!("simulation-{}", self.seed),
                software: format!("kobel simulate {}", env!("CARGO_PKG_VERSION")),
                source: SourceKind::Simulated,
                logs: true,
            };
            let dialer = Dialer::new(hub.clone(), token, hello, Arc::clone(&progress))?;
            links.spawn(dialer.run(part, cancel.clone()));
        }
        let mut result = Ok(());
        while let Some(ended) = links.join_next().await {
            // The first that ends for good ends the others.
            if let Ok(Err(error)) = ended {
                cancel.cancel();
                result = result.and(Err(error));
            }
        }
        result
    }
}
