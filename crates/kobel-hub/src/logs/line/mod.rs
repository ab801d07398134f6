//! One line: from what came to what can be read.

mod ansi;
mod json;
mod logfmt;
mod text;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use kobel_wire::log::{FieldValue, Fields, Level, LogLine, LogTime};

use super::RawLine;

/// The most fields of a line; what is beyond is in `raw` only.
pub const FIELDS: usize = 100;

/// The most bytes of a line's fields, names and values together.
pub const FIELD_BYTES: usize = 64 << 10;

/// By how much a line's own time may differ from the engine's and still count: a day if it names
/// its zone. Without one it may be local time, and then it would be wrong by hours.
const TRUSTED: (i64, i64) = (86_400_000_000_000, 300_000_000_000);

/// What a line says of itself.
#[derive(Debug, Default)]
struct Said {
    /// Its time, and whether that is beyond doubt (it names its zone).
    at: Option<(i64, bool)>,
    level: Option<Level>,
    /// Of a structured line.
    message: Option<String>,
    fields: Fields,
}

/// Makes an entry of a line. It has no number yet.
///
/// JSON and logfmt are known by their form; anything else is text. The time is the line's own
/// where it has one that can be right, else the engine's.
pub fn read(line: RawLine) -> LogLine {
    let RawLine { at, stream, text, cut } = line;
    let plain = ansi::plain(&text);
    let said = json::read(&plain).or_else(|| logfmt::read(&plain));
    let said = said.unwrap_or_else(|| text::read(&plain));
    let message = match (said.message, &plain) {
        (Some(message), _) => match ansi::plain(&message) {
            Cow::Borrowed(_) => Some(message),
            Cow::Owned(plain) => Some(plain),
        },
        (None, Cow::Owned(plain)) => Some(plain.clone()),
        (None, Cow::Borrowed(_)) => None,
    };
    drop(plain);
    let (message, raw) = match message {
        Some(message) => (message, Some(text)),
        None => (text, None),
    };
    let own = said.at.and_then(|(own, sure)| {
        let most = if sure { TRUSTED.0 } else { TRUSTED.1 };
        (at.as_nanos().abs_diff(own) <= most.unsigned_abs()).then_some(LogTime::from_nanos(own))
    });
    LogLine {
        seq: 0,
        timestamp: own.unwrap_or(at),
        level: said.level,
        message,
        fields: said.fields,
        stream,
        raw,
        cut: (cut > 0).then_some(cut),
        marker: None,
    }
}

/// Counts what fields take.
struct Room {
    fields: usize,
    bytes: usize,
}

impl Room {
    fn new() -> Self {
        Self { fields: FIELDS, bytes: FIELD_BYTES }
    }

    /// Adds the field where there is room; whether there was.
    fn add(&mut self, fields: &mut Fields, name: Cow<'_, str>, value: FieldValue) -> bool {
        let size = name.len() + if let FieldValue::Text(text) = &value { text.len() } else { 8 };
        if self.fields == 0 || size > self.bytes {
            return false;
        }
        self.fields -= 1;
        self.bytes -= size;
        fields.set(name.into_owned(), value);
        true
    }
}
