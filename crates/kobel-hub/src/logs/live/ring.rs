//! The newest lines of a stream.

use std::{collections::VecDeque, sync::Arc};

use kobel_wire::{event::Seq, log::LogLine};

/// The most lines that are kept.
const LINES: usize = 1_000;

/// And the most bytes of text.
const BYTES: usize = 8 << 20;

/// The last lines of a stream, oldest first.
#[derive(Debug, Default)]
pub(super) struct LogRing {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    /// The number of the newest line that was kept and is gone.
    floor: Seq,
}

/// Bytes that a line holds.
pub(super) fn size(line: &LogLine) -> usize {
    line.message.len() + line.raw.as_ref().map_or(0, String::len)
}

impl LogRing {
    pub(super) fn push(&mut self, line: Arc<LogLine>) {
        self.bytes += size(&line);
        self.lines.push_back(line);
        while self.lines.len() > LINES || (self.bytes > BYTES && self.lines.len() > 1) {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= size(&oldest);
            self.floor = oldest.seq;
        }
    }

    /// Lines up to this number were before the first: they are not here.
    pub(super) fn begin(&mut self, after: Seq) {
        self.floor = after;
    }

    /// The newest so many, oldest first.
    pub(super) fn newest(&self, most: usize) -> Vec<Arc<LogLine>> {
        self.lines.iter().skip(self.lines.len().saturating_sub(most)).cloned().collect()
    }

    /// The newest lines for which `wanted` holds, oldest first: at most so many lines and bytes. And
    /// whether these are all that there were.
    pub(super) fn tail(
        &self,
        most: usize,
        most_bytes: usize,
        wanted: impl Fn(&LogLine) -> bool,
    ) -> (Vec<&Arc<LogLine>>, bool) {
        let (mut tail, mut bytes) = (Vec::new(), 0);
        for line in self.lines.iter().rev().filter(|line| wanted(line)) {
            bytes += size(line);
            if tail.len() >= most || (bytes > most_bytes && !tail.is_empty()) {
                tail.reverse();
                return (tail, false);
            }
            tail.push(line);
        }
        tail.reverse();
        (tail, self.floor == 0)
    }

    /// All lines, oldest first.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Arc<LogLine>> {
        self.lines.iter()
    }

    /// The number before the oldest line that is kept.
    pub(super) fn floor(&self) -> Seq {
        self.floor
    }
}
