//! Times as programs write them at the head of a line.
//!
//! Written by hand: a regular expression or a general parser of dates would cost as much as all
//! else that is done to a line.

/// A time at the start of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since 1970, taken as UTC where no zone is given; absent where the day is.
    pub at: Option<i64>,
    /// Whether it says its zone.
    pub zoned: bool,
    /// The bytes that it takes.
    pub len: usize,
}

const SECOND: i64 = 1_000_000_000;

/// Reads the time at the start of `text`:
///
/// - RFC 3339 and ISO 8601: `2026-11-18T11:06:40.007Z`, with a space for the `T`, a comma before
///   the fraction, an offset as `+01:00` or `+0100`, after a space too, `UTC` or `GMT`, or no zone;
/// - Go's and nginx' `2026/11/18 11:06:40`;
/// - Redis' `18 Nov 2026 11:06:40.007` and the access logs' `18/Nov/2026:11:06:40 +0000`;
/// - without a day `11:06:40.007`, and syslog's `Nov 18 11:06:40` (RFC 3164): these give no `at`.
pub fn leading(text: &[u8]) -> Option<Stamp> {
    let first = *text.first()?;
    if first.is_ascii_digit() {
        match (text.get(2)?, text.get(4)?) {
            (_, b'-' | b'/') => iso(text),
            (b':', _) => {
                let (_, len) = time(text)?;
                Some(Stamp { at: None, zoned: false, len })
            }
            (b' ' | b'/', _) => day_first(text),
            _ => None,
        }
    } else if first.is_ascii_uppercase() {
        syslog(text)
    } else {
        None
    }
}

/// Reads an RFC 3339 instant with a zone, and nothing after it.
pub fn rfc3339(text: &[u8]) -> Option<i64> {
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    iso(text).filter(|stamp| stamp.zoned && stamp.len == text.len())?.at
}

fn iso(text: &[u8]) -> Option<Stamp> {
    let separator = *text.get(4)?;
    let year = number(text, 0, 4)?;
    let month = number(text, 5, 2)?;
    let day = number(text, 8, 2)?;
    if !matches!(separator, b'-' | b'/')
        || text.get(7) != Some(&separator)
        || !matches!(text.get(10)?, b'T' | b't' | b' ' | b'_')
    {
        return None;
    }
    let (of_day, len) = time(&text[11..])?;
    finish(text, civil(year, month, day)?, of_day, 11 + len)
}

fn day_first(text: &[u8]) -> Option<Stamp> {
    let month = month(text.get(3..6)?)?;
    let between = *text.get(2)?;
    let after = if between == b'/' { b':' } else { b' ' };
    if text.get(6) != Some(&between)
        || !matches!(text.get(11), Some(c) if *c == after || *c == b' ')
    {
        return None;
    }
    let (day, year) = (number(text, 0, 2)?, number(text, 7, 4)?);
    let (of_day, len) = time(&text[12..])?;
    finish(text, civil(year, month, day)?, of_day, 12 + len)
}

fn syslog(text: &[u8]) -> Option<Stamp> {
    month(text.get(..3)?)?;
    if text.get(3) != Some(&b' ') {
        return None;
    }
    let ten = *text.get(4)?;
    if !(ten == b' ' || ten.is_ascii_digit()) || !text.get(5)?.is_ascii_digit() {
        return None;
    }
    if text.get(6) != Some(&b' ') {
        return None;
    }
    let (_, len) = time(&text[7..])?;
    Some(Stamp { at: None, zoned: false, len: 7 + len })
}

fn finish(text: &[u8], days: i64, of_day: i64, len: usize) -> Option<Stamp> {
    let (offset, zone) = zone(&text[len..]).unzip();
    let seconds_of_offset = offset.unwrap_or(0);
    let ns = days
        .checked_mul(86_400 * SECOND)?
        .checked_add(of_day)?
        .checked_sub(seconds_of_offset * SECOND)?;
    Some(Stamp { at: Some(ns), zoned: offset.is_some(), len: len + zone.unwrap_or(0) })
}

/// `HH:MM:SS` and a fraction: nanoseconds of the day, and the length.
fn time(text: &[u8]) -> Option<(i64, usize)> {
    let (h, m, s) = (number(text, 0, 2)?, number(text, 3, 2)?, number(text, 6, 2)?);
    if text[2] != b':' || text[5] != b':' || h > 23 || m > 59 || s > 60 {
        return None;
    }
    let mut ns = (h * 3600 + m * 60 + s) * SECOND;
    let mut len = 8;
    if let (Some(b'.' | b','), Some(digit)) = (text.get(8), text.get(9))
        && digit.is_ascii_digit()
    {
        len = 9;
        let mut unit = SECOND / 10;
        while let Some(digit) = text.get(len).filter(|c| c.is_ascii_digit()) {
            ns += i64::from(digit - b'0') * unit;
            unit /= 10;
            len += 1;
        }
    } else if text.get(8).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some((ns, len))
}

/// A zone: seconds east of UTC, and its length.
fn zone(text: &[u8]) -> Option<(i64, usize)> {
    let space = usize::from(text.first() == Some(&b' '));
    let text = &text[space..];
    let ends = |at: usize| !text.get(at).is_some_and(u8::is_ascii_alphanumeric);
    match text.first()? {
        b'Z' | b'z' if space == 0 && ends(1) => Some((0, 1)),
        b'U' if text.starts_with(b"UTC") && ends(3) => Some((0, space + 3)),
        b'G' if text.starts_with(b"GMT") && ends(3) => Some((0, space + 3)),
        sign @ (b'+' | b'-') => {
            let hours = number(text, 1, 2)?;
            let colon = usize::from(text.get(3) == Some(&b':'));
            let minutes = number(text, 3 + colon, 2)?;
            let len = 5 + colon;
            if hours > 14 || minutes > 59 || !ends(len) {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            Some((if *sign == b'-' { -seconds } else { seconds }, space + len))
        }
        _ => None,
    }
}

fn number(text: &[u8], at: usize, digits: usize) -> Option<i64> {
    let mut number = 0;
    for c in text.get(at..at + digits)? {
        if !c.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(c - b'0');
    }
    Some(number)
}

fn month(name: &[u8]) -> Option<i64> {
    const NAMES: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let index = NAMES.iter().position(|known| name == known.as_slice())?;
    i64::try_from(index + 1).ok()
}

/// Days since 1970 of a day of the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `days_from_civil`).
fn civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form() {
        let ns = 1_795_000_000_007_000_000;
        let whole = 1_795_000_000_000_000_000;
        let table: [(&str, Option<i64>, bool, usize); 15] = [
            ("2026-11-18T11:06:40.007Z x", Some(ns), true, 24),
            ("2026-11-18T11:06:40.007123456Z", Some(ns + 123_456), true, 30),
            ("2026-11-18T11:06:40Z", Some(whole), true, 20),
            ("2026-11-18T12:06:40.007+01:00 x", Some(ns), true, 29),
            ("2026-11-18 06:06:40,007 -0500] x", Some(ns), true, 29),
            ("2026-11-18 11:06:40.007 UTC [1] LOG", Some(ns), true, 27),
            ("2026-11-18 11:06:40,007 - x", Some(ns), false, 23),
            ("2026-11-18 11:06:40 +1 item", Some(whole), false, 19),
            ("2026/11/18 11:06:40 [error]", Some(whole), false, 19),
            ("18 Nov 2026 11:06:40.007 * Ready", Some(ns), false, 24),
            ("18/Nov/2026:11:06:40 +0000] x", Some(whole), true, 26),
            ("11:06:40.007 [main]", None, false, 12),
            ("Nov 18 11:06:40 host x", None, false, 15),
            ("Nov  8 11:06:40 host x", None, false, 15),
            ("2026-11-18T11:06:40.1234567890123Z", Some(whole + 123_456_789), true, 34),
        ];
        for (text, at, zoned, len) in table {
            assert_eq!(leading(text.as_bytes()), Some(Stamp { at, zoned, len }), "{text}");
        }
        for text in [
            "",
            "2",
            "2026-11-18",
            "2026-11-18T",
            "2026-13-18T11:06:40Z",
            "2026-11-18T25:06:40Z",
            "2026-11/18T11:06:40Z",
            "9999-11-18T11:06:40Z",
            "November 18",
            "192.168.1.1 - -",
            "11:06 x",
            "12345678901234567890",
        ] {
            assert_eq!(leading(text.as_bytes()), None, "{text}");
        }
        assert_eq!(rfc3339(b"2026-11-18T11:06:40.007Z"), Some(ns));
        assert_eq!(rfc3339(b"2026-11-18T11:06:40.007Z "), None);
        assert_eq!(rfc3339(b"2026-11-18T11:06:40.007"), None);
    }

    proptest! {
        #[test]
        fn as_jiff_reads_it(ns in any::<i64>()) {
            let at = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap();
            prop_assert_eq!(rfc3339(at.to_string().as_bytes()), Some(ns));
        }

        #[test]
        fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..40), head in "[0-9:/ .,TZ+JanFeb-]{0,40}") {
            for text in [text.as_slice(), head.as_bytes()] {
                if let Some(stamp) = leading(text) {
                    prop_assert!(stamp.len <= text.len());
                }
            }
        }
    }
}
