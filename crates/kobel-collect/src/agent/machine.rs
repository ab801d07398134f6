//! This machine behind a link: what its sources report goes to the hub.
//!
//! The sources are those of the hub itself. What they report is shaped already by what is needed
//! ([`crate::edge`]); here it is put into the outbox, and told anew to a hub that has not heard it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use kobel_hub::{
    demand::{Demand, Need},
    ingest::{self, DeviceUpdate, Inbox},
    logs::live::LogSource,
};
use kobel_wire::{
    Container, ContainerId, ContainerState, DeviceId, DeviceState, DeviceUuid, Engine, EngineState,
    Sample, SourceKind, Timestamp,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Claim, DialError, Dialer, Event, Feed, Hello, Hub, Outbox, Progress};
use crate::{
    CollectStats, Target,
    docker::{DockerSource, Endpoints, logs::DockerLogs},
    local::{self, CgroupSource, LocalSource},
};

/// How often the machine is read. What nobody needs stays here.
const PERIOD: Duration = Duration::from_secs(1);

/// What the agent knows the machine by: it is the only device that it has.
pub(super) const KEY: &str = "host";

/// The link tells which device it is by its index; the hub puts in the identity.
const SELF: Target = Target { device: DeviceUuid::NIL, id: DeviceId(0) };
const INDEX: u32 = 0;

/// An agent of this machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What lasts of it, 1 to 64 letters, digits, `-`, `_`, `.`: another one is another device.
    pub instance: String,
    /// What to call the machine where the hub does not know it yet.
    pub name: String,
    /// Words to put on it where the hub does not know it yet.
    pub tags: Vec<String>,
    /// Where to look for a container engine; `None`: nowhere.
    pub engines: Option<Endpoints>,
    /// Without an engine: containers are read from the files of their cgroups.
    pub cgroups: bool,
}

impl Machine {
    /// Reports to a hub, until cancelled.
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
        let hello = Hello {
            instance: self.instance,
            software: format!("kobel agent {}", env!("CARGO_PKG_VERSION")),
            source: SourceKind::Agent,
            logs: self.engines.is_some(),
        };
        let dialer = Dialer::new(hub, token, hello, progress)?;
        let (ingest, inbox) = ingest::channel();
        let (demand, stats) = (Demand::default(), Arc::new(CollectStats::default()));
        let mut engine = Engine::unknown(Timestamp::now());
        if self.engines.is_none() && !self.cgroups {
            engine.state = EngineState::Absent;
            let message = "Docker is not looked for: the agent was started with --docker off";
            engine.message = Some(message.into());
        }
        let claim = Claim {
            key: KEY.into(),
            name: self.name,
            tags: self.tags,
            facts: local::facts(),
            engine,
        };
        // Ended also when the link ends by itself.
        let sources_end = cancel.child_token();
        let mut sources = JoinSet::new();
        let source =
            LocalSource::new(SELF, ingest.clone(), demand.clone(), PERIOD, Arc::clone(&stats));
        sources.spawn(source.run(sources_end.clone()));
        let mut logs: Option<Arc<dyn LogSource>> = None;
        if let Some(engines) = self.engines {
            logs = Some(Arc::new(DockerLogs::new(Arc::new(engines.clone()))));
            let source = DockerSource::new(SELF, ingest, engines, stats);
            sources.spawn(source.run(sources_end.clone()));
        } else if self.cgroups {
            let source = CgroupSource::new(SELF, ingest, PERIOD, stats);
            sources.spawn(source.run(sources_end.clone()));
        }
        let ended = dialer.run(MachineFeed::new(claim, inbox, demand, logs), cancel).await;
        sources_end.cancel();
        while sources.join_next().await.is_some() {}
        ended
    }
}

/// What stands between the sources and the outbox.
struct MachineFeed {
    claim: Claim,
    inbox: Inbox,
    demand: Demand,
    logs: Option<Arc<dyn LogSource>>,
    waiting: Vec<DeviceUpdate>,
    /// Told anew to a hub that may have started again.
    engine: Option<Engine>,
    newest: Option<Sample>,
    /// All containers; `None` until stock was taken.
    containers: Option<HashMap<ContainerId, Container>>,
    /// Those whose figures are newer than what was sent: they go with the next sample, which comes
    /// as often as it is needed.
    figures: BTreeSet<ContainerId>,
    /// The hub does not take the machine from this agent.
    released: bool,
}

impl MachineFeed {
    fn new(claim: Claim, inbox: Inbox, demand: Demand, logs: Option<Arc<dyn LogSource>>) -> Self {
        Self {
            claim,
            inbox,
            demand,
            logs,
            waiting: Vec::new(),
            engine: None,
            newest: None,
            containers: None,
            figures: BTreeSet::new(),
            released: false,
        }
    }

    fn put(&mut self, update: DeviceUpdate, outbox: &mut Outbox, now: Instant) {
        let DeviceUpdate { sample, summaries, facts, engine, state, inventory, containers } =
            update;
        if let Some(facts) = facts {
            self.claim.facts = facts.clone();
            self.send(|| outbox.facts(INDEX, facts));
        }
        if let Some(engine) = engine {
            self.engine = Some(engine.clone());
            self.send(|| outbox.engine(INDEX, engine));
        }
        if let Some((state, reason)) = state {
            self.send(|| outbox.state(INDEX, state != DeviceState::Unreachable, reason));
        }
        if let Some(all) = inventory {
            self.send(|| outbox.inventory(INDEX, &all, now));
            self.figures.clear();
            let all = all.into_iter().map(|container| (container.container_id.clone(), container));
            self.containers = Some(all.collect());
        }
        for container in containers {
            self.container(&container, outbox, now);
        }
        for summary in summaries {
            self.send(|| outbox.summary(INDEX, &summary, now));
        }
        if let Some(sample) = sample {
            self.newest = Some(sample.clone());
            self.send(|| outbox.sample(INDEX, sample));
            self.send_figures(outbox);
        }
    }

    fn send(&self, send: impl FnOnce()) {
        if !self.released {
            send();
        }
    }

    fn container(&mut self, container: &Container, outbox: &mut Outbox, now: Instant) {
        let id = container.container_id.clone();
        let all = self.containers.get_or_insert_default();
        let known = if container.state == ContainerState::Removed {
            all.remove(&id)
        } else {
            all.insert(id.clone(), container.clone())
        };
        if known.is_some_and(|known| known.same_but_figures(container)) {
            self.figures.insert(id);
            return;
        }
        self.figures.remove(&id);
        self.send(|| outbox.container(INDEX, container, now));
    }

    fn send_figures(&mut self, outbox: &mut Outbox) {
        let ids = std::mem::take(&mut self.figures);
        let Some(all) = self.containers.as_ref().filter(|_| !self.released) else { return };
        for container in ids.iter().filter_map(|id| all.get(id)) {
            outbox.figures(INDEX, container.clone());
        }
    }
}

impl Feed for MachineFeed {
    fn claims(&mut self) -> Vec<Claim> {
        vec![self.claim.clone()]
    }

    async fn ready(&mut self) {
        if self.waiting.is_empty() {
            self.waiting.extend(self.inbox.take().await.into_values());
        }
    }

    fn fill(&mut self, outbox: &mut Outbox, _wall: Timestamp, now: Instant) {
        for update in std::mem::take(&mut self.waiting) {
            self.put(update, outbox, now);
        }
    }

    fn logs(&self, device: u32) -> Option<Arc<dyn LogSource>> {
        self.logs.clone().filter(|_| device == INDEX)
    }

    fn event(&mut self, event: Event, outbox: &mut Outbox, _wall: Timestamp, now: Instant) {
        match event {
            Event::Need(INDEX, need) => self.demand.tell(SELF.device, need),
            Event::NobodyWatches => {
                self.demand.tell(SELF.device, Need::Unwatched);
                self.released = false;
                // The claim says what was known at the start.
                if let Some(engine) = &self.engine {
                    outbox.engine(INDEX, engine.clone());
                }
                outbox.facts(INDEX, self.claim.facts.clone());
                if let Some(sample) = &self.newest {
                    outbox.sample(INDEX, sample.clone());
                }
            }
            Event::Inventory(INDEX) => {
                if let Some(all) = &self.containers {
                    let all: Vec<_> = all.values().cloned().collect();
                    self.figures.clear();
                    outbox.inventory(INDEX, &all, now);
                }
            }
            Event::Released(INDEX, _) => self.released = true,
            // The link follows by itself.
            Event::Logs(_) => {}
            Event::Need(..) | Event::Inventory(_) | Event::Released(..) => {}
        }
    }
}

#[cfg(test)]
mod tests;
