//! The lines of one stream, on their way to be entries.

use std::{borrow::Cow, sync::Arc, time::Duration};

use kobel_wire::{
    event::Seq,
    log::{FieldValue, LogLine, LogMarker, LogTime},
};
use tokio::time::Instant;

use super::{Grouper, RawLine, Redaction, SourceEvent, line, store::LogIdentity};

/// Makes entries of the lines of one stream. Numbers them: the first is 1.
#[derive(Debug)]
pub struct Processor {
    redaction: Arc<Redaction>,
    grouper: Grouper,
    seq: Seq,
    /// Lines that came from the source.
    lines: u64,
}

impl Processor {
    /// Masks by these rules, and holds the head of a trace back for `limit` at most after its last
    /// line. The first entry has the number after `last`.
    pub fn new(redaction: Arc<Redaction>, limit: Duration, last: Seq) -> Self {
        Self { redaction, grouper: Grouper::new(limit), seq: last, lines: 0 }
    }

    /// The number of the newest entry.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Lets go of what is held back: another node gives it.
    pub(crate) fn forget(&mut self) {
        self.grouper.flush(&mut Vec::new());
    }

    /// Another node numbered up to this one.
    pub(crate) fn told(&mut self, seq: Seq) {
        self.seq = seq;
    }

    /// Takes what a source told at `now`; adds what is complete to `out`. For lines that are missing
    /// numbers are skipped; who must tell which calls [`Processor::skip`] instead.
    pub fn push(&mut self, now: Instant, event: SourceEvent, out: &mut Vec<LogLine>) {
        let from = out.len();
        match event {
            SourceEvent::Line(raw) => {
                let raw = self.mask(raw);
                let mut line = line::read(raw);
                self.mask_what_was_hidden(&mut line);
                self.lines += 1;
                line.seq = self.lines;
                self.grouper.push(now, line, out);
            }
            SourceEvent::Marker(marker, at) => {
                self.grouper.flush(out);
                out.push(marked(marker, at));
            }
            // Entries already: not for here.
            SourceEvent::Told(_) => return,
            SourceEvent::Missing(lines) => {
                self.grouper.flush(out);
                self.number(from, out);
                self.seq = self.seq.saturating_add(lines);
                return;
            }
        }
        self.number(from, out);
    }

    /// Skips numbers for lines that are known to be missing, and says which: what a `logGap` tells.
    /// Entries that are held back come before the gap, in `out`.
    pub fn skip(&mut self, lines: u64, out: &mut Vec<LogLine>) -> std::ops::RangeInclusive<Seq> {
        self.flush(out);
        let first = self.seq + 1;
        self.seq = self.seq.saturating_add(lines);
        first..=self.seq
    }

    /// How many lines came from the source.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Gives all that is held back, then the entry that another container goes on here: the one of
    /// this id and name, which stand in its fields.
    pub(crate) fn recreated(&mut self, by: &LogIdentity, at: LogTime, out: &mut Vec<LogLine>) {
        self.flush(out);
        let from = out.len();
        let mut line = marked(LogMarker::Recreated, at);
        for (name, value) in
            [("containerId", by.container_id.to_string()), ("name", by.name.clone())]
        {
            line.fields.set(name.to_owned(), FieldValue::Text(value));
        }
        out.push(line);
        self.number(from, out);
    }

    /// How many of the source's lines are in entries that were given, where that is all that was
    /// given; `None` while one is held back that is older than one that was given.
    pub fn whole_upto(&self) -> Option<u64> {
        self.grouper.whole_upto()
    }

    /// When [`Processor::expire`] has something to do; `None` while nothing is held back.
    pub fn deadline(&self) -> Option<Instant> {
        self.grouper.deadline()
    }

    /// Gives what was held back for long enough.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<LogLine>) {
        let from = out.len();
        self.grouper.expire(now, out);
        self.number(from, out);
    }

    /// Gives all that is held back.
    pub fn flush(&mut self, out: &mut Vec<LogLine>) {
        let from = out.len();
        self.grouper.flush(out);
        self.number(from, out);
    }

    fn mask(&self, mut raw: RawLine) -> RawLine {
        if let Cow::Owned(masked) = self.redaction.mask(&raw.text) {
            raw.text = masked;
        }
        raw
    }

    /// A colour between a name and its value hides a secret from the rules, until it is taken off.
    fn mask_what_was_hidden(&self, line: &mut LogLine) {
        if line.raw.is_some()
            && let Cow::Owned(masked) = self.redaction.mask(&line.message)
            && masked != line.message
        {
            // As it came it would still tell.
            (line.message, line.raw) = (masked, None);
        }
    }

    fn number(&mut self, from: usize, out: &mut [LogLine]) {
        for line in &mut out[from..] {
            self.seq += 1;
            line.seq = self.seq;
        }
    }
}

/// The entry for something that happened to the container.
fn marked(marker: LogMarker, at: LogTime) -> LogLine {
    let message = match marker {
        LogMarker::Started => "container started",
        LogMarker::Stopped => "container stopped",
        LogMarker::Recreated => "container re-created",
        LogMarker::Lost => "lines were lost: the engine no longer had them",
    };
    LogLine {
        seq: 0,
        timestamp: at,
        level: None,
        message: message.into(),
        fields: Default::default(),
        stream: kobel_wire::log::LogOutput::Stdout,
        raw: None,
        cut: None,
        marker: Some(marker),
    }
}

#[cfg(test)]
mod tests {
    use kobel_wire::log::LogOutput;

    use super::*;

    #[test]
    fn it_is_known_which_lines_are_whole() {
        let limit = Duration::from_millis(50);
        let mut processor = Processor::new(Arc::new(Redaction::none()), limit, 0);
        let (mut out, now) = (Vec::new(), Instant::now());
        for (text, stream, whole) in [
            ("one", LogOutput::Stdout, Some(1)),
            ("ERROR two", LogOutput::Stderr, Some(1)),
            ("three", LogOutput::Stdout, None),
            ("  at a.b(c.java)", LogOutput::Stderr, None),
            ("ERROR five", LogOutput::Stderr, Some(4)),
            ("ERROR six", LogOutput::Stdout, Some(4)),
            ("ERROR seven", LogOutput::Stderr, Some(5)),
            ("ERROR eight", LogOutput::Stderr, None),
        ] {
            let line = RawLine { at: LogTime::default(), stream, text: text.into(), cut: 0 };
            processor.push(now, SourceEvent::Line(line), &mut out);
            assert_eq!(processor.whole_upto(), whole, "{text}");
        }
        processor.flush(&mut out);
        assert_eq!((processor.whole_upto(), out.len()), (Some(8), 7));
    }

    #[test]
    fn secrets_never_pass_and_numbers_have_no_hole() {
        let limit = Duration::from_millis(50);
        let mut processor = Processor::new(Arc::new(Redaction::default()), limit, 6);
        let (mut out, now) = (Vec::new(), Instant::now());
        let push = |processor: &mut Processor, out: &mut Vec<_>, text: &str| {
            let (at, stream) = (LogTime::default(), LogOutput::Stdout);
            let line = RawLine { at, stream, text: text.into(), cut: 0 };
            processor.push(now, SourceEvent::Line(line), out);
        };
        push(&mut processor, &mut out, r#"{"msg":"x","url":"redis://:hunter2@db"}"#);
        push(&mut processor, &mut out, "password=\u{1b}[31mhunter2");
        push(&mut processor, &mut out, "\u{1b}[36mpassword\u{1b}[0m=hunter2");
        push(&mut processor, &mut out, "ERROR held back");
        assert_eq!((out.len(), processor.deadline()), (3, Some(now + limit)));
        let stopped = SourceEvent::Marker(LogMarker::Stopped, LogTime::default());
        processor.push(now, stopped, &mut out);
        assert_eq!(processor.skip(3, &mut out), 12..=14);
        push(&mut processor, &mut out, "after");
        let seqs: Vec<_> = out.iter().map(|line| line.seq).collect();
        assert_eq!(seqs, [7, 8, 9, 10, 11, 15]);
        assert_eq!(out[4].marker, Some(LogMarker::Stopped));
        assert!(!serde_json::to_string(&out).unwrap().contains("hunter2"), "{out:?}");
        push(&mut processor, &mut out, "WARN x");
        processor.expire(now + limit, &mut out);
        assert_eq!(out.last().unwrap().seq, 16);
    }
}
