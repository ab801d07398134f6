//! What may hang or take long: sizes of filesystems, and processes. On a session of its own, in a
//! task of its own, so that a server that is gone costs no sample.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kobel_wire::{Mount, Process};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    answer,
    requests::{LoopError, Requests},
    script::{self, Ask},
};
use crate::{
    host::processes::{ProcessCounters, ProcessTable, Units},
    ssh::remote::{Remote, RemoteError},
};

/// How often sizes of filesystems are asked, and processes.
const MOUNTS_EACH: Duration = Duration::from_secs(10);
const PROCESSES_EACH: Duration = Duration::from_secs(5);

/// How long an answer may take. After that only the host's own filesystems are asked for.
const LIMIT: Duration = Duration::from_secs(15);

/// When sizes are too old to be shown as those of now: then they are absent.
const TOO_OLD: Duration = Duration::from_secs(90);

/// How long until a loop that ended is started again.
const AGAIN: Duration = Duration::from_secs(30);

/// What is needed beside the sizes of filesystems.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) processes: bool,
}

#[derive(Default)]
struct Found {
    mounts: Option<(Instant, Vec<Mount>)>,
    /// The uptime and the processes then, until they are taken.
    processes: Option<(f64, Vec<ProcessCounters>)>,
    /// The host gives no second session: the loop of samples asks, too.
    alone: bool,
}

#[derive(Default)]
struct Shared {
    // Held for a move of values, never across an await.
    found: Mutex<Found>,
    wanted: Notify,
}

impl Shared {
    fn put(&self, answer: &str, asked: &[Ask], now: Instant) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.iter().any(|ask| matches!(ask, Ask::Mounts { .. })) {
            found.mounts = Some((now, answer::filesystems(answer)));
        }
        if asked.contains(&Ask::Processes) {
            found.processes =
                answer::uptime(answer).map(|uptime| (uptime, answer::processes(answer)));
        }
    }
}

/// The slow part of a host's reading. Ends with this.
pub(super) struct Slow {
    shared: Arc<Shared>,
    table: ProcessTable,
    /// When each was last asked for.
    asked: Asked,
    _task: JoinSet<()>,
    queue: Arc<Mutex<Vec<Ask>>>,
}

#[derive(Default)]
struct Asked {
    mounts: Option<Instant>,
    processes: Option<Instant>,
    both: u64,
}

impl Slow {
    pub(super) fn start(remote: Arc<dyn Remote>) -> Self {
        let (shared, queue) = (Arc::new(Shared::default()), Arc::new(Mutex::new(Vec::new())));
        let mut task = JoinSet::new();
        task.spawn(run(remote, Arc::clone(&shared), Arc::clone(&queue)));
        Self { shared, table: ProcessTable::default(), asked: Asked::default(), _task: task, queue }
    }

    /// Has asked what is due; gives what the loop of samples must ask itself, for want of another.
    pub(super) fn want(&mut self, wanted: Wanted) -> Option<Ask> {
        let now = Instant::now();
        let due = |at: Option<Instant>, each: Duration| at.is_none_or(|at| now >= at + each);
        let mut asks = Vec::new();
        if due(self.asked.mounts, MOUNTS_EACH) {
            asks.push(Ask::Mounts { remote: true });
        }
        if wanted.processes && due(self.asked.processes, PROCESSES_EACH) {
            asks.push(Ask::Processes);
        }
        if asks.is_empty() {
            return None;
        }
        let alone = self.shared.found.lock().unwrap_or_else(PoisonError::into_inner).alone;
        if alone {
            // One at a time, and nothing that another host can hold up.
            self.asked.both += 1;
            let processes = wanted.processes && self.asked.both.is_multiple_of(2);
            let ask = if processes { Ask::Processes } else { Ask::Mounts { remote: false } };
            self.note(&[ask], now);
            return Some(ask);
        }
        self.note(&asks, now);
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = asks;
        self.shared.wanted.notify_one();
        None
    }

    fn note(&mut self, asks: &[Ask], now: Instant) {
        for ask in asks {
            match ask {
                Ask::Mounts { .. } => self.asked.mounts = Some(now),
                _ => self.asked.processes = Some(now),
            }
        }
    }

    /// Takes what the loop of samples was answered.
    pub(super) fn answered(&self, answer: &str, now: Instant) {
        let asked =
            if answer.contains("/ps:") { Ask::Processes } else { Ask::Mounts { remote: false } };
        self.shared.put(answer, &[asked], now);
    }

    /// The sizes, by path.
    pub(super) fn mounts(&self, now: Instant) -> Vec<Mount> {
        let found = self.shared.found.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: Instant| now.saturating_duration_since(at) <= TOO_OLD;
        found
            .mounts
            .as_ref()
            .filter(|(at, _)| fresh(*at))
            .map(|(_, m)| m.clone())
            .unwrap_or_default()
    }

    /// The busiest processes, once for each time they were read.
    pub(super) fn busiest(&mut self, units: Units) -> Option<Vec<Process>> {
        let taken =
            self.shared.found.lock().unwrap_or_else(PoisonError::into_inner).processes.take();
        let (uptime, processes) = taken?;
        self.table.busiest(uptime, processes, units)
    }
}

async fn run(remote: Arc<dyn Remote>, shared: Arc<Shared>, queue: Arc<Mutex<Vec<Ask>>>) {
    let mut others = true;
    loop {
        let error = match Requests::open(&*remote, &script::slow()).await {
            Ok(mut requests) => serve(&mut requests, &shared, &queue, &mut others).await,
            Err(error) => error,
        };
        if let LoopError::Remote(RemoteError::Refused(_)) = error {
            shared.found.lock().unwrap_or_else(PoisonError::into_inner).alone = true;
            // For as long as this connection lasts.
            return std::future::pending().await;
        }
        if let LoopError::Silent(_) = error
            && std::mem::replace(&mut others, false)
        {
            // Whatever hangs there is closed with its session.
            continue;
        }
        sleep(AGAIN).await;
    }
}

async fn serve(
    requests: &mut Requests,
    shared: &Shared,
    queue: &Mutex<Vec<Ask>>,
    others: &mut bool,
) -> LoopError {
    loop {
        let mut asks = std::mem::take(&mut *queue.lock().unwrap_or_else(PoisonError::into_inner));
        if asks.is_empty() {
            shared.wanted.notified().await;
            continue;
        }
        for ask in &mut asks {
            if let Ask::Mounts { remote } = ask {
                *remote = *others;
            }
        }
        match requests.ask(&asks, LIMIT).await {
            Ok(answer) => shared.put(&answer, &asks, Instant::now()),
            Err(error) => return error,
        }
    }
}
