//! The lines of a block, by columns.
//!
//! A line is kept as it came; what was read of it (message, fields) is read again when somebody
//! looks, where reading again gives the same. That holds for all but entries of several lines with
//! colours and lines whose secrets were hidden: those are kept whole, as JSON.

use kobel_wire::log::{FieldValue, Level, LogLine, LogOutput, LogTime};

use super::{
    bytes::{Damaged, Input, put, unzigzag, zigzag},
    shape::{self, Shapes},
    words::{WordHash, words},
};
use crate::logs::{RawLine, line};

/// The most lines of a block.
pub(super) const LINES: usize = 4_096;

/// The most bytes of text of a block, but for one line.
pub(super) const BYTES: usize = 1 << 20;

/// The most bytes of text that a block may say to have.
const MOST: usize = 64 << 20;

/// So many lines have one time by which their own times are judged.
const RUN: usize = 256;

/// How a line is kept: the lowest two bits of its flags.
const AS_TEXT: u8 = 0;
const AS_READ: u8 = 1;
const AS_JSON: u8 = 2;
/// Its time is in its text.
const OWN_TIME: u8 = 4;
const STDERR: u8 = 8;
/// The level is above these bits: 0 where there is none.
const LEVEL: u8 = 4;

/// Lines in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    text: String,
    /// Where each line's text ends.
    ends: Vec<u32>,
    flags: Vec<u8>,
    /// When each was written. Of a block that was read: where [`OWN_TIME`] is not set.
    times: Vec<i64>,
}

/// A line as it is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<'a> {
    text: &'a str,
    flags: u8,
    time: i64,
    /// By which its own time is judged.
    base: i64,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of text.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= LINES || self.bytes() >= BYTES
    }

    /// The oldest and the newest time; of a block that is being made only.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        Some((*self.times.iter().min()?, *self.times.iter().max()?))
    }

    /// Which levels there are, a bit for each; the lowest for lines without.
    pub(super) fn levels(&self) -> u8 {
        self.flags.iter().fold(0, |levels, flags| levels | 1 << (flags >> LEVEL))
    }

    /// Adds a line.
    pub(super) fn push(&mut self, line: &LogLine) {
        let base = self.base_for(line.timestamp.as_nanos());
        let (form, text) = kept_as(line, base);
        let mut flags = form | (line.level.map_or(0, |level| level as u8 + 1)) << LEVEL;
        if line.stream == LogOutput::Stderr {
            flags |= STDERR;
        }
        self.text.push_str(text.as_deref().unwrap_or(line.raw()));
        self.ends.push(self.text.len() as u32);
        self.flags.push(flags);
        self.times.push(line.timestamp.as_nanos());
    }

    /// All the words of all the lines.
    pub(super) fn words(&self) -> Vec<WordHash> {
        let mut all = Vec::with_capacity(self.bytes() / 6);
        for kept in self.iter() {
            if let Some(text) = kept.plain() {
                words(text, |word| all.push(word));
            } else if let Ok(line) = kept.line(0) {
                words(line.raw(), |word| all.push(word));
                words(&line.message, |word| all.push(word));
                for (_, value) in line.fields.iter() {
                    if let FieldValue::Text(text) = value {
                        words(text, |word| all.push(word));
                    }
                }
            }
        }
        all
    }

    /// The time by which the next line's own time is judged.
    fn base_for(&self, own: i64) -> i64 {
        let run = self.len() / RUN * RUN;
        self.times.get(run).copied().unwrap_or(own)
    }

    pub(super) fn get(&self, at: usize) -> Option<Kept<'_>> {
        let from = match at.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)? as usize,
        };
        let text = self.text.get(from..*self.ends.get(at)? as usize)?;
        let (flags, time) = (*self.flags.get(at)?, *self.times.get(at)?);
        Some(Kept { text, flags, time, base: *self.times.get(at / RUN * RUN)? })
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Kept<'_>> + ExactSizeIterator {
        // `get` knows every line below `len`.
        (0..self.len()).map(|at| self.get(at).unwrap_or(Kept::NONE))
    }

    /// Adds lines of another.
    pub(super) fn extend(&mut self, more: &Self, from: usize) {
        for kept in (from..more.len()).filter_map(|at| more.get(at)) {
            // Judged by another base it might have another time.
            let own = kept.flags & OWN_TIME != 0;
            let base = self.base_for(kept.time);
            self.text.push_str(kept.text);
            self.ends.push(self.text.len() as u32);
            let flags = if own && base != kept.base { kept.flags & !OWN_TIME } else { kept.flags };
            self.flags.push(flags);
            self.times.push(kept.time);
        }
    }

    /// Writes them behind `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put(out, self.len() as u64);
        out.extend_from_slice(&self.flags);
        let mut before = 0;
        for (at, (time, flags)) in self.times.iter().zip(&self.flags).enumerate() {
            if flags & OWN_TIME == 0 || at % RUN == 0 {
                put(out, zigzag(time.wrapping_sub(before)));
                before = *time;
            }
        }
        let mut shapes = Shapes::default();
        let mut from = 0;
        for end in &self.ends {
            shapes.push(&self.text[from..*end as usize]);
            from = *end as usize;
        }
        shapes.write(out);
    }

    /// Reads what [`Lines::write`] wrote, and nothing after it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut input = Input::new(bytes);
        let lines = usize::try_from(input.number()?).map_err(|_| Damaged)?;
        let flags = input.take(lines)?.to_vec();
        let (mut times, mut before) = (Vec::with_capacity(lines), 0_i64);
        for (at, flags) in flags.iter().enumerate() {
            if flags & OWN_TIME == 0 || at % RUN == 0 {
                before = before.wrapping_add(unzigzag(input.number()?));
            }
            times.push(before);
        }
        let (text, ends) = shape::read(&mut input, lines, MOST)?;
        if input.rest().is_empty() { Ok(Self { text, ends, flags, times }) } else { Err(Damaged) }
    }

    /// Reads the times that are in the texts, of lines that were read: so they can be added to.
    pub(super) fn with_times(mut self) -> Self {
        self.times = self.iter().map(Kept::time).collect();
        self
    }
}

impl<'a> Kept<'a> {
    const NONE: Kept<'static> = Kept { text: "", flags: 0, time: 0, base: 0 };

    pub(super) fn level(self) -> Option<Level> {
        Level::ALL.get(usize::from(self.flags >> LEVEL).checked_sub(1)?).copied()
    }

    pub(super) fn stream(self) -> LogOutput {
        if self.flags & STDERR == 0 { LogOutput::Stdout } else { LogOutput::Stderr }
    }

    /// The line as it came, where it is kept so and its message is a part of it.
    pub(super) fn plain(self) -> Option<&'a str> {
        let plain = match self.flags & 3 {
            AS_TEXT => true,
            AS_READ => !hides(self.text),
            _ => false,
        };
        plain.then_some(self.text)
    }

    /// Whether its message is all of it.
    pub(super) fn is_message(self) -> bool {
        self.flags & 3 == AS_TEXT
    }

    /// The line, with `number` for its number.
    pub(super) fn line(self, number: u64) -> Result<LogLine, Damaged> {
        let mut line = match self.flags & 3 {
            AS_JSON => serde_json::from_str(self.text).map_err(|_| Damaged)?,
            AS_READ => {
                let own = self.flags & OWN_TIME != 0;
                let at = LogTime::from_nanos(if own { self.base } else { self.time });
                let raw = RawLine { at, stream: self.stream(), text: self.text.to_owned(), cut: 0 };
                let mut line = line::read(raw);
                if !own {
                    line.timestamp = at;
                }
                line
            }
            _ => {
                let own = self.flags & OWN_TIME != 0;
                let time = LogTime::from_nanos(self.time);
                let timestamp = if own { own_time(self.text, self.base) } else { time };
                LogLine {
                    seq: 0,
                    timestamp,
                    level: None,
                    message: self.text.to_owned(),
                    fields: Default::default(),
                    stream: self.stream(),
                    raw: None,
                    cut: None,
                    marker: None,
                }
            }
        };
        line.level = self.level();
        line.seq = number;
        Ok(line)
    }

    /// When it was written; cheap where that is not in its text.
    pub(super) fn time(self) -> i64 {
        if self.flags & OWN_TIME == 0 {
            return self.time;
        }
        own_time(self.text, self.base).as_nanos()
    }
}

/// When the first line of `text` says that it was written.
fn own_time(text: &str, base: i64) -> LogTime {
    let first = text.split('\n').next().unwrap_or_default();
    let (at, stream) = (LogTime::from_nanos(base), LogOutput::Stdout);
    line::read(RawLine { at, stream, text: first.to_owned(), cut: 0 }).timestamp
}

/// How a line is kept, and its text where that is not the line as it came.
fn kept_as(line: &LogLine, base: i64) -> (u8, Option<String>) {
    let time = line.timestamp;
    if line.cut.is_none() && line.marker.is_none() {
        let own = |text| if own_time(text, base) == time { OWN_TIME } else { 0 };
        if line.raw.is_none() && line.fields.is_empty() {
            return (AS_TEXT | own(&line.message), None);
        }
        let text = line.raw();
        let raw = RawLine {
            at: LogTime::from_nanos(base),
            stream: line.stream,
            text: text.to_owned(),
            cut: 0,
        };
        let again = line::read(raw);
        if again.message == line.message && again.fields == line.fields && again.raw == line.raw {
            let own = if again.timestamp == time { OWN_TIME } else { 0 };
            return (AS_READ | own, None);
        }
    }
    // Lines of texts, numbers and names are always written.
    (AS_JSON, Some(serde_json::to_string(line).unwrap_or_default()))
}

/// Whether a line's message may hold something that its text does not, as it stands there: escapes
/// and control characters.
fn hides(text: &str) -> bool {
    text.bytes().any(|byte| byte == b'\\' || byte < 0x20 || matches!(byte, 0x7f | 0xc2))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use kobel_wire::log::LogMarker;
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::logs::{Processor, Redaction, SourceEvent};

    const AT: i64 = 1_795_000_000_007_000_000;

    /// As the hub makes them.
    fn processed(texts: &[String]) -> Vec<LogLine> {
        let redaction = Arc::new(Redaction::default());
        let mut processor = Processor::new(redaction, Duration::from_millis(100), 0);
        let (mut out, now) = (Vec::new(), Instant::now());
        for (n, text) in texts.iter().enumerate() {
            let at = LogTime::from_nanos(AT + n as i64 * 1_234_567_891);
            let stream = if n % 3 == 0 { LogOutput::Stderr } else { LogOutput::Stdout };
            let raw = RawLine { at, stream, text: text.clone(), cut: (n % 17 / 16) as u64 };
            processor.push(now, SourceEvent::Line(raw), &mut out);
        }
        processor.push(
            now,
            SourceEvent::Marker(LogMarker::Stopped, LogTime::from_nanos(AT)),
            &mut out,
        );
        out
    }

    fn back(lines: &[LogLine]) -> Vec<LogLine> {
        let mut kept = Lines::default();
        lines.iter().for_each(|line| kept.push(line));
        let mut bytes = Vec::new();
        kept.write(&mut bytes);
        let read = Lines::read(&bytes).unwrap();
        for (kept, read) in kept.iter().zip(read.iter()) {
            assert_eq!(kept.time(), read.time());
        }
        let mut joined = Lines::default();
        joined.extend(&kept, 0);
        let mut again = Lines::default();
        again.extend(&Lines::read(&bytes).unwrap().with_times(), 0);
        assert_eq!(
            (&again.text, &again.flags, &again.times),
            (&kept.text, &kept.flags, &kept.times)
        );
        assert_eq!(
            joined.iter().map(|kept| kept.line(0)).collect::<Vec<_>>(),
            read.iter().map(|kept| kept.line(0)).collect::<Vec<_>>()
        );
        read.iter().zip(1..).map(|(kept, number)| kept.line(number).unwrap()).collect()
    }

    #[test]
    fn lines_of_every_form_come_back() {
        let texts: Vec<String> = [
            "plain",
            "2026-11-18T11:06:41.250Z  INFO app: served /items/7 in 12 ms",
            "2026-11-18 11:06:41,250 - no zone",
            "2001-01-01T00:00:00Z not to be believed",
            r#"{"level":"warn","time":"2026-11-18T11:06:40.100Z","msg":"Slow \"query\"","took":12.50}"#,
            r#"{"level":30,"time":1795000000107,"msg":"x"}"#,
            "time=2026-11-18T11:06:40Z level=error msg=\"served item\" path=/items/1 took=12ms",
            "\u{1b}[31mred\u{1b}[0m 7",
            "\u{1b}[36mpassword\u{1b}[0m=hunter2",
            "Exception in thread main",
            "ERROR first",
            "  at one.Two(Three.java:4)",
            "  at \u{1b}[31mfive\u{1b}[0m",
            "",
            "\u{0}\u{1}\u{fffd}",
            "last",
        ]
        .map(str::to_owned)
        .into();
        let lines = processed(&texts);
        assert!(lines.len() > 12);
        assert_eq!(back(&lines), lines);
    }

    #[test]
    fn times_hold_over_many_lines_of_a_long_while() {
        let texts: Vec<_> = (0..3 * RUN)
            .map(|n| match n % 3 {
                0 => format!("line {n}"),
                1 => {
                    let at = LogTime::from_nanos(AT + n as i64 * 1_234_567_891 - 1_000_000);
                    format!("{at} own time {n}")
                }
                _ => format!(r#"{{"time":{},"msg":"{n}"}}"#, AT / 1_000_000 + n as i64 * 1_234),
            })
            .collect();
        let lines = processed(&texts);
        assert_eq!(back(&lines), lines);
    }

    proptest! {
        #[test]
        fn any_line_comes_back(texts in prop::collection::vec("\\PC{0,20}|[\u{0}-\u{ff}]{0,20}|(ERROR|WARN|  at |\\{\"msg\":\"[a-z\\\\]*\",\"n\":[0-9.]*\\}|a=[a-z0-9\"]*|\u{1b}\\[31m| )*", 0..40)) {
            let lines = processed(&texts);
            prop_assert_eq!(back(&lines), lines);
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(lines) = Lines::read(&bytes) {
                for kept in lines.iter() {
                    let _ = (kept.time(), kept.line(1), kept.plain());
                }
            }
        }
    }
}
