//! What goes from one stream into the store.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use kobel_wire::log::{LogLine, LogTime};
use tokio::time::Instant;

use crate::logs::{
    LogProgress, LogStart,
    store::{LogIdentity, LogStore, gap},
};

/// How long after a refusal the store is told of it, where nothing else comes.
const RETRY: Duration = Duration::from_secs(1);

/// The most entries that wait for an older line that is held back.
const WAITING: usize = 20_000;

/// Hands the entries of one stream over to the store, with the position in the container's log that
/// they reach to: after a kill the log goes on right there.
///
/// Entries come out of the order of the source's lines where traces are held back. They are handed
/// over once they are all that there is up to some line.
pub(super) struct Feed {
    store: LogStore,
    identity: Arc<LogIdentity>,
    progress: LogProgress,
    /// The engine's times of the source's lines that are not handed over.
    times: VecDeque<LogTime>,
    /// So many of the source's lines were handed over.
    upto: u64,
    waiting: Vec<Arc<LogLine>>,
    /// Lines that the store had no room for, and when the first was written.
    refused: Option<(u64, LogTime)>,
    /// When that is told the store again, where nothing else comes.
    retry_at: Option<Instant>,
}

impl Feed {
    /// Of a container's log that is read from `start` on; `upto` of the source's lines in the stream
    /// were another container's.
    pub(super) fn new(
        store: LogStore,
        identity: Arc<LogIdentity>,
        start: LogStart,
        upto: u64,
    ) -> Self {
        Self {
            store,
            identity,
            progress: LogProgress::starting(start),
            times: VecDeque::new(),
            upto,
            waiting: Vec::new(),
            refused: None,
            retry_at: None,
        }
    }

    /// Whose lines they are, from now on.
    pub(super) fn rename(&mut self, identity: Arc<LogIdentity>) {
        self.identity = identity;
    }

    /// The source gave a line.
    pub(super) fn source(&mut self, at: LogTime) {
        self.times.push_back(at);
    }

    /// An entry was made.
    pub(super) fn entry(&mut self, line: &Arc<LogLine>) {
        self.waiting.push(Arc::clone(line));
    }

    /// Lines were lost on the way from the source, nobody knows which.
    pub(super) fn lost(&mut self, lines: u64, at: LogTime, now: Instant) {
        // Nothing is held back any more.
        self.settle(Some(self.upto + self.times.len() as u64), now);
        self.progress.lost();
        self.waiting.push(Arc::new(gap(lines, at)));
    }

    /// When [`Feed::settle`] has something to tell though no line came.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Hands over what there is, where all lines up to this one are in it. That lines were refused is
    /// told also where nothing comes behind them.
    pub(super) fn settle(&mut self, whole: Option<u64>, now: Instant) {
        let due = self.retry_at.is_some_and(|at| at <= now);
        let whole = match whole {
            Some(whole) => whole,
            None if self.waiting.len() > WAITING => self.upto + self.times.len() as u64,
            None => {
                if due {
                    self.retry_at = Some(now + RETRY);
                }
                return;
            }
        };
        for _ in self.upto..whole {
            let Some(at) = self.times.pop_front() else { break };
            self.upto += 1;
            self.progress.line(at);
        }
        if self.waiting.is_empty() && !due {
            return;
        }
        let mut lines = std::mem::take(&mut self.waiting);
        if let Some((refused, at)) = self.refused {
            lines.insert(0, Arc::new(gap(refused, at)));
        }
        let at = lines[0].timestamp;
        let position = self.progress.position();
        self.refused = match self.store.append(Arc::clone(&self.identity), lines, position) {
            Ok(()) => None,
            Err(more) => match self.refused {
                // The marker was among them.
                Some((before, at)) => Some((before + more - 1, at)),
                None => Some((more, at)),
            },
        };
        self.retry_at = self.refused.map(|_| now + RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::store::{Keep, LogSearch, SearchEvent};

    fn line(n: u64, text: &str) -> Arc<LogLine> {
        let line = serde_json::json!({
            "seq": n, "timestamp": "2026-11-18T12:00:00Z", "message": text, "stream": "stdout",
        });
        Arc::new(serde_json::from_value(line).unwrap())
    }

    #[tokio::test]
    async fn lines_that_the_store_refused_are_counted_there_though_nothing_follows() {
        let folder = tempfile::tempdir().unwrap();
        let (store, task) = LogStore::open(folder.path(), Keep::default()).unwrap();
        let identity: LogIdentity = serde_json::from_value(serde_json::json!({
            "deviceUuid": "0198c0de-0000-7000-8000-0000000000ab", "deviceName": "host",
            "containerId": "a".repeat(64), "name": "web", "image": "x",
        }))
        .unwrap();
        let mut feed = Feed::new(store.clone(), Arc::new(identity), LogStart::All, 0);
        let mut now = Instant::now();
        // The writer does not write yet, and has room for so many batches.
        for n in 1..=1_024 + 2 {
            feed.source(LogTime::from_nanos(n as i64));
            feed.entry(&line(n, "x"));
            feed.settle(Some(n), now);
        }
        assert_eq!(feed.deadline(), Some(now + RETRY));
        let end = tokio_util::sync::CancellationToken::new();
        let writing = tokio::spawn(task.run(end.clone()));
        while feed.deadline().is_some() {
            tokio::task::yield_now().await;
            now += RETRY;
            feed.settle(Some(1_026), now);
        }
        let mut markers = Vec::new();
        for _ in 0..500 {
            let looked = LogSearch { limit: 2_000, ..LogSearch::default() };
            let mut events = store.search(looked, Arc::new(|_| true));
            while let Some(event) = events.recv().await {
                if let SearchEvent::Found(found) = event
                    && found.line.marker.is_some()
                {
                    markers.push(found.line.message.clone());
                }
            }
            if !markers.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        end.cancel();
        writing.await.unwrap();
        assert_eq!(markers, ["2 lines were not stored"]);
    }
}
