//! From what sources tell to the messages of the link, and back.

use kobel_hub::logs::{LogPosition, LogStart, RawLine, SourceEvent};
use kobel_wire::{
    ContainerId,
    log::{LogMarker, LogOutput, LogTime},
    proto::{LogEventKind, LogFollow, LogFrom, LogRecord, log_follow::Start, log_record::What},
};

use super::super::convert::{id_bytes, id_text};

/// The most bytes of a line that are taken from an agent; the source's own limit.
const LINE: usize = 3 * (256 << 10);

/// The most lines that may be missing at once: a day of a flood.
const MISSING: u64 = 100_000 * 86_400;

/// The message that asks for a log.
pub(in super::super) fn to_follow(
    follow: u64,
    device: u32,
    container: &ContainerId,
    start: LogStart,
) -> LogFollow {
    let start = match start {
        LogStart::Tail(lines) => Start::Tail(lines),
        LogStart::All => Start::All(true),
        LogStart::After(LogPosition { since, seen, newest }) => {
            Start::After(LogFrom { since_ns: since, seen, newest_ns: newest })
        }
    };
    let container_id = id_bytes(container).into();
    LogFollow { follow, device, container_id, start: Some(start) }
}

/// What such a message asks for; `None` where it is no container.
pub(in super::super) fn start_of(follow: &LogFollow) -> Option<(ContainerId, LogStart)> {
    if !(6..=32).contains(&follow.container_id.len()) {
        return None;
    }
    let container = id_text(&follow.container_id).parse().ok()?;
    let start = match follow.start? {
        Start::Tail(lines) => LogStart::Tail(lines),
        Start::All(_) => LogStart::All,
        Start::After(LogFrom { since_ns, seen, newest_ns }) => {
            LogStart::After(LogPosition { since: since_ns, seen, newest: newest_ns })
        }
    };
    Some((container, start))
}

/// The record of an event.
pub(super) fn record(event: SourceEvent) -> LogRecord {
    match event {
        SourceEvent::Line(line) => {
            let what = match line.stream {
                LogOutput::Stdout => What::Stdout(line.text),
                LogOutput::Stderr => What::Stderr(line.text),
            };
            LogRecord { at_ns: line.at.as_nanos(), what: Some(what), cut: line.cut }
        }
        SourceEvent::Marker(marker, at) => {
            let kind = match marker {
                LogMarker::Started => LogEventKind::Started,
                LogMarker::Stopped => LogEventKind::Stopped,
                LogMarker::Recreated => LogEventKind::Recreated,
                LogMarker::Lost => LogEventKind::Lost,
            };
            LogRecord { at_ns: at.as_nanos(), what: Some(What::Event(kind.into())), cut: 0 }
        }
        SourceEvent::Missing(lines) => missing(lines),
        // No source of an agent gives any.
        SourceEvent::Told(told) => missing(told.lines.len() as u64),
    }
}

/// The record of lines that were dropped.
pub(super) fn missing(lines: u64) -> LogRecord {
    LogRecord { at_ns: 0, what: Some(What::Missing(lines)), cut: 0 }
}

/// The event of a record, made fit; `None` for what a later version says.
pub(super) fn event(record: LogRecord) -> Option<SourceEvent> {
    let at = LogTime::from_nanos(record.at_ns);
    let line = |stream, text: String| {
        let (text, cut) = fit(text, record.cut);
        Some(SourceEvent::Line(RawLine { at, stream, text, cut }))
    };
    match record.what? {
        What::Stdout(text) => line(LogOutput::Stdout, text),
        What::Stderr(text) => line(LogOutput::Stderr, text),
        What::Event(kind) => {
            let marker = match LogEventKind::try_from(kind).unwrap_or_default() {
                LogEventKind::Unspecified => return None,
                LogEventKind::Started => LogMarker::Started,
                LogEventKind::Stopped => LogMarker::Stopped,
                LogEventKind::Recreated => LogMarker::Recreated,
                LogEventKind::Lost => LogMarker::Lost,
            };
            Some(SourceEvent::Marker(marker, at))
        }
        What::Missing(0) => None,
        What::Missing(lines) => Some(SourceEvent::Missing(lines.min(MISSING))),
    }
}

/// A line as a source gives it: without ends of lines in it, and not too long.
fn fit(mut text: String, cut: u64) -> (String, u64) {
    let end = text.floor_char_boundary(LINE);
    let cut = cut.saturating_add((text.len() - end) as u64);
    text.truncate(end);
    if text.contains('\n') {
        text = text.replace('\n', "\u{fffd}");
    }
    (text, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stream: LogOutput, text: &str, cut: u64) -> SourceEvent {
        let at = LogTime::from_nanos(1_795_000_000_123_456_789);
        SourceEvent::Line(RawLine { at, stream, text: text.into(), cut })
    }

    #[test]
    fn what_is_told_comes_back() {
        let at = LogTime::from_nanos(7);
        for told in [
            line(LogOutput::Stdout, "", 0),
            line(LogOutput::Stderr, "\u{1b}[31mgrün\r", 3),
            SourceEvent::Marker(LogMarker::Started, at),
            SourceEvent::Marker(LogMarker::Stopped, at),
            SourceEvent::Marker(LogMarker::Recreated, at),
            SourceEvent::Marker(LogMarker::Lost, at),
            SourceEvent::Missing(5),
        ] {
            assert_eq!(event(record(told.clone())), Some(told));
        }
    }

    #[test]
    fn what_cannot_be_is_made_fit() {
        let text = format!("a\nb{}", "ü".repeat(LINE));
        let Some(SourceEvent::Line(fit)) = event(record(line(LogOutput::Stdout, &text, 1))) else {
            panic!("it is a line");
        };
        assert!(fit.text.starts_with("a\u{fffd}b") && fit.text.len() <= LINE + 3);
        assert_eq!(fit.cut as usize, 1 + text.len() - (LINE - 1));
        assert_eq!(event(missing(0)), None);
        assert_eq!(event(missing(u64::MAX)), Some(SourceEvent::Missing(MISSING)));
        assert_eq!(event(LogRecord::default()), None);
    }

    #[test]
    fn a_follow_comes_back_and_a_wrong_one_does_not() {
        let container: ContainerId = "abcdef012345".parse().unwrap();
        let after = LogPosition { since: -5, seen: 3, newest: 9 };
        for start in [LogStart::Tail(7), LogStart::All, LogStart::After(after)] {
            let follow = to_follow(1, 2, &container, start);
            assert_eq!(start_of(&follow), Some((container.clone(), start)));
        }
        assert_eq!(start_of(&LogFollow::default()), None);
    }
}
