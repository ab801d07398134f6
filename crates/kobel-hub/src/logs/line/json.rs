//! Lines that are a JSON object, as pino, bunyan, zap, slog, zerolog, logrus, structlog, Serilog,
//! logback's encoders, MongoDB and OpenTelemetry write them.

use std::{borrow::Cow, fmt};

use kobel_wire::log::{FieldValue, Level};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Room, Said};
use crate::logs::stamp;

/// Reads a line that is a JSON object and nothing else.
pub(super) fn read(line: &str) -> Option<Said> {
    let line = line.trim();
    if !line.starts_with('{') || !line.ends_with('}') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(line);
    let said = reader.deserialize_map(Reader).ok()?;
    reader.end().ok()?;
    Some(said)
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
        let (mut said, mut room) = (Said::default(), Room::new());
        // A raw value is skipped over without recursion, however deep it is.
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let value = map.next_value::<&'de RawValue>()?.get();
            if !take(&mut said, &name, value) {
                room.add(&mut said.fields, name, field(value));
            }
        }
        Ok(said)
    }
}

/// A key that is borrowed from the line where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Takes the value as time, level or message, by its name; false where it is none of them, or
/// cannot be read as such: then it is a field.
fn take(said: &mut Said, name: &str, value: &str) -> bool {
    match name {
        "timestamp" | "time" | "ts" | "@timestamp" | "@t" | "t" if said.at.is_none() => {
            said.at = time(value);
            said.at.is_some()
        }
        "level" | "severity" | "lvl" | "log.level" | "levelname" | "loglevel" | "@l" | "s"
        | "severityText" | "severity_text"
            if said.level.is_none() =>
        {
            let letters = if name == "s" { 1..=1 } else { 1..=13 };
            said.level = level(value).filter(|_| letters.contains(&value.trim_matches('"').len()));
            said.level.is_some()
        }
        "severityNumber" | "severity_number" if said.level.is_none() => {
            said.level = value.parse().ok().and_then(Level::from_otel);
            said.level.is_some()
        }
        "message" | "msg" | "@m" | "MESSAGE" if said.message.is_none() => {
            said.message = text(value).map(Cow::into_owned);
            said.message.is_some()
        }
        _ => false,
    }
}

/// The text of a JSON string.
fn text(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    // The value was read once already: without escapes it is its own text.
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(value).ok().map(Cow::Owned)
}

fn field(value: &str) -> FieldValue {
    match value.as_bytes().first() {
        Some(b'"') => FieldValue::Text(text(value).unwrap_or_default().into_owned()),
        Some(b'n') => FieldValue::Null,
        Some(b't') => FieldValue::Bool(true),
        Some(b'f') => FieldValue::Bool(false),
        Some(b'{' | b'[') => FieldValue::Text(value.to_owned()),
        _ => match value.parse() {
            Ok(number) => FieldValue::Number(number),
            // Beyond an f64, such as 1e999: as it stands.
            Err(_) => FieldValue::Text(value.to_owned()),
        },
    }
}

fn level(value: &str) -> Option<Level> {
    let word = match text(value) {
        Some(word) => word,
        None => return Level::from_number(value.parse().ok()?),
    };
    let word = word.trim();
    // slog: "INFO+2" is between info and warn.
    let word = word.split(['+', '-']).next().unwrap_or(word);
    match word.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => Level::from_letter(*letter),
        digits if digits.first().is_some_and(u8::is_ascii_digit) => {
            Level::from_number(word.parse().ok()?)
        }
        word => Level::from_word(word),
    }
}

fn time(value: &str) -> Option<(i64, bool)> {
    match text(value) {
        Some(text) => {
            let text = text.trim();
            match stamp::leading(text.as_bytes()) {
                Some(stamp) if stamp.len == text.len() => Some((stamp.at?, stamp.zoned)),
                _ => Some((epoch(text)?, true)),
            }
        }
        // MongoDB: {"$date": "2026-11-18T11:06:40.007+00:00"}.
        None if value.starts_with('{') => {
            let inner = value.strip_prefix("{\"$date\":")?.strip_suffix('}')?.trim();
            inner.starts_with('"').then(|| time(inner))?
        }
        None => Some((epoch(value)?, true)),
    }
}

/// A number since 1970: seconds, milliseconds, microseconds or nanoseconds, by its size. As
/// seconds the limits are the years 1973 and 5138, and so by steps of 1000.
fn epoch(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    // "1.7e9" is the way of some writers of floats.
    let (whole, fraction): (i64, Cow<'_, str>) = match whole.parse() {
        Ok(whole) if fraction.bytes().all(|c| c.is_ascii_digit()) => (whole, fraction.into()),
        _ => {
            let number: f64 = text.parse().ok().filter(|n: &f64| n.abs() < 9e15)?;
            let whole = number.trunc();
            (whole as i64, format!("{:.9}", number - whole)[2..].to_owned().into())
        }
    };
    let unit: i64 = match whole {
        100_000_000..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        100_000_000_000_000_000.. => 1,
        _ => return None,
    };
    let mut part = 0;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        part += i64::from(digit - b'0') * place;
    }
    whole.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_by_size() {
        let ns = 1_795_000_000_007_000_000;
        for text in [
            "1795000000.007",
            "1795000000007",
            "1795000000007000",
            "1795000000007000000",
            "1795000000007.0",
        ] {
            assert_eq!(epoch(text), Some(ns), "{text}");
        }
        assert_eq!(epoch("1.795e9"), Some(1_795_000_000_000_000_000));
        for text in ["", "7", "-1795000000", "1e30", "99999999999999999999", "x", "1.x", "NaN"] {
            assert_eq!(epoch(text), None, "{text}");
        }
    }
}
