//! When an event was published, out of its JSON, without parsing the JSON: the last (or first)
//! place where the key stands is found by a search for its text.

use memchr::memmem::{Finder, FinderRev};

/// Finds the publisher's stamp in an event.
///
/// The value is a number of µs or ms since 1970 (told apart by its size: what would lie after the
/// year 5000 in ms is µs), or a text in ISO 8601, UTC, with up to six digits after the second.
#[derive(Debug)]
pub(crate) struct Stamps {
    needle: Needle,
    key: usize,
}

#[derive(Debug)]
enum Needle {
    /// A key that the publisher puts before what may be long.
    First(Box<Finder<'static>>),
    /// Kobel's envelope has its `timestamp` after the data, which may hold the same key.
    Last(FinderRev<'static>),
}

impl Stamps {
    /// By the first place of this key.
    pub(crate) fn first(key: &str) -> Self {
        let text = format!("\"{key}\":");
        Self { key: text.len(), needle: Needle::First(Box::new(Finder::new(&text).into_owned())) }
    }

    /// By the envelope of Kobel's events.
    pub(crate) fn kobel() -> Self {
        let text = "\"timestamp\":";
        Self { key: text.len(), needle: Needle::Last(FinderRev::new(text)) }
    }

    /// Microseconds since 1970; `None` when there is no such stamp.
    #[inline]
    pub(crate) fn read(&self, json: &[u8]) -> Option<u64> {
        let at = match &self.needle {
            Needle::First(finder) => finder.find(json)?,
            Needle::Last(finder) => finder.rfind(json)?,
        };
        let mut value = json.get(at + self.key..)?;
        while let Some(rest) = value.strip_prefix(b" ") {
            value = rest;
        }
        match value.strip_prefix(b"\"") {
            Some(text) => iso(text),
            None => number(value),
        }
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    let mut digits = 0;
    for byte in bytes.iter().take_while(|byte| byte.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
        digits += 1;
    }
    match digits {
        0 => None,
        _ if value < 100_000_000_000_000 => Some(value * 1000),
        _ => Some(value),
    }
}

/// `2026-11-24T10:00:00.123Z`
fn iso(text: &[u8]) -> Option<u64> {
    let digits = |from: usize, to: usize| -> Option<u64> {
        let mut value = 0;
        for byte in text.get(from..to)? {
            value = value * 10 + u64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
        Some(value)
    };
    let mark = |at: usize, byte: u8| (text.get(at) == Some(&byte)).then_some(());
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    mark(4, b'-').and(mark(7, b'-')).and(mark(10, b'T'))?;
    mark(13, b':').and(mark(16, b':'))?;
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (mut micros, mut at) = (0, 19);
    if text.get(at) == Some(&b'.') {
        let mut scale = 100_000;
        at += 1;
        while let Some(byte) = text.get(at).filter(|byte| byte.is_ascii_digit()) {
            micros += u64::from(byte - b'0') * scale;
            scale /= 10;
            at += 1;
        }
    }
    mark(at, b'Z')?;
    let days = days_since_1970(year, month, day);
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

/// Howard Hinnant's `days_from_civil`, for years from 1970.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: u64 = 1_795_514_400_123_000;

    #[test]
    fn stamps() {
        let ts = Stamps::first("ts");
        for (json, expected) in [
            (r#"["news",{"ts":1795514400123456,"x":1}]"#, Some(1_795_514_400_123_456)),
            (r#"["news",{"ts": 1795514400123}]"#, Some(AT)),
            (r#"["news",{"ts":"2026-11-24T10:00:00.123Z"}]"#, Some(AT)),
            (r#"["news",{"ts":"2026-11-24T10:00:00.123456Z"}]"#, Some(AT + 456)),
            (r#"["news",{"ts":"2026-11-24T10:00:00Z"}]"#, Some(AT - 123_000)),
            (r#"["news",{"ts":"2026-11-24 10:00:00Z"}]"#, None),
            (r#"["news",{"ts":"2026-13-24T10:00:00Z"}]"#, None),
            (r#"["news",{"ts":"2026-11-24T10:00:00.1"#, None),
            (r#"["news",{"ts":99999999999999999999999}]"#, None),
            (r#"["news",{"ts":null}]"#, None),
            (r#"["news",{"ts":"#, None),
            (r#"["news",{"tsx":1}]"#, None),
            ("", None),
        ] {
            assert_eq!(ts.read(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn the_envelope_counts_not_what_is_in_it() {
        let json = br#"["stats",{"room":"device:1","data":{"timestamp":5},"timestamp":"2026-11-24T10:00:00.123Z","epoch":1,"seq":2}]"#;
        assert_eq!(Stamps::kobel().read(json), Some(AT));
        assert_eq!(
            Stamps::kobel().read(br#"["batchUpdate",{"timestamp":1795514400123}]"#),
            Some(AT)
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\"ts\":)?\"?[0-9TZ:.\" -]{0,40}") {
            let _ = Stamps::first("ts").read(text.as_bytes());
            let _ = Stamps::first("ts").read(format!("\"ts\":{text}").as_bytes());
        }

        /// As another library writes it.
        #[test]
        fn dates(ms in 0i64..4_102_444_800_000) {
            let time = jiff::Timestamp::from_millisecond(ms).unwrap();
            let json = format!("[\"x\",{{\"timestamp\":\"{time:.3}\"}}]");
            prop_assert_eq!(Stamps::kobel().read(json.as_bytes()), Some(ms as u64 * 1000));
        }
    }
}
