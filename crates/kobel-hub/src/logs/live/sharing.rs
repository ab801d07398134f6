//! What one stream tells the other nodes.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use kobel_wire::{
    event::Seq,
    log::{LogLine, LogTime},
};
use tokio::time::Instant;

use crate::logs::{LogProgress, LogStart, ToldLines};

/// How long entries wait for others: less than for viewers, who wait once more there.
const GATHER: Duration = Duration::from_millis(20);

/// So many go at once.
const BATCH: usize = 200;

/// How often it is told how far a log was read that nobody watches.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// How far a log was read, and what of it other nodes were not told yet.
///
/// While somebody watches a log, here or elsewhere, its entries are told, so that a viewer can go on
/// at any node; else only how far it was read.
pub(super) struct Sharing {
    is_shared: bool,
    /// What is told next is in the place of all before.
    anew: bool,
    progress: LogProgress,
    /// The engine's times of the source's lines that are not in whole entries yet.
    times: VecDeque<LogTime>,
    /// So many of the source's lines are.
    upto: u64,
    waiting: Vec<Arc<LogLine>>,
    due: Option<Instant>,
}

impl Sharing {
    /// Of a log that is read from `start` on; `upto` of the source's lines in the stream were read
    /// before.
    pub(super) fn new(start: LogStart, upto: u64) -> Self {
        Self {
            is_shared: false,
            anew: true,
            progress: LogProgress::starting(start),
            times: VecDeque::new(),
            upto,
            waiting: Vec::new(),
            due: None,
        }
    }

    /// Whether entries are told from now on; `kept` are those before.
    pub(super) fn share(
        &mut self,
        on: bool,
        kept: impl Iterator<Item = Arc<LogLine>>,
        now: Instant,
    ) {
        if mem::replace(&mut self.is_shared, on) == on {
            return;
        }
        self.anew = true;
        self.waiting = if on { kept.collect() } else { Vec::new() };
        self.due = Some(now);
    }

    /// The source gave a line.
    pub(super) fn source(&mut self, at: LogTime) {
        self.times.push_back(at);
    }

    /// An entry was made.
    pub(super) fn entry(&mut self, line: &Arc<LogLine>, now: Instant) {
        if self.is_shared {
            self.waiting.push(Arc::clone(line));
            let due = if self.waiting.len() >= BATCH { now } else { now + GATHER };
            self.due = Some(self.due.map_or(due, |at| at.min(due)));
        } else {
            self.due.get_or_insert(now + CHECKPOINT);
        }
    }

    /// Lines are missing, nobody knows which.
    pub(super) fn lost(&mut self, now: Instant) {
        self.upto += self.times.len() as u64;
        self.times.clear();
        self.progress.lost();
        self.due = Some(now);
    }

    /// All of the source's lines up to this one are in entries.
    pub(super) fn settle(&mut self, whole: u64) {
        for _ in self.upto..whole {
            let Some(at) = self.times.pop_front() else { break };
            self.upto += 1;
            self.progress.line(at);
        }
    }

    /// When [`Sharing::take`] has something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be told now, where `seq` is the newest number: everything up to it is whole where
    /// `is_whole`; `newest` are the last entries. And whether it is in the place of all before.
    pub(super) fn take(
        &mut self,
        epoch: &Arc<str>,
        (seq, is_whole): (Seq, bool),
        newest: impl FnOnce() -> Vec<Arc<LogLine>>,
        now: Instant,
    ) -> Vec<(ToldLines, bool)> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = None;
        let position = if is_whole { self.progress.position() } else { None };
        if !self.is_shared && position.is_none() {
            return Vec::new();
        }
        // What nobody watches is remembered by its end alone.
        let mut anew = mem::replace(&mut self.anew, false) || !self.is_shared;
        let waiting = if self.is_shared { mem::take(&mut self.waiting) } else { newest() };
        let mut told: Vec<_> = waiting
            .chunks(BATCH)
            .map(|lines| {
                let last = lines.last().map_or(seq, |line| line.seq);
                let (epoch, lines) = (Arc::clone(epoch), lines.to_vec());
                let told = ToldLines { epoch, seq: last, lines, position: None, ended: false };
                (told, mem::replace(&mut anew, false))
            })
            .collect();
        match told.last_mut() {
            Some((last, _)) => (last.seq, last.position) = (seq, position),
            None => {
                let (epoch, lines) = (Arc::clone(epoch), Vec::new());
                told.push((ToldLines { epoch, seq, lines, position, ended: false }, anew));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: Seq) -> Arc<LogLine> {
        let line = serde_json::json!({
            "seq": seq, "timestamp": "2026-11-18T12:00:00Z", "message": "x", "stream": "stdout",
        });
        Arc::new(serde_json::from_value(line).unwrap())
    }

    #[test]
    fn entries_are_told_while_somebody_watches_and_else_how_far_it_was_read() {
        let (mut sharing, start) = (Sharing::new(LogStart::Tail(0), 0), Instant::now());
        let epoch: Arc<str> = "e".into();
        for seq in 1..=3 {
            sharing.source(LogTime::from_nanos(seq));
            sharing.entry(&line(seq as Seq), start);
        }
        sharing.settle(3);
        let newest = || vec![line(3)];
        assert!(sharing.take(&epoch, (3, true), newest, start + GATHER).is_empty());
        let told = sharing.take(&epoch, (3, true), newest, start + CHECKPOINT);
        let [(told, true)] = told.as_slice() else { panic!("{told:?}") };
        assert!(told.lines.len() == 1 && told.seq == 3);
        assert_eq!(told.position.unwrap().seen, 3);

        // Somebody comes: what is kept goes first, then what comes.
        let now = start + CHECKPOINT;
        sharing.share(true, (1..=450).map(line), now);
        let told = sharing.take(&epoch, (450, false), newest, now);
        let of: Vec<_> = told.iter().map(|(t, anew)| (t.lines.len(), t.seq, *anew)).collect();
        assert_eq!(of, [(200, 200, true), (200, 400, false), (50, 450, false)]);
        assert!(told.iter().all(|(told, _)| told.position.is_none()), "an entry is held back");
        sharing.entry(&line(451), now);
        assert_eq!(sharing.deadline(), Some(now + GATHER));
        let told = sharing.take(&epoch, (451, true), newest, now + GATHER);
        assert_eq!((told.len(), told[0].1, told[0].0.lines.len()), (1, false, 1));
        assert!(sharing.take(&epoch, (451, true), newest, now + CHECKPOINT).is_empty());
    }
}
