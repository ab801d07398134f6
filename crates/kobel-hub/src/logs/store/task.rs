//! The task that owns the writer.

use std::{
    collections::HashMap,
    io, mem,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use kobel_wire::log::{LogLine, LogMarker, LogOutput, LogTime};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    LogIdentity,
    handle::{Counts, ToWriter},
    identity::StreamKey,
    writer::{Batch, Writer},
};
use crate::logs::LogPosition;

/// How long lines wait for others, so that many go to the disk at once.
const GATHER: Duration = Duration::from_millis(50);

/// How often a disk that was full is tried again, and age is looked at.
const AGAIN: Duration = Duration::from_secs(1);

/// The most batches at once.
const AT_ONCE: usize = 1_024;

/// At the end: how long nothing must come until everything has.
const SILENCE: Duration = Duration::from_millis(100);

/// Lines of a stream that could not be stored.
struct Missing {
    identity: Arc<LogIdentity>,
    lines: u64,
    /// When the first was written, and how far the log was read with the last.
    first: LogTime,
    position: Option<LogPosition>,
}

/// Stores what comes, until it is cancelled.
pub struct LogStoreTask {
    /// Away while it writes.
    writer: Option<Writer>,
    queue: mpsc::Receiver<ToWriter>,
    counts: Arc<Counts>,
    searches: TaskTracker,
    ending: CancellationToken,
    missing: HashMap<StreamKey, Missing>,
}

impl LogStoreTask {
    pub(super) fn new(
        writer: Writer,
        queue: mpsc::Receiver<ToWriter>,
        counts: Arc<Counts>,
        searches: TaskTracker,
        ending: CancellationToken,
    ) -> Self {
        Self { writer: Some(writer), queue, counts, searches, ending, missing: HashMap::new() }
    }

    /// Runs until cancelled; then stores what still comes, and packs it.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut tick = interval(AGAIN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                count = self.queue.recv_many(&mut batch, AT_ONCE) => {
                    if count == 0 {
                        break;
                    }
                    sleep(GATHER).await;
                    while batch.len() < AT_ONCE && let Ok(more) = self.queue.try_recv() {
                        batch.push(more);
                    }
                    self.write(mem::take(&mut batch)).await;
                }
                _ = tick.tick() => self.write(Vec::new()).await,
            }
        }
        while let Ok(1..) = timeout(SILENCE, self.queue.recv_many(&mut batch, AT_ONCE)).await {
            self.write(mem::take(&mut batch)).await;
        }
        self.ending.cancel();
        self.searches.close();
        self.searches.wait().await;
        self.with_writer(|writer| {
            if let Err(error) = writer.finish(SystemTime::now()) {
                tracing::warn!(%error, "stored lines stay in the journal until the next start");
            }
        })
        .await;
    }

    /// Runs `work` where it may wait for the disk.
    async fn with_writer<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Option<T> {
        let mut writer = self.writer.take()?;
        let working = tokio::task::spawn_blocking(move || {
            let done = work(&mut writer);
            (writer, done)
        });
        match working.await {
            Ok((writer, done)) => {
                self.writer = Some(writer);
                Some(done)
            }
            Err(error) => {
                tracing::error!(%error, "the log store's writer ended by itself");
                self.fault(Some("the log store failed; the hub's log says why".into()));
                None
            }
        }
    }

    async fn write(&mut self, told: Vec<ToWriter>) {
        let (mut batches, mut followed) = (self.markers(), Vec::new());
        let marked = batches.len();
        for told in told {
            match told {
                ToWriter::Lines(batch) => batches.push(batch),
                ToWriter::Followed(stream, on) => followed.push((stream, on)),
            }
        }
        let bytes: Vec<u64> = batches.iter().map(bytes_of).collect();
        let all: u64 = bytes[marked..].iter().sum();
        let now = SystemTime::now();
        let done = self
            .with_writer(move |writer| {
                for (stream, on) in followed {
                    if on { writer.follow(stream) } else { writer.forget(stream) }
                }
                let written = writer.append(&batches, now);
                (batches, written, writer.bytes())
            })
            .await;
        self.counts.waiting.fetch_sub(all, Relaxed);
        let Some((batches, written, disk)) = done else {
            // Nothing will ever be stored: what comes is counted by those who hand it over.
            return self.queue.close();
        };
        self.counts.disk.store(disk, Relaxed);
        match written {
            Ok(()) => {
                self.missing.clear();
                let lines: u64 = batches.iter().map(|batch| batch.lines.len() as u64).sum();
                self.counts.lines.fetch_add(lines, Relaxed);
                self.counts.bytes.fetch_add(bytes.iter().sum(), Relaxed);
                self.fault(None);
            }
            Err(error) => {
                let mut dropped = 0;
                for batch in batches.into_iter().skip(marked) {
                    dropped += batch.lines.len() as u64;
                    self.miss(batch);
                }
                self.counts.dropped.fetch_add(dropped, Relaxed);
                self.fault(Some(in_words(&error)));
            }
        }
    }

    fn miss(&mut self, batch: Batch) {
        let Some(first) = batch.lines.first() else { return };
        let key = StreamKey::of(&batch.identity.stream());
        let missing = self.missing.entry(key).or_insert_with(|| Missing {
            identity: Arc::clone(&batch.identity),
            lines: 0,
            first: first.timestamp,
            position: None,
        });
        missing.identity = batch.identity;
        missing.lines += batch.lines.len() as u64;
        missing.position = batch.position.or(missing.position);
    }

    /// For each stream that misses lines, what stands for them.
    fn markers(&self) -> Vec<Batch> {
        let markers = self.missing.values().map(|missing| Batch {
            identity: Arc::clone(&missing.identity),
            lines: vec![Arc::new(gap(missing.lines, missing.first))],
            position: missing.position,
        });
        markers.collect()
    }

    /// Says what is wrong, or that all is well again; once.
    fn fault(&self, fault: Option<String>) {
        let faulty = fault.is_some();
        if self.counts.faulty.swap(faulty, Relaxed) != faulty {
            match &fault {
                Some(fault) => tracing::error!(%fault, "log lines cannot be stored; live goes on"),
                None => tracing::info!("log lines are stored again"),
            }
        }
        *self.counts.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

fn bytes_of(batch: &Batch) -> u64 {
    batch.lines.iter().map(|line| line.raw().len() as u64).sum()
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk of the data folder is full: make room, or keep less by --log-store-size"
                .into()
        }
        _ => format!("the log store's folder cannot be written: {error}"),
    }
}

/// The entry that stands for lines that were not stored.
pub(in crate::logs) fn gap(lines: u64, at: LogTime) -> LogLine {
    LogLine {
        seq: 0,
        timestamp: at,
        level: None,
        message: format!("{lines} lines were not stored"),
        fields: Default::default(),
        stream: LogOutput::Stdout,
        raw: None,
        cut: None,
        marker: Some(LogMarker::Lost),
    }
}
