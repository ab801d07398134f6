//! The sources of the machine that the hub runs on.

use std::{sync::Arc, time::Duration};

use kobel_collect::{
    CollectStats, Target,
    docker::{DockerSource, Endpoints, logs::DockerLogs},
    local::{CgroupSource, LocalSource},
};
use kobel_hub::{demand::Demand, ingest::Ingest, logs::live::LogSources};
use kobel_wire::{Engine, EngineState, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::config::Docker;

/// How often this machine is read.
const PERIOD: Duration = Duration::from_secs(1);

/// Reads this machine and its containers.
#[derive(Clone)]
pub(crate) struct Here {
    /// Where its container engine is.
    pub(crate) docker: Docker,
    /// What it says of itself is told here.
    pub(crate) ingest: Ingest,
    /// Where the hub finds the logs of its containers.
    pub(crate) logs: LogSources,
    /// Counts.
    pub(crate) stats: Arc<CollectStats>,
}

impl Here {
    /// Reads until cancelled.
    pub(crate) async fn read(self, target: Target, demand: Demand, cancel: CancellationToken) {
        let Self { docker, ingest, logs, stats } = self;
        let machine = LocalSource::new(target, ingest.clone(), demand, PERIOD, Arc::clone(&stats));
        let machine = machine.run(cancel.clone());
        let endpoints = match docker {
            Docker::Off => {
                ingest.engine(target.device, not_looked_for());
                return machine.await;
            }
            Docker::CgroupOnly => {
                let containers = CgroupSource::new(target, ingest, PERIOD, stats);
                tokio::join!(machine, containers.run(cancel));
                return;
            }
            Docker::Auto => Endpoints::from_env(),
            // Checked when the configuration was read.
            Docker::At(address) => match Endpoints::only(&address) {
                Ok(endpoints) => endpoints,
                Err(error) => {
                    tracing::error!(%error, "the container engine's address");
                    return machine.await;
                }
            },
        };
        logs.set(target.device, Arc::new(DockerLogs::new(Arc::new(endpoints.clone()))));
        let containers = DockerSource::new(target, ingest, endpoints, stats);
        tokio::join!(machine, containers.run(cancel));
    }
}

/// The engine of a machine whose engine is not looked for.
pub(crate) fn not_looked_for() -> Engine {
    let message = "Docker is not looked for: the hub was started with --docker off";
    let engine = Engine::unknown(Timestamp::now());
    Engine { state: EngineState::Absent, message: Some(message.into()), ..engine }
}
