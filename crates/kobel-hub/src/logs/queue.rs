//! The way from a source of logs to whoever processes its lines: a queue that drops the oldest.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::{LogSink, SourceEvent};

/// The most events that wait, and the most bytes of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes of their lines.
    pub bytes: usize,
}

impl Default for Limits {
    /// 20,000 lines or 8 MB: a fifth of a second of a flood of 100,000 lines a second.
    fn default() -> Self {
        Self { events: 20_000, bytes: 8 << 20 }
    }
}

/// Events that were dropped, by their place in the stream: the first event of the queue is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// The first.
    pub from: u64,
    /// The last; all between were dropped, too.
    pub to: u64,
}

impl Dropped {
    /// How many they are.
    pub fn count(self) -> u64 {
        self.to - self.from + 1
    }
}

/// What waited.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    /// What was dropped before the events; nothing was dropped between or after them.
    pub dropped: Option<Dropped>,
    /// The events, oldest first.
    pub events: Vec<SourceEvent>,
}

/// How much went through a queue, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Lines that came, dropped ones among them.
    pub lines: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Events that were dropped.
    pub dropped: u64,
    /// Events that wait now.
    pub waiting: usize,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<SourceEvent>,
    bytes: usize,
    /// Events that were taken or dropped before those that wait.
    passed: u64,
    /// The first dropped one since the last take; the last is `passed`.
    dropped_from: Option<u64>,
    volume: Volume,
    closed: bool,
}

struct Shared {
    limits: Limits,
    // Held for a move of what is already made, never across an await.
    waiting: Mutex<Waiting>,
    ready: Notify,
}

/// The source's end. The queue ends when it is dropped.
pub struct LogSender(Arc<Shared>);

/// The other end. One task takes from it.
pub struct LogReceiver(Arc<Shared>);

/// A new queue for one stream. When it is full the oldest events are dropped and counted
/// ([`Taken::dropped`], [`Volume::dropped`]).
pub fn channel(limits: Limits) -> (LogSender, LogReceiver) {
    let shared = Arc::new(Shared { limits, waiting: Mutex::default(), ready: Notify::new() });
    (LogSender(Arc::clone(&shared)), LogReceiver(shared))
}

fn size(event: &SourceEvent) -> usize {
    match event {
        SourceEvent::Line(line) => line.text.len(),
        SourceEvent::Marker(..) | SourceEvent::Missing(_) => 0,
        SourceEvent::Told(told) => told.lines.iter().map(|line| line.raw().len()).sum(),
    }
}

impl LogSink for LogSender {
    fn take(&self, events: &mut Vec<SourceEvent>) {
        let limits = self.0.limits;
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events.drain(..) {
            let bytes = size(&event);
            if matches!(event, SourceEvent::Line(_)) {
                waiting.volume.lines += 1;
                waiting.volume.bytes += bytes as u64;
            }
            if let SourceEvent::Told(told) = &event {
                waiting.volume.lines += told.lines.len() as u64;
                waiting.volume.bytes += bytes as u64;
            }
            if let SourceEvent::Missing(lines) = event {
                waiting.volume.lines += lines;
                waiting.volume.dropped += lines;
            }
            waiting.bytes += bytes;
            waiting.events.push_back(event);
            // The newest stays, however large it is.
            while waiting.events.len() > limits.events.max(1)
                || (waiting.bytes > limits.bytes && waiting.events.len() > 1)
            {
                let Some(oldest) = waiting.events.pop_front() else { break };
                waiting.bytes -= size(&oldest);
                let first = waiting.passed + 1;
                waiting.passed += oldest.count();
                // What was missing already is counted already.
                waiting.volume.dropped += u64::from(!matches!(oldest, SourceEvent::Missing(_)));
                waiting.dropped_from.get_or_insert(first);
            }
        }
        drop(waiting);
        self.0.ready.notify_one();
    }
}

impl Drop for LogSender {
    fn drop(&mut self) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.ready.notify_one();
    }
}

impl LogReceiver {
    /// Everything that waits, as soon as something does; `None` when the source has gone and
    /// nothing waits. Cancel safe.
    pub async fn take(&self) -> Option<Taken> {
        loop {
            {
                let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if !waiting.events.is_empty() {
                    let dropped = waiting.dropped_from.take();
                    let to = waiting.passed;
                    waiting.passed += waiting.events.iter().map(SourceEvent::count).sum::<u64>();
                    waiting.bytes = 0;
                    return Some(Taken {
                        dropped: dropped.map(|from| Dropped { from, to }),
                        events: mem::take(&mut waiting.events).into(),
                    });
                }
                if waiting.closed {
                    return None;
                }
            }
            self.0.ready.notified().await;
        }
    }

    /// How much went through so far.
    pub fn volume(&self) -> Volume {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        Volume { waiting: waiting.events.len(), ..waiting.volume }
    }
}

#[cfg(test)]
mod tests {
    use kobel_wire::log::{LogOutput, LogTime};

    use super::*;
    use crate::logs::RawLine;

    fn line(n: u64) -> SourceEvent {
        let (at, stream) = (LogTime::default(), LogOutput::Stdout);
        SourceEvent::Line(RawLine { at, stream, text: format!("{n:04}"), cut: 0 })
    }

    #[tokio::test]
    async fn a_late_taker_loses_the_oldest_and_is_told_which() {
        let (sender, receiver) = channel(Limits { events: 3, bytes: 1000 });
        sender.take(&mut (1..=2).map(line).collect());
        let taken = receiver.take().await.unwrap();
        assert_eq!((taken.dropped, taken.events), (None, vec![line(1), line(2)]));
        for n in 3..=9 {
            sender.take(&mut vec![line(n)]);
        }
        let taken = receiver.take().await.unwrap();
        assert_eq!(taken.dropped, Some(Dropped { from: 3, to: 6 }));
        assert_eq!(taken.dropped.unwrap().count(), 4);
        assert_eq!(taken.events, [line(7), line(8), line(9)]);
        let volume = Volume { lines: 9, bytes: 36, dropped: 4, waiting: 0 };
        assert_eq!(receiver.volume(), volume);
        sender.take(&mut vec![line(10)]);
        drop(sender);
        assert_eq!(receiver.take().await.unwrap().dropped, None);
        assert_eq!(receiver.take().await, None);
    }

    #[tokio::test]
    async fn what_the_source_dropped_counts_with_what_is_dropped_here() {
        let (sender, receiver) = channel(Limits { events: 2, bytes: 1000 });
        sender.take(&mut vec![line(1), SourceEvent::Missing(5), line(7), line(8)]);
        let taken = receiver.take().await.unwrap();
        assert_eq!(taken.dropped, Some(Dropped { from: 1, to: 6 }));
        assert_eq!(taken.events, [line(7), line(8)]);
        let volume = Volume { lines: 8, bytes: 12, dropped: 6, waiting: 0 };
        assert_eq!(receiver.volume(), volume);
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let (sender, receiver) = channel(Limits { events: 100, bytes: 10 });
        sender.take(&mut (1..=5).map(line).collect());
        let taken = receiver.take().await.unwrap();
        assert_eq!(taken.events, [line(4), line(5)]);
        // One that is larger than all that may wait still comes.
        let (sender, receiver) = channel(Limits { events: 100, bytes: 1 });
        sender.take(&mut (1..=5).map(line).collect());
        let taken = receiver.take().await.unwrap();
        assert_eq!(
            (taken.dropped, taken.events),
            (Some(Dropped { from: 1, to: 4 }), vec![line(5)])
        );
    }
}
