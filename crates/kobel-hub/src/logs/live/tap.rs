//! The way from streams to a merged view: each stream has a queue of its own in it, and all of them
//! together are bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kobel_wire::{
    event::Seq,
    log::{LogLine, LogStreamId, LogTime},
};
use tokio::sync::Notify;

use super::ring::size;
use crate::logs::LogFilter;

/// The most lines of all streams that wait for one view, and their bytes. More: whoever has the most
/// waiting loses its oldest, which is counted and told.
const LINES: usize = 20_000;
const BYTES: usize = 8 << 20;

/// What a stream tells a view.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tapped {
    /// A line.
    Line(Arc<LogStreamId>, Arc<LogLine>),
    /// Lines that are missing here: from, to, and how many.
    Gap(Arc<LogStreamId>, Seq, Seq, u64),
    /// The lines before, for somebody who came: all up to here.
    Before(Before),
    /// The source cannot go on; in words.
    Wrong(Arc<LogStreamId>, Arc<str>),
    /// Nothing more comes.
    Over,
}

/// The lines of one stream that were there before somebody came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Before {
    /// Who.
    pub(super) newcomer: u64,
    /// Whose lines.
    pub(super) id: Arc<LogStreamId>,
    /// Those that pass the newcomer's filter, oldest first.
    pub(super) lines: Vec<Arc<LogLine>>,
    /// The number of the newest line of all.
    pub(super) upto: Seq,
    /// Whether nothing older was left out.
    pub(super) complete: bool,
}

/// A request to a stream: tell a view what comes.
#[derive(Debug)]
pub(super) struct Tap {
    /// The view, by its number.
    pub(super) view: u64,
    /// By which name the stream is asked for.
    pub(super) id: Arc<LogStreamId>,
    /// Also lines that are here already, where they are not older: the view was there before its
    /// member. None where nobody watched it yet.
    pub(super) from: Option<LogTime>,
    /// Where to.
    pub(super) to: TapSender,
}

/// A request to a stream: give a view the lines before, for somebody who came.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// The view, by its number.
    pub(super) view: u64,
    /// Who came.
    pub(super) newcomer: u64,
    /// At most so many lines.
    pub(super) tail: usize,
    /// Which.
    pub(super) filter: LogFilter,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Tapped>,
    lines: usize,
    bytes: usize,
}

impl Queue {
    /// Drops the oldest line; counts it where it stood.
    fn shed(&mut self) {
        let oldest = self.items.iter().position(|item| matches!(item, Tapped::Line(..)));
        let Some(at) = oldest else { return };
        let Tapped::Line(id, line) = &self.items[at] else { return };
        let (id, seq) = (Arc::clone(id), line.seq);
        self.lines -= 1;
        self.bytes -= size(line);
        match at.checked_sub(1).and_then(|before| self.items.get_mut(before)) {
            Some(Tapped::Gap(same, _, to, count)) if *same == id => {
                (*to, *count) = (seq, *count + 1);
                self.items.remove(at);
            }
            _ => self.items[at] = Tapped::Gap(id, seq, seq, 1),
        }
    }
}

#[derive(Default)]
struct Queues {
    by: BTreeMap<u64, Queue>,
    lines: usize,
    bytes: usize,
}

impl Queues {
    fn bound(&mut self, limits: (usize, usize)) {
        while self.lines > limits.0 || (self.bytes > limits.1 && self.lines > 1) {
            let Some(longest) = self.by.values_mut().max_by_key(|queue| queue.lines) else {
                return;
            };
            let largest = (longest.lines, longest.bytes);
            longest.shed();
            self.lines -= largest.0 - longest.lines;
            self.bytes -= largest.1 - longest.bytes;
            if largest.0 == longest.lines {
                return;
            }
        }
    }
}

struct Shared {
    limits: (usize, usize),
    // Held for a move of what is already made, never across an await.
    queues: Mutex<Queues>,
    ready: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, number: u64, item: Tapped) {
        let mut queues = self.lock();
        let (lines, bytes) = match &item {
            Tapped::Line(_, line) => (1, size(line)),
            _ => (0, 0),
        };
        queues.lines += lines;
        queues.bytes += bytes;
        let queue = queues.by.entry(number).or_default();
        queue.lines += lines;
        queue.bytes += bytes;
        queue.items.push_back(item);
        queues.bound(self.limits);
        drop(queues);
        self.ready.notify_one();
    }
}

/// A stream's end. When it is dropped the view hears that it is over.
pub(super) struct TapSender {
    shared: Arc<Shared>,
    /// Names it among those of the process.
    pub(super) number: u64,
}

impl TapSender {
    /// Tells the view something; never waits.
    pub(super) fn tell(&self, item: Tapped) {
        self.shared.push(self.number, item);
    }
}

impl fmt::Debug for TapSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TapSender({})", self.number)
    }
}

impl Drop for TapSender {
    fn drop(&mut self) {
        self.shared.push(self.number, Tapped::Over);
    }
}

/// Makes the ends of streams that go to one view.
#[derive(Clone)]
pub(super) struct TapMaker(Arc<Shared>);

impl TapMaker {
    /// One more stream, by this number.
    pub(super) fn sender(&self, number: u64) -> TapSender {
        TapSender { shared: Arc::clone(&self.0), number }
    }
}

/// The view's end.
pub(super) struct TapReceiver(Arc<Shared>);

impl TapReceiver {
    /// All that waits, by stream, as soon as something does. Cancel safe.
    pub(super) async fn take(&self) -> Vec<(u64, VecDeque<Tapped>)> {
        loop {
            let told = self.take_now();
            if !told.is_empty() {
                return told;
            }
            self.0.ready.notified().await;
        }
    }

    /// All that waits now, by stream.
    pub(super) fn take_now(&self) -> Vec<(u64, VecDeque<Tapped>)> {
        let queues = mem::take(&mut *self.0.lock());
        queues.by.into_iter().map(|(number, queue)| (number, queue.items)).collect()
    }
}

/// The ways to a new view.
pub(super) fn taps() -> (TapMaker, TapReceiver) {
    bounded((LINES, BYTES))
}

fn bounded(limits: (usize, usize)) -> (TapMaker, TapReceiver) {
    let shared = Arc::new(Shared { limits, queues: Mutex::default(), ready: Notify::new() });
    (TapMaker(Arc::clone(&shared)), TapReceiver(shared))
}

#[cfg(test)]
mod tests {
    use kobel_wire::log::LogOutput;

    use super::*;
    use crate::logs::{RawLine, line};

    fn id(n: u8) -> Arc<LogStreamId> {
        let id = format!("0198c0de-0000-7000-8000-0000000000ab:{n:012x}");
        Arc::new(id.parse().unwrap())
    }

    fn line(n: u8, seq: Seq) -> Tapped {
        let (at, stream) = (LogTime::default(), LogOutput::Stdout);
        let mut line = line::read(RawLine { at, stream, text: "x".into(), cut: 0 });
        line.seq = seq;
        Tapped::Line(id(n), Arc::new(line))
    }

    #[tokio::test]
    async fn who_floods_loses_its_own_lines_and_that_is_told_in_their_place() {
        let (maker, taken) = bounded((10, 1 << 20));
        let (quiet, flood) = (maker.sender(1), maker.sender(2));
        quiet.tell(line(1, 1));
        flood.tell(line(2, 1));
        let before = Before { newcomer: 7, id: id(2), lines: vec![], upto: 1, complete: true };
        flood.tell(Tapped::Before(before.clone()));
        for seq in 2..=30 {
            flood.tell(line(2, seq));
        }
        flood.tell(Tapped::Gap(id(2), 31, 33, 3));
        quiet.tell(line(1, 2));
        drop(flood);
        let all = taken.take().await;
        assert_eq!(all[0].1, [line(1, 1), line(1, 2)]);
        let mut told = all[1].1.clone();
        assert_eq!(told.pop_back(), Some(Tapped::Over));
        assert_eq!(told.pop_back(), Some(Tapped::Gap(id(2), 31, 33, 3)));
        // What somebody who came is given stays, and stands where it stood.
        assert_eq!(told.pop_front(), Some(Tapped::Gap(id(2), 1, 1, 1)));
        assert_eq!(told.pop_front(), Some(Tapped::Before(before)));
        assert_eq!(told.pop_front(), Some(Tapped::Gap(id(2), 2, 22, 21)));
        let rest: VecDeque<_> = (23..=30).map(|seq| line(2, seq)).collect();
        assert_eq!(told, rest);
        quiet.tell(line(1, 3));
        assert_eq!(taken.take().await.len(), 1);
    }
}
