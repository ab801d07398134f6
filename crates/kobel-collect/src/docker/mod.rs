//! Containers of Docker or Podman, by the engine's API on its socket.
//!
//! The engine's events say at once what happens to a container; each is confirmed by an inspect, so
//! what is known is right also after events that were missed. Figures come from the engine's own
//! stream, one a running container, once a second: that costs the engine what `docker stats` does
//! and this process next to nothing, and is the same with Docker, Podman and rootless ones.
//!
//! `watch` holds the rules and does no I/O; `session` carries them out on one connection.

mod describe;
pub(crate) mod dial;
mod endpoint;
mod figures;
mod session;
mod watch;

pub mod logs;

use std::{sync::Arc, time::Duration};

use kobel_hub::ingest::Ingest;
use kobel_wire::{Engine, EngineState, Timestamp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{CollectStats, Target, text::clean};

pub use dial::{Connection, Dial, Dialing, Reach, Reached, Reaching, Stream};
pub use endpoint::{EndpointError, Endpoints};

/// How long until an engine that went away is looked for.
const AGAIN: Duration = Duration::from_secs(2);

/// The source of a host's containers.
pub struct DockerSource {
    target: Target,
    ingest: Ingest,
    engines: Arc<dyn Reach>,
    stats: Arc<CollectStats>,
}

impl DockerSource {
    /// A source that reports the containers of the engine that is reached: of [`Endpoints`] on this
    /// machine, the first that answers.
    pub fn new(
        target: Target,
        ingest: Ingest,
        engines: impl Reach + 'static,
        stats: Arc<CollectStats>,
    ) -> Self {
        Self { target, ingest, engines: Arc::new(engines), stats }
    }

    /// Runs until cancelled. An engine that is not there, may not be used, or goes away is
    /// reported, and looked for again.
    pub async fn run(self, cancel: CancellationToken) {
        let mut reported: Option<Engine> = None;
        let mut connected_before = false;
        loop {
            let (ended, again) = tokio::select! {
                () = cancel.cancelled() => return,
                ended = self.once(&mut reported, &mut connected_before) => ended,
            };
            self.report(&mut reported, ended);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(again) => {}
            }
        }
    }

    /// Looks for an engine and reads it until it goes away; gives what to say of it then, and how
    /// long until it is looked for again.
    async fn once(&self, reported: &mut Option<Engine>, before: &mut bool) -> (Engine, Duration) {
        let Reached { endpoint, docker, engine } = match self.engines.reach().await {
            Ok(found) => found,
            Err(missing) => return (*missing, self.engines.patience()),
        };
        let connected = || {
            if std::mem::replace(before, true) {
                self.stats.engine_reconnected();
            }
            self.report(reported, engine.clone());
        };
        let error = session::run(docker, self.target, &self.ingest, &self.stats, connected).await;
        // The engine's own words may be in it.
        let error = clean(&error.to_string(), 300);
        let name = endpoint::name_of(engine.kind);
        let ended = Engine {
            state: EngineState::Error,
            message: Some(format!(
                "The connection to {name} at {endpoint} ended ({error}). Containers are shown as \
                 they were; Kobel connects again by itself."
            )),
            since: Timestamp::now(),
            ..engine
        };
        (ended, AGAIN)
    }

    /// Tells the hub, if it is news.
    fn report(&self, reported: &mut Option<Engine>, engine: Engine) {
        let same = reported
            .as_ref()
            .is_some_and(|known| (known.state, &known.message) == (engine.state, &engine.message));
        if same {
            return;
        }
        match (&engine.state, &engine.message) {
            (EngineState::Connected, _) => {
                let (kind, version) = (endpoint::name_of(engine.kind), engine.version.as_deref());
                tracing::info!(engine = kind, version, endpoint = engine.endpoint, "connected");
            }
            (_, message) => {
                tracing::warn!(reason = message.as_deref(), "no containers can be read");
            }
        }
        self.ingest.engine(self.target.device, engine.clone());
        *reported = Some(engine);
    }
}
