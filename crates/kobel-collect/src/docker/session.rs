//! One connection to an engine: its events, inspects and figures.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bollard::{
    Docker,
    errors::Error,
    models::ContainerInspectResponse,
    query_parameters::{EventsOptions, ListContainersOptions, StatsOptions},
};
use futures_util::{StreamExt, stream};
use kobel_hub::ingest::Ingest;
use kobel_wire::{ContainerId, Timestamp};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{self, AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    figures::{Figures, Meter},
    watch::{Action, MAX_CONTAINERS, Watch},
};
use crate::{CollectStats, Target, text::clean};

/// Inspects at once. The rest wait, at most one a container.
const INSPECTS: usize = 8;

/// How long until the engine is asked again for what it could not give: an inspect that failed, a
/// stream of figures that ended. Without it, an engine that gives no figures would be asked as fast
/// as it refuses.
const AGAIN: Duration = Duration::from_secs(1);

/// Figures that wait to be taken. Full: the stream that has more waits, and the engine with it.
const WAITING: usize = 256;

/// How often an engine that says nothing is asked whether it is there.
const PING: Duration = Duration::from_secs(15);

/// How long an engine may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// How often statuses such as "Exited (0) 2 hours ago" are renewed.
const RENEW: Duration = Duration::from_secs(30);

/// How a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("{0}")]
    Engine(#[from] Error),
    #[error("it closed the stream of events")]
    Closed,
    #[error("no answer in 10 s")]
    Silent,
}

/// A container's newest figures.
type Measured = (ContainerId, Figures);

/// What the tasks of a session give.
enum Told {
    /// `None`: there is no such container.
    Inspected(ContainerId, Option<Box<ContainerInspectResponse>>),
    NotInspected(ContainerId, Ended),
    /// The task with this id does not measure any more.
    NotMeasured(ContainerId, task::Id),
    Pinged(Result<(), Ended>),
}

/// Reads an engine until it goes away; gives why. Says when all of its containers are known.
pub(super) async fn run(
    docker: Docker,
    target: Target,
    ingest: &Ingest,
    stats: &CollectStats,
    connected: impl FnOnce(),
) -> Ended {
    let mut session = Session {
        docker,
        ingest,
        watch: Watch::new(target.device, Timestamp::now()),
        tasks: JoinSet::new(),
        meters: HashMap::new(),
        measured: mpsc::channel(WAITING),
        slots: Arc::new(Semaphore::new(INSPECTS)),
        failing: HashSet::new(),
        pinging: false,
    };
    let ended = session.read(target, stats, connected).await;
    for container in session.watch.lost() {
        ingest.container(container);
    }
    ended
}

struct Session<'a> {
    docker: Docker,
    ingest: &'a Ingest,
    watch: Watch,
    /// Inspects and streams of figures; ended with the session.
    tasks: JoinSet<Told>,
    meters: HashMap<ContainerId, AbortHandle>,
    measured: (mpsc::Sender<Measured>, mpsc::Receiver<Measured>),
    slots: Arc<Semaphore>,
    /// Containers whose last inspect failed: each is logged once.
    failing: HashSet<ContainerId>,
    pinging: bool,
}

impl Session<'_> {
    async fn read(
        &mut self,
        target: Target,
        stats: &CollectStats,
        connected: impl FnOnce(),
    ) -> Ended {
        // From a second ago on, so that nothing falls between the inventory and the first event.
        let since = Timestamp::now().as_millis() / 1000 - 1;
        let docker = self.docker.clone();
        let mut events = pin!(docker.events(Some(EventsOptions {
            since: Some(since.to_string()),
            filters: Some(HashMap::from([("type".to_owned(), vec!["container".to_owned()])])),
            ..EventsOptions::default()
        })));
        let (inventory, failed) = match take_stock(&self.docker).await {
            Ok(taken) => taken,
            Err(ended) => return ended,
        };
        let (containers, mut actions) = self.watch.stock(inventory, Timestamp::now());
        self.ingest.inventory(target.device, containers);
        connected();
        actions.extend(failed.iter().filter_map(|id| self.watch.ask(id)));
        self.carry_out(actions);

        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew = interval(RENEW);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let actions = tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        stats.container_event();
                        self.watch.event(&event, Timestamp::now())
                    }
                    Some(Err(error)) => return error.into(),
                    None => return Ended::Closed,
                },
                Some(told) = self.tasks.join_next() => match told {
                    Ok(Told::Pinged(answer)) => {
                        self.pinging = false;
                        match answer {
                            Ok(()) => Vec::new(),
                            Err(ended) => return ended,
                        }
                    }
                    Ok(told) => self.told(told),
                    // One that was stopped.
                    Err(_) => Vec::new(),
                },
                Some((id, figures)) = self.measured.1.recv() => {
                    self.watch.figures(&id, figures, Timestamp::now()).into_iter().collect()
                }
                _ = renew.tick() => self.watch.renew(Timestamp::now()),
                // In a task: an engine that is slow to answer must not hold up its own events.
                _ = ping.tick(), if !self.pinging => {
                    self.pinging = true;
                    let docker = self.docker.clone();
                    self.tasks.spawn(async move {
                        Told::Pinged(within(docker.ping()).await.map(drop))
                    });
                    Vec::new()
                }
            };
            self.carry_out(actions);
        }
    }

    fn told(&mut self, told: Told) -> Vec<Action> {
        match told {
            Told::Inspected(id, inspect) => {
                self.failing.remove(&id);
                self.watch.inspected(&id, inspect.map(|inspect| *inspect), Timestamp::now())
            }
            Told::NotInspected(id, error) => {
                if self.failing.insert(id.clone()) {
                    let reason = clean(&error.to_string(), 300);
                    tracing::warn!(container = %id, reason, "cannot inspect a container");
                }
                self.watch.not_inspected(&id).into_iter().collect()
            }
            Told::NotMeasured(id, task) => {
                // One that was stopped as it ended: by now another may measure the container.
                if self.meters.get(&id).is_none_or(|meter| meter.id() != task) {
                    return Vec::new();
                }
                self.meters.remove(&id);
                self.watch.not_measured(&id).into_iter().collect()
            }
            // The loop has answered it.
            Told::Pinged(_) => Vec::new(),
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Report(container) => self.ingest.container(*container),
                Action::Inspect(id) => {
                    let (docker, slots) = (self.docker.clone(), Arc::clone(&self.slots));
                    self.tasks.spawn(async move {
                        // Never closed, so this is always a slot.
                        let slot = slots.acquire_owned().await;
                        let answer = inspect(&docker, &id).await;
                        drop(slot);
                        match answer {
                            Ok(inspect) => Told::Inspected(id, inspect),
                            Err(error) => {
                                sleep(AGAIN).await;
                                Told::NotInspected(id, error)
                            }
                        }
                    });
                }
                Action::Measure(id) => {
                    let (docker, figures) = (self.docker.clone(), self.measured.0.clone());
                    let name = id.clone();
                    let task = self.tasks.spawn(async move {
                        measure(&docker, &name, &figures).await;
                        sleep(AGAIN).await;
                        Told::NotMeasured(name, task::id())
                    });
                    self.meters.insert(id, task);
                }
                Action::StopMeasuring(id) => {
                    if let Some(task) = self.meters.remove(&id) {
                        task.abort();
                    }
                }
            }
        }
    }
}

/// Everything that there is, and what could not be inspected: one broken container must not hide
/// the others. A container that goes meanwhile is in neither.
async fn take_stock(
    docker: &Docker,
) -> Result<(Vec<ContainerInspectResponse>, Vec<ContainerId>), Ended> {
    let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
    let listed = within(docker.list_containers(Some(all))).await?;
    let ids = listed.into_iter().filter_map(|container| {
        // What names no container must not become part of a path.
        container.id?.parse::<ContainerId>().ok()
    });
    let inspects =
        ids.take(MAX_CONTAINERS).map(|id| async move { (inspect(docker, &id).await, id) });
    let mut answers = pin!(stream::iter(inspects).buffer_unordered(INSPECTS));
    let (mut inspected, mut failed) = (Vec::new(), Vec::new());
    while let Some((answer, id)) = answers.next().await {
        match answer {
            Ok(found) => inspected.extend(found.map(|inspect| *inspect)),
            Err(Ended::Engine(_)) => failed.push(id),
            // Of an engine that has fallen silent, the rest would only take longer.
            Err(ended) => return Err(ended),
        }
    }
    Ok((inspected, failed))
}

/// What the engine says of a container; `None` where there is no such.
async fn inspect(
    docker: &Docker,
    id: &ContainerId,
) -> Result<Option<Box<ContainerInspectResponse>>, Ended> {
    match within(docker.inspect_container(id.as_str(), None)).await {
        Ok(inspect) => Ok(Some(Box::new(inspect))),
        Err(Ended::Engine(error)) if is_not_found(&error) => Ok(None),
        Err(ended) => Err(ended),
    }
}

/// Reads a container's figures, about once a second, until it ends.
async fn measure(docker: &Docker, id: &ContainerId, to: &mpsc::Sender<Measured>) {
    let options = StatsOptions { stream: true, one_shot: false };
    let mut stats = pin!(docker.stats(id.as_str(), Some(options)));
    let mut meter = Meter::default();
    while let Some(Ok(stats)) = stats.next().await {
        // A container that has ended is reported once more, without anything in it.
        if stats.memory_stats.as_ref().is_none_or(|memory| memory.usage.is_none()) {
            continue;
        }
        let figures = meter.read(&stats);
        if to.send((id.clone(), figures)).await.is_err() {
            return;
        }
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Ended> {
    match timeout(LIMIT, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Ended::Silent),
    }
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}
