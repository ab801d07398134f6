//! What goes from one stream into the store.

use std::{collections::VecDeque, sync::Arc};

use kobel_wire::log::{LogLine, LogTime};

use crate::logs::{
    LogProgress, LogStart,
    store::{LogIdentity, LogStore, gap},
};

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
    pub(super) fn lost(&mut self, lines: u64, at: LogTime) {
        // Nothing is held back any more.
        self.settle(Some(self.upto + self.times.len() as u64));
        self.progress.lost();
        self.waiting.push(Arc::new(gap(lines, at)));
    }

    /// Hands over what there is, where all lines up to this one are in it.
    pub(super) fn settle(&mut self, whole: Option<u64>) {
        let whole = match whole {
            Some(whole) => whole,
            None if self.waiting.len() > WAITING => self.upto + self.times.len() as u64,
            None => return,
        };
        for _ in self.upto..whole {
            let Some(at) = self.times.pop_front() else { break };
            self.upto += 1;
            self.progress.line(at);
        }
        if self.waiting.is_empty() {
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
    }
}
