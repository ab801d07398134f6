//! The way to the store: cloned freely, waits for no disk.

use std::{
    io,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use kobel_wire::{
    DeviceUuid,
    log::{LogLine, LogStreamId, LogTime},
};
use serde::Serialize;
use tokio::{
    runtime::Handle,
    sync::{
        Semaphore,
        mpsc::{self, error::TrySendError},
    },
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Keep, LogFollow, LogIdentity, LogQuery, LogSearch, LogStoreTask, SearchEvent,
    catalog::SharedCatalog,
    identity::StreamKey,
    search::search,
    writer::{Batch, Writer},
};
use crate::logs::LogPosition;

/// The most batches, and the most bytes of text, that wait for the disk. Full: those that come are
/// dropped and counted, and a marker stands in the stored log for them.
const BATCHES: usize = 1_024;
const BYTES: u64 = 64 << 20;

/// Searches that run at once; others wait for their turn.
const SEARCHES: usize = 4;

/// How long a search waits for whoever asked to take a line.
const PATIENCE: Duration = Duration::from_secs(30);

/// Found lines that wait for who asked. Full: the search waits.
const FOUND: usize = 256;

/// What the writer is told.
pub(super) enum ToWriter {
    Lines(Batch),
    /// A container's log is followed from now on; or no more, since the container is gone.
    Followed(StreamKey, bool),
}

/// Counts, and what is wrong now.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) lines: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) disk: AtomicU64,
    pub(super) damaged: AtomicU64,
    /// Bytes of text that wait.
    pub(super) waiting: AtomicU64,
    pub(super) faulty: AtomicBool,
    /// In words. Locked for a look or a move.
    pub(super) fault: Mutex<Option<String>>,
}

/// How the store fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreFigures {
    /// Lines stored since the start.
    pub lines: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Lines that were not stored since the start: the disk was full or too slow.
    pub dropped: u64,
    /// Bytes on disk.
    pub disk: u64,
    /// Bytes of files that were found damaged.
    pub damaged: u64,
    /// Why nothing can be stored now; absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What is stored of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamFigures {
    /// Whose lines they are.
    #[serde(flatten)]
    pub identity: LogIdentity,
    /// How many.
    pub lines: u64,
    /// The oldest one's time.
    pub first: LogTime,
    /// The newest one's time.
    pub last: LogTime,
}

/// Where a log goes on that was followed before.
#[derive(Debug, Default)]
pub struct Resumed {
    /// How far it was read; `None` for a log that is not known.
    pub position: Option<LogPosition>,
    /// Its newest lines, oldest first.
    pub history: Vec<LogLine>,
}

/// The stored logs.
#[derive(Clone)]
pub struct LogStore {
    catalog: SharedCatalog,
    writer: mpsc::Sender<ToWriter>,
    counts: Arc<Counts>,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl LogStore {
    /// Opens a folder, made where there is none; reads what it holds, without the lines. The task
    /// must run for anything to be stored. Reads files: not for a thread that serves viewers.
    ///
    /// # Errors
    /// Where the folder or a file in it cannot be used at all. Damaged files are no error.
    pub fn open(folder: &Path, keep: Keep) -> io::Result<(Self, LogStoreTask)> {
        let catalog = SharedCatalog::default();
        let (writer, recovered) = Writer::open(folder, keep, catalog.clone(), SystemTime::now())?;
        let (send, receive) = mpsc::channel(BATCHES);
        let counts = Arc::new(Counts::default());
        counts.damaged.store(recovered.damaged, Relaxed);
        counts.disk.store(writer.bytes(), Relaxed);
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let task =
            LogStoreTask::new(writer, receive, Arc::clone(&counts), tasks.clone(), cancel.clone());
        let turns = Arc::new(Semaphore::new(SEARCHES));
        let store = Self { catalog, writer: send, counts, turns, tasks, cancel };
        Ok((store, task))
    }

    /// Hands lines over to be stored. They are dropped, and counted, where too many wait.
    ///
    /// # Errors
    /// How many were dropped.
    pub fn append(
        &self,
        identity: Arc<LogIdentity>,
        lines: Vec<Arc<LogLine>>,
        position: Option<LogPosition>,
    ) -> Result<(), u64> {
        let count = lines.len() as u64;
        let bytes: u64 = lines.iter().map(|line| line.raw().len() as u64).sum();
        let batch = ToWriter::Lines(Batch { identity, lines, position });
        let before = self.counts.waiting.fetch_add(bytes, Relaxed);
        // One batch always fits, however large it is.
        if (before > 0 && before + bytes > BYTES) || self.writer.try_send(batch).is_err() {
            self.counts.waiting.fetch_sub(bytes, Relaxed);
            self.counts.dropped.fetch_add(count, Relaxed);
            return Err(count);
        }
        Ok(())
    }

    /// A container's log is going to be followed: where it goes on, and its newest lines, so many
    /// at most.
    pub async fn resume(&self, stream: &LogStreamId, tail: usize) -> Resumed {
        let key = StreamKey::of(stream);
        let position = self.catalog.lock().streams.get(&key).and_then(|stream| stream.position);
        // A writer that has ended remembers nothing.
        let _ = self.writer.send(ToWriter::Followed(key, true)).await;
        let looked = LogSearch { only: Some(stream.clone()), limit: tail, ..LogSearch::default() };
        let mut events = self.search(looked, Arc::new(|_| true));
        let mut history = Vec::new();
        while let Some(event) = events.recv().await {
            if let SearchEvent::Found(found) = event {
                history.push(found.line);
            }
        }
        history.reverse();
        Resumed { position, history }
    }

    /// A container is gone: its lines stay, its position need not.
    pub fn forget(&self, stream: &LogStreamId) {
        // Where too much waits it is remembered until the next start.
        let _ = self.writer.try_send(ToWriter::Followed(StreamKey::of(stream), false));
    }

    /// Looks for lines of devices that may be seen; asked for each again when its line is given.
    /// The search ends when the receiver is dropped, or with the store.
    pub fn search(
        &self,
        looked: LogSearch,
        may_see: Arc<dyn Fn(DeviceUuid) -> bool + Send + Sync>,
    ) -> mpsc::Receiver<SearchEvent> {
        let (send, receive) = mpsc::channel(FOUND);
        let (catalog, turns) = (self.catalog.clone(), Arc::clone(&self.turns));
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            let turn = tokio::select! {
                turn = turns.acquire_owned() => turn,
                () = cancel.cancelled() => return,
                () = send.closed() => return,
            };
            let runtime = Handle::current();
            let looking = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                search(&catalog, &looked, &*may_see, &mut |event| {
                    let going = !cancel.is_cancelled() && !send.is_closed();
                    match event {
                        _ if !going => ControlFlow::Break(()),
                        found @ SearchEvent::Found(_) => give(&runtime, &send, found),
                        // The next one says more.
                        progress => {
                            let _ = send.try_send(progress);
                            ControlFlow::Continue(())
                        }
                    }
                })
            });
            if let Err(error) = looking.await {
                tracing::error!(%error, "a search of the logs ended by itself");
            }
        });
        receive
    }

    /// Looks on: what is stored from now on.
    pub fn follow(&self, query: LogQuery) -> LogFollow {
        LogFollow::new(self.catalog.clone(), query)
    }

    /// What is stored of each container on devices that may be seen.
    pub fn streams(&self, may_see: impl Fn(DeviceUuid) -> bool) -> Vec<StreamFigures> {
        let catalog = self.catalog.lock();
        let mut all: std::collections::HashMap<StreamKey, (u64, i64, i64)> = Default::default();
        let open = catalog.streams.values().flat_map(|stream| &stream.open);
        for head in catalog.blocks.iter().map(|b| &b.head).chain(open.map(|chunk| &chunk.head)) {
            let entry = all.entry(head.stream).or_insert((0, i64::MAX, i64::MIN));
            entry.0 += u64::from(head.count);
            (entry.1, entry.2) = (entry.1.min(head.span.0), entry.2.max(head.span.1));
        }
        let streams = all.into_iter().filter_map(|(key, (lines, first, last))| {
            let identity = &catalog.streams.get(&key)?.identity;
            may_see(identity.device_uuid).then(|| StreamFigures {
                identity: LogIdentity::clone(identity),
                lines,
                first: LogTime::from_nanos(first),
                last: LogTime::from_nanos(last),
            })
        });
        streams.collect()
    }

    /// How it fares.
    pub fn figures(&self) -> StoreFigures {
        let counts = &self.counts;
        StoreFigures {
            lines: counts.lines.load(Relaxed),
            bytes: counts.bytes.load(Relaxed),
            dropped: counts.dropped.load(Relaxed),
            disk: counts.disk.load(Relaxed),
            damaged: counts.damaged.load(Relaxed),
            fault: counts.fault.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Gives a found line; whoever takes none for too long loses its turn.
fn give(runtime: &Handle, send: &mpsc::Sender<SearchEvent>, found: SearchEvent) -> ControlFlow<()> {
    match send.try_send(found) {
        Ok(()) => ControlFlow::Continue(()),
        Err(TrySendError::Closed(_)) => ControlFlow::Break(()),
        Err(TrySendError::Full(found)) => {
            match runtime.block_on(async { timeout(PATIENCE, send.send(found)).await }) {
                Ok(Ok(())) => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        }
    }
}
