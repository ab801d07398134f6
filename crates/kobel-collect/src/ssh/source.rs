//! The source of a host that is read over SSH.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kobel_hub::{
    demand::{Demand, Need},
    ingest::Ingest,
    logs::live::LogSources,
};
use kobel_wire::{DeviceState, Engine, EngineState, Timestamp};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    collector::{Collector, LoopError},
    connect::{SshConnection, Step, Steps},
    docker::SshEngine,
    error::SshError,
    ignore::Ignore,
    pool::Pool,
    spec::{Docker, HostKey, SshSpec},
};
use crate::{
    CollectStats, Target,
    backoff::{Backoff, random},
    docker::{DockerSource, logs::DockerLogs},
    host::cgroups::{self, News},
    text::clean,
};

/// A reading that takes longer makes the host a slow one.
const SLOW: Duration = Duration::from_millis(1_000);

/// Between two tries.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Who looks as closely as this sees the processes, too.
const CLOSE: Duration = Duration::from_secs(5);

/// Beside the state of a host that gives one session a connection.
const ONE_SESSION: &str = "Its sshd gives one session a connection (MaxSessions 1). Metrics share \
                           it with filesystems and processes, which are read less often and \
                           without those of other servers, and where sshd forwards no sockets each \
                           stream to the container engine takes a connection of its own. Raise \
                           MaxSessions there to 10, which is what sshd has by default.";

/// Where what is read of a host goes.
#[derive(Clone)]
pub struct SshReports {
    /// Samples, containers, states.
    pub ingest: Ingest,
    /// How often samples are needed.
    pub demand: Demand,
    /// Where the hub finds the logs of the host's containers.
    pub logs: LogSources,
    /// Counts.
    pub stats: Arc<CollectStats>,
    /// Hears of a host key that was taken for the first time: it is to be pinned, for good.
    pub pin: Arc<dyn Fn(HostKey) + Send + Sync>,
}

/// Reads one host over SSH: one connection, one task, whatever happens there.
pub struct SshSource {
    target: Target,
    spec: SshSpec,
    period: Duration,
    /// What is needed, as told last: it holds from one connection to the next.
    need: Need,
    to: SshReports,
    ignore: Ignore,
}

impl SshSource {
    /// A source that reads this host, at most once in `period` (at least 1 s).
    pub fn new(target: Target, spec: SshSpec, period: Duration, to: SshReports) -> Self {
        let (period, need) = (period.max(Duration::from_secs(1)), Need::Unwatched);
        Self { target, spec, period, need, to, ignore: Ignore::default() }
    }

    /// Leaves these out of its samples.
    #[must_use]
    pub fn ignoring(mut self, ignore: Ignore) -> Self {
        self.ignore = ignore;
        self
    }

    /// Runs until cancelled; dials first after `delay`, so that many hosts are not dialled at once.
    /// What is wrong is reported as the device's state with what to do, and tried again with waits
    /// that grow; after a refused sign-in or a changed host key nothing is tried any more.
    pub async fn run(mut self, delay: Duration, cancel: CancellationToken) {
        let pool = Arc::new(Pool::new(self.to.stats.ssh_pool()));
        let mut tasks = JoinSet::new();
        self.containers(&pool, &cancel, &mut tasks);
        let work = async {
            sleep(delay).await;
            let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
            loop {
                let error = self.once(&pool, &mut backoff).await;
                pool.end().await;
                self.say(error.state(), Some(error.told()));
                tracing::warn!(host = %self.spec.host, reason = %clean(&error.to_string(), 300), "a host cannot be read");
                if error.is_final() {
                    return std::future::pending::<()>().await;
                }
                sleep(backoff.wait(random())).await;
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = work => {}
            () = pool.tidy() => {}
        }
        pool.end().await;
        // They are cancelled, too.
        while tasks.join_next().await.is_some() {}
    }

    /// Starts to read the host's containers, whenever it is connected.
    fn containers(&self, pool: &Arc<Pool>, cancel: &CancellationToken, tasks: &mut JoinSet<()>) {
        let socket = match &self.spec.docker {
            Docker::Off => {
                let engine = Engine {
                    state: EngineState::Absent,
                    message: Some(
                        "Containers are not looked for: the device's options say so".into(),
                    ),
                    ..Engine::unknown(Timestamp::now())
                };
                return self.to.ingest.engine(self.target.device, engine);
            }
            Docker::CgroupOnly => {
                return self.to.ingest.engine(self.target.device, cgroups::engine());
            }
            Docker::Auto => None,
            Docker::At(path) => Some(path.clone()),
        };
        let engine = SshEngine::new(Arc::clone(pool) as _, socket);
        let logs = DockerLogs::new(Arc::new(engine.clone()));
        self.to.logs.set(self.target.device, Arc::new(logs));
        let source = DockerSource::new(
            self.target,
            self.to.ingest.clone(),
            engine,
            Arc::clone(&self.to.stats),
        );
        tasks.spawn(source.run(cancel.clone()));
    }

    /// Connects and reads until it breaks; gives why.
    async fn once(&mut self, pool: &Arc<Pool>, backoff: &mut Backoff) -> SshError {
        let pins = Pins { pin: Arc::clone(&self.to.pin), new: Mutex::default() };
        let opened = SshConnection::open(&self.spec, &pins).await;
        // Also of a connection that came to nothing: its host was met.
        self.spec.host_keys.pinned.append(&mut pins.take());
        let connection = match opened {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        pool.begin(connection, &self.spec);
        tracing::info!(host = %self.spec.host, "connected over SSH");
        let error = match Collector::start(self.target, pool.own()).await {
            Ok((mut collector, introduced)) => {
                pool.reads();
                if self.spec.docker == Docker::CgroupOnly {
                    collector.with_containers();
                }
                self.to.ingest.facts(self.target.device, introduced.facts);
                self.read(&mut collector, introduced.lacks, pool, backoff).await
            }
            Err(error) => error,
        };
        let (host, why) = (self.spec.host.to_string(), clean(&error.to_string(), 300));
        match error {
            LoopError::Remote(super::remote::RemoteError::Gone(_)) | LoopError::Silent(_) => {
                SshError::Lost { host, why }
            }
            _ if pool.is_closed() => SshError::Lost { host, why },
            _ => SshError::Shell { host, why },
        }
    }

    async fn read(
        &mut self,
        collector: &mut Collector,
        lacks: Option<String>,
        pool: &Pool,
        backoff: &mut Backoff,
    ) -> LoopError {
        let lacks = lacks.map(|lacks| format!("Connected, and little can be shown: {lacks}."));
        let mut told = None;
        let mut due = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                changed = self.to.demand.changed() => {
                    for (_, newer) in changed {
                        self.need = newer;
                    }
                    // Who begins to look sees the newest at once.
                    due = due.min(Instant::now() + self.period());
                    continue;
                }
            }
            let begun = Instant::now();
            self.to.stats.tick_was_late(begun.saturating_duration_since(due));
            let watched = self.period() <= CLOSE;
            let mut sample = match collector.sample(watched).await {
                Ok(sample) => sample,
                Err(error) => {
                    self.to.stats.sample_failed();
                    return error;
                }
            };
            backoff.reset();
            let took = begun.elapsed();
            self.to.stats.reading_took(took);
            self.to.stats.sampled();
            self.ignore.apply(&mut sample);
            self.to.ingest.sample(sample);
            self.tell(collector.containers());
            let newer = if took >= SLOW {
                let reason = format!(
                    "Its answers take {:.1} s: the host or the way to it is busy.",
                    took.as_secs_f64()
                );
                (DeviceState::Slow, Some(reason))
            } else {
                let few = (pool.sessions() == 1).then(|| ONE_SESSION.to_owned());
                (DeviceState::Online, lacks.clone().or(few))
            };
            // A slow host's words change with each sample; they are told when the state does.
            let as_told = |told: &(DeviceState, Option<String>)| {
                told.0 == newer.0 && (told.1 == newer.1 || newer.0 == DeviceState::Slow)
            };
            if !told.as_ref().is_some_and(as_told) {
                self.say(newer.0, newer.1.clone());
                told = Some(newer);
            }
            let period = self.period();
            due = (due + period).max(Instant::now());
        }
    }

    fn tell(&self, containers: Option<News>) {
        match containers {
            Some(News::All(all)) => self.to.ingest.inventory(self.target.device, all),
            Some(News::Each(each)) => {
                each.into_iter().for_each(|container| self.to.ingest.container(container));
            }
            None => {}
        }
    }

    fn period(&self) -> Duration {
        self.need.period().max(self.period)
    }

    fn say(&self, state: DeviceState, reason: Option<String>) {
        self.to.ingest.state(self.target.device, state, reason);
    }
}

/// Takes down host keys that are new.
struct Pins {
    pin: Arc<dyn Fn(HostKey) + Send + Sync>,
    new: Mutex<Vec<HostKey>>,
}

impl Pins {
    fn take(self) -> Vec<HostKey> {
        self.new.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steps for Pins {
    fn done(&self, _: Step, _: String) {}

    fn pin(&self, key: HostKey) {
        (self.pin)(key.clone());
        self.new.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }
}
