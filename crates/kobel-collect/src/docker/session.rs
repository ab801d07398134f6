//! One connection to an engine: its events, inspects and figures.

use std::{collections::HashMap, future::Future, pin::pin, time::Duration};

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
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    figures::{Figures, Meter},
    watch::{Action, Watch},
};
use crate::{CollectStats, Target};

/// Inspects at once.
const INSPECTS: usize = 8;

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
    Inspected(ContainerId, Result<Box<ContainerInspectResponse>, Error>),
    NotMeasured(ContainerId),
}

/// Reads an engine until it goes away; gives why.
pub(super) async fn run(
    docker: Docker,
    target: Target,
    ingest: &Ingest,
    stats: &CollectStats,
) -> Ended {
    let mut session = Session {
        docker,
        ingest,
        watch: Watch::new(target.device, Timestamp::now()),
        tasks: JoinSet::new(),
        meters: HashMap::new(),
        measured: mpsc::channel(WAITING),
    };
    let ended = session.read(target, stats).await;
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
}

impl Session<'_> {
    async fn read(&mut self, target: Target, stats: &CollectStats) -> Ended {
        // From a second ago on, so that nothing falls between the inventory and the first event.
        let since = Timestamp::now().as_millis() / 1000 - 1;
        let docker = self.docker.clone();
        let mut events = pin!(docker.events(Some(EventsOptions {
            since: Some(since.to_string()),
            filters: Some(HashMap::from([("type".to_owned(), vec!["container".to_owned()])])),
            ..EventsOptions::default()
        })));
        let inventory = match take_stock(&self.docker).await {
            Ok(inventory) => inventory,
            Err(ended) => return ended,
        };
        let (containers, actions) = self.watch.stock(inventory, Timestamp::now());
        self.ingest.inventory(target.device, containers);
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
                    Ok(told) => self.told(told),
                    // One that was stopped.
                    Err(_) => Vec::new(),
                },
                Some((id, figures)) = self.measured.1.recv() => {
                    self.watch.figures(&id, figures, Timestamp::now()).into_iter().collect()
                }
                _ = renew.tick() => self.watch.renew(Timestamp::now()),
                _ = ping.tick() => match within(self.docker.ping()).await {
                    Ok(_) => Vec::new(),
                    Err(ended) => return ended,
                },
            };
            self.carry_out(actions);
        }
    }

    fn told(&mut self, told: Told) -> Vec<Action> {
        match told {
            Told::Inspected(id, Ok(inspect)) => {
                self.watch.inspected(&id, Some(*inspect), Timestamp::now())
            }
            Told::Inspected(id, Err(error)) if is_not_found(&error) => {
                self.watch.inspected(&id, None, Timestamp::now())
            }
            Told::Inspected(id, Err(error)) => {
                tracing::warn!(container = %id, %error, "cannot inspect a container");
                self.watch.not_inspected(&id);
                Vec::new()
            }
            Told::NotMeasured(id) => {
                self.meters.remove(&id);
                self.watch.not_measured(&id).into_iter().collect()
            }
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Report(container) => self.ingest.container(*container),
                Action::Inspect(id) => {
                    let docker = self.docker.clone();
                    self.tasks.spawn(async move {
                        let inspect = docker.inspect_container(id.as_str(), None).await;
                        Told::Inspected(id, inspect.map(Box::new))
                    });
                }
                Action::Measure(id) => {
                    let (docker, figures) = (self.docker.clone(), self.measured.0.clone());
                    let name = id.clone();
                    let task = self.tasks.spawn(async move {
                        measure(&docker, &name, &figures).await;
                        Told::NotMeasured(name)
                    });
                    // One that has just ended and is not joined yet finds nothing to stop.
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

/// Everything that there is. A container that goes meanwhile is not among it.
async fn take_stock(docker: &Docker) -> Result<Vec<ContainerInspectResponse>, Ended> {
    let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
    let listed = within(docker.list_containers(Some(all))).await?;
    let ids = listed.into_iter().filter_map(|container| {
        // What names no container must not become part of a path.
        container.id?.parse::<ContainerId>().ok()
    });
    let inspects = ids.map(|id| async move {
        match within(docker.inspect_container(id.as_str(), None)).await {
            Ok(inspect) => Ok(Some(inspect)),
            Err(Ended::Engine(error)) if is_not_found(&error) => Ok(None),
            Err(ended) => Err(ended),
        }
    });
    let inspected: Vec<_> = stream::iter(inspects).buffer_unordered(INSPECTS).collect().await;
    inspected.into_iter().filter_map(Result::transpose).collect()
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
